/* SPDX-License-Identifier: GPL-2.0 */
/* Who holds KVM, and what ends that. */
#ifndef SWAP_USERS_H
#define SWAP_USERS_H

/* As a phrase, or NULL; *fix says what to do. Also for the report */
char *who_holds(char **fix);

#endif
