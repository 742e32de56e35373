/* SPDX-License-Identifier: GPL-2.0 */
/* What src/vendor/ needs to know of VMX. src/svm/cet_vendor.h defines the same for SVM. */
#ifndef KVM_ONEREG_VMX_CET_VENDOR_H
#define KVM_ONEREG_VMX_CET_VENDOR_H

#include "cet_vmcs.h"

/* The module parameter, for messages. */
#define KVM_CET_PARAMETER "kvm_intel.cet"

static inline struct kvm_cet *kvm_cet_of(struct kvm_vcpu *vcpu)
{
	return &to_vmx(vcpu)->cet.common;
}

static inline struct kvm_vcpu *kvm_cet_to_vcpu(struct kvm_cet *cet)
{
	return &container_of(cet, struct vcpu_vmx, cet.common)->vcpu;
}

/* Whether the vCPU's guest state is in the CPU: between kvm_cet_load() and kvm_cet_save(), if it is live. */
static inline bool kvm_cet_guest_state_loaded(struct kvm_vcpu *vcpu)
{
	return to_vmx(vcpu)->guest_state_loaded;
}

/* Whether the guest's reads and writes of @msr cause exits. */
static inline void kvm_cet_set_intercept(struct kvm_vcpu *vcpu, u32 msr, bool read, bool write)
{
	vmx_set_intercept_for_msr(vcpu, msr, MSR_TYPE_R, read);
	vmx_set_intercept_for_msr(vcpu, msr, MSR_TYPE_W, write);
}

/* Access S_CET, INT_SSP_TAB or SSP (MSR_KVM_INTERNAL_GUEST_SSP), which VM entry loads. */
static inline u64 kvm_cet_read_entry_state(struct kvm_vcpu *vcpu, u32 msr)
{
	return vmcs_readl(vmx_cet_vmcs_field(msr));
}

static inline void kvm_cet_write_entry_state(struct kvm_vcpu *vcpu, u32 msr, u64 val)
{
	vmcs_writel(vmx_cet_vmcs_field(msr), val);
}

/* Whether VMX allows the guest to have shadow stacks. */
static inline bool kvm_cet_vendor_allows(struct kvm_vcpu *vcpu)
{
	return true;
}

/* What VMX lacks for CET on this CPU, or NULL. */
const char *kvm_cet_vendor_cpu_obstacle(void);

/* VMX's part of RESET and INIT, after the distro's. */
void kvm_cet_vendor_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event);

/* VMX's part after the guest's CPUID has been set. @shown: it shows shadow stacks or IBT, offered or not. */
void kvm_cet_vendor_after_set_cpuid(struct kvm_vcpu *vcpu, bool shown);

#if KVM_HAS_SMM
/* Enter SMM. SSP has been written to @smram. */
static inline int kvm_cet_vendor_enter_smm(struct kvm_vcpu *vcpu, kvm_smram_image *smram)
{
	const struct vmx_cet *cet = &to_vmx(vcpu)->cet;
	bool in_l2 = is_guest_mode(vcpu);
	struct vmx_cet_state state = {};
	int r;

	vmx_cet_read_vmcs(cet, &state);

	r = kvm_cet_distro_ops.enter_smm(vcpu, smram);

	/*
	 * An SMI does not change CET state. But KVM leaves L2 by a VM exit, which may load L1's state, and RSM enters
	 * L2 with the state that is then current.
	 */
	if (!r && in_l2)
		vmx_cet_write_vmcs(cet, &state);

	return r;
}
#endif

#endif
