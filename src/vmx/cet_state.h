/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a vCPU's CET state is: what cet_setup.c, cet_msr.c and cet_nested.c use from cet_state.c, which uses nothing
 * from them.
 */
#ifndef KVM_ONEREG_VMX_CET_STATE_H
#define KVM_ONEREG_VMX_CET_STATE_H

#include "cet.h"

/* XSAVES components 11 (U_CET, PL3_SSP) and 12 (PL0_SSP..PL2_SSP). */
#define XSS_CET_USER   BIT_ULL(11)
#define XSS_CET_KERNEL BIT_ULL(12)
#define XSS_CET	       (XSS_CET_USER | XSS_CET_KERNEL)

/* Guests can have CET: every CPU supports it, and nothing else prevents it. */
extern bool vmx_cet_offered;

/**
 * vmx_cet_is_valid_u_s_cet - Whether a guest may have a value in IA32_U_CET or IA32_S_CET
 * @cet: which features the guest has
 * @s_cet: the value
 *
 * This does not check that bits 63:12 are a canonical address. For S_CET and vmcs12, VM entry checks that.
 */
bool vmx_cet_is_valid_u_s_cet(const struct vmx_cet *cet, u64 s_cet);

/*
 * The width of the host's linear addresses, and whether an address is canonical for it. The guest's CR4 does not count:
 * state must be restorable in any order.
 */
u8 vmx_cet_address_width(void);
bool vmx_cet_is_canonical(u64 address);

/* Read from the current VMCS, or write to it, those parts of @state that the guest has. */
void vmx_cet_read_vmcs(const struct vmx_cet *cet, struct vmx_cet_state *state);
void vmx_cet_write_vmcs(const struct vmx_cet *cet, const struct vmx_cet_state *state);

/**
 * vmx_cet_get_state, vmx_cet_set_state - Access a CET MSR of a vCPU that is not in the VMCS, wherever it is
 * @vcpu: loaded vCPU
 * @msr: MSR_IA32_U_CET, or MSR_IA32_PL0_SSP to MSR_IA32_PL3_SSP
 * @val: a value that the MSR can have; only the CPU checks it
 *
 * Return: 0, or 1 if the CPU rejects it.
 */
int vmx_cet_get_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val);
int vmx_cet_set_state(struct kvm_vcpu *vcpu, u32 msr, u64 val);

/* The guest's IA32_XSS has been set to @xss: from now on XRSTORS may write the components that it enables. */
void vmx_cet_xss_changed(struct kvm_vcpu *vcpu, u64 xss);

/* The guest's features have changed: update the intercepts of the MSRs that are switched here. */
void vmx_cet_intercept_switched(struct kvm_vcpu *vcpu);

/* Clear the MSRs of this CPU that are switched here, so that no guest's values remain. No guest state is loaded. */
void vmx_cet_clear_cpu(void);

/* Clear the values of a vCPU that is about to be freed, in all CPUs. */
void vmx_cet_clear_vcpu(struct vmx_cet *cet);

#endif
