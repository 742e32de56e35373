// SPDX-License-Identifier: GPL-2.0
/* Whether guests can have CET, and the KVM operations that are replaced if so. cet_state.h documents the functions. */

/* CPUID.(EAX=7,ECX=0). */
#define CPUID7_ECX_SHSTK BIT(7)

/* The components that IA32_XSS can enable on this CPU. */
static u64 kvm_cet_cpu_xss(void)
{
	u32 eax, ebx, ecx, edx;

	cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx);
	return ecx | (u64)edx << 32;
}

/* What this CPU lacks for CET, or NULL. */
static const char *kvm_cet_cpu_obstacle(void)
{
	const char *missing;
	u64 s_cet;

	/* First what the other checks depend on. */
	if (!boot_cpu_has(X86_FEATURE_XSAVES) || !kvm_cpu_cap_has(X86_FEATURE_XSAVES))
		return "XSAVES is missing or off";
	if (!boot_cpu_has(X86_FEATURE_SHSTK) || !(cpuid_ecx(7) & CPUID7_ECX_SHSTK))
		return "the CPU has no shadow stacks (SHSTK), or they are off";
	if ((kvm_cet_cpu_xss() & XSS_CET) != XSS_CET)
		return "XSAVES does not know CET state";
	missing = kvm_cet_vendor_cpu_obstacle();
	if (missing)
		return missing;
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

static void kvm_cet_check_cpu(void *missing)
{
	const char *here = kvm_cet_cpu_obstacle();

	if (here)
		WRITE_ONCE(*(const char **)missing, here);
}

/* What prevents CET, or NULL. @missing: the same, of what only the vendor's code knows. */
static const char *kvm_cet_obstacle(const char *missing)
{
	if (!kvm_onereg_build)
		return "the kvm module that is loaded is not of the same package";
	if (strcmp(kvm_onereg_build, KVM_ONEREG_BUILD))
		return "the kvm module that is loaded is not of the same build";
	if (!missing)
		missing = kvm_cet_cpu_obstacle();
	if (missing)
		return missing;
	/* Components 11 and 12 are each switched either by the host's kernel or by us. */
	if ((kvm_host_xss() & XSS_CET) != (HOST_SWITCHES_CET_USER ? XSS_CET_USER : 0))
		return HOST_SWITCHES_CET_USER ? "the host's kernel does not switch the CET state of user mode" :
						"the host's kernel switches CET state, in an unknown way";
	on_each_cpu(kvm_cet_check_cpu, &missing, 1);
	return missing;
}

/* ---- Operations that replace the distro's, and call them ---- */

struct kvm_x86_ops kvm_cet_distro_ops __ro_after_init;

static void kvm_cet_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event)
{
	static const u32 not_loaded_by_entry[] = {
		MSR_IA32_U_CET, MSR_IA32_PL0_SSP, MSR_IA32_PL1_SSP, MSR_IA32_PL2_SSP, MSR_IA32_PL3_SSP,
	};
	int i;

	kvm_cet_distro_ops.vcpu_reset(vcpu, init_event);
	kvm_cet_vendor_vcpu_reset(vcpu, init_event);

	/* RESET, once in a vCPU's life: everything is zero, and the vCPU does not have CPUID yet. */
	if (!init_event) {
		kvm_cet_of(vcpu)->resident_on = -1;
		vcpu->arch.cr4_guest_rsvd_bits |= X86_CR4_CET;
		return;
	}

	for (i = 0; i < ARRAY_SIZE(not_loaded_by_entry); i++)
		KVM_BUG_ON(kvm_cet_set_state(vcpu, not_loaded_by_entry[i], 0), vcpu->kvm);
}

static u64 kvm_cet_guest_supported_xss(struct kvm_vcpu *vcpu)
{
	struct kvm_cpuid_entry2 *entry = kvm_find_cpuid_entry_index(vcpu, 0xd, 1);

	return entry ? (entry->ecx | (u64)entry->edx << 32) & kvm_caps.supported_xss : 0;
}

static void kvm_cet_vcpu_after_set_cpuid(struct kvm_vcpu *vcpu)
{
	bool shstk = guest_cpuid_has(vcpu, X86_FEATURE_SHSTK);
	bool ibt = guest_cpuid_has(vcpu, X86_FEATURE_IBT);
	struct kvm_cet *cet = kvm_cet_of(vcpu);

	kvm_cet_distro_ops.vcpu_after_set_cpuid(vcpu);

	cet->shstk = shstk && kvm_cpu_cap_has(X86_FEATURE_SHSTK) && kvm_cet_vendor_allows(vcpu);
	cet->ibt = ibt && kvm_cpu_cap_has(X86_FEATURE_IBT);
	cet->supported_xss = kvm_cet_guest_supported_xss(vcpu);
	/* KVM would put them into the encrypted state of an SEV-ES guest, which is not offered what they enable. */
	if (!kvm_cet_vendor_allows(vcpu))
		cet->supported_xss &= ~XSS_CET;

	/* CPUID may show features that KVM does not offer. */
	if (!kvm_cet_guest_has(cet))
		vcpu->arch.cr4_guest_rsvd_bits |= X86_CR4_CET;

	kvm_cet_vendor_after_set_cpuid(vcpu, shstk || ibt);
	kvm_cet_intercept_msrs(vcpu);
}

#if KVM_HAS_SMM
/* Only the 64-bit layout of SMRAM has a place for SSP. */
static bool kvm_cet_smram_has_ssp(struct kvm_vcpu *vcpu)
{
	return kvm_cet_of(vcpu)->shstk && guest_cpuid_has(vcpu, X86_FEATURE_LM);
}

static int kvm_cet_enter_smm(struct kvm_vcpu *vcpu, kvm_smram_image *smram)
{
	/* Read it before KVM leaves L2: the other registers in SMRAM are also L2's. */
	if (kvm_cet_smram_has_ssp(vcpu))
		set_smram_ssp(smram, kvm_cet_read_entry_state(vcpu, MSR_KVM_INTERNAL_GUEST_SSP));

	return kvm_cet_vendor_enter_smm(vcpu, smram);
}

static int kvm_cet_leave_smm(struct kvm_vcpu *vcpu, const kvm_smram_image *smram)
{
	struct msr_data ssp = { .index = MSR_KVM_INTERNAL_GUEST_SSP, .host_initiated = true };
	int r;

	r = kvm_cet_distro_ops.leave_smm(vcpu, smram);
	if (r || !kvm_cet_smram_has_ssp(vcpu))
		return r;

	ssp.data = get_smram_ssp(smram);
	return kvm_cet_set_msr(vcpu, &ssp);
}
#endif

/* A CPU that comes online must have the features of the others. */
static int kvm_cet_check_late_cpu(void)
{
	const char *missing = kvm_cet_cpu_obstacle();

	if (!missing)
		return 0;

	pr_err("CET is in use, but CPU %d cannot take part: %s\n", raw_smp_processor_id(), missing);
	return -EIO;
}

#if KVM_CHECKS_LATE_CPUS
static int kvm_cet_check_processor_compatibility(void)
{
	int r = kvm_cet_distro_ops.check_processor_compatibility();

	return r ?: kvm_cet_check_late_cpu();
}

static int __init kvm_cet_watch_late_cpus(void)
{
	return 0;
}
#else
static enum cpuhp_state kvm_cet_late_cpus_state __ro_after_init;

/* On that CPU, before anything else is scheduled there. A CPU that fails stays offline. */
static int kvm_cet_cpu_online(unsigned int cpu)
{
	return kvm_cet_check_late_cpu();
}

static int __init kvm_cet_watch_late_cpus(void)
{
	int state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "kvm-onereg/cet:online", kvm_cet_cpu_online, NULL);

	if (state < 0)
		return state;
	kvm_cet_late_cpus_state = state;
	return 0;
}

static void kvm_cet_hardware_unsetup(void)
{
	cpuhp_remove_state_nocalls(kvm_cet_late_cpus_state);
	kvm_cet_distro_ops.hardware_unsetup();
}
#endif

static void kvm_cet_vcpu_free(struct kvm_vcpu *vcpu)
{
	kvm_cet_clear_vcpu(kvm_cet_of(vcpu));
	kvm_cet_distro_ops.vcpu_free(vcpu);
}

/* What the firmware or the previous kernel left behind does not belong to any guest. */
static int kvm_cet_enable_virtualization_cpu(void)
{
	int r = kvm_cet_distro_ops.enable_virtualization_cpu();

	if (!r)
		kvm_cet_clear_cpu();
	return r;
}

/*
 * The CPU goes offline or to sleep, or the module is unloaded, or, on 6.1, the last VM is gone: leave nothing of a
 * guest behind.
 */
static void kvm_cet_disable_virtualization_cpu(void)
{
	kvm_cet_distro_ops.disable_virtualization_cpu();
	kvm_cet_clear_cpu();
}

/* ---- Setup ---- */

bool __init kvm_cet_setup(struct kvm_x86_ops *ops, const char *missing)
{
	missing = kvm_cet_obstacle(missing);
	if (!missing && kvm_cet_watch_late_cpus())
		missing = "no callback for CPUs that come online later";
	if (missing) {
		pr_warn("guests get no CET, although " KVM_CET_PARAMETER "=1: %s\n", missing);
		return false;
	}

	kvm_cet_offered = true;

	kvm_cpu_cap_set(X86_FEATURE_SHSTK);
	kvm_caps.supported_xss |= XSS_CET;

	memcpy(&kvm_cet_distro_ops, ops, sizeof(kvm_cet_distro_ops));
	ops->vcpu_reset = kvm_cet_vcpu_reset;
	ops->vcpu_after_set_cpuid = kvm_cet_vcpu_after_set_cpuid;
#if KVM_CHECKS_LATE_CPUS
	ops->check_processor_compatibility = kvm_cet_check_processor_compatibility;
#else
	ops->hardware_unsetup = kvm_cet_hardware_unsetup;
#endif
	ops->vcpu_free = kvm_cet_vcpu_free;
	ops->enable_virtualization_cpu = kvm_cet_enable_virtualization_cpu;
	ops->disable_virtualization_cpu = kvm_cet_disable_virtualization_cpu;
#if KVM_HAS_SMM
	ops->enter_smm = kvm_cet_enter_smm;
	ops->leave_smm = kvm_cet_leave_smm;
#endif
	return true;
}
