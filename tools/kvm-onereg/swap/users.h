/* SPDX-License-Identifier: GPL-2.0 */
/* Who holds KVM, and what ends that. */
#ifndef SWAP_USERS_H
#define SWAP_USERS_H

#include "model/hold.h"

/* As a phrase, or NULL; *fix says what to do. Also for the report */
char *who_holds(char **fix);
/* The same of holders that are known */
char *describe_holds(const struct holders *holders, char **fix);

#endif
