// SPDX-License-Identifier: GPL-2.0
/* The CET MSRs and IA32_XSS of a vCPU, and their checks. cet.h documents the functions. */

static bool kvm_cet_has_msr(const struct kvm_cet *cet, const struct msr_data *msr)
{
	switch (msr->index) {
	case MSR_IA32_U_CET:
	case MSR_IA32_S_CET:
		return kvm_cet_guest_has(cet);
	case MSR_IA32_PL0_SSP ... MSR_IA32_INT_SSP_TAB:
		return cet->shstk;
	case MSR_KVM_INTERNAL_GUEST_SSP:
		return cet->shstk && msr->host_initiated;
	default:
		return false;
	}
}

int kvm_cet_get_msr(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	if (!kvm_cet_has_msr(kvm_cet_of(vcpu), msr))
		return kvm_get_msr_common(vcpu, msr);

	switch (msr->index) {
	case MSR_IA32_S_CET:
	case MSR_KVM_INTERNAL_GUEST_SSP:
	case MSR_IA32_INT_SSP_TAB:
		msr->data = kvm_cet_read_entry_state(vcpu, msr->index);
		return 0;
	default:
		return kvm_cet_get_state(vcpu, msr->index, &msr->data);
	}
}

static int kvm_cet_set_xss(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	u64 val = msr->data;
	int r;

	if (kvm_cet_offered) {
		/*
		 * User space may write 0, as to all MSRs that KVM lists, and so does the vCPU's reset, when it does not
		 * have CPUID yet. As natively, this changes nothing.
		 */
		if (!guest_cpuid_has(vcpu, X86_FEATURE_XSAVES))
			return msr->host_initiated && !val ? 0 : KVM_MSR_RET_UNSUPPORTED;
		if (val & ~kvm_cet_of(vcpu)->supported_xss)
			return 1;
	}

	r = kvm_set_msr_common(vcpu, msr);
	if (r)
		return r;

	kvm_cet_xss_changed(vcpu, val);

	return 0;
}

int kvm_cet_set_msr(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	struct kvm_cet *cet = kvm_cet_of(vcpu);
	u32 index = msr->index;
	u64 val = msr->data;

	if (index == MSR_IA32_XSS)
		return kvm_cet_set_xss(vcpu, msr);
	if (!kvm_cet_has_msr(cet, msr))
		return kvm_set_msr_common(vcpu, msr);

	if (index == MSR_IA32_U_CET || index == MSR_IA32_S_CET) {
		if (!kvm_cet_is_valid_u_s_cet(cet, val))
			return 1;
		/*
		 * WRMSR, XRSTORS and VM entry would refuse such a value. User space may set S_CET to it, as natively;
		 * from anybody else, the VM could not be run any more.
		 */
		if (!(index == MSR_IA32_S_CET && msr->host_initiated) && !kvm_cet_is_canonical(val & PAGE_MASK))
			return 1;
	} else {
		/* This MSR does not exist without long mode. Reading it is harmless, and so is a 0 from user space. */
		if (index == MSR_IA32_INT_SSP_TAB && !guest_cpuid_has(vcpu, X86_FEATURE_LM))
			return kvm_set_msr_common(vcpu, msr);
		if (!kvm_cet_is_canonical(val))
			return 1;
		if (index != MSR_IA32_INT_SSP_TAB && !IS_ALIGNED(val, 4))
			return 1;
	}

	switch (index) {
	case MSR_IA32_S_CET:
	case MSR_KVM_INTERNAL_GUEST_SSP:
	case MSR_IA32_INT_SSP_TAB:
		/* VM entry checks the rest. */
		kvm_cet_write_entry_state(vcpu, index, val);
		return 0;
	default:
		return kvm_cet_set_state(vcpu, index, val);
	}
}
