// SPDX-License-Identifier: GPL-2.0
/* CET on VMX: offering it, its MSRs, its VMCS fields, its switching. cet.h documents the functions. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpuhotplug.h>
#include <linux/kvm_host.h>
#include <linux/moduleparam.h>

#include <asm/fpu/api.h>
#include <asm/fpu/xstate.h>
#include <asm/ibt.h>
#include <asm/tlbflush.h>

#include "fpu.h"
#include "x86.h"
#include "vmx/capabilities.h"
#include "vmx/nested.h"
#include "vmx/vmx.h"
#if !ON_6_1
#include "smm.h"
#endif

#include "cet.h"
#include "../generated.h"

/* XSAVES components 11 (U_CET, PL3_SSP) and 12 (PL0_SSP..PL2_SSP). */
#define XSS_CET_USER	BIT_ULL(11)
#define XSS_CET_KERNEL	BIT_ULL(12)
#define XSS_CET		(XSS_CET_USER | XSS_CET_KERNEL)

/* CPUID.(EAX=7,ECX=0). */
#define CPUID7_ECX_SHSTK	BIT(7)
#define CPUID7_EDX_IBT		BIT(20)

/* Off by default: whoever does not ask for CET gets the distro's KVM. */
static bool __read_mostly enable_cet;
module_param_named(cet, enable_cet, bool, 0444);
MODULE_PARM_DESC(cet, "Offer guests shadow stacks and indirect branch tracking (default: 0)");

/* Guests can have CET, and no CPU has anything against it. */
bool __read_mostly vmx_cet_offered;

/*
 * The host's S_CET: its own IBT must be on again after every VM exit. This is what the host's kernel sets at boot, not
 * what the CPU has at some moment: EFI run-time calls clear the MSR for a while, and after a sleep nobody restores it
 * on the boot CPU.
 */
static u64 host_s_cet(void)
{
	return HAS_KERNEL_IBT && boot_cpu_has(X86_FEATURE_IBT) ? CET_ENDBR_EN : 0;
}

static bool has_vmx_control(u32 msr, u32 control)
{
	u32 low, high;

	return !rdmsr_safe(msr, &low, &high) && high & control;
}

static bool msr_has(u32 msr, u64 bits)
{
	u64 val;

	return !rdmsrl_safe(msr, &val) && (val & bits) == bits;
}

/* The components that IA32_XSS can enable on this CPU. */
static u64 cpu_xss(void)
{
	u32 eax, ebx, ecx, edx;

	cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx);
	return ecx | (u64)edx << 32;
}

/* What this CPU lacks for CET, or NULL. */
static const char *cpu_obstacle(void)
{
	u64 s_cet;

	/* First what the others hang on. */
	if (!boot_cpu_has(X86_FEATURE_XSAVES) || !cpu_has_vmx_xsaves())
		return "XSAVES is missing or off";
	if (!boot_cpu_has(X86_FEATURE_SHSTK) || !(cpuid_ecx(7) & CPUID7_ECX_SHSTK))
		return "the CPU has no shadow stacks (SHSTK), or they are off";
	if ((cpu_xss() & XSS_CET) != XSS_CET)
		return "XSAVES does not know CET state";
	if (!has_vmx_control(MSR_IA32_VMX_ENTRY_CTLS, VM_ENTRY_LOAD_CET_STATE) ||
	    !has_vmx_control(MSR_IA32_VMX_EXIT_CTLS, VM_EXIT_LOAD_CET_STATE))
		return "VMX cannot switch CET state";
	if (!msr_has(MSR_IA32_VMX_BASIC, VMX_CET_BASIC_ANY_ERROR_CODE))
		return "VMX cannot deliver #CP with its error code";
	if (!msr_has(MSR_IA32_VMX_CR4_FIXED1, X86_CR4_CET))
		return "VMX does not let a guest set CR4.CET";
	if (rdmsrl_safe(MSR_IA32_S_CET, &s_cet) || s_cet & CET_SHSTK_EN)
		return "the host's kernel uses shadow stacks itself";
#ifdef X86_CR4_FRED
	if (cr4_read_shadow() & X86_CR4_FRED)
		return "the host uses FRED, which shares an MSR with shadow stacks";
#endif
	/* What a guest leaves in U_CET and PL3_SSP must mean nothing to the host's user mode. */
	if (!HOST_SWITCHES_CET_USER && cr4_read_shadow() & X86_CR4_CET)
		return "the host's kernel uses CET itself, in a way that is not known here";
	return NULL;
}

static void check_cpu(void *missing)
{
	const char *here = cpu_obstacle();

	if (here)
		WRITE_ONCE(*(const char **)missing, here);
}

/* What stands in the way of CET, or NULL. */
static const char *obstacle(void)
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
		return "it does not go with kvm_intel.allow_smaller_maxphyaddr";
	if (kvm_is_using_evmcs())
		return "Hyper-V's enlightened VMCS has no CET state";
	missing = cpu_obstacle();
	if (missing)
		return missing;
	/* Each of components 11 and 12 is switched by the host's kernel, or by us. */
	if ((kvm_host_xss() & XSS_CET) != (HOST_SWITCHES_CET_USER ? XSS_CET_USER : 0))
		return HOST_SWITCHES_CET_USER ? "the host's kernel does not switch the CET state of user mode" :
			"the host's kernel switches CET state, which is not known of it here";
	on_each_cpu(check_cpu, &missing, 1);
	return missing;
}

/* ---- State in the VMCS ---- */

void vmx_cet_read_vmcs(const struct vmx_cet *cet, struct vmx_cet_state *state)
{
	if (vmx_cet_guest_has(cet))
		state->s_cet = vmcs_readl(GUEST_S_CET);
	if (cet->shstk) {
		state->ssp = vmcs_readl(GUEST_SSP);
		state->ssp_tbl = vmcs_readl(GUEST_INTR_SSP_TABLE);
	}
}

void vmx_cet_write_vmcs(const struct vmx_cet *cet, const struct vmx_cet_state *state)
{
	if (vmx_cet_guest_has(cet))
		vmcs_writel(GUEST_S_CET, state->s_cet);
	if (cet->shstk) {
		vmcs_writel(GUEST_SSP, state->ssp);
		vmcs_writel(GUEST_INTR_SSP_TABLE, state->ssp_tbl);
	}
}

void vmx_cet_set_constant_host_state(void)
{
	if (!vmx_cet_offered)
		return;

	vmcs_writel(HOST_S_CET, host_s_cet());
	/* The host's kernel has no shadow stack. That of its user mode comes back from PL3_SSP on return there. */
	vmcs_writel(HOST_SSP, 0);
	vmcs_writel(HOST_INTR_SSP_TABLE, 0);
}

void vmx_cet_dump_vmcs(void)
{
	/* Without the controls the fields may not exist. */
	if (!(vmcs_read32(VM_ENTRY_CONTROLS) & VM_ENTRY_LOAD_CET_STATE))
		return;

	pr_err("*** CET State ***\n");
	pr_err("Guest S_CET = 0x%016lx  SSP = 0x%016lx  INTR_SSP_TABLE = 0x%016lx\n",
	       vmcs_readl(GUEST_S_CET), vmcs_readl(GUEST_SSP), vmcs_readl(GUEST_INTR_SSP_TABLE));
	pr_err("Host S_CET = 0x%016lx  SSP = 0x%016lx  INTR_SSP_TABLE = 0x%016lx\n",
	       vmcs_readl(HOST_S_CET), vmcs_readl(HOST_SSP), vmcs_readl(HOST_INTR_SSP_TABLE));
}

/* ---- The MSRs that are switched here ---- */

static const u32 switched_msrs[] = {
	MSR_IA32_PL0_SSP,
#if !HOST_SWITCHES_CET_USER
	MSR_IA32_U_CET, MSR_IA32_PL3_SSP,
#endif
	/* Guests hardly use these. */
	MSR_IA32_PL1_SSP, MSR_IA32_PL2_SSP,
};

#define NR_SWITCHED	ARRAY_SIZE(switched_msrs)
#define NR_RARE		2

static_assert(ARRAY_SIZE(((struct vmx_cet *)0)->msrs) >= NR_SWITCHED);

/* Where @msr is in struct vmx_cet, or -1 if the host's kernel switches it. */
static int switched_index(u32 msr)
{
	int i;

	for (i = 0; i < NR_SWITCHED; i++)
		if (switched_msrs[i] == msr)
			return i;
	return -1;
}

/*
 * They are 0 while no guest state is loaded (cet.h), except PL3_SSP. A guest changes that one all the time, as it
 * enters and leaves user mode; it stays in the CPU, so that the vCPU finds it there again.
 */
static bool stays_in_cpu(int i)
{
	return switched_msrs[i] == MSR_IA32_PL3_SSP;
}

/* The vCPU whose PL3_SSP a CPU has. */
static DEFINE_PER_CPU(struct vmx_cet *, resident);

/* With preemption off: while guest state is loaded the CPU's MSRs are the vCPU's, and it stays so. */
static bool in_cpu(struct vcpu_vmx *vmx)
{
	return vmx->cet.live && vmx->guest_state_loaded;
}

/* What IA32_XSS is in the CPU while no guest runs; with preemption off. */
static void write_xss(u64 xss)
{
	if (__this_cpu_read(kvm_onereg_xss) == xss)
		return;

	__this_cpu_write(kvm_onereg_xss, xss);
	wrmsrl(MSR_IA32_XSS, xss);
}

/* While guest state is loaded it is the guest's, unless that lacks a bit of the host's. */
static void load_xss(struct vcpu_vmx *vmx)
{
	u64 guest = vmx->vcpu.arch.ia32_xss;

	write_xss(kvm_host_xss() & ~guest ? kvm_host_xss() : guest);
}

void __vmx_cet_load(struct vmx_cet *cet)
{
	struct vcpu_vmx *vmx = container_of(cet, struct vcpu_vmx, cet);
	bool there = cet->resident_on == smp_processor_id() && __this_cpu_read(resident) == cet;
	int i;

	/* First of all: an interrupt that clears another vCPU's PL3_SSP must leave alone what follows. */
	__this_cpu_write(resident, cet);
	cet->resident_on = smp_processor_id();

	/* Values were checked when they were set, and those from the CPU are valid. */
	for (i = 0; i < NR_SWITCHED; i++)
		if (stays_in_cpu(i) ? !there : cet->msrs[i])
			KVM_BUG_ON(wrmsrl_safe(switched_msrs[i], cet->msrs[i]), vmx->vcpu.kvm);

	load_xss(vmx);
}

void __vmx_cet_save(struct vmx_cet *cet)
{
	/* Only XRSTORS changes the rare ones without an exit. */
	int i, changing = NR_SWITCHED - (cet->xrstors ? 0 : NR_RARE);

	for (i = 0; i < NR_SWITCHED; i++) {
		if (i < changing)
			rdmsrl(switched_msrs[i], cet->msrs[i]);
		if (!stays_in_cpu(i) && cet->msrs[i])
			wrmsrl(switched_msrs[i], 0);
	}

	write_xss(kvm_host_xss());
}

static void clear_switched(void)
{
	int i;

	__this_cpu_write(resident, NULL);
	for (i = 0; i < NR_SWITCHED; i++)
		wrmsrl_safe(switched_msrs[i], 0);
}

static void intercept_switched(struct kvm_vcpu *vcpu)
{
	struct vmx_cet *cet = &to_vmx(vcpu)->cet;
	bool intercept;
	int i;

	for (i = 0; i < NR_SWITCHED; i++) {
		intercept = !cet->live || !(switched_msrs[i] == MSR_IA32_U_CET ? vmx_cet_guest_has(cet) : cet->shstk);
		vmx_set_intercept_for_msr(vcpu, switched_msrs[i], MSR_TYPE_R, intercept);
		vmx_set_intercept_for_msr(vcpu, switched_msrs[i], MSR_TYPE_W,
					  intercept || (!cet->xrstors && i >= NR_SWITCHED - NR_RARE));
	}
}

/* From now on the guest may change these MSRs without KVM seeing it; PL1_SSP and PL2_SSP only @by_xrstors. */
static void go_live(struct kvm_vcpu *vcpu, bool by_xrstors)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	struct vmx_cet *cet = &vmx->cet;

	if (cet->live && cet->xrstors >= by_xrstors)
		return;

	preempt_disable();
	if (!cet->live) {
		cet->live = true;
		if (in_cpu(vmx))
			__vmx_cet_load(cet);
	}
	cet->xrstors |= by_xrstors;
	preempt_enable();

	intercept_switched(vcpu);
}

static u64 get_switched(struct kvm_vcpu *vcpu, int i)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	u64 val;

	preempt_disable();
	if (in_cpu(vmx))
		rdmsrl(switched_msrs[i], val);
	else
		val = vmx->cet.msrs[i];
	preempt_enable();

	return val;
}

static int set_switched(struct kvm_vcpu *vcpu, int i, u64 val)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	int r = 0;

	preempt_disable();
	if (in_cpu(vmx))
		r = wrmsrl_safe(switched_msrs[i], val);
	else
		vmx->cet.resident_on = -1;
	if (!r)
		vmx->cet.msrs[i] = val;
	preempt_enable();

	if (val && !r)
		go_live(vcpu, false);

	return r ? 1 : 0;
}

/* ---- U_CET and PL3_SSP in the guest's FPU state, which is in the CPU during KVM_RUN ---- */

#if HOST_SWITCHES_CET_USER
static u64 *user_state_word(struct cet_user_state *state, u32 msr)
{
	return msr == MSR_IA32_U_CET ? &state->user_cet : &state->user_ssp;
}

static int get_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val)
{
	struct fpstate *fpstate = vcpu->arch.guest_fpu.fpstate;
	struct cet_user_state *state;
	int r = 0;

	if (fpstate->in_use) {
		kvm_fpu_get();
		r = rdmsrl_safe(msr, val);
		kvm_fpu_put();
	} else {
		/* None: it is in its initial state. */
		state = get_xsave_addr(&fpstate->regs.xsave, XFEATURE_CET_USER);
		*val = state ? *user_state_word(state, msr) : 0;
	}

	return r ? 1 : 0;
}

static int set_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 val)
{
	struct fpstate *fpstate = vcpu->arch.guest_fpu.fpstate;
	struct xregs_state *xsave = &fpstate->regs.xsave;
	struct cet_user_state *state;
	int r = 0;

	if (fpstate->in_use) {
		kvm_fpu_get();
		r = wrmsrl_safe(msr, val);
		kvm_fpu_put();
	} else {
		state = get_xsave_addr(xsave, XFEATURE_CET_USER);
		if (!state) {
			if (!val)
				return 0;
			xsave->header.xfeatures |= XSS_CET_USER;
			state = get_xsave_addr(xsave, XFEATURE_CET_USER);
			*state = (struct cet_user_state){};
		}
		*user_state_word(state, msr) = val;
	}

	return r ? 1 : 0;
}
#else
/* They are switched here. */
static int get_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val) { return 1; }
static int set_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 val) { return 1; }
#endif

/* What is not in the VMCS, wherever it is. */
static int get_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val)
{
	int i = switched_index(msr);

	if (i < 0)
		return get_user_state(vcpu, msr, val);
	*val = get_switched(vcpu, i);
	return 0;
}

static int set_state(struct kvm_vcpu *vcpu, u32 msr, u64 val)
{
	int i = switched_index(msr);

	return i < 0 ? set_user_state(vcpu, msr, val) : set_switched(vcpu, i, val);
}

u8 vmx_cet_address_width(void)
{
	return kvm_cpu_cap_has(X86_FEATURE_LA57) ? 57 : 48;
}

bool vmx_cet_is_canonical(u64 address)
{
	return __is_canonical_address(address, vmx_cet_address_width());
}

/* ---- MSRs ---- */

/* SDM volume 1, 17.1.1: bits 9:6 are reserved; 1:0 are of shadow stacks, 5:2 and 63:10 of IBT. */
bool vmx_cet_is_valid_u_s_cet(const struct vmx_cet *cet, u64 s_cet)
{
	u64 reserved = CET_RESERVED;

	if (!cet->shstk)
		reserved |= CET_SHSTK_EN | CET_WRSS_EN;
	if (!cet->ibt)
		reserved |= ~(CET_SHSTK_EN | CET_WRSS_EN);

	/* Mainline wants the legacy bitmap, bits 63:12, at a multiple of 4 pages. */
	reserved |= GENMASK_ULL(13, 12);

	/* The tracker cannot be suppressed while it waits for ENDBRANCH. */
	return !(s_cet & reserved) && (s_cet & (CET_SUPPRESS | CET_WAIT_ENDBR)) != (CET_SUPPRESS | CET_WAIT_ENDBR);
}

static bool has_msr(const struct vmx_cet *cet, const struct msr_data *msr)
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
	if (!has_msr(&to_vmx(vcpu)->cet, msr))
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
		return get_state(vcpu, msr->index, &msr->data);
	}
}

static int set_xss(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	u64 val = msr->data;
	int r;

	/* 0 is written at the vCPU's reset too, when it has no CPUID yet. */
	if (vmx_cet_offered && !(msr->host_initiated && !val)) {
		if (!guest_cpuid_has(vcpu, X86_FEATURE_XSAVES))
			return KVM_MSR_RET_UNSUPPORTED;
		if (val & ~to_vmx(vcpu)->cet.supported_xss)
			return 1;
	}

	r = kvm_set_msr_common(vcpu, msr);
	if (r)
		return r;

	if (val & (HOST_SWITCHES_CET_USER ? XSS_CET_KERNEL : XSS_CET))
		go_live(vcpu, val & XSS_CET_KERNEL);

	preempt_disable();
	if (in_cpu(to_vmx(vcpu)))
		load_xss(to_vmx(vcpu));
	preempt_enable();

	return 0;
}

int vmx_cet_set_msr(struct kvm_vcpu *vcpu, struct msr_data *msr)
{
	struct vmx_cet *cet = &to_vmx(vcpu)->cet;
	u32 index = msr->index;
	u64 val = msr->data;

	if (index == MSR_IA32_XSS)
		return set_xss(vcpu, msr);
	if (!has_msr(cet, msr))
		return kvm_set_msr_common(vcpu, msr);

	if (index == MSR_IA32_U_CET || index == MSR_IA32_S_CET) {
		if (!vmx_cet_is_valid_u_s_cet(cet, val))
			return 1;
	} else {
		/* Without long mode there is no such MSR. Reading it does no harm, nor does a 0 from user space. */
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
		/* XRSTORS and WRMSR would fault on it. */
		if (!vmx_cet_is_canonical(val & PAGE_MASK))
			return 1;
		fallthrough;
	default:
		return set_state(vcpu, index, val);
	}
}

/* ---- Operations that take the place of the distro's, and call it ---- */

static struct kvm_x86_ops distro __ro_after_init;

static void load_cet_state_by_vmcs(struct vcpu_vmx *vmx)
{
	vm_exit_controls_set(vmx, vm_exit_controls_get(vmx) | VM_EXIT_LOAD_CET_STATE);
	vm_entry_controls_set(vmx, vm_entry_controls_get(vmx) | VM_ENTRY_LOAD_CET_STATE);
}

static void cet_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event)
{
	static const u32 not_in_vmcs[] = {
		MSR_IA32_U_CET, MSR_IA32_PL0_SSP, MSR_IA32_PL1_SSP, MSR_IA32_PL2_SSP, MSR_IA32_PL3_SSP,
	};
	int i;

	distro.vcpu_reset(vcpu, init_event);

	/* RESET, once in a vCPU's life: its VMCS has just been made, and it has no CPUID yet. */
	if (!init_event) {
		load_cet_state_by_vmcs(to_vmx(vcpu));
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
		KVM_BUG_ON(set_state(vcpu, not_in_vmcs[i], 0), vcpu->kvm);
}

static u64 guest_supported_xss(struct kvm_vcpu *vcpu)
{
	struct kvm_cpuid_entry2 *entry = kvm_find_cpuid_entry_index(vcpu, 0xd, 1);

	return entry ? (entry->ecx | (u64)entry->edx << 32) & kvm_caps.supported_xss : 0;
}

static void cet_vcpu_after_set_cpuid(struct kvm_vcpu *vcpu)
{
	bool shstk = guest_cpuid_has(vcpu, X86_FEATURE_SHSTK);
	bool ibt = guest_cpuid_has(vcpu, X86_FEATURE_IBT);
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	struct vmx_cet *cet = &vmx->cet;
	bool any;

	distro.vcpu_after_set_cpuid(vcpu);

	cet->shstk = shstk && kvm_cpu_cap_has(X86_FEATURE_SHSTK);
	cet->ibt = ibt && kvm_cpu_cap_has(X86_FEATURE_IBT);
	cet->supported_xss = guest_supported_xss(vcpu);
	any = vmx_cet_guest_has(cet);

	/* CPUID alone may show what KVM does not offer. */
	if (!any)
		vcpu->arch.cr4_guest_rsvd_bits |= X86_CR4_CET;

	/* VMX operation, too, allows CR4.CET if CPUID shows either. */
	if ((shstk || ibt) && guest_cpuid_has(vcpu, X86_FEATURE_VMX))
		vmx->nested.msrs.cr4_fixed1 |= X86_CR4_CET;

	vmx_set_intercept_for_msr(vcpu, MSR_IA32_S_CET, MSR_TYPE_RW, !any);
	if (HOST_SWITCHES_CET_USER) {
		vmx_set_intercept_for_msr(vcpu, MSR_IA32_U_CET, MSR_TYPE_RW, !any);
		vmx_set_intercept_for_msr(vcpu, MSR_IA32_PL3_SSP, MSR_TYPE_RW, !cet->shstk);
	}
	intercept_switched(vcpu);
}

#if KVM_HAS_SMM
/* SMRAM has a place for SSP in the 64-bit layout only. */
static bool smram_has_ssp(struct kvm_vcpu *vcpu)
{
	return to_vmx(vcpu)->cet.shstk && guest_cpuid_has(vcpu, X86_FEATURE_LM);
}

static int cet_enter_smm(struct kvm_vcpu *vcpu, kvm_smram_image *smram)
{
	const struct vmx_cet *cet = &to_vmx(vcpu)->cet;
	bool in_l2 = is_guest_mode(vcpu);
	struct vmx_cet_state state = {};
	int r;

	/* Before L2 is left: the other registers in SMRAM are L2's too. */
	vmx_cet_read_vmcs(cet, &state);
	if (smram_has_ssp(vcpu))
		set_smram_ssp(smram, state.ssp);

	r = distro.enter_smm(vcpu, smram);

	/*
	 * An SMI does not change CET state. But KVM leaves L2 by a VM exit, which may load L1's, and RSM enters L2
	 * with what is there then.
	 */
	if (!r && in_l2)
		vmx_cet_write_vmcs(cet, &state);

	return r;
}

static int cet_leave_smm(struct kvm_vcpu *vcpu, const kvm_smram_image *smram)
{
	struct msr_data ssp = { .index = MSR_KVM_INTERNAL_GUEST_SSP, .host_initiated = true };
	int r;

	r = distro.leave_smm(vcpu, smram);
	if (r || !smram_has_ssp(vcpu))
		return r;

	ssp.data = get_smram_ssp(smram);
	return vmx_cet_set_msr(vcpu, &ssp);
}
#endif

/* A CPU that comes online must have what the others have. */
static int check_late_cpu(void)
{
	const char *missing = cpu_obstacle();

	if (!missing)
		return 0;

	pr_err("CET is in use, but CPU %d cannot take part: %s\n", raw_smp_processor_id(), missing);
	return -EIO;
}

#if KVM_CHECKS_LATE_CPUS
static int cet_check_processor_compatibility(void)
{
	int r = distro.check_processor_compatibility();

	return r ?: check_late_cpu();
}

static int __init watch_late_cpus(void) { return 0; }
#else
static enum cpuhp_state late_cpus_state __ro_after_init;

/* On that CPU, before anything else is scheduled there. A CPU that fails stays offline. */
static int cet_cpu_online(unsigned int cpu)
{
	return check_late_cpu();
}

static int __init watch_late_cpus(void)
{
	int state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "kvm-onereg/cet:online", cet_cpu_online, NULL);

	if (state < 0)
		return state;
	late_cpus_state = state;
	return 0;
}

static void cet_hardware_unsetup(void)
{
	cpuhp_remove_state_nocalls(late_cpus_state);
	distro.hardware_unsetup();
}
#endif

#if !HOST_SWITCHES_CET_USER
/* Of PL3_SSP, which stays in the CPU. */
static bool is_resident(int cpu, void *cet)
{
	return per_cpu(resident, cpu) == cet;
}

static void clear_resident(void *cet)
{
	if (__this_cpu_read(resident) == cet)
		clear_switched();
}

static void cet_vcpu_free(struct kvm_vcpu *vcpu)
{
	struct vmx_cet *cet = &to_vmx(vcpu)->cet;

	if (cet->live)
		on_each_cpu_cond(is_resident, clear_resident, cet, true);
	distro.vcpu_free(vcpu);
}
#endif

/* What firmware, or a kernel before this one, left behind does not belong to any guest. */
static int cet_enable_virtualization_cpu(void)
{
	int r = distro.enable_virtualization_cpu();

	if (!r)
		clear_switched();
	return r;
}

/* The CPU goes offline or to sleep, or the module or, on 6.1, the last VM goes: leave nothing of a guest behind. */
static void cet_disable_virtualization_cpu(void)
{
	distro.disable_virtualization_cpu();
	clear_switched();
}

/* ---- Setup ---- */

void __init vmx_cet_hardware_setup(struct kvm_x86_ops *ops)
{
	const char *missing;

	if (!enable_cet)
		return;

	missing = obstacle();
	if (!missing && watch_late_cpus())
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

	memcpy(&distro, ops, sizeof(distro));
	ops->vcpu_reset = cet_vcpu_reset;
	ops->vcpu_after_set_cpuid = cet_vcpu_after_set_cpuid;
#if KVM_CHECKS_LATE_CPUS
	ops->check_processor_compatibility = cet_check_processor_compatibility;
#else
	ops->hardware_unsetup = cet_hardware_unsetup;
#endif
#if !HOST_SWITCHES_CET_USER
	ops->vcpu_free = cet_vcpu_free;
#endif
	ops->enable_virtualization_cpu = cet_enable_virtualization_cpu;
	ops->disable_virtualization_cpu = cet_disable_virtualization_cpu;
#if KVM_HAS_SMM
	ops->enter_smm = cet_enter_smm;
	ops->leave_smm = cet_leave_smm;
#endif
}
