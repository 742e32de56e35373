// SPDX-License-Identifier: GPL-2.0
/* Nested VMX: exceptions that L1 injects or intercepts, and L2's CET MSRs with L1's MSR bitmap. */
#include <string.h>

#include "nested-vmx.h"

/* Executes VMCALL, then does what the arguments say. */
static GUEST uint64_t l2_chain(uint64_t depth, uint64_t bottom, uint64_t unused)
{
	(void)unused;
	asm volatile("vmcall" : : : "memory");
	g_call(CALL_L2, nested_chain(depth, bottom, CALL_L2 + 1), 0, 0);
	return 0;
}

static void warm_up(struct nested *n, unsigned int features, uint64_t depth, uint64_t bottom)
{
	enum place w;

	nested_prepare(n, features, l2_chain, depth, bottom, 0);
	w = nested_enter(n);
	if (w != AT_EXIT || n->reason != REASON_VMCALL)
		tap_bail("L2 does not start: %s", where_text(n, w));
	nested_skip(n);
}

/*
 * Injection. What arrives in L2 is read from its stack: with an error code where the vector has none, or without
 * where it has one, the frame that the library's handler leaves is shifted by a word.
 */
#define CODE 3

struct injection {
	const char *name;
	uint32_t info;
	uint32_t code;
	const char *any;   /* with BASIC_ANY_ERROR_CODE */
	const char *fixed; /* without */
};

#define IN_L2	   "in L2"
#define IN_L2_CODE "in L2 with code"
#define REFUSED	   "vmfail 7"

static const struct injection injections[] = {
	{ "#CP with a code", VECTOR_CP | INTR_HARD | INTR_CODE, CODE, IN_L2_CODE, REFUSED },
	{ "#CP without", VECTOR_CP | INTR_HARD, 0, IN_L2, IN_L2 },
	{ "#PF with a code", VECTOR_PF | INTR_HARD | INTR_CODE, CODE, IN_L2_CODE, IN_L2_CODE },
	{ "#PF without", VECTOR_PF | INTR_HARD, 0, IN_L2, REFUSED },
	{ "#UD with a code", VECTOR_UD | INTR_HARD | INTR_CODE, CODE, IN_L2_CODE, REFUSED },
	{ "#UD without", VECTOR_UD | INTR_HARD, 0, IN_L2, IN_L2 },
	{ "#CP with a code of 16 bits", VECTOR_CP | INTR_HARD | INTR_CODE, 0x8000, IN_L2_CODE, REFUSED },
	{ "#CP with a code of 17 bits", VECTOR_CP | INTR_HARD | INTR_CODE, 0x10000, REFUSED, REFUSED },
	{ "interrupt 21 with a code", VECTOR_CP | INTR_EXTERNAL | INTR_CODE, CODE, REFUSED, REFUSED },
	{ "interrupt 21 without", VECTOR_CP | INTR_EXTERNAL, 0, IN_L2, IN_L2 },
	{ "software interrupt 21 with a code", VECTOR_CP | INTR_SOFT | INTR_CODE, CODE, REFUSED, REFUSED },
	{ "software exception 21 with a code", VECTOR_CP | INTR_SOFT_EXCEPTION | INTR_CODE, CODE, REFUSED, REFUSED },
	{ "#CP with a reserved bit", VECTOR_CP | INTR_HARD | INTR_CODE | 1 << 12, CODE, REFUSED, REFUSED },
	{ "vector 32 as an exception", 32 | INTR_HARD, 0, REFUSED, REFUSED },
};

static const char *arrived(struct nested *n, enum place w, const struct injection *t)
{
	const struct exception_frame *f = n->c->stop.frame;
	const uint64_t *p;
	unsigned int vector = t->info & 255;

	if (w != AT_STOP || n->c->stop.kind != STOP_EXCEPTION || f->vector != vector)
		return where_text(n, w);
	/* The stub has pushed a word for vectors that have no code of the CPU's. */
	p = &f->vector + (vector == VECTOR_UD ? 2 : 1);
	if (p[1] == SEL_CODE64)
		return p[0] == (uintptr_t)nested_vmcall ? IN_L2 : "in L2 with a wrong RIP";
	if (p[2] == SEL_CODE64 && p[0] == t->code)
		return p[1] == (uintptr_t)nested_vmcall ? IN_L2_CODE : "in L2 with a wrong RIP";
	return "in L2 with a wrong frame";
}

static void inject(struct nested *n, const struct injection *t, bool any)
{
	const char *got, *want = any ? t->any : t->fixed;
	struct triple before = triple_now(n), now;
	enum place w;

	nested_fresh_tokens(n);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	vmwrite(n, GUEST_RSP, cpu_stack(&n->l2, CPU_STACK_PAGE, 2));
	vmwrite(n, GUEST_SSP, l2_ssp(n));
	vmwrite(n, GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	vmwrite(n, ENTRY_INTR_INFO, t->info | INTR_VALID);
	vmwrite(n, ENTRY_ERROR_CODE, t->code);
	vmwrite(n, ENTRY_LENGTH, 2);
	w = nested_enter(n);
	got = arrived(n, w, t);
	tap_ok(!strcmp(got, want), "%s: %s: %s", any ? "BASIC[56]" : "no BASIC[56]", t->name, want);
	if (strcmp(got, want))
		tap_diag("got: %s", got);
	if (w == AT_STOP)
		nested_leave(n);
	vmwrite(n, ENTRY_INTR_INFO, 0);
	now = triple_now(n);
	tap_ok(same(&now, &before), "%s: L1 is as before", t->name);
}

static void injections_of(bool any)
{
	struct nested_config config = { .features = GUEST_SHSTK | GUEST_IBT };
	struct nested *n;
	unsigned int i;

	if (!any) {
		config.msr = MSR_VMX_BASIC;
		config.clear = BASIC_ANY_ERROR_CODE;
	}
	n = nested_create(&config);
	tap_ok(!(l1(n, L1_RDMSR, MSR_VMX_BASIC, 0) & BASIC_ANY_ERROR_CODE) == !any, "VMX_BASIC[56] is %u", any);
	warm_up(n, GUEST_SHSTK, 0, BOTTOM_NOTHING);
	for (i = 0; i < ARRAY_SIZE(injections); i++)
		inject(n, &injections[i], any);
	nested_destroy(n);
}

void test_injection(void)
{
	injections_of(true);
	injections_of(false);
}

/*
 * L2's own #CP: to L1 if its exception bitmap says so, else L2's.
 */
static void intercept(struct nested *n, bool l1s, uint64_t bottom)
{
	const char *name = bottom == BOTTOM_BAD_RETURN ? "bad return" : "bad jump";
	uint64_t code = bottom == BOTTOM_BAD_RETURN ? CP_RET : CP_ENDBRANCH;
	uint64_t rip = (uintptr_t)(bottom == BOTTOM_BAD_RETURN ? nested_bad_return : nested_bad_target);
	enum place w;

	warm_up(n, GUEST_SHSTK | GUEST_IBT, 3, bottom);
	vmwrite(n, EXCEPTION_BITMAP, l1s ? 1u << VECTOR_CP : ~(1u << VECTOR_CP));
	w = nested_enter(n);
	if (!l1s) {
		if (went(n, w, bottom == BOTTOM_BAD_RETURN ? "#CP(1)" : "#CP(3)", "%s, not intercepted: L2 handles it",
			 name))
			equals(n->c->stop.frame->rip, rip, "%s, not intercepted: where it happened", name);
		nested_leave(n);
		return;
	}
	if (!went(n, w, "exit 0, vector 21", "%s, intercepted: L1 gets it", name))
		return;
	equals(n->intr_info, INTR_VALID | INTR_CODE | INTR_HARD | VECTOR_CP, "%s, intercepted: what it is", name);
	equals(n->error_code, code, "%s, intercepted: error code", name);
	equals(vmread(n, GUEST_RIP), rip, "%s, intercepted: where it happened", name);
	equals(vmread(n, GUEST_SSP), l2_ssp(n) - 5 * 8, "%s, intercepted: L2's SSP is that of the fault", name);
	equals(vmread(n, GUEST_S_CET),
	       CET_SHSTK | CET_WRSS | CET_ENDBR | (bottom == BOTTOM_BAD_JUMP ? CET_WAIT_ENDBR : 0),
	       "%s, intercepted: L2's S_CET with the tracker", name);
	if (bottom != BOTTOM_BAD_JUMP)
		return;
	/* The stored tracker matters when L2 continues. */
	w = nested_enter(n);
	went(n, w, "exit 0, vector 21", "entered at the same place: #CP again");
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	w = nested_enter(n);
	went(n, w, "exit 18", "entered at an ENDBR: none");
	equals(vmread(n, GUEST_S_CET), CET_SHSTK | CET_WRSS | CET_ENDBR, "the tracker is idle then");
	vmwrite(n, GUEST_RIP, rip);
	set_bits(n, GUEST_S_CET, 0);
	w = nested_enter(n);
	went(n, w, "call 272", "entered at the bad target with an idle tracker: L2 goes on to its end");
	nested_leave(n);
}

/* The same for L1: an exit may load a state in which its tracker waits. */
static void wait_in_l1(void)
{
	static const struct {
		bool bare;
		const char *want;
	} ways[] = { { false, "exit 18" }, { true, "#CP(3)" } };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		struct nested *n = nested_create(NULL);
		enum place w;

		nested_prepare(n, GUEST_SHSTK, NULL, 0, 0, 0);
		vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
		vmwrite(n, HOST_RIP, ways[i].bare ? (uintptr_t)nested_exit_bare : (uintptr_t)nested_exit);
		set_bits(n, HOST_S_CET, CET_WAIT_ENDBR);
		w = nested_enter(n);
		went(n, w, ways[i].want, "HOST_S_CET waits for an ENDBR, HOST_RIP is %s: %s",
		     ways[i].bare ? "none" : "one", ways[i].want);
		nested_destroy(n);
	}
	for (i = 0; i < 2; i++) {
		struct nested *n = nested_create(NULL);
		enum place w;

		nested_prepare(n, GUEST_SHSTK, NULL, 0, 0, 0);
		vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
		vmwrite(n, HOST_SSP, triple_now(n).ssp - 16 + (i ? 8 : 0));
		w = nested_enter_as_is(n);
		went(n, w, i ? "#CP(1)" : "exit 18", "HOST_SSP is %s: L1 %s", i ? "8 off" : "right",
		     i ? "gets #CP" : "goes on");
		nested_destroy(n);
	}
}

void test_interception(void)
{
	struct nested *n = nested_create(NULL);
	unsigned int i;

	for (i = 0; i < 4; i++)
		intercept(n, i & 1, i & 2 ? BOTTOM_BAD_JUMP : BOTTOM_BAD_RETURN);
	nested_destroy(n);
	wait_in_l1();
}

/*
 * L2's CET MSRs.
 */
#define BITMAP_READ  0x000
#define BITMAP_WRITE 0x800

static void bitmap_set(struct nested *n, unsigned int part, uint32_t msr)
{
	uint8_t *bitmap = machine_at(n->m, n->mail->bitmap);

	bitmap[part + msr / 8] |= 1 << msr % 8;
}

/* Reads, writes, reads. */
static GUEST uint64_t l2_msr(uint64_t msr, uint64_t value, uint64_t c)
{
	uint64_t old = 0, new = 0, write;

	(void)c;
	g_rdmsr_safe(msr, &old);
	write = g_wrmsr_safe(msr, value);
	g_rdmsr_safe(msr, &new);
	g_call(CALL_L2, old, write, new);
	asm volatile("vmcall" : : : "memory");
	return 0;
}

static const struct l2_msr {
	uint32_t msr;
	const char *name;
	uint64_t good, bad;
	bool shared;	/* with L1: not switched by VMX */
	uint32_t field; /* of the VMCS */
} l2_msrs[] = {
	{ MSR_U_CET, "U_CET", CET_SHSTK | CET_ENDBR, 1 << 6, true, 0 },
	{ MSR_S_CET, "S_CET", CET_SHSTK | CET_WRSS | S_CET_NOTRACK, 1 << 6, false, GUEST_S_CET },
	{ MSR_PL0_SSP, "PL0_SSP", 0x11110, 1, true, 0 },
	{ MSR_PL1_SSP, "PL1_SSP", 0x11120, 2, true, 0 },
	{ MSR_PL2_SSP, "PL2_SSP", 0x11130, 1, true, 0 },
	{ MSR_PL3_SSP, "PL3_SSP", 0x11140, 1ull << 47, true, 0 },
	{ MSR_INT_SSP_TAB, "INT_SSP_TAB", 0x11150, 1ull << 47, false, GUEST_SSP_TABLE },
};

static void allowed(struct nested *n, const struct l2_msr *t)
{
	uint64_t mine = cpu_rdmsr(n->c, t->msr), fresh;
	const struct stop *s = &n->c->stop;
	enum place w;

	nested_prepare(n, GUEST_SHSTK, l2_msr, t->msr, t->good, 0);
	fresh = t->field ? vmread(n, t->field) : mine;
	w = nested_enter(n);
	if (!went(n, w, "call 272", "%s, allowed: L1 is not asked", t->name))
		return;
	equals(s->a, fresh, "%s, allowed: L2 reads %s", t->name, t->shared ? "L1's" : "its own");
	equals(s->b, DONE, "%s, allowed: L2 writes", t->name);
	equals(s->c, t->good, "%s, allowed: L2 reads it back", t->name);
	equals(cpu_rdmsr(n->c, t->msr), t->good, "%s, allowed: so does the VMM", t->name);
	w = nested_go(n);
	went(n, w, "exit 18", "%s, allowed: L2's end", t->name);
	if (t->field)
		equals(vmread(n, t->field), t->good, "%s, allowed: the VMCS has it", t->name);
	equals(l1(n, L1_RDMSR, t->msr, 0), t->shared ? t->good : mine, "%s, allowed: L1 %s", t->name,
	       t->shared ? "sees it" : "has its own");
	cpu_wrmsr(n->c, t->msr, mine);

	nested_prepare(n, GUEST_SHSTK, l2_msr, t->msr, t->bad, 0);
	w = nested_enter(n);
	if (went(n, w, "call 272", "%s, a bad value: L1 is not asked", t->name)) {
		equals(s->b, FAULT(VECTOR_GP), "%s, a bad value: #GP in L2", t->name);
		equals(s->c, fresh, "%s, a bad value: nothing changed", t->name);
	}
	w = nested_go(n);
	went(n, w, "exit 18", "%s, a bad value: L2's end", t->name);
}

static void intercepted(struct nested *n, const struct l2_msr *t)
{
	uint64_t *gprs = in_guest(n->m, &nested_gprs[0]);
	uint64_t mine = cpu_rdmsr(n->c, t->msr), fresh;
	const struct stop *s = &n->c->stop;
	enum place w;

	nested_prepare(n, GUEST_SHSTK, l2_msr, t->msr, t->good, 0);
	fresh = t->field ? vmread(n, t->field) : mine;
	bitmap_set(n, BITMAP_WRITE, t->msr);
	w = nested_enter(n);
	went(n, w, "exit 32", "%s, writes intercepted: L1 gets the write", t->name);
	equals(gprs[L2_RCX], t->msr, "%s, writes intercepted: of this MSR", t->name);
	equals((uint32_t)gprs[L2_RAX], (uint32_t)t->good, "%s, writes intercepted: of this value", t->name);
	nested_skip(n);
	w = nested_enter(n);
	if (went(n, w, "call 272", "%s, writes intercepted: L2 goes on", t->name)) {
		equals(s->a, fresh, "%s, writes intercepted: L2 reads", t->name);
		equals(s->c, fresh, "%s, writes intercepted: nothing was written", t->name);
	}
	w = nested_go(n);
	went(n, w, "exit 18", "%s, writes intercepted: L2's end", t->name);

	nested_prepare(n, GUEST_SHSTK, l2_msr, t->msr, t->good, 0);
	bitmap_set(n, BITMAP_READ, t->msr);
	w = nested_enter(n);
	went(n, w, "exit 31", "%s, reads intercepted: L1 gets the first", t->name);
	gprs[L2_RAX] = 0x1234;
	gprs[L2_RDX] = 0x5678;
	nested_skip(n);
	w = nested_enter(n);
	went(n, w, "exit 31", "%s, reads intercepted: L1 gets the second", t->name);
	gprs[L2_RAX] = 0x9abc;
	gprs[L2_RDX] = 0;
	nested_skip(n);
	w = nested_enter(n);
	if (went(n, w, "call 272", "%s, reads intercepted: L2 goes on", t->name)) {
		equals(s->a, 0x567800001234, "%s, reads intercepted: L2 gets what L1 says", t->name);
		equals(s->c, 0x9abc, "%s, reads intercepted: twice", t->name);
		equals(cpu_rdmsr(n->c, t->msr), t->good, "%s, reads intercepted: the write was done", t->name);
	}
	w = nested_go(n);
	went(n, w, "exit 18", "%s, reads intercepted: L2's end", t->name);
	cpu_wrmsr(n->c, t->msr, mine);

	nested_prepare(n, GUEST_SHSTK, l2_msr, t->msr, t->good, 0);
	clear_bits(n, PROC_CONTROLS, PROC_BITMAPS);
	w = nested_enter(n);
	went(n, w, "exit 31", "%s, no bitmap: L1 gets the read", t->name);
	nested_skip(n);
	w = nested_enter(n);
	went(n, w, "exit 32", "%s, no bitmap: L1 gets the write", t->name);
}

static GUEST uint64_t l2_reads(uint64_t msr, uint64_t count, uint64_t c)
{
	(void)c;
	g_call(CALL_L2, 0, 0, 0);
	while (count--)
		g_rdmsr(msr);
	g_call(CALL_L2 + 1, 0, 0, 0);
	return 0;
}

/* Accesses that both bitmaps allow do not even exit to KVM. INT_SSP_TAB always does. */
static void exits(struct nested *n, const struct l2_msr *t)
{
	const uint64_t reads = 100;
	bool all = t->msr == MSR_INT_SSP_TAB;
	uint64_t before, more;
	enum place w;

	nested_prepare(n, GUEST_SHSTK, l2_reads, t->msr, reads, 0);
	w = nested_enter(n);
	before = exits_of(n);
	if (w == AT_STOP)
		w = nested_go(n);
	more = exits_of(n) - before;
	went(n, w, "call 273", "%s, read often", t->name);
	tap_ok(all ? more >= reads : more < reads / 2, "%s, read %u times: %s exits", t->name, (unsigned int)reads,
	       all ? "as many" : "few");
	if (all ? more < reads : more >= reads / 2)
		tap_diag("%llu", (unsigned long long)more);
	nested_leave(n);
}

void test_msr_bitmap(void)
{
	struct nested *n = nested_create(NULL);
	unsigned int i;

	/* Natively from the start, with ours once one of PL0_SSP to PL2_SSP is in use. */
	cpu_wrmsr(n->c, MSR_PL0_SSP, 0x99990);
	for (i = 0; i < ARRAY_SIZE(l2_msrs); i++) {
		allowed(n, &l2_msrs[i]);
		intercepted(n, &l2_msrs[i]);
		exits(n, &l2_msrs[i]);
	}
	nested_destroy(n);
}
