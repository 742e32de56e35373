// SPDX-License-Identifier: GPL-2.0
/* The CET MSRs and IA32_XSS of a vCPU, and their checks. cet.h documents the functions. */
#include <linux/kvm_host.h>

#include "cpuid.h"
#include "x86.h"
#include "vmx/vmx.h"

#include "cet_state.h"

static bool vmx_cet_has_msr(const struct vmx_cet *cet, const struct msr_data *msr)
{
	switch (msr->index) {
	case MSR_IA32_U_CET:
	case MSR_IA32_S_CET:
		return vmx_cet_guest_has(cet);
	case MSR_IA32_PL0_SSP ... MSR_IA32_INT_SSP_TAB:
		return cet->shstk;
	case MSR_KVM_INTERNAL_GUEST_SSP:
		return cet->shstk && msr->host_initiated;
	default:
		return false;
	}
}

int vmx_cet_get_msr(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	if (!vmx_cet_has_msr(&to_vmx(vcpu)->cet, msr))
		return kvm_get_msr_common(vcpu, msr);

	switch (msr->index) {
	case MSR_IA32_S_CET:
		msr->data = vmcs_readl(GUEST_S_CET);
		return 0;
	case MSR_KVM_INTERNAL_GUEST_SSP:
		msr->data = vmcs_readl(GUEST_SSP);
		return 0;
	case MSR_IA32_INT_SSP_TAB:
		msr->data = vmcs_readl(GUEST_INTR_SSP_TABLE);
		return 0;
	default:
		return vmx_cet_get_state(vcpu, msr->index, &msr->data);
	}
}

static int vmx_cet_set_xss(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	u64 val = msr->data;
	int r;

	/* 0 is also written at the vCPU's reset, when it does not have CPUID yet. */
	if (vmx_cet_offered && !(msr->host_initiated && !val)) {
		if (!guest_cpuid_has(vcpu, X86_FEATURE_XSAVES))
			return KVM_MSR_RET_UNSUPPORTED;
		if (val & ~to_vmx(vcpu)->cet.supported_xss)
			return 1;
	}

	r = kvm_set_msr_common(vcpu, msr);
	if (r)
		return r;

	vmx_cet_xss_changed(vcpu, val);

	return 0;
}

int vmx_cet_set_msr(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	struct vmx_cet *cet = &to_vmx(vcpu)->cet;
	u32 index = msr->index;
	u64 val = msr->data;

	if (index == MSR_IA32_XSS)
		return vmx_cet_set_xss(vcpu, msr);
	if (!vmx_cet_has_msr(cet, msr))
		return kvm_set_msr_common(vcpu, msr);

	if (index == MSR_IA32_U_CET || index == MSR_IA32_S_CET) {
		if (!vmx_cet_is_valid_u_s_cet(cet, val))
			return 1;
	} else {
		/* This MSR does not exist without long mode. Reading it is harmless, and so is a 0 from user space. */
		if (index == MSR_IA32_INT_SSP_TAB && !guest_cpuid_has(vcpu, X86_FEATURE_LM))
			return kvm_set_msr_common(vcpu, msr);
		if (!vmx_cet_is_canonical(val))
			return 1;
		if (index != MSR_IA32_INT_SSP_TAB && !IS_ALIGNED(val, 4))
			return 1;
	}

	switch (index) {
	case MSR_IA32_S_CET:
		/* VM entry checks the rest. */
		vmcs_writel(GUEST_S_CET, val);
		return 0;
	case MSR_KVM_INTERNAL_GUEST_SSP:
		vmcs_writel(GUEST_SSP, val);
		return 0;
	case MSR_IA32_INT_SSP_TAB:
		vmcs_writel(GUEST_INTR_SSP_TABLE, val);
		return 0;
	case MSR_IA32_U_CET:
		/* XRSTORS and WRMSR would fault on such a value. */
		if (!vmx_cet_is_canonical(val & PAGE_MASK))
			return 1;
		fallthrough;
	default:
		return vmx_cet_set_state(vcpu, index, val);
	}
}
