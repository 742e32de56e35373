// SPDX-License-Identifier: GPL-2.0
/* Kernels for which CET is not there yet: the parameter, and one line to whoever asks for it. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/module.h>

#include "cet.h"

static bool enable_cet;
module_param_named(cet, enable_cet, bool, 0444);
MODULE_PARM_DESC(cet, "Not available with this kernel (default: 0)");

void __init vmx_cet_hardware_setup(struct kvm_x86_ops *ops)
{
	if (enable_cet)
		pr_warn("guests get no CET, although kvm_intel.cet=1: it is not available with this kernel\n");
	enable_cet = false;
}
