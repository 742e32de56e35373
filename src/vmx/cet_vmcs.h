/* SPDX-License-Identifier: GPL-2.0 */
/* CET state in the VMCS. */
#ifndef KVM_ONEREG_VMX_CET_VMCS_H
#define KVM_ONEREG_VMX_CET_VMCS_H

#include "cet.h"

/* The guest field of the VMCS that holds S_CET, INT_SSP_TAB or SSP (MSR_KVM_INTERNAL_GUEST_SSP). */
static inline unsigned long vmx_cet_vmcs_field(u32 msr)
{
	switch (msr) {
	case MSR_IA32_S_CET:
		return GUEST_S_CET;
	case MSR_IA32_INT_SSP_TAB:
		return GUEST_INTR_SSP_TABLE;
	default:
		return GUEST_SSP;
	}
}

/* Read from the current VMCS, or write to it, those parts of @state that the guest has. */
void vmx_cet_read_vmcs(const struct vmx_cet *cet, struct vmx_cet_state *state);
void vmx_cet_write_vmcs(const struct vmx_cet *cet, const struct vmx_cet_state *state);

#endif
