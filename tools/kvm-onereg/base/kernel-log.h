/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's log. */
#ifndef BASE_KERNEL_LOG_H
#define BASE_KERNEL_LOG_H

/* Since boot, or NULL when it is not for this user to read. */
const char *kernel_log(void);

#endif
