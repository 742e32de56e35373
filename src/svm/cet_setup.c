// SPDX-License-Identifier: GPL-2.0
/* When shadow stacks are offered on SVM. cet.h documents the functions. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/moduleparam.h>

#include "x86.h"
#include "svm/svm.h"

#include "../vendor/cet_state.h"

/* Off by default: without it, KVM behaves like the distro's. */
static bool __read_mostly enable_cet;
module_param_named(cet, enable_cet, bool, 0444);
MODULE_PARM_DESC(cet, "Offer guests shadow stacks (default: 0)");

static_assert(VMCB_AVIC + 1 == VMCB_CET);

void __init svm_cet_hardware_setup(struct kvm_x86_ops *ops)
{
	if (!enable_cet)
		return;

	/* The shadow page tables of KVM's MMU have no shadow-stack pages. */
	if (!kvm_cet_setup(ops, npt_enabled ? NULL : "it needs nested paging (kvm_amd.npt)"))
		enable_cet = false;
}

void svm_cet_dump_vmcb(const struct vmcb_save_area *save)
{
	pr_err("%-15s %016llx %-13s %016llx\n", "s_cet:", save->s_cet, "ssp:", save->ssp);
	pr_err("%-15s %016llx\n", "isst_addr:", save->isst_addr);
}
