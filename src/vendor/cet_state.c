// SPDX-License-Identifier: GPL-2.0
/* Where CET state is, and how it is loaded into the CPU and saved. cet.h and cet_state.h document the functions. */

bool __read_mostly kvm_cet_offered;

/* SDM volume 1, 17.1.1: bits 9:6 are reserved; 1:0 belong to shadow stacks, 5:2 and 63:10 to IBT. */
bool kvm_cet_is_valid_u_s_cet(const struct kvm_cet *cet, u64 s_cet)
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

u8 kvm_cet_address_width(void)
{
	return kvm_cpu_cap_has(X86_FEATURE_LA57) ? 57 : 48;
}

bool kvm_cet_is_canonical(u64 address)
{
	return __is_canonical_address(address, kvm_cet_address_width());
}

/* ---- The MSRs that are switched here ---- */

static const u32 kvm_cet_switched_msrs[] = {
	MSR_IA32_PL0_SSP,
#if !HOST_SWITCHES_CET_USER
	MSR_IA32_U_CET,
	MSR_IA32_PL3_SSP,
#endif
	/* Guests rarely use these. */
	MSR_IA32_PL1_SSP,
	MSR_IA32_PL2_SSP,
};

#define NR_SWITCHED ARRAY_SIZE(kvm_cet_switched_msrs)
#define NR_RARE	    2

static_assert(ARRAY_SIZE(((struct kvm_cet *)0)->msrs) >= NR_SWITCHED);

/* The index of @msr in struct kvm_cet, or -1 if the host's kernel switches it. */
static int kvm_cet_switched_index(u32 msr)
{
	int i;

	for (i = 0; i < NR_SWITCHED; i++)
		if (kvm_cet_switched_msrs[i] == msr)
			return i;
	return -1;
}

/*
 * These MSRs are 0 while no guest state is loaded (cet.h), except PL3_SSP. A guest changes PL3_SSP whenever it enters
 * or leaves user mode. So it stays in the CPU, where the vCPU finds it again.
 */
static bool kvm_cet_stays_in_cpu(int i)
{
	return kvm_cet_switched_msrs[i] == MSR_IA32_PL3_SSP;
}

/* Whether the CPU's MSRs are the vCPU's. The caller has disabled preemption, so that this does not change. */
static bool kvm_cet_in_cpu(struct kvm_vcpu *vcpu)
{
	return kvm_cet_of(vcpu)->live && kvm_cet_guest_state_loaded(vcpu);
}

/* Set the value that IA32_XSS has while no guest runs. The caller has disabled preemption. */
static void kvm_cet_write_xss(u64 xss)
{
	if (__this_cpu_read(kvm_onereg_xss) == xss)
		return;

	__this_cpu_write(kvm_onereg_xss, xss);
	wrmsrl(MSR_IA32_XSS, xss);
}

/* While guest state is loaded, this is the guest's value, unless it lacks a bit of the host's. */
static void kvm_cet_load_xss(struct kvm_vcpu *vcpu)
{
	u64 guest = vcpu->arch.ia32_xss;

	kvm_cet_write_xss(kvm_host_xss() & ~guest ? kvm_host_xss() : guest);
}

#if HOST_SWITCHES_CET_USER
/* The host's kernel switches PL3_SSP. */
static bool kvm_cet_claim_cpu(struct kvm_cet *cet)
{
	return false;
}

static void kvm_cet_disown_cpu(void) { }
void kvm_cet_clear_vcpu(struct kvm_cet *cet) { }
#else
/* The vCPU whose PL3_SSP this CPU has. */
static DEFINE_PER_CPU(struct kvm_cet *, kvm_cet_resident);

/* Assign the CPU to the vCPU. Returns true if it was the vCPU's already, and has its PL3_SSP. */
static bool kvm_cet_claim_cpu(struct kvm_cet *cet)
{
	int cpu = smp_processor_id();

	if (cet->resident_on == cpu && __this_cpu_read(kvm_cet_resident) == cet)
		return true;

	__this_cpu_write(kvm_cet_resident, cet);
	cet->resident_on = cpu;
	return false;
}

static void kvm_cet_disown_cpu(void)
{
	__this_cpu_write(kvm_cet_resident, NULL);
}

static bool kvm_cet_is_resident(int cpu, void *cet)
{
	return per_cpu(kvm_cet_resident, cpu) == cet;
}

static void kvm_cet_clear_resident(void *cet)
{
	if (__this_cpu_read(kvm_cet_resident) == cet)
		kvm_cet_clear_cpu();
}

void kvm_cet_clear_vcpu(struct kvm_cet *cet)
{
	if (cet->live)
		on_each_cpu_cond(kvm_cet_is_resident, kvm_cet_clear_resident, cet, true);
}
#endif

void __kvm_cet_load(struct kvm_cet *cet)
{
	struct kvm_vcpu *vcpu = kvm_cet_to_vcpu(cet);
	bool there;
	int i;

	/* This comes first: an interrupt that clears another vCPU's PL3_SSP must not clear what is loaded below. */
	there = kvm_cet_claim_cpu(cet);

	/* The values were checked when they were set, and those read from the CPU are valid. */
	for (i = 0; i < NR_SWITCHED; i++)
		if (kvm_cet_stays_in_cpu(i) ? !there : cet->msrs[i])
			KVM_BUG_ON(wrmsrl_safe(kvm_cet_switched_msrs[i], cet->msrs[i]), vcpu->kvm);

	kvm_cet_load_xss(vcpu);
}

void __kvm_cet_save(struct kvm_cet *cet)
{
	/* Only XRSTORS changes the rare ones without an exit. */
	int i, changing = NR_SWITCHED - (cet->xrstors ? 0 : NR_RARE);

	for (i = 0; i < NR_SWITCHED; i++) {
		if (i < changing)
			rdmsrl(kvm_cet_switched_msrs[i], cet->msrs[i]);
		if (!kvm_cet_stays_in_cpu(i) && cet->msrs[i])
			wrmsrl(kvm_cet_switched_msrs[i], 0);
	}

	kvm_cet_write_xss(kvm_host_xss());
}

void kvm_cet_clear_cpu(void)
{
	int i;

	kvm_cet_disown_cpu();
	for (i = 0; i < NR_SWITCHED; i++)
		wrmsrl_safe(kvm_cet_switched_msrs[i], 0);
}

static void kvm_cet_intercept_switched(struct kvm_vcpu *vcpu)
{
	struct kvm_cet *cet = kvm_cet_of(vcpu);
	bool intercept;
	u32 msr;
	int i;

	for (i = 0; i < NR_SWITCHED; i++) {
		msr = kvm_cet_switched_msrs[i];
		intercept = !cet->live || !(msr == MSR_IA32_U_CET ? kvm_cet_guest_has(cet) : cet->shstk);
		kvm_cet_set_intercept(vcpu, msr, intercept, intercept || (!cet->xrstors && i >= NR_SWITCHED - NR_RARE));
	}
}

void kvm_cet_intercept_msrs(struct kvm_vcpu *vcpu)
{
	const struct kvm_cet *cet = kvm_cet_of(vcpu);
	bool any = kvm_cet_guest_has(cet);

	kvm_cet_set_intercept(vcpu, MSR_IA32_S_CET, !any, !any);
	if (HOST_SWITCHES_CET_USER) {
		kvm_cet_set_intercept(vcpu, MSR_IA32_U_CET, !any, !any);
		kvm_cet_set_intercept(vcpu, MSR_IA32_PL3_SSP, !cet->shstk, !cet->shstk);
	}
	kvm_cet_intercept_switched(vcpu);
}

/* From now on the guest may change these MSRs without an exit; PL1_SSP and PL2_SSP only if @by_xrstors. */
static void kvm_cet_go_live(struct kvm_vcpu *vcpu, bool by_xrstors)
{
	struct kvm_cet *cet = kvm_cet_of(vcpu);

	if (cet->live && cet->xrstors >= by_xrstors)
		return;

	preempt_disable();
	if (!cet->live) {
		cet->live = true;
		if (kvm_cet_in_cpu(vcpu))
			__kvm_cet_load(cet);
	}
	cet->xrstors |= by_xrstors;
	preempt_enable();

	kvm_cet_intercept_switched(vcpu);
}

void kvm_cet_xss_changed(struct kvm_vcpu *vcpu, u64 xss)
{
	if (xss & (HOST_SWITCHES_CET_USER ? XSS_CET_KERNEL : XSS_CET))
		kvm_cet_go_live(vcpu, xss & XSS_CET_KERNEL);

	preempt_disable();
	if (kvm_cet_in_cpu(vcpu))
		kvm_cet_load_xss(vcpu);
	preempt_enable();
}

void kvm_cet_set_cr4(struct kvm_vcpu *vcpu, unsigned long cr4)
{
	if (!HOST_SWITCHES_CET_USER && cr4 & X86_CR4_CET)
		kvm_cet_go_live(vcpu, false);
}

static u64 kvm_cet_get_switched(struct kvm_vcpu *vcpu, int i)
{
	u64 val;

	preempt_disable();
	if (kvm_cet_in_cpu(vcpu))
		rdmsrl(kvm_cet_switched_msrs[i], val);
	else
		val = kvm_cet_of(vcpu)->msrs[i];
	preempt_enable();

	return val;
}

static int kvm_cet_set_switched(struct kvm_vcpu *vcpu, int i, u64 val)
{
	int r = 0;

	preempt_disable();
	if (kvm_cet_in_cpu(vcpu))
		r = wrmsrl_safe(kvm_cet_switched_msrs[i], val);
	else
		kvm_cet_of(vcpu)->resident_on = -1;
	if (!r)
		kvm_cet_of(vcpu)->msrs[i] = val;
	preempt_enable();

	if (val && !r)
		kvm_cet_go_live(vcpu, false);

	return r ? 1 : 0;
}

/* ---- U_CET and PL3_SSP in the guest's FPU state, which is in the CPU during KVM_RUN ---- */

#if HOST_SWITCHES_CET_USER
static u64 *kvm_cet_user_state_word(struct cet_user_state *state, u32 msr)
{
	return msr == MSR_IA32_U_CET ? &state->user_cet : &state->user_ssp;
}

static int kvm_cet_get_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val)
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
		*val = state ? *kvm_cet_user_state_word(state, msr) : 0;
	}

	return r ? 1 : 0;
}

static int kvm_cet_set_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 val)
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
		*kvm_cet_user_state_word(state, msr) = val;
	}

	return r ? 1 : 0;
}
#else
/* They are switched here. */
static int kvm_cet_get_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val)
{
	return 1;
}

static int kvm_cet_set_user_state(struct kvm_vcpu *vcpu, u32 msr, u64 val)
{
	return 1;
}
#endif

int kvm_cet_get_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val)
{
	int i = kvm_cet_switched_index(msr);

	if (i < 0)
		return kvm_cet_get_user_state(vcpu, msr, val);
	*val = kvm_cet_get_switched(vcpu, i);
	return 0;
}

int kvm_cet_set_state(struct kvm_vcpu *vcpu, u32 msr, u64 val)
{
	int i = kvm_cet_switched_index(msr);

	return i < 0 ? kvm_cet_set_user_state(vcpu, msr, val) : kvm_cet_set_switched(vcpu, i, val);
}
