// SPDX-License-Identifier: GPL-2.0
/*
 * Nested SVM: every kind of #VMEXIT, with L2 deep in calls. VMRUN loads L2's state, #VMEXIT saves it and gives L1 its
 * own back; and what these do not switch is shared.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested-svm.h"

#define DEPTH 4

/* What L2 does at the bottom of its calls. */
enum bottom {
	B_CPUID,
	B_VMMCALL,
	B_HLT,
	B_UD,
	B_BAD_RETURN,
	B_RDMSR,
	B_TOUCH, /* a page that nested paging does not have */
	B_STOP,	 /* in the VMM */
};

static uint64_t touched, bottom_ssp;

static GUEST void do_bottom(uint64_t bottom)
{
	G_TRY_VARS(fault, error);
	uint32_t eax = 0, ecx = 0;

	bottom_ssp = g_rdssp();
	switch (bottom) {
	case B_CPUID:
		asm volatile("cpuid" : "+a"(eax), "+c"(ecx) : : "rbx", "rdx");
		break;
	case B_VMMCALL:
		asm volatile("vmmcall" : : : "memory");
		break;
	case B_HLT:
		asm volatile("hlt" : : : "memory");
		break;
	case B_UD:
		asm volatile(G_TRY("ud2") : G_TRY_OUT(fault, error) : : "memory");
		break;
	case B_BAD_RETURN:
		asm volatile("call svm_bad_return" : : : "memory");
		break;
	case B_RDMSR:
		(void)g_rdmsr(MSR_PL3_SSP);
		break;
	case B_TOUCH:
		(void)*(volatile uint64_t *)touched;
		break;
	case B_STOP:
		g_call(CALL_L2 + 2, 0, 0, 0);
		break;
	}
}

static GUEST uint64_t down(uint64_t depth, uint64_t bottom)
{
	uint64_t before;

	if (depth)
		return down(depth - 1, bottom) + 1;
	before = g_rdssp();
	do_bottom(bottom);
	return g_rdssp() == before ? 0 : 1000;
}

/* Its own state, then calls with an exit at their bottom, then an exception that the VMM sees. */
static GUEST uint64_t l2_main(uint64_t bottom, uint64_t page, uint64_t c)
{
	uint64_t i;

	(void)c;
	/* Nested paging gets its pages one by one; see machine_touch(). */
	for (i = CPU_IST1_PAGE; i <= CPU_SS_IST2_PAGE; i++)
		(void)*(volatile uint64_t *)(page + i * PAGE);
	g_call(CALL_L2, g_rdssp(), g_rdmsr(MSR_S_CET), g_rdmsr(MSR_INT_SSP_TAB));
	i = down(DEPTH, bottom);
	g_call(CALL_L2 + 1, i, g_rdssp(), g_rdmsr(MSR_S_CET));
	asm volatile("ud2");
	return 0;
}

struct exit_case {
	const char *name;
	uint64_t bottom, intercepts;
	uint32_t exceptions;
	const char *want;    /* where it ends */
	unsigned int length; /* of the instruction */
};

static const struct exit_case cases[] = {
	{ "CPUID", B_CPUID, INTERCEPT_CPUID, 0, "exit 0x72", 2 },
	{ "VMMCALL", B_VMMCALL, 0, 0, "exit 0x81", 3 },
	{ "HLT", B_HLT, INTERCEPT_HLT, 0, "exit 0x78", 1 },
	{ "#UD intercepted", B_UD, 0, 1u << VECTOR_UD, "exit 0x46", 2 },
	{ "#UD not intercepted", B_UD, 0, 0, "call 273", 0 },
	{ "RDMSR", B_RDMSR, 0, 0, "exit 0x7c", 2 },
	{ "NMI", B_STOP, INTERCEPT_NMI, 0, "exit 0x61", 0 },
	{ "interrupt", B_STOP, INTERCEPT_INTR, 0, "exit 0x60", 0 },
	{ "nested page fault", B_TOUCH, 0, 0, "exit 0x400", 0 },
	{ "#CP injected", B_VMMCALL, 0, 0, "exit 0x81", 3 },
	{ "#CP intercepted", B_BAD_RETURN, 0, 1u << VECTOR_CP, "exit 0x55", 0 },
	{ "#CP not intercepted", B_BAD_RETURN, 0, 0, "#CP(1)", 0 },
};

struct run {
	struct nested *n;
	bool cet; /* L2 has shadow stacks */
	struct triple l2;
	char name[120];
};

static uint64_t ssp_if(const struct run *r, uint64_t ssp)
{
	return r->cet ? ssp : 0;
}

/* In L2's handler of an exception. */
static uint64_t ssp_in_handler(const struct run *r)
{
	return handler_ssp(cpu_shadow_stack(&r->n->l2, CPU_SS_IST1_PAGE));
}

static void start(struct run *r)
{
	struct nested *n = r->n;
	struct triple now;
	enum place w;

	r->l2 = vmcb_triple(n);
	w = nested_enter(n);
	went(n, w, "call 272", "%s: L2 starts", r->name);
	/* In l2_main(), called by g_start(). */
	if (r->cet)
		r->l2.ssp -= 8;
	equals(n->c->stop.a, ssp_if(r, r->l2.ssp), "%s: L2 has its SSP", r->name);
	equals(n->c->stop.b, r->l2.s_cet, "%s: L2 has its S_CET", r->name);
	equals(n->c->stop.c, r->l2.table, "%s: L2 has its INT_SSP_TAB", r->name);
	now = triple_of(n->c);
	same_triple(&now, &r->l2, "%s: the VMM reads L2's state", r->name);
}

/* After an exit at the bottom: the VMCB has L2's state, L1 has its own. */
static void exited(struct run *r, uint64_t below)
{
	struct triple want = r->l2, got = vmcb_triple(r->n);

	if (r->cet)
		want.ssp = *in_guest(r->n->m, &bottom_ssp) - below;
	same_triple(&got, &want, "%s: the exit saves L2's state", r->name);
	l1_intact(r->n, r->name);
}

/* The right return address for svm_bad_return(), which was called from where its shadow stack says. */
static void repair_return(struct run *r, uint64_t rsp, uint64_t ssp)
{
	memcpy(machine_at(r->n->m, rsp), machine_at(r->n->m, ssp), 8);
}

static uint64_t npte(struct nested *n, uint64_t gpa)
{
	return n->npt + 3 * PAGE + gpa / PAGE * 8;
}

static void map_nested(struct nested *n, uint64_t gpa, uint64_t bits)
{
	l1(n, L1_STORE, npte(n, gpa), bits ? gpa | bits : 0, NULL);
}

static void handle_exit(struct run *r, const struct exit_case *t)
{
	struct nested *n = r->n;

	exited(r, t->bottom == B_BAD_RETURN ? 8 : 0);
	svm_skip(n, t->length);
	if (t->bottom == B_BAD_RETURN) {
		equals(n->info1, CP_RET, "%s: the error code", r->name);
		repair_return(r, vmcb_get(n, VMCB_RSP), vmcb_get(n, VMCB_SSP));
	}
	if (t->bottom == B_TOUCH)
		map_nested(n, *in_guest(n->m, &touched), 0x67);
	vmcb_put(n, VMCB_EXCEPTIONS, (uint32_t)(vmcb_get(n, VMCB_EXCEPTIONS) >> 32) * 0x100000000ull);
	if (strstr(t->name, "injected"))
		vmcb_put(n, VMCB_EVENTINJ, INJECT_EXCEPTION(VECTOR_CP, CP_RET));
}

/* L2's handler has a #CP. */
static void handle_cp(struct run *r, enum place w, bool repair)
{
	struct exception_frame *f;

	if (!went(r->n, w, "#CP(1)", "%s: L2's handler gets it", r->name))
		return;
	f = r->n->c->stop.frame;
	equals(f->ssp, ssp_if(r, ssp_in_handler(r)), "%s: on the shadow stack of INT_SSP_TAB", r->name);
	if (repair)
		repair_return(r, f->rsp, *in_guest(r->n->m, &bottom_ssp) - 8);
}

static void finish(struct run *r, enum place w)
{
	struct nested *n = r->n;
	struct triple want = r->l2, got;

	if (went(n, w, "call 273", "%s: L2 goes on", r->name))
		equals(n->c->stop.a, DEPTH, "%s: and returns from its calls", r->name);
	equals(n->c->stop.b, ssp_if(r, r->l2.ssp), "%s: L2's SSP is right", r->name);
	equals(n->c->stop.c, r->l2.s_cet, "%s: L2's S_CET is right", r->name);
	w = nested_go(n);
	if (went(n, w, "#UD", "%s: L2 takes an exception", r->name))
		equals(n->c->stop.frame->ssp, ssp_if(r, ssp_in_handler(r)), "%s: on its shadow stack for that",
		       r->name);
	w = nested_leave(n);
	went(n, w, "exit 0x81", "%s: L2 exits in its handler", r->name);
	if (r->cet)
		want.ssp = ssp_in_handler(r);
	got = vmcb_triple(n);
	same_triple(&got, &want, "%s: the VMCB has its state there", r->name);
	l1_intact(n, r->name);
}

static void one_exit(struct run *r, const struct exit_case *t)
{
	struct nested *n = r->n;
	enum place w;

	svm_prepare(n, r->cet, l2_main, t->bottom, n->l2.page, 0);
	vmcb_set(n, VMCB_INTERCEPTS, t->intercepts);
	vmcb_set(n, VMCB_EXCEPTIONS, t->exceptions);
	svm_intercept_msr(n, MSR_PL3_SSP, t->bottom == B_RDMSR, false);
	if (t->bottom == B_TOUCH) {
		*in_guest(n->m, &touched) = machine_alloc(n->m, 1);
		map_nested(n, *in_guest(n->m, &touched), 0);
	}
	start(r);
	w = nested_go(n);
	if (t->bottom == B_STOP) {
		went(n, w, "call 274", "%s: L2 is deep in calls", r->name);
		if (t->intercepts == INTERCEPT_INTR)
			svm_interrupt(n);
		else if (ioctl(n->c->io.vcpu, KVM_NMI))
			tap_bail("KVM_NMI");
		w = nested_go(n);
		equals(n->l1_interrupts, 1, "%s: L1 gets it after the exit", r->name);
		n->l1_interrupts = 0;
	}
	if (w == AT_STOP && n->c->stop.kind == STOP_EXCEPTION && n->c->stop.frame->vector == VECTOR_CP) {
		handle_cp(r, w, true);
		w = nested_go(n);
	} else if (w == AT_EXIT) {
		went(n, w, t->want, "%s: L2 exits", r->name);
		handle_exit(r, t);
		w = nested_enter(n);
		if (strstr(t->name, "injected")) {
			handle_cp(r, w, false);
			w = nested_go(n);
		}
	}
	tap_ok(w != AT_STOP || n->c->stop.kind == STOP_CALL, "%s: L2 goes on from there", r->name);
	finish(r, w);
}

/* A triple fault at the bottom, which L1 intercepts. L2 is gone then. */
static void shutdown(struct run *r)
{
	struct nested *n = r->n;
	struct triple got;
	enum place w;

	svm_prepare(n, r->cet, l2_main, B_VMMCALL, n->l2.page, 0);
	vmcb_set(n, VMCB_INTERCEPTS, INTERCEPT_SHUTDOWN);
	start(r);
	w = nested_go(n);
	went(n, w, "exit 0x81", "%s: L2 is deep in calls", r->name);
	/* An IDT of no size. */
	vmcb_put(n, VMCB_SEG(8), 0);
	vmcb_put(n, VMCB_RIP, (uintptr_t)svm_elsewhere + 4);
	w = nested_enter(n);
	went(n, w, "exit 0x7f", "%s: L2 shuts down", r->name);
	got = vmcb_triple(n);
	tap_fact(r->name, "0x%llx 0x%llx", (unsigned long long)got.s_cet, (unsigned long long)got.table);
	l1_intact(n, r->name);
}

/* A nested page fault of a shadow-stack access. */
static void shadow_page_fault(struct run *r)
{
	struct nested *n = r->n;
	uint64_t page = l2_ssp(n) & ~(PAGE - 1);
	struct triple want, got;
	enum place w;

	svm_prepare(n, r->cet, l2_main, B_VMMCALL, n->l2.page, 0);
	want = vmcb_triple(n);
	map_nested(n, page, 0);
	w = nested_enter(n);
	went(n, w, "exit 0x400", "%s: L2 exits at its first call", r->name);
	tap_fact(r->name, "error code 0x%llx", (unsigned long long)n->info1);
	equals(vmcb_get(n, VMCB_INFO2) & ~(PAGE - 1), page, "%s: the address", r->name);
	got = vmcb_triple(n);
	same_triple(&got, &want, "%s: SSP is as before the call", r->name);
	l1_intact(n, r->name);
	map_nested(n, page, 0x67);
	w = nested_enter(n);
	went(n, w, "call 272", "%s: L2 goes on", r->name);
	nested_leave(n);
}

static GUEST uint64_t l2_reads_and_writes(uint64_t address, uint64_t b, uint64_t c)
{
	(void)b;
	(void)c;
	(void)*(volatile uint64_t *)address;
	asm volatile("vmmcall");
	*(volatile uint64_t *)address = 1;
	asm volatile("vmmcall");
	return 0;
}

/*
 * L1's table has a page for reading, and L2 reads it. Then the VMM, not L1, removes it from the table, which KVM does
 * not notice: the CPU finds a page that is read-only when L2 writes, and KVM none. L1 is told what KVM found.
 */
void check_page_fault_bits(struct nested *n, const char *name)
{
	uint64_t page = machine_alloc(n->m, 1);
	enum place w;

	svm_prepare(n, false, l2_reads_and_writes, page, 0, 0);
	map_nested(n, page, 0x65);
	w = nested_enter(n);
	went(n, w, "exit 0x81", "%s: L2 reads", name);
	svm_skip(n, 3);
	memset(machine_at(n->m, npte(n, page)), 0, 8);
	w = nested_enter(n);
	went(n, w, "exit 0x400", "%s: L2 writes", name);
	equals(n->info1, 0x100000006, "%s: a write to a page that is not present", name);
	map_nested(n, page, 0x67);
	w = nested_enter(n);
	went(n, w, "exit 0x81", "%s: L2 goes on", name);
}

static void all_exits(bool l1_cet, bool npt)
{
	const struct svm_config config = {
		.features = l1_cet ? GUEST_SHSTK : 0, .no_features = !l1_cet, .npt = npt, .irqchip = true
	};
	struct run r = { .n = svm_create(&config) };
	unsigned int i, cet;

	for (cet = 0; cet < 2; cet++) {
		char kind[60];

		r.cet = cet;
		snprintf(kind, sizeof(kind), "L1 %s, L2 %s%s", l1_cet ? "on" : "off", cet ? "on" : "off",
			 npt ? "" : ", no nested paging");
		for (i = 0; i < ARRAY_SIZE(cases); i++) {
			/* Without shadow stacks there is no such fault. */
			if ((!cet && cases[i].bottom == B_BAD_RETURN) || (!npt && cases[i].bottom == B_TOUCH))
				continue;
			snprintf(r.name, sizeof(r.name), "%s: %s", kind, cases[i].name);
			one_exit(&r, &cases[i]);
		}
		snprintf(r.name, sizeof(r.name), "%s: shutdown", kind);
		shutdown(&r);
		if (npt && !cet) {
			snprintf(r.name, sizeof(r.name), "%s: page that the VMM removes", kind);
			check_page_fault_bits(r.n, r.name);
		}
		if (npt && cet) {
			snprintf(r.name, sizeof(r.name), "%s: page fault of a shadow stack", kind);
			shadow_page_fault(&r);
		}
	}
	nested_destroy(r.n);
}

void test_exits(void)
{
	all_exits(true, true);
	all_exits(false, true);
	all_exits(true, false);
}

/* ---- What VMRUN and #VMEXIT do not switch ---- */

static const uint32_t shared[] = { MSR_U_CET, MSR_PL0_SSP, MSR_PL1_SSP, MSR_PL2_SSP, MSR_PL3_SSP };

static GUEST uint64_t l2_shared(uint64_t msr, uint64_t value, uint64_t c)
{
	(void)c;
	g_call(CALL_L2, g_rdmsr(msr), 0, 0);
	g_wrmsr(msr, value);
	g_call(CALL_L2 + 1, g_rdmsr(msr), 0, 0);
	asm volatile("vmmcall");
	g_call(CALL_L2 + 2, g_rdmsr(msr), 0, 0);
	return 0;
}

void test_shared(void)
{
	struct nested *n = svm_create(&(struct svm_config) { .npt = true });
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(shared); i++) {
		uint64_t msr = shared[i], one = msr == MSR_U_CET ? CET_SHSTK : 0x1110,
			 two = msr == MSR_U_CET ? CET_SHSTK | CET_WRSS : 0x2220, three = msr == MSR_U_CET ? 0 : 0x3330;
		uint64_t value;
		enum place w;

		equals(l1(n, L1_WRMSR, msr, one, NULL), 0, "MSR 0x%x: L1 writes", shared[i]);
		svm_prepare(n, true, l2_shared, msr, two, 0);
		w = nested_enter(n);
		if (went(n, w, "call 272", "MSR 0x%x: L2 starts", shared[i]))
			equals(n->c->stop.a, one, "MSR 0x%x: L2 reads what L1 wrote", shared[i]);
		w = nested_go(n);
		if (went(n, w, "call 273", "MSR 0x%x: L2 writes", shared[i]))
			equals(n->c->stop.a, two, "MSR 0x%x: and reads it", shared[i]);
		equals(cpu_rdmsr(n->c, msr), two, "MSR 0x%x: so does the VMM", shared[i]);
		w = nested_go(n);
		went(n, w, "exit 0x81", "MSR 0x%x: L2 exits", shared[i]);
		l1(n, L1_RDMSR, msr, 0, &value);
		equals(value, two, "MSR 0x%x: L1 reads what L2 wrote", shared[i]);
		l1(n, L1_WRMSR, msr, three, NULL);
		svm_skip(n, 3);
		w = nested_enter(n);
		if (went(n, w, "call 274", "MSR 0x%x: L2 goes on", shared[i]))
			equals(n->c->stop.a, three, "MSR 0x%x: and reads what L1 wrote then", shared[i]);
		cpu_wrmsr(n->c, msr, one);
		nested_leave(n);
		l1(n, L1_RDMSR, msr, 0, &value);
		equals(value, one, "MSR 0x%x: L1 reads what the VMM wrote while L2 was active", shared[i]);
		l1(n, L1_WRMSR, msr, 0, NULL);
	}
	nested_destroy(n);
}
