// SPDX-License-Identifier: GPL-2.0
/* CET state in the VMCS. cet.h and cet_vmcs.h document the functions. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>

#include "x86.h"
#include "vmx/vmx.h"

#include "../vendor/cet_state.h"
#include "cet_vmcs.h"

void vmx_cet_read_vmcs(const struct vmx_cet *cet, struct vmx_cet_state *state)
{
	if (vmx_cet_guest_has(cet))
		state->s_cet = vmcs_readl(GUEST_S_CET);
	if (cet->common.shstk) {
		state->ssp = vmcs_readl(GUEST_SSP);
		state->ssp_tbl = vmcs_readl(GUEST_INTR_SSP_TABLE);
	}
}

void vmx_cet_write_vmcs(const struct vmx_cet *cet, const struct vmx_cet_state *state)
{
	if (vmx_cet_guest_has(cet))
		vmcs_writel(GUEST_S_CET, state->s_cet);
	if (cet->common.shstk) {
		vmcs_writel(GUEST_SSP, state->ssp);
		vmcs_writel(GUEST_INTR_SSP_TABLE, state->ssp_tbl);
	}
}

/*
 * The host's S_CET: the host's own IBT must be on again after every VM exit. This is the value that the host's kernel
 * sets at boot, not the value that the CPU has right now: EFI run-time calls clear the MSR temporarily, and after a
 * sleep nobody restores it on the boot CPU.
 */
static u64 vmx_cet_host_s_cet(void)
{
	return HAS_KERNEL_IBT && boot_cpu_has(X86_FEATURE_IBT) ? CET_ENDBR_EN : 0;
}

void vmx_cet_set_constant_host_state(void)
{
	if (!kvm_cet_offered)
		return;

	vmcs_writel(HOST_S_CET, vmx_cet_host_s_cet());
	/* The host's kernel has no shadow stack. Its user mode gets SSP from PL3_SSP when the kernel returns there. */
	vmcs_writel(HOST_SSP, 0);
	vmcs_writel(HOST_INTR_SSP_TABLE, 0);
}

void vmx_cet_dump_vmcs(void)
{
	/* Without the controls, the fields may not exist. */
	if (!(vmcs_read32(VM_ENTRY_CONTROLS) & VM_ENTRY_LOAD_CET_STATE))
		return;

	pr_err("*** CET State ***\n");
	pr_err("Guest S_CET = 0x%016lx  SSP = 0x%016lx  INTR_SSP_TABLE = 0x%016lx\n", vmcs_readl(GUEST_S_CET),
	       vmcs_readl(GUEST_SSP), vmcs_readl(GUEST_INTR_SSP_TABLE));
	pr_err("Host S_CET = 0x%016lx  SSP = 0x%016lx  INTR_SSP_TABLE = 0x%016lx\n", vmcs_readl(HOST_S_CET),
	       vmcs_readl(HOST_SSP), vmcs_readl(HOST_INTR_SSP_TABLE));
}
