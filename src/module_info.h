/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What modinfo shows for each of the three modules. Included once per module.
 *
 * version  the version of this package. Without it, DKMS would regard our modules and the distro's as the same.
 * origin   the package and exact version of the kernel source that the module was built from
 */
#include <linux/module.h>

#include "generated.h"

MODULE_VERSION(KVM_ONEREG_VERSION);
MODULE_INFO(origin, KVM_ONEREG_ORIGIN);
