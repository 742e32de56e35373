// SPDX-License-Identifier: GPL-2.0
/* Whether guests can have CET, and the KVM operations that are replaced if so. cet.h documents the functions. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpuhotplug.h>
#include <linux/kvm_host.h>
#include <linux/moduleparam.h>

#include <asm/tlbflush.h>

#include "cpuid.h"
#include "x86.h"
#include "vmx/capabilities.h"
#include "vmx/nested.h"
#include "vmx/vmx.h"
#if !ON_6_1
#include "smm.h"
#endif

#include "../generated.h"
#include "cet_state.h"

/* Off by default: without it, KVM behaves like the distro's. */
static bool __read_mostly enable_cet;
module_param_named(cet, enable_cet, bool, 0444);
MODULE_PARM_DESC(cet, "Offer guests shadow stacks and indirect branch tracking (default: 0)");

/* CPUID.(EAX=7,ECX=0). */
#define CPUID7_ECX_SHSTK BIT(7)
#define CPUID7_EDX_IBT	 BIT(20)

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

/* The components that IA32_XSS can enable on this CPU. */
static u64 vmx_cet_cpu_xss(void)
{
	u32 eax, ebx, ecx, edx;

	cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx);
	return ecx | (u64)edx << 32;
}

/* What this CPU lacks for CET, or NULL. */
static const char *vmx_cet_cpu_obstacle(void)
{
	u64 s_cet;

	/* First what the other checks depend on. */
	if (!boot_cpu_has(X86_FEATURE_XSAVES) || !cpu_has_vmx_xsaves())
		return "XSAVES is missing or off";
	if (!boot_cpu_has(X86_FEATURE_SHSTK) || !(cpuid_ecx(7) & CPUID7_ECX_SHSTK))
		return "the CPU has no shadow stacks (SHSTK), or they are off";
	if ((vmx_cet_cpu_xss() & XSS_CET) != XSS_CET)
		return "XSAVES does not know CET state";
	if (!vmx_cet_cpu_has_control(MSR_IA32_VMX_ENTRY_CTLS, VM_ENTRY_LOAD_CET_STATE) ||
	    !vmx_cet_cpu_has_control(MSR_IA32_VMX_EXIT_CTLS, VM_EXIT_LOAD_CET_STATE))
		return "VMX cannot switch CET state";
	if (!vmx_cet_cpu_msr_has(MSR_IA32_VMX_BASIC, VMX_CET_BASIC_ANY_ERROR_CODE))
		return "VMX cannot deliver #CP with its error code";
	if (!vmx_cet_cpu_msr_has(MSR_IA32_VMX_CR4_FIXED1, X86_CR4_CET))
		return "VMX does not let a guest set CR4.CET";
	if (rdmsrl_safe(MSR_IA32_S_CET, &s_cet) || s_cet & CET_SHSTK_EN)
		return "the host's kernel uses shadow stacks itself";
#ifdef X86_CR4_FRED
	if (cr4_read_shadow() & X86_CR4_FRED)
		return "the host uses FRED, which shares an MSR with shadow stacks";
#endif
	/* What a guest leaves in U_CET and PL3_SSP must mean nothing to the host's user mode. */
	if (!HOST_SWITCHES_CET_USER && cr4_read_shadow() & X86_CR4_CET)
		return "the host's kernel uses CET itself, in an unknown way";
	return NULL;
}

static void vmx_cet_check_cpu(void *missing)
{
	const char *here = vmx_cet_cpu_obstacle();

	if (here)
		WRITE_ONCE(*(const char **)missing, here);
}

/* What prevents CET, or NULL. */
static const char *vmx_cet_obstacle(void)
{
	const char *missing;

	if (!kvm_onereg_build)
		return "the kvm module that is loaded is not of the same package";
	if (strcmp(kvm_onereg_build, KVM_ONEREG_BUILD))
		return "the kvm module that is loaded is not of the same build";
	if (!enable_ept)
		return "it needs EPT (kvm_intel.ept)";
	if (!enable_unrestricted_guest)
		return "it needs unrestricted guests (kvm_intel.unrestricted_guest)";
	if (allow_smaller_maxphyaddr)
		return "it cannot be combined with kvm_intel.allow_smaller_maxphyaddr";
	if (kvm_is_using_evmcs())
		return "Hyper-V's enlightened VMCS has no CET state";
	missing = vmx_cet_cpu_obstacle();
	if (missing)
		return missing;
	/* Components 11 and 12 are each switched either by the host's kernel or by us. */
	if ((kvm_host_xss() & XSS_CET) != (HOST_SWITCHES_CET_USER ? XSS_CET_USER : 0))
		return HOST_SWITCHES_CET_USER ? "the host's kernel does not switch the CET state of user mode" :
						"the host's kernel switches CET state, in an unknown way";
	on_each_cpu(vmx_cet_check_cpu, &missing, 1);
	return missing;
}

/* ---- Operations that replace the distro's, and call them ---- */

static struct kvm_x86_ops vmx_cet_distro_ops __ro_after_init;

static void vmx_cet_set_controls(struct vcpu_vmx *vmx)
{
	vm_exit_controls_set(vmx, vm_exit_controls_get(vmx) | VM_EXIT_LOAD_CET_STATE);
	vm_entry_controls_set(vmx, vm_entry_controls_get(vmx) | VM_ENTRY_LOAD_CET_STATE);
}

static void vmx_cet_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event)
{
	static const u32 not_in_vmcs[] = {
		MSR_IA32_U_CET, MSR_IA32_PL0_SSP, MSR_IA32_PL1_SSP, MSR_IA32_PL2_SSP, MSR_IA32_PL3_SSP,
	};
	int i;

	vmx_cet_distro_ops.vcpu_reset(vcpu, init_event);

	/* RESET, once in a vCPU's life: its VMCS has just been created, and it does not have CPUID yet. */
	if (!init_event) {
		vmx_cet_set_controls(to_vmx(vcpu));
		to_vmx(vcpu)->cet.resident_on = -1;
		vcpu->arch.cr4_guest_rsvd_bits |= X86_CR4_CET;
	}

	vmcs_writel(GUEST_S_CET, 0);
	vmcs_writel(GUEST_SSP, 0);
	vmcs_writel(GUEST_INTR_SSP_TABLE, 0);

	/* The rest is zero from the start. */
	if (!init_event)
		return;
	for (i = 0; i < ARRAY_SIZE(not_in_vmcs); i++)
		KVM_BUG_ON(vmx_cet_set_state(vcpu, not_in_vmcs[i], 0), vcpu->kvm);
}

static u64 vmx_cet_guest_supported_xss(struct kvm_vcpu *vcpu)
{
	struct kvm_cpuid_entry2 *entry = kvm_find_cpuid_entry_index(vcpu, 0xd, 1);

	return entry ? (entry->ecx | (u64)entry->edx << 32) & kvm_caps.supported_xss : 0;
}

static void vmx_cet_vcpu_after_set_cpuid(struct kvm_vcpu *vcpu)
{
	bool shstk = guest_cpuid_has(vcpu, X86_FEATURE_SHSTK);
	bool ibt = guest_cpuid_has(vcpu, X86_FEATURE_IBT);
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	struct vmx_cet *cet = &vmx->cet;
	bool any;

	vmx_cet_distro_ops.vcpu_after_set_cpuid(vcpu);

	cet->shstk = shstk && kvm_cpu_cap_has(X86_FEATURE_SHSTK);
	cet->ibt = ibt && kvm_cpu_cap_has(X86_FEATURE_IBT);
	cet->supported_xss = vmx_cet_guest_supported_xss(vcpu);
	any = vmx_cet_guest_has(cet);

	/* CPUID may show features that KVM does not offer. */
	if (!any)
		vcpu->arch.cr4_guest_rsvd_bits |= X86_CR4_CET;

	/* VMX operation also allows CR4.CET if CPUID shows either feature. */
	if ((shstk || ibt) && guest_cpuid_has(vcpu, X86_FEATURE_VMX))
		vmx->nested.msrs.cr4_fixed1 |= X86_CR4_CET;

	vmx_set_intercept_for_msr(vcpu, MSR_IA32_S_CET, MSR_TYPE_RW, !any);
	if (HOST_SWITCHES_CET_USER) {
		vmx_set_intercept_for_msr(vcpu, MSR_IA32_U_CET, MSR_TYPE_RW, !any);
		vmx_set_intercept_for_msr(vcpu, MSR_IA32_PL3_SSP, MSR_TYPE_RW, !cet->shstk);
	}
	vmx_cet_intercept_switched(vcpu);
}

#if KVM_HAS_SMM
/* Only the 64-bit layout of SMRAM has a place for SSP. */
static bool vmx_cet_smram_has_ssp(struct kvm_vcpu *vcpu)
{
	return to_vmx(vcpu)->cet.shstk && guest_cpuid_has(vcpu, X86_FEATURE_LM);
}

static int vmx_cet_enter_smm(struct kvm_vcpu *vcpu, kvm_smram_image *smram)
{
	const struct vmx_cet *cet = &to_vmx(vcpu)->cet;
	bool in_l2 = is_guest_mode(vcpu);
	struct vmx_cet_state state = {};
	int r;

	/* Read it before KVM leaves L2: the other registers in SMRAM are also L2's. */
	vmx_cet_read_vmcs(cet, &state);
	if (vmx_cet_smram_has_ssp(vcpu))
		set_smram_ssp(smram, state.ssp);

	r = vmx_cet_distro_ops.enter_smm(vcpu, smram);

	/*
	 * An SMI does not change CET state. But KVM leaves L2 by a VM exit, which may load L1's state, and RSM enters
	 * L2 with the state that is then current.
	 */
	if (!r && in_l2)
		vmx_cet_write_vmcs(cet, &state);

	return r;
}

static int vmx_cet_leave_smm(struct kvm_vcpu *vcpu, const kvm_smram_image *smram)
{
	struct msr_data ssp = { .index = MSR_KVM_INTERNAL_GUEST_SSP, .host_initiated = true };
	int r;

	r = vmx_cet_distro_ops.leave_smm(vcpu, smram);
	if (r || !vmx_cet_smram_has_ssp(vcpu))
		return r;

	ssp.data = get_smram_ssp(smram);
	return vmx_cet_set_msr(vcpu, &ssp);
}
#endif

/* A CPU that comes online must have the features of the others. */
static int vmx_cet_check_late_cpu(void)
{
	const char *missing = vmx_cet_cpu_obstacle();

	if (!missing)
		return 0;

	pr_err("CET is in use, but CPU %d cannot take part: %s\n", raw_smp_processor_id(), missing);
	return -EIO;
}

#if KVM_CHECKS_LATE_CPUS
static int vmx_cet_check_processor_compatibility(void)
{
	int r = vmx_cet_distro_ops.check_processor_compatibility();

	return r ?: vmx_cet_check_late_cpu();
}

static int __init vmx_cet_watch_late_cpus(void)
{
	return 0;
}
#else
static enum cpuhp_state vmx_cet_late_cpus_state __ro_after_init;

/* On that CPU, before anything else is scheduled there. A CPU that fails stays offline. */
static int vmx_cet_cpu_online(unsigned int cpu)
{
	return vmx_cet_check_late_cpu();
}

static int __init vmx_cet_watch_late_cpus(void)
{
	int state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "kvm-onereg/cet:online", vmx_cet_cpu_online, NULL);

	if (state < 0)
		return state;
	vmx_cet_late_cpus_state = state;
	return 0;
}

static void vmx_cet_hardware_unsetup(void)
{
	cpuhp_remove_state_nocalls(vmx_cet_late_cpus_state);
	vmx_cet_distro_ops.hardware_unsetup();
}
#endif

static void vmx_cet_vcpu_free(struct kvm_vcpu *vcpu)
{
	vmx_cet_clear_vcpu(&to_vmx(vcpu)->cet);
	vmx_cet_distro_ops.vcpu_free(vcpu);
}

/* What the firmware or the previous kernel left behind does not belong to any guest. */
static int vmx_cet_enable_virtualization_cpu(void)
{
	int r = vmx_cet_distro_ops.enable_virtualization_cpu();

	if (!r)
		vmx_cet_clear_cpu();
	return r;
}

/*
 * The CPU goes offline or to sleep, or the module is unloaded, or, on 6.1, the last VM is gone: leave nothing of a
 * guest behind.
 */
static void vmx_cet_disable_virtualization_cpu(void)
{
	vmx_cet_distro_ops.disable_virtualization_cpu();
	vmx_cet_clear_cpu();
}

/* ---- Setup ---- */

void __init vmx_cet_hardware_setup(struct kvm_x86_ops *ops)
{
	const char *missing;

	if (!enable_cet)
		return;

	missing = vmx_cet_obstacle();
	if (!missing && vmx_cet_watch_late_cpus())
		missing = "no callback for CPUs that come online later";
	if (missing) {
		pr_warn("guests get no CET, although kvm_intel.cet=1: %s\n", missing);
		enable_cet = false;
		return;
	}

	vmx_cet_offered = true;

	kvm_cpu_cap_set(X86_FEATURE_SHSTK);
	if (boot_cpu_has(X86_FEATURE_IBT) && cpuid_edx(7) & CPUID7_EDX_IBT)
		kvm_cpu_cap_set(X86_FEATURE_IBT);
	kvm_caps.supported_xss |= XSS_CET;

	if (kvm_cpu_cap_has(X86_FEATURE_VMX))
		vmx_cet_setup_nested_msrs(&vmcs_config.nested);

	memcpy(&vmx_cet_distro_ops, ops, sizeof(vmx_cet_distro_ops));
	ops->vcpu_reset = vmx_cet_vcpu_reset;
	ops->vcpu_after_set_cpuid = vmx_cet_vcpu_after_set_cpuid;
#if KVM_CHECKS_LATE_CPUS
	ops->check_processor_compatibility = vmx_cet_check_processor_compatibility;
#else
	ops->hardware_unsetup = vmx_cet_hardware_unsetup;
#endif
	ops->vcpu_free = vmx_cet_vcpu_free;
	ops->enable_virtualization_cpu = vmx_cet_enable_virtualization_cpu;
	ops->disable_virtualization_cpu = vmx_cet_disable_virtualization_cpu;
#if KVM_HAS_SMM
	ops->enter_smm = vmx_cet_enter_smm;
	ops->leave_smm = vmx_cet_leave_smm;
#endif
}
