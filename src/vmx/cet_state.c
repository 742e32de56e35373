// SPDX-License-Identifier: GPL-2.0
/* Where CET state is, and how it is loaded into the CPU and saved. cet.h and cet_state.h document the functions. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>

#include <asm/fpu/api.h>
#include <asm/fpu/xstate.h>

#include "fpu.h"
#include "x86.h"
#include "vmx/vmx.h"

#include "cet_state.h"

bool __read_mostly vmx_cet_offered;

/* SDM volume 1, 17.1.1: bits 9:6 are reserved; 1:0 belong to shadow stacks, 5:2 and 63:10 to IBT. */
bool vmx_cet_is_valid_u_s_cet(const struct vmx_cet *cet, u64 s_cet)
{
	u64 reserved = CET_RESERVED;

	if (!cet->shstk)
		reserved |= CET_SHSTK_EN | CET_WRSS_EN;
	if (!cet->ibt)
		reserved |= ~(CET_SHSTK_EN | CET_WRSS_EN);

	/* Mainline requires the legacy bitmap, bits 63:12, to be at a multiple of 4 pages. */
	reserved |= GENMASK_ULL(13, 12);

	/* The tracker cannot be suppressed while it waits for ENDBRANCH. */
	return !(s_cet & reserved) && (s_cet & (CET_SUPPRESS | CET_WAIT_ENDBR)) != (CET_SUPPRESS | CET_WAIT_ENDBR);
}

u8 vmx_cet_address_width(void)
{
	return kvm_cpu_cap_has(X86_FEATURE_LA57) ? 57 : 48;
}

bool vmx_cet_is_canonical(u64 address)
{
	return __is_canonical_address(address, vmx_cet_address_width());
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

/*
 * The host's S_CET: the host's own IBT must be on again after every VM exit. This is the value that the host's kernel
 * sets at boot, not the value that the CPU has right now: EFI run-time calls clear the MSR temporarily, and after a
 * sleep nobody restores it on the boot CPU.
 */
static u64 vmx_cet_host_s_cet(void)
{
	return HAS_KERNEL_IBT && boot_cpu_has(X86_FEATURE_IBT) ? CET_ENDBR_EN : 0;
}

void vmx_cet_set_constant_host_state(void)
{
	if (!vmx_cet_offered)
		return;

	vmcs_writel(HOST_S_CET, vmx_cet_host_s_cet());
	/* The host's kernel has no shadow stack. Its user mode gets SSP from PL3_SSP when the kernel returns there. */
	vmcs_writel(HOST_SSP, 0);
	vmcs_writel(HOST_INTR_SSP_TABLE, 0);
}

void vmx_cet_dump_vmcs(void)
{
	/* Without the controls, the fields may not exist. */
	if (!(vmcs_read32(VM_ENTRY_CONTROLS) & VM_ENTRY_LOAD_CET_STATE))
		return;

	pr_err("*** CET State ***\n");
	pr_err("Guest S_CET = 0x%016lx  SSP = 0x%016lx  INTR_SSP_TABLE = 0x%016lx\n", vmcs_readl(GUEST_S_CET),
	       vmcs_readl(GUEST_SSP), vmcs_readl(GUEST_INTR_SSP_TABLE));
	pr_err("Host S_CET = 0x%016lx  SSP = 0x%016lx  INTR_SSP_TABLE = 0x%016lx\n", vmcs_readl(HOST_S_CET),
	       vmcs_readl(HOST_SSP), vmcs_readl(HOST_INTR_SSP_TABLE));
}

/* ---- The MSRs that are switched here ---- */

static const u32 vmx_cet_switched_msrs[] = {
	MSR_IA32_PL0_SSP,
#if !HOST_SWITCHES_CET_USER
	MSR_IA32_U_CET,
	MSR_IA32_PL3_SSP,
#endif
	/* Guests rarely use these. */
	MSR_IA32_PL1_SSP,
	MSR_IA32_PL2_SSP,
};

#define NR_SWITCHED ARRAY_SIZE(vmx_cet_switched_msrs)
#define NR_RARE	    2

static_assert(ARRAY_SIZE(((struct vmx_cet *)0)->msrs) >= NR_SWITCHED);

/* The index of @msr in struct vmx_cet, or -1 if the host's kernel switches it. */
static int vmx_cet_switched_index(u32 msr)
{
	int i;

	for (i = 0; i < NR_SWITCHED; i++)
		if (vmx_cet_switched_msrs[i] == msr)
			return i;
	return -1;
}

/*
 * These MSRs are 0 while no guest state is loaded (cet.h), except PL3_SSP. A guest changes PL3_SSP whenever it enters
 * or leaves user mode. So it stays in the CPU, where the vCPU finds it again.
 */
static bool vmx_cet_stays_in_cpu(int i)
{
	return vmx_cet_switched_msrs[i] == MSR_IA32_PL3_SSP;
}

/* Whether the CPU's MSRs are the vCPU's. The caller has disabled preemption, so that this does not change. */
static bool vmx_cet_in_cpu(struct vcpu_vmx *vmx)
{
	return vmx->cet.live && vmx->guest_state_loaded;
}

/* Set the value that IA32_XSS has while no guest runs. The caller has disabled preemption. */
static void vmx_cet_write_xss(u64 xss)
{
	if (__this_cpu_read(kvm_onereg_xss) == xss)
		return;

	__this_cpu_write(kvm_onereg_xss, xss);
	wrmsrl(MSR_IA32_XSS, xss);
}

/* While guest state is loaded, this is the guest's value, unless it lacks a bit of the host's. */
static void vmx_cet_load_xss(struct vcpu_vmx *vmx)
{
	u64 guest = vmx->vcpu.arch.ia32_xss;

	vmx_cet_write_xss(kvm_host_xss() & ~guest ? kvm_host_xss() : guest);
}

#if HOST_SWITCHES_CET_USER
/* The host's kernel switches PL3_SSP. */
static bool vmx_cet_claim_cpu(struct vmx_cet *cet)
{
	return false;
}

static void vmx_cet_disown_cpu(void) { }
void vmx_cet_clear_vcpu(struct vmx_cet *cet) { }
#else
/* The vCPU whose PL3_SSP this CPU has. */
static DEFINE_PER_CPU(struct vmx_cet *, vmx_cet_resident);

/* Assign the CPU to the vCPU. Returns true if it was the vCPU's already, and has its PL3_SSP. */
static bool vmx_cet_claim_cpu(struct vmx_cet *cet)
{
	int cpu = smp_processor_id();

	if (cet->resident_on == cpu && __this_cpu_read(vmx_cet_resident) == cet)
		return true;

	__this_cpu_write(vmx_cet_resident, cet);
	cet->resident_on = cpu;
	return false;
}

static void vmx_cet_disown_cpu(void)
{
	__this_cpu_write(vmx_cet_resident, NULL);
}

static bool vmx_cet_is_resident(int cpu, void *cet)
{
	return per_cpu(vmx_cet_resident, cpu) == cet;
}

static void vmx_cet_clear_resident(void *cet)
{
	if (__this_cpu_read(vmx_cet_resident) == cet)
		vmx_cet_clear_cpu();
}

void vmx_cet_clear_vcpu(struct vmx_cet *cet)
{
	if (cet->live)
		on_each_cpu_cond(vmx_cet_is_resident, vmx_cet_clear_resident, cet, true);
}
#endif

void __vmx_cet_load(struct vmx_cet *cet)
{
	struct vcpu_vmx *vmx = container_of(cet, struct vcpu_vmx, cet);
	bool there;
	int i;

	/* This comes first: an interrupt that clears another vCPU's PL3_SSP must not clear what is loaded below. */
	there = vmx_cet_claim_cpu(cet);

	/* The values were checked when they were set, and those read from the CPU are valid. */
	for (i = 0; i < NR_SWITCHED; i++)
		if (vmx_cet_stays_in_cpu(i) ? !there : cet->msrs[i])
			KVM_BUG_ON(wrmsrl_safe(vmx_cet_switched_msrs[i], cet->msrs[i]), vmx->vcpu.kvm);

	vmx_cet_load_xss(vmx);
}

void __vmx_cet_save(struct vmx_cet *cet)
{
	/* Only XRSTORS changes the rare ones without an exit. */
	int i, changing = NR_SWITCHED - (cet->xrstors ? 0 : NR_RARE);

	for (i = 0; i < NR_SWITCHED; i++) {
		if (i < changing)
			rdmsrl(vmx_cet_switched_msrs[i], cet->msrs[i]);
		if (!vmx_cet_stays_in_cpu(i) && cet->msrs[i])
			wrmsrl(vmx_cet_switched_msrs[i], 0);
	}

	vmx_cet_write_xss(kvm_host_xss());
}

void vmx_cet_clear_cpu(void)
{
	int i;

	vmx_cet_disown_cpu();
	for (i = 0; i < NR_SWITCHED; i++)
		wrmsrl_safe(vmx_cet_switched_msrs[i], 0);
}

void vmx_cet_intercept_switched(struct kvm_vcpu *vcpu)
{
	struct vmx_cet *cet = &to_vmx(vcpu)->cet;
	bool intercept;
	u32 msr;
	int i;

	for (i = 0; i < NR_SWITCHED; i++) {
		msr = vmx_cet_switched_msrs[i];
		intercept = !cet->live || !(msr == MSR_IA32_U_CET ? vmx_cet_guest_has(cet) : cet->shstk);
		vmx_set_intercept_for_msr(vcpu, msr, MSR_TYPE_R, intercept);
		vmx_set_intercept_for_msr(vcpu, msr, MSR_TYPE_W,
					  intercept || (!cet->xrstors && i >= NR_SWITCHED - NR_RARE));
	}
}

/* From now on the guest may change these MSRs without an exit; PL1_SSP and PL2_SSP only if @by_xrstors. */
static void vmx_cet_go_live(struct kvm_vcpu *vcpu, bool by_xrstors)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	struct vmx_cet *cet = &vmx->cet;

	if (cet->live && cet->xrstors >= by_xrstors)
		return;

	preempt_disable();
	if (!cet->live) {
		cet->live = true;
		if (vmx_cet_in_cpu(vmx))
			__vmx_cet_load(cet);
	}
	cet->xrstors |= by_xrstors;
	preempt_enable();

	vmx_cet_intercept_switched(vcpu);
}

void vmx_cet_xss_changed(struct kvm_vcpu *vcpu, u64 xss)
{
	if (xss & (HOST_SWITCHES_CET_USER ? XSS_CET_KERNEL : XSS_CET))
		vmx_cet_go_live(vcpu, xss & XSS_CET_KERNEL);

	preempt_disable();
	if (vmx_cet_in_cpu(to_vmx(vcpu)))
		vmx_cet_load_xss(to_vmx(vcpu));
	preempt_enable();
}

static u64 vmx_cet_get_switched(struct kvm_vcpu *vcpu, int i)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	u64 val;

	preempt_disable();
	if (vmx_cet_in_cpu(vmx))
		rdmsrl(vmx_cet_switched_msrs[i], val);
	else
		val = vmx->cet.msrs[i];
	preempt_enable();

	return val;
}

static int vmx_cet_set_switched(struct kvm_vcpu *vcpu, int i, u64 val)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	int r = 0;

	preempt_disable();
	if (vmx_cet_in_cpu(vmx))
		r = wrmsrl_safe(vmx_cet_switched_msrs[i], val);
	else
		vmx->cet.resident_on = -1;
	if (!r)
		vmx->cet.msrs[i] = val;
	preempt_enable();

	if (val && !r)
		vmx_cet_go_live(vcpu, false);

	return r ? 1 : 0;
}

/* ---- U_CET and PL3_SSP in the guest's FPU state, which is in the CPU during KVM_RUN ---- */

#if HOST_SWITCHES_CET_USER
static u64 *vmx_cet_user_state_word(struct cet_user_state *state, u32 msr)
{
	return msr == MSR_IA32_U_CET ? &state->user_cet : &state->user_ssp;
}

static int vmx_cet_get_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val)
{
	struct fpstate *fpstate = vcpu->arch.guest_fpu.fpstate;
	struct cet_user_state *state;
	int r = 0;

	if (fpstate->in_use) {
		kvm_fpu_get();
		r = rdmsrl_safe(msr, val);
		kvm_fpu_put();
	} else {
		/* NULL: the component is in its initial state. */
		state = get_xsave_addr(&fpstate->regs.xsave, XFEATURE_CET_USER);
		*val = state ? *vmx_cet_user_state_word(state, msr) : 0;
	}

	return r ? 1 : 0;
}

static int vmx_cet_set_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 val)
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
			*state = (struct cet_user_state) {};
		}
		*vmx_cet_user_state_word(state, msr) = val;
	}

	return r ? 1 : 0;
}
#else
/* They are switched here. */
static int vmx_cet_get_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val)
{
	return 1;
}

static int vmx_cet_set_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 val)
{
	return 1;
}
#endif

int vmx_cet_get_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val)
{
	int i = vmx_cet_switched_index(msr);

	if (i < 0)
		return vmx_cet_get_user_state(vcpu, msr, val);
	*val = vmx_cet_get_switched(vcpu, i);
	return 0;
}

int vmx_cet_set_state(struct kvm_vcpu *vcpu, u32 msr, u64 val)
{
	int i = vmx_cet_switched_index(msr);

	return i < 0 ? vmx_cet_set_user_state(vcpu, msr, val) : vmx_cet_set_switched(vcpu, i, val);
}
