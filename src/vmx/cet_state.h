/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a vCPU's CET state is: what cet_setup.c, cet_msr.c and cet_nested.c need of cet_state.c, which needs nothing
 * of them.
 */
#ifndef KVM_ONEREG_VMX_CET_STATE_H
#define KVM_ONEREG_VMX_CET_STATE_H

#include "cet.h"

/* XSAVES components 11 (U_CET, PL3_SSP) and 12 (PL0_SSP..PL2_SSP). */
#define XSS_CET_USER   BIT_ULL(11)
#define XSS_CET_KERNEL BIT_ULL(12)
#define XSS_CET	       (XSS_CET_USER | XSS_CET_KERNEL)

/* Guests can have CET, and no CPU has anything against it. */
extern bool vmx_cet_offered;

/**
 * vmx_cet_is_valid_u_s_cet - Whether a guest may have a value in IA32_U_CET or IA32_S_CET
 * @cet: what features the guest has
 * @s_cet: the value
 *
 * That bits 63:12 are a canonical address is tested elsewhere: for S_CET and vmcs12 by VM entry.
 */
bool vmx_cet_is_valid_u_s_cet(const struct vmx_cet *cet, u64 s_cet);

/*
 * Width of the host's linear addresses, and whether one is canonical for it. What the guest's CR4 says does not count:
 * restoring must not depend on an order.
 */
u8 vmx_cet_address_width(void);
bool vmx_cet_is_canonical(u64 address);

/* What the guest has of @state, from the current VMCS and to it. */
void vmx_cet_read_vmcs(const struct vmx_cet *cet, struct vmx_cet_state *state);
void vmx_cet_write_vmcs(const struct vmx_cet *cet, const struct vmx_cet_state *state);

/**
 * vmx_cet_get_state, vmx_cet_set_state - A vCPU's CET MSR that is not in the VMCS, wherever it is
 * @vcpu: loaded vCPU
 * @msr: MSR_IA32_U_CET, or MSR_IA32_PL0_SSP to MSR_IA32_PL3_SSP
 * @val: a value that the MSR can have; nothing checks it but the CPU
 *
 * Return: 0, or 1 if the CPU refuses.
 */
int vmx_cet_get_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val);
int vmx_cet_set_state(struct kvm_vcpu *vcpu, u32 msr, u64 val);

/* The guest's IA32_XSS has been set to @xss: from now on XRSTORS may write what that enables. */
void vmx_cet_xss_changed(struct kvm_vcpu *vcpu, u64 xss);

/* The guest's features have changed: intercept the MSRs that are switched here, or do not. */
void vmx_cet_intercept_switched(struct kvm_vcpu *vcpu);

/* Leave nothing of a guest in the MSRs of this CPU that are switched here. No guest state is loaded. */
void vmx_cet_clear_cpu(void);

/* Leave nothing of a vCPU that is about to be freed in any CPU. */
void vmx_cet_clear_vcpu(struct vmx_cet *cet);

#endif
