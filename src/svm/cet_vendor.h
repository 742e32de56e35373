/* SPDX-License-Identifier: GPL-2.0 */
/* What src/vendor/ needs to know of SVM. src/vmx/cet_vendor.h documents the same for VMX. */
#ifndef KVM_ONEREG_SVM_CET_VENDOR_H
#define KVM_ONEREG_SVM_CET_VENDOR_H

#include "cet.h"

#define KVM_CET_PARAMETER "kvm_amd.cet"

static inline struct kvm_cet *kvm_cet_of(struct kvm_vcpu *vcpu)
{
	return &to_svm(vcpu)->cet;
}

static inline struct kvm_vcpu *kvm_cet_to_vcpu(struct kvm_cet *cet)
{
	return &container_of(cet, struct vcpu_svm, cet)->vcpu;
}

static inline bool kvm_cet_guest_state_loaded(struct kvm_vcpu *vcpu)
{
	return to_svm(vcpu)->guest_state_loaded;
}

static inline void kvm_cet_set_intercept(struct kvm_vcpu *vcpu, u32 msr, bool read, bool write)
{
	set_msr_interception(vcpu, to_svm(vcpu)->msrpm, msr, !read, !write);
}

/* The field of the save area that holds S_CET, INT_SSP_TAB or SSP (MSR_KVM_INTERNAL_GUEST_SSP). */
static inline u64 *svm_cet_save_field(struct vmcb_save_area *save, u32 msr)
{
	switch (msr) {
	case MSR_IA32_S_CET:
		return &save->s_cet;
	case MSR_IA32_INT_SSP_TAB:
		return &save->isst_addr;
	default:
		return &save->ssp;
	}
}

static inline u64 kvm_cet_read_entry_state(struct kvm_vcpu *vcpu, u32 msr)
{
	return *svm_cet_save_field(&to_svm(vcpu)->vmcb->save, msr);
}

/* The VMCB is L2's while L2 runs, and so is the clean bit. */
static inline void kvm_cet_write_entry_state(struct kvm_vcpu *vcpu, u32 msr, u64 val)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;

	*svm_cet_save_field(&vmcb->save, msr) = val;
	vmcb_mark_dirty(vmcb, VMCB_CET);
}

/* The state of an SEV-ES guest is encrypted: KVM can neither check nor switch it. */
static inline bool kvm_cet_vendor_allows(struct kvm_vcpu *vcpu)
{
	return !sev_es_guest(vcpu->kvm);
}

/* VMRUN always exchanges CET state; nothing enumerates that. */
static inline const char *kvm_cet_vendor_cpu_obstacle(void)
{
	return NULL;
}

/* INIT leaves the three fields of the VMCB as they are, as in mainline. At RESET the VMCB is new, and zero. */
static inline void kvm_cet_vendor_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event) { }

static inline void kvm_cet_vendor_after_set_cpuid(struct kvm_vcpu *vcpu, bool shown) { }

#if KVM_HAS_SMM
/* KVM leaves L2 by a #VMEXIT, and RSM enters it again by the same VMCB, which holds its CET state. */
static inline int kvm_cet_vendor_enter_smm(struct kvm_vcpu *vcpu, kvm_smram_image *smram)
{
	return kvm_cet_distro_ops.enter_smm(vcpu, smram);
}
#endif

#endif
