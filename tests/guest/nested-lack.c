// SPDX-License-Identifier: GPL-2.0
/* Nested VMX: L1s that lack a feature, and many entries and exits. */
#include <string.h>

#include "nested-vmx.h"

static GUEST uint64_t l2_bottom(uint64_t depth, uint64_t bottom, uint64_t c)
{
	(void)c;
	return nested_chain(depth, bottom, CALL_L2);
}

/* Entry with a changed field; the change is undone. */
static void changed(struct nested *n, uint32_t field, uint64_t bits, const char *want, const char *name)
{
	uint64_t old = vmread(n, field);
	enum place w;

	vmwrite(n, field, old ^ bits);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	w = nested_enter(n);
	went(n, w, want, "%s: %s", name, want);
	vmwrite(n, field, old);
}

/* Half of CET in L1's CPUID: what belongs to the other half is refused, and its fields are not changed. */
static void ibt_alone(void)
{
	struct nested *n = nested_create(&(struct nested_config) { .cpuid = hide_shstk, .features = GUEST_IBT });
	enum place w;

	nested_prepare(n, GUEST_IBT, l2_bottom, 2, BOTTOM_BAD_JUMP, 0);
	vmwrite(n, EXCEPTION_BITMAP, 1u << VECTOR_CP);
	vmwrite(n, GUEST_SSP, 0x5550);
	vmwrite(n, GUEST_SSP_TABLE, 0x6660);
	vmwrite(n, HOST_SSP, 0x7770);
	w = nested_enter(n);
	if (went(n, w, "exit 0, vector 21", "IBT alone: L2's bad jump"))
		equals(n->error_code, CP_ENDBRANCH, "IBT alone: error code");
	equals(vmread(n, GUEST_S_CET), CET_ENDBR | CET_WAIT_ENDBR, "IBT alone: L2's S_CET is stored");
	equals(vmread(n, GUEST_SSP), 0x5550, "IBT alone: GUEST_SSP is what L1 wrote");
	equals(vmread(n, GUEST_SSP_TABLE), 0x6660, "IBT alone: GUEST_INTR_SSP_TABLE too");
	equals(n->after.s_cet, CET_ENDBR, "IBT alone: L1 has its S_CET");
	changed(n, GUEST_S_CET, CET_SHSTK, "exit 0x80000021", "IBT alone, GUEST_S_CET.SHSTK_EN");
	changed(n, GUEST_S_CET, CET_WRSS, "exit 0x80000021", "IBT alone, GUEST_S_CET.WR_SHSTK_EN");
	changed(n, HOST_S_CET, CET_SHSTK, "vmfail 8", "IBT alone, HOST_S_CET.SHSTK_EN");
	changed(n, HOST_SSP, 1, "vmfail 8", "IBT alone, HOST_SSP misaligned");
	changed(n, GUEST_S_CET, CET_WAIT_ENDBR, "exit 18", "IBT alone, idle tracker");
	nested_destroy(n);
}

static void shstk_alone(void)
{
	struct nested *n = nested_create(&(struct nested_config) { .cpuid = hide_ibt, .features = GUEST_SHSTK });
	enum place w;

	nested_prepare(n, GUEST_SHSTK, l2_bottom, 2, BOTTOM_BAD_RETURN, 0);
	vmwrite(n, EXCEPTION_BITMAP, 1u << VECTOR_CP);
	w = nested_enter(n);
	if (went(n, w, "exit 0, vector 21", "SHSTK alone: L2's bad return"))
		equals(n->error_code, CP_RET, "SHSTK alone: error code");
	changed(n, GUEST_S_CET, CET_ENDBR, "exit 0x80000021", "SHSTK alone, GUEST_S_CET.ENDBR_EN");
	changed(n, GUEST_S_CET, CET_SUPPRESS, "exit 0x80000021", "SHSTK alone, GUEST_S_CET.SUPPRESS");
	changed(n, HOST_S_CET, CET_ENDBR, "vmfail 8", "SHSTK alone, HOST_S_CET.ENDBR_EN");
	changed(n, GUEST_S_CET, CET_WRSS, "exit 18", "SHSTK alone, GUEST_S_CET.WR_SHSTK_EN");
	nested_destroy(n);
}

/* Reads and writes, and reports both results. */
static GUEST uint64_t l2_try(uint64_t msr, uint64_t value, uint64_t c)
{
	uint64_t old, read = g_rdmsr_safe(msr, &old);

	(void)c;
	g_call(CALL_L2, read, g_wrmsr_safe(msr, value), g_set_cr4(g_cr4() | CR4_CET));
	asm volatile("vmcall" : : : "memory");
	return 0;
}

/*
 * No CET in L1's CPUID. The controls and fields exist nevertheless, as natively: LOAD_CET depends on the VMX
 * capabilities, which KVM does not derive from CPUID. Using them is refused or has no effect.
 */
static void neither(void)
{
	static const uint32_t msrs[] = { MSR_U_CET,   MSR_S_CET,   MSR_PL0_SSP,	   MSR_PL1_SSP,
					 MSR_PL2_SSP, MSR_PL3_SSP, MSR_INT_SSP_TAB };
	struct nested *n = nested_create(&(struct nested_config) { .cpuid = hide_cet });
	const struct stop *s = &n->c->stop;
	unsigned int i;
	enum place w;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		l1(n, L1_RDMSR, msrs[i], 0);
		equals(n->status, FAULT(VECTOR_GP), "no CET: L1's RDMSR 0x%x: #GP", msrs[i]);
		l1(n, L1_WRMSR, msrs[i], 0);
		equals(n->status, FAULT(VECTOR_GP), "no CET: L1's WRMSR 0x%x: #GP", msrs[i]);
		nested_prepare(n, 0, l2_try, msrs[i], 0, 0);
		set_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
		set_bits(n, EXIT_CONTROLS, EXIT_LOAD_CET);
		w = nested_enter(n);
		if (went(n, w, "call 272", "no CET: L2 runs, with LOAD_CET")) {
			equals(s->a, FAULT(VECTOR_GP), "no CET: L2's RDMSR 0x%x: #GP", msrs[i]);
			equals(s->b, FAULT(VECTOR_GP), "no CET: L2's WRMSR 0x%x: #GP", msrs[i]);
			equals(s->c, FAULT(VECTOR_GP), "no CET: L2's CR4.CET: #GP");
		}
		w = nested_go(n);
		went(n, w, "exit 18", "no CET: L2's end");
	}
	changed(n, GUEST_S_CET, CET_SHSTK, "exit 0x80000021", "no CET, GUEST_S_CET.SHSTK_EN");
	changed(n, GUEST_S_CET, CET_ENDBR, "exit 0x80000021", "no CET, GUEST_S_CET.ENDBR_EN");
	changed(n, HOST_S_CET, CET_SHSTK, "vmfail 8", "no CET, HOST_S_CET.SHSTK_EN");
	changed(n, HOST_S_CET, CET_ENDBR, "vmfail 8", "no CET, HOST_S_CET.ENDBR_EN");
	changed(n, GUEST_CR4, CR4_CET, "exit 0x80000021", "no CET, GUEST_CR4.CET");
	changed(n, HOST_CR4, CR4_CET, "vmfail 8", "no CET, HOST_CR4.CET");
	changed(n, GUEST_SSP, 0x5550, "exit 18", "no CET, GUEST_SSP");
	changed(n, HOST_SSP, 0x5550, "exit 18", "no CET, HOST_SSP");
	l1(n, L1_CR4, l1(n, L1_RDMSR, MSR_VMX_CR4_FIXED1, 0) & (CR4_PAE | CR4_OSFXSR | CR4_OSXSAVE | CR4_VMXE), 0);
	equals(n->status, DONE, "no CET: L1 writes CR4");
	l1(n, L1_CR4, CR4_PAE | CR4_OSFXSR | CR4_OSXSAVE | CR4_VMXE | CR4_CET, 0);
	equals(n->status, FAULT(VECTOR_GP), "no CET: L1's CR4.CET: #GP");
	nested_destroy(n);
}

void test_partial(void)
{
	ibt_alone();
	shstk_alone();
	neither();
}

/*
 * L1 without EPT: with EPT of its own, KVM does not shadow L2's page tables then, the CPU walks those of L2. So shadow
 * stacks work, and another page does not work as one.
 */
static GUEST uint64_t l2_little(uint64_t depth, uint64_t b, uint64_t c)
{
	(void)b;
	(void)c;
	g_call(CALL_L2, nested_chain(depth, BOTTOM_NOTHING, 0), g_rdssp(), 0);
	asm volatile("vmcall" : : : "memory");
	return 0;
}

static void without_ept(unsigned int features, bool normal_page, const char *want, const char *name)
{
	struct nested *n = nested_create(NULL);
	enum place w;

	n->mail->eptp = 0;
	nested_prepare(n, features, l2_little, 3, 0, 0);
	if (!features)
		clear_bits(n, GUEST_CR4, CR4_CET);
	if (normal_page)
		vmwrite(n, GUEST_SSP, n->l2.page + PAGE);
	vmwrite(n, EXCEPTION_BITMAP, 1u << VECTOR_CP | 1u << VECTOR_PF | 1u << VECTOR_DF);
	/* In case KVM makes no progress there. */
	time_limit(200);
	w = nested_enter(n);
	if (went(n, w, want, "L1 without EPT: %s: %s", name, want) && w == AT_STOP) {
		equals(n->c->stop.a, 3, "L1 without EPT: %s: L2 returns from its calls", name);
		equals(n->c->stop.b, features & GUEST_SHSTK ? l2_ssp(n) - 8 : 0, "L1 without EPT: %s: L2's SSP", name);
		w = nested_go(n);
		went(n, w, "exit 18", "L1 without EPT: %s: L2's end", name);
	}
	if (w == AT_EXIT && n->reason == REASON_EXCEPTION)
		equals(n->error_code, PF_SHADOW_STACK | 3, "L1 without EPT: %s: error code", name);
	time_limit(0);
	nested_destroy(n);
}

void test_no_ept(void)
{
	without_ept(0, false, "call 272", "L2 without CET");
	without_ept(GUEST_IBT, false, "call 272", "L2 with IBT");
	without_ept(GUEST_SHSTK, false, "call 272", "L2 on a shadow stack");
	without_ept(GUEST_SHSTK, true, "exit 0, vector 14", "L2 on a page that is not a shadow stack");
}

/*
 * Many entries and failures, with all that may go wrong; the caller looks at the host afterwards.
 */
#define ROUNDS 40

static const struct {
	bool entry, exit;
	uint32_t field;
	uint64_t bits;
	const char *want;
} rounds[] = {
	{ true, true, GUEST_S_CET, 0, "exit 18" },
	{ true, true, GUEST_S_CET, 1 << 6, "exit 0x80000021" },	    /* KVM detects it */
	{ true, true, GUEST_S_CET, 1ull << 47, "exit 0x80000021" }, /* the CPU detects it */
	{ false, true, GUEST_S_CET, 0, "exit 18" },
	{ true, true, HOST_S_CET, 1 << 6, "vmfail 8" },
	{ true, false, GUEST_S_CET, 0, "exit 18" },
	{ true, true, ENTRY_INTR_INFO, INTR_VALID | INTR_CODE | INTR_SOFT | VECTOR_CP, "vmfail 7" },
	{ false, false, GUEST_S_CET, 0, "exit 18" },
	{ true, true, GUEST_SSP, 1, "exit 0x80000021" },
	{ true, true, GUEST_CR0, CR0_WP, "exit 0x80000021" },
};

void test_many(void)
{
	unsigned int good[ARRAY_SIZE(rounds)] = { 0 };
	struct nested *n = nested_create(NULL);
	uint64_t s_cet = host_rdmsr(MSR_S_CET);
	unsigned int i, j, clobbered = 0;

	nested_prepare(n, GUEST_SHSTK | GUEST_IBT, NULL, 0, 0, 0);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	n->repair = true;
	for (i = 0; i < ROUNDS; i++) {
		for (j = 0; j < ARRAY_SIZE(rounds); j++) {
			uint64_t old = vmread(n, rounds[j].field);
			enum place w;

			if (!rounds[j].entry)
				clear_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
			if (!rounds[j].exit)
				clear_bits(n, EXIT_CONTROLS, EXIT_LOAD_CET);
			vmwrite(n, rounds[j].field, old ^ rounds[j].bits);
			w = nested_enter(n);
			good[j] += !strcmp(where_text(n, w), rounds[j].want);
			if (w == AT_STOP)
				tap_bail("%s", stop_text(n->c));
			clobbered += host_rdmsr(MSR_S_CET) != s_cet;
			vmwrite(n, rounds[j].field, old);
			if (!rounds[j].entry) {
				set_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
				vmwrite(n, GUEST_S_CET, CET_SHSTK | CET_WRSS | CET_ENDBR);
				vmwrite(n, GUEST_SSP, l2_ssp(n));
			}
			if (!rounds[j].exit)
				set_bits(n, EXIT_CONTROLS, EXIT_LOAD_CET);
		}
	}
	for (j = 0; j < ARRAY_SIZE(rounds); j++)
		equals(good[j], ROUNDS, "round %u: always %s", j, rounds[j].want);
	equals(clobbered, 0, "the host's S_CET was right after each");
	nested_destroy(n);
}
