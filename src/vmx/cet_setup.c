// SPDX-License-Identifier: GPL-2.0
/* When CET is offered on VMX, and VMX's part of the operations that are replaced. cet.h documents the functions. */
#include <linux/kvm_host.h>
#include <linux/moduleparam.h>

#include "cpuid.h"
#include "x86.h"
#include "vmx/capabilities.h"
#include "vmx/nested.h"
#include "vmx/vmx.h"

#include "../vendor/cet_state.h"
#include "cet_vendor.h"

/* Off by default: without it, KVM behaves like the distro's. */
static bool __read_mostly enable_cet;
module_param_named(cet, enable_cet, bool, 0444);
MODULE_PARM_DESC(cet, "Offer guests shadow stacks and indirect branch tracking (default: 0)");

/* CPUID.(EAX=7,ECX=0). */
#define CPUID7_EDX_IBT BIT(20)

static bool vmx_cet_cpu_has_control(u32 msr, u32 control)
{
	u32 low, high;

	return !rdmsr_safe(msr, &low, &high) && high & control;
}

static bool vmx_cet_cpu_msr_has(u32 msr, u64 bits)
{
	u64 val;

	return !rdmsrl_safe(msr, &val) && (val & bits) == bits;
}

const char *kvm_cet_vendor_cpu_obstacle(void)
{
	if (!vmx_cet_cpu_has_control(MSR_IA32_VMX_ENTRY_CTLS, VM_ENTRY_LOAD_CET_STATE) ||
	    !vmx_cet_cpu_has_control(MSR_IA32_VMX_EXIT_CTLS, VM_EXIT_LOAD_CET_STATE))
		return "VMX cannot switch CET state";
	if (!vmx_cet_cpu_msr_has(MSR_IA32_VMX_BASIC, VMX_CET_BASIC_ANY_ERROR_CODE))
		return "VMX cannot deliver #CP with its error code";
	if (!vmx_cet_cpu_msr_has(MSR_IA32_VMX_CR4_FIXED1, X86_CR4_CET))
		return "VMX does not let a guest set CR4.CET";
	return NULL;
}

/* What prevents CET on all CPUs, or NULL. */
static const char *vmx_cet_obstacle(void)
{
	if (!enable_ept)
		return "it needs EPT (kvm_intel.ept)";
	if (!enable_unrestricted_guest)
		return "it needs unrestricted guests (kvm_intel.unrestricted_guest)";
	if (allow_smaller_maxphyaddr)
		return "it cannot be combined with kvm_intel.allow_smaller_maxphyaddr";
	if (kvm_is_using_evmcs())
		return "Hyper-V's enlightened VMCS has no CET state";
	return NULL;
}

static void vmx_cet_set_controls(struct vcpu_vmx *vmx)
{
	vm_exit_controls_set(vmx, vm_exit_controls_get(vmx) | VM_EXIT_LOAD_CET_STATE);
	vm_entry_controls_set(vmx, vm_entry_controls_get(vmx) | VM_ENTRY_LOAD_CET_STATE);
}

void kvm_cet_vendor_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event)
{
	/* RESET: the VMCS has just been created. */
	if (!init_event)
		vmx_cet_set_controls(to_vmx(vcpu));

	vmcs_writel(GUEST_S_CET, 0);
	vmcs_writel(GUEST_SSP, 0);
	vmcs_writel(GUEST_INTR_SSP_TABLE, 0);
}

void kvm_cet_vendor_after_set_cpuid(struct kvm_vcpu *vcpu, bool shown)
{
	/* VMX operation also allows CR4.CET if CPUID shows either feature. */
	if (shown && guest_cpuid_has(vcpu, X86_FEATURE_VMX))
		to_vmx(vcpu)->nested.msrs.cr4_fixed1 |= X86_CR4_CET;
}

void __init vmx_cet_hardware_setup(struct kvm_x86_ops *ops)
{
	if (!enable_cet)
		return;

	if (!kvm_cet_setup(ops, vmx_cet_obstacle())) {
		enable_cet = false;
		return;
	}

	if (boot_cpu_has(X86_FEATURE_IBT) && cpuid_edx(7) & CPUID7_EDX_IBT)
		kvm_cpu_cap_set(X86_FEATURE_IBT);

	if (kvm_cpu_cap_has(X86_FEATURE_VMX))
		vmx_cet_setup_nested_msrs(&vmcs_config.nested);
}
