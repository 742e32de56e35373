/* SPDX-License-Identifier: GPL-2.0 */
/* Just enough of the kernel to run src/one_reg.c and src/synthetic.c in user space; one_reg.c has the definitions. */
#ifndef STUB_LINUX_TYPES_H
#define STUB_LINUX_TYPES_H

#include_next <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define __user

typedef __u32 u32;
typedef __u64 u64;

#endif
