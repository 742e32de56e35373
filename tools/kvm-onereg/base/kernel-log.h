/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's log. */
#ifndef BASE_KERNEL_LOG_H
#define BASE_KERNEL_LOG_H

/* Since boot, or NULL if this user may not read it. */
const char *kernel_log(void);

#endif
