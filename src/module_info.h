/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What modinfo tells of each of the three modules. Included once per module.
 *
 * version  of this package. Without it DKMS takes our modules and the distro's for the same.
 * origin   package and exact version of the kernel source that the module was built from
 */
#include <linux/module.h>

#include "generated.h"

MODULE_VERSION(KVM_ONEREG_VERSION);
MODULE_INFO(origin, KVM_ONEREG_ORIGIN);
