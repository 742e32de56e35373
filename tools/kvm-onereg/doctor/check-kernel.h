/* SPDX-License-Identifier: GPL-2.0 */
/* The check of what a kernel has on disk. */
#ifndef DOCTOR_CHECK_KERNEL_H
#define DOCTOR_CHECK_KERNEL_H

#include "model/kernel.h"

/* @only is the kernel that the user requested, or NULL */
void check_kernel(struct kernel *kernel, const char *only);

#endif
