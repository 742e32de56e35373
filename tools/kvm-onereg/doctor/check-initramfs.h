/* SPDX-License-Identifier: GPL-2.0 */
/* The check of a kernel's initramfs. */
#ifndef DOCTOR_CHECK_INITRAMFS_H
#define DOCTOR_CHECK_INITRAMFS_H

#include "model/kernel.h"

/* @only is the kernel that the user requested, or NULL */
void check_initramfs(struct kernel *kernel, const char *only);

#endif
