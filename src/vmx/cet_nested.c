// SPDX-License-Identifier: GPL-2.0
/*
 * CET in nested VMX: VMX as an L1 hypervisor sees it, per the SDM's volume 3, chapters 25 to 28. cet.h documents the
 * functions. U_CET and PL0_SSP..PL3_SSP are not switched between L1 and L2: VMX leaves that to L1.
 */
#include <linux/kvm_host.h>

#include "x86.h"
#include "vmx/nested.h"
#include "vmx/vmcs12.h"
#include "vmx/vmx.h"

#include "../vendor/cet_state.h"
#include "cet_vmcs.h"

/* Mainline's nested state can be set here, and vice versa. */
static_assert(offsetof(struct vmcs12, cet) == 680);
static_assert(sizeof(struct vmcs12_cet) == 48);

void vmx_cet_setup_nested_msrs(struct nested_vmx_msrs *msrs)
{
	if (!kvm_cet_offered)
		return;

	msrs->entry_ctls_high |= VM_ENTRY_LOAD_CET_STATE;
	msrs->exit_ctls_high |= VM_EXIT_LOAD_CET_STATE;
	msrs->basic |= VMX_CET_BASIC_ANY_ERROR_CODE;
}

short vmcs12_cet_field_offset(unsigned long field)
{
	if (!kvm_cet_offered)
		return -ENOENT;

	switch (field) {
	case HOST_S_CET:
		return offsetof(struct vmcs12, cet.host.s_cet);
	case HOST_SSP:
		return offsetof(struct vmcs12, cet.host.ssp);
	case HOST_INTR_SSP_TABLE:
		return offsetof(struct vmcs12, cet.host.ssp_tbl);
	case GUEST_S_CET:
		return offsetof(struct vmcs12, cet.guest.s_cet);
	case GUEST_SSP:
		return offsetof(struct vmcs12, cet.guest.ssp);
	case GUEST_INTR_SSP_TABLE:
		return offsetof(struct vmcs12, cet.guest.ssp_tbl);
	default:
		return -ENOENT;
	}
}

static bool vmx_cet_state_valid(struct kvm_vcpu *vcpu, const struct vmx_cet_state *state)
{
	return kvm_cet_is_valid_u_s_cet(&to_vmx(vcpu)->cet.common, state->s_cet) && IS_ALIGNED(state->ssp, 4) &&
	       kvm_cet_is_canonical(state->ssp_tbl);
}

bool vmx_cet_cr_valid(unsigned long cr0, unsigned long cr4)
{
	return !(cr4 & X86_CR4_CET) || cr0 & X86_CR0_WP;
}

bool vmx_cet_nested_host_state_valid(struct kvm_vcpu *vcpu, struct vmcs12 *vmcs12)
{
	const struct vmx_cet_state *state = &vmcs12->cet.host;

	if (!vmx_cet_cr_valid(vmcs12->host_cr0, vmcs12->host_cr4))
		return false;
	if (!(vmcs12->vm_exit_controls & VM_EXIT_LOAD_CET_STATE))
		return true;
	if (!vmx_cet_state_valid(vcpu, state))
		return false;

	/* L1 continues in 64-bit mode, or with registers of 32 bits. */
	if (vmcs12->vm_exit_controls & VM_EXIT_HOST_ADDR_SPACE_SIZE)
		return kvm_cet_is_canonical(state->s_cet) && kvm_cet_is_canonical(state->ssp);
	return !(state->s_cet >> 32) && !(state->ssp >> 32);
}

bool vmx_cet_nested_guest_state_valid(struct kvm_vcpu *vcpu, struct vmcs12 *vmcs12)
{
	const struct vmx_cet_state *state = &vmcs12->cet.guest;

	if (!(vmcs12->vm_entry_controls & VM_ENTRY_LOAD_CET_STATE))
		return true;

	/* Bits 63:N of SSP must be equal, N being the linear-address width: one bit less than for canonical ones. */
	return vmx_cet_state_valid(vcpu, state) && __is_canonical_address(state->ssp, kvm_cet_address_width() + 1);
}

void __vmx_cet_merge_msr_bitmap(struct vcpu_vmx *vmx, unsigned long *l1, unsigned long *l0, vmx_cet_merge_fn merge)
{
	static const u32 msrs[] = {
		MSR_IA32_U_CET, MSR_IA32_S_CET, MSR_IA32_PL0_SSP, MSR_IA32_PL1_SSP, MSR_IA32_PL2_SSP, MSR_IA32_PL3_SSP,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		merge(vmx, l1, l0, msrs[i], MSR_TYPE_RW);
}

static struct vcpu_vmx *vmx_cet_to_vmx(struct vmx_cet *cet)
{
	return container_of(cet, struct vcpu_vmx, cet);
}

void __vmx_cet_nested_leave_vmcs01(struct vmx_cet *cet)
{
	vmx_cet_read_vmcs(cet, &cet->l1);
	cet->passing = cet->l1;
}

void __vmx_cet_nested_load_vmcs02(struct vmx_cet *cet, struct vmcs12 *vmcs12)
{
	struct vcpu_vmx *vmx = vmx_cet_to_vmx(cet);

	/* vmcs02 takes both controls from vmcs01, and more entry controls from vmcs12. */
	WARN_ON_ONCE(!(vm_entry_controls_get(vmx) & VM_ENTRY_LOAD_CET_STATE) !=
		     !(vm_exit_controls_get(vmx) & VM_EXIT_LOAD_CET_STATE));

	cet->entering = vmx->nested.nested_run_pending;
	cet->refused = false;

	/* Otherwise the CPU's state stays. */
	if (cet->entering && vmcs12->vm_entry_controls & VM_ENTRY_LOAD_CET_STATE)
		cet->passing = vmcs12->cet.guest;
	vmx_cet_write_vmcs(cet, &cet->passing);
}

void __vmx_cet_nested_save_vmcs02(struct vmx_cet *cet, struct vmcs12 *vmcs12)
{
	if (cet->refused) {
		cet->passing = cet->l1;
		return;
	}

	vmx_cet_read_vmcs(cet, &vmcs12->cet.guest);
	cet->passing = vmcs12->cet.guest;
}

void __vmx_cet_nested_load_vmcs01(struct vmx_cet *cet, struct vmcs12 *vmcs12)
{
	/*
	 * After a failed VM entry, @passing is L1's own state, or L2's if that had been loaded. The guest fields of
	 * vmcs12 cannot be used: they may not have been checked.
	 */
	vmx_cet_write_vmcs(cet, vmcs12->vm_exit_controls & VM_EXIT_LOAD_CET_STATE ? &vmcs12->cet.host : &cet->passing);
}
