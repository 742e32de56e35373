/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of a vendor module use from cet_state.c and cet_setup.c. */
#ifndef KVM_ONEREG_VENDOR_CET_STATE_H
#define KVM_ONEREG_VENDOR_CET_STATE_H

#include "cet.h"

struct kvm_x86_ops;

/* XSAVES components 11 (U_CET, PL3_SSP) and 12 (PL0_SSP..PL2_SSP). */
#define XSS_CET_USER   BIT_ULL(11)
#define XSS_CET_KERNEL BIT_ULL(12)
#define XSS_CET	       (XSS_CET_USER | XSS_CET_KERNEL)

/**
 * kvm_cet_is_valid_u_s_cet - Whether a guest may have a value in IA32_U_CET or IA32_S_CET
 * @cet: which features the guest has
 * @s_cet: the value
 *
 * This does not check that bits 63:12 are a canonical address. For S_CET, VM entry checks that.
 */
bool kvm_cet_is_valid_u_s_cet(const struct kvm_cet *cet, u64 s_cet);

/*
 * The width of the host's linear addresses, and whether an address is canonical for it. The guest's CR4 does not count:
 * state must be restorable in any order.
 */
u8 kvm_cet_address_width(void);
bool kvm_cet_is_canonical(u64 address);

/**
 * kvm_cet_get_state, kvm_cet_set_state - Access a CET MSR of a vCPU that VM entry does not load, wherever it is
 * @vcpu: loaded vCPU
 * @msr: MSR_IA32_U_CET, or MSR_IA32_PL0_SSP to MSR_IA32_PL3_SSP
 * @val: a value that the MSR can have; only the CPU checks it
 *
 * Return: 0, or 1 if the CPU rejects it.
 */
int kvm_cet_get_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val);
int kvm_cet_set_state(struct kvm_vcpu *vcpu, u32 msr, u64 val);

/* The guest's IA32_XSS has been set to @xss: from now on XRSTORS may write the components that it enables. */
void kvm_cet_xss_changed(struct kvm_vcpu *vcpu, u64 xss);

/* The guest's features have changed: update the intercepts of the CET MSRs. */
void kvm_cet_intercept_msrs(struct kvm_vcpu *vcpu);

/* Clear the MSRs of this CPU that are switched here, so that no guest's values remain. No guest state is loaded. */
void kvm_cet_clear_cpu(void);

/* Clear the values of a vCPU that is about to be freed, in all CPUs. */
void kvm_cet_clear_vcpu(struct kvm_cet *cet);

/**
 * kvm_cet_setup - Decide whether guests can have CET, and set up what does not depend on the vendor
 * @ops: the vendor's operations, not yet copied
 * @missing: what the vendor already knows to prevent CET, or NULL
 *
 * If something is missing, it says so in one log line, and leaves everything as in the distro's KVM. If not, KVM offers
 * shadow stacks, and operations of @ops are replaced; kvm_cet_distro_ops has the distro's.
 *
 * Context: module load, after the vendor's capabilities have been set up.
 *
 * Return: whether guests can have CET.
 */
bool kvm_cet_setup(struct kvm_x86_ops *ops, const char *missing);

/* The distro's operations, for those that replace them. */
extern struct kvm_x86_ops kvm_cet_distro_ops;

#endif
