// SPDX-License-Identifier: GPL-2.0
/*
 * Nested SVM: random sequences of what the other files test one by one. There are two L2s, each with a VMCB, stacks and
 * a state of its own, and L1 with its own; a model of all three is compared after each step.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "smram.h"
#include "nested-svm.h"

unsigned int stress_rounds = 150, stress_seed = 1;

static uint64_t random_state;

static unsigned int below(unsigned int n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (random_state >> 33) % n;
}

/* What L2 is told to do. */
enum task { T_CALLS, T_EXCEPTION, T_WRITE_S_CET, T_WRITE_TABLE, T_WRITE_SHARED, T_EXIT, T_CPUID, TASKS };

static GUEST uint64_t depth_of(uint64_t depth)
{
	return depth ? depth_of(depth - 1) + 1 : 0;
}

static struct {
	uint64_t task, value;
} order;

/* Reports its state and does a task, in an endless loop. */
static GUEST uint64_t l2_serves(uint64_t page, uint64_t b, uint64_t c)
{
	G_TRY_VARS(fault, error);
	uint64_t result = 0, i;
	uint32_t eax, ecx;

	(void)b;
	(void)c;
	for (i = CPU_IST1_PAGE; i <= CPU_SS_IST2_PAGE; i++)
		(void)*(volatile uint64_t *)(page + i * PAGE);
	for (;;) {
		g_call(CALL_L2, g_rdssp(), g_rdmsr(MSR_S_CET), g_rdmsr(MSR_INT_SSP_TAB));
		g_call(CALL_L2 + 1, result, g_rdmsr(MSR_PL1_SSP), 0);
		switch (*(volatile uint64_t *)&order.task) {
		case T_CALLS:
			result = depth_of(order.value);
			break;
		case T_EXCEPTION:
			asm volatile(G_TRY("ud2") : G_TRY_OUT(fault, error) : : "memory");
			result = fault;
			break;
		case T_WRITE_S_CET:
			g_wrmsr(MSR_S_CET, order.value);
			break;
		case T_WRITE_TABLE:
			g_wrmsr(MSR_INT_SSP_TAB, order.value);
			break;
		case T_WRITE_SHARED:
			g_wrmsr(MSR_PL1_SSP, order.value);
			break;
		case T_EXIT:
			asm volatile("vmmcall" : : : "memory");
			break;
		case T_CPUID:
			eax = 0;
			ecx = 0;
			asm volatile("cpuid" : "+a"(eax), "+c"(ecx) : : "rbx", "rdx");
			break;
		}
	}
	return 0;
}

struct guest {
	struct triple state;
	uint64_t gprs[L2_GPRS];
	uint64_t tables[2];
};

static struct model {
	struct nested *n;
	struct guest l2[2];
	uint64_t shared;
	unsigned int bad, round;
	bool active;
} model;

static bool expect(bool ok, const char *what)
{
	if (ok)
		return true;
	if (model.bad++ < 5)
		tap_diag("round %u, L2 %u: %s; %s, last exit 0x%llx, 0x%llx, address 0x%llx", model.round,
			 model.n->current, what, stop_text(model.n->c), (unsigned long long)model.n->exit,
			 (unsigned long long)model.n->info1, (unsigned long long)vmcb_get(model.n, VMCB_INFO2));
	return false;
}

static bool expect_triple(struct triple got, const struct triple *want, const char *what)
{
	if (expect(same(&got, want), what))
		return true;
	if (model.bad < 5) {
		tell_triple("got", &got);
		tell_triple("wanted", want);
	}
	return false;
}

static struct guest *current(void)
{
	return &model.l2[model.n->current];
}

/* L2 stops with its report. */
static bool reported(enum place w, uint64_t result)
{
	struct cpu *c = model.n->c;
	struct guest *g = current();

	if (!expect(w == AT_STOP && cpu_called(c, CALL_L2), "L2 reports"))
		return false;
	expect_triple((struct triple) { c->stop.b, c->stop.a, c->stop.c }, &g->state, "L2's state as it reads it");
	expect_triple(triple_of(c), &g->state, "L2's state as the VMM reads it");
	w = nested_go(model.n);
	if (!expect(w == AT_STOP && cpu_called(c, CALL_L2 + 1), "L2 reports the rest"))
		return false;
	expect(c->stop.b == model.shared, "what is shared");
	expect(result == ~0ull || c->stop.a == result, "the result");
	model.active = true;
	return true;
}

static bool l1_is_right(void)
{
	struct nested *n = model.n;
	uint64_t result, status;

	expect_triple(n->after, &n->own, "L1's state after an exit");
	expect_triple(n->l1_sees, &n->own, "L1's state as it reads it");
	status = l1(n, L1_CHECK, 0, 0, &result);
	return expect(status == FAULT(VECTOR_UD) && result == 3, "L1 uses its shadow stacks");
}

static void exited(enum place w, const char *want, unsigned int length)
{
	struct nested *n = model.n;

	model.active = false;
	if (!expect(w == AT_EXIT && !strcmp(where_text(n, w), want), want))
		return;
	expect_triple(vmcb_triple(n), &current()->state, "the VMCB after an exit");
	memcpy(current()->gprs, svm_gpr(n, 0), sizeof(current()->gprs));
	svm_skip(n, length);
	l1_is_right();
}

static void prepare_l2(unsigned int i)
{
	struct nested *n = model.n;
	struct guest *g = &model.l2[i];
	uint64_t page = machine_alloc(n->m, 1);

	n->current = i;
	svm_prepare(n, true, l2_serves, n->l2.page, 0, 0);
	if (i) {
		/* Stacks of its own; that of exceptions is common. */
		vmcb_put(n, VMCB_RSP, cpu_stack(&n->l2, CPU_USER_PAGE, 2));
		vmcb_put(n, VMCB_SSP, machine_shadow_stack(n->m, page, false, false));
	}
	g->tables[0] = l2_table(n);
	g->tables[1] = machine_alloc(n->m, 1);
	memcpy(machine_at(n->m, g->tables[1]), machine_at(n->m, g->tables[0]), 64);
	g->state = vmcb_triple(n);
	/* Called by g_start(). */
	g->state.ssp -= 8;
	memcpy(g->gprs, svm_gpr(n, 0), sizeof(g->gprs));
}

static void enter(void)
{
	struct nested *n = model.n;

	memcpy(svm_gpr(n, 0), current()->gprs, sizeof(current()->gprs));
	reported(nested_enter(n), ~0ull);
}

static void do_task(enum task task, uint64_t value, uint64_t result)
{
	struct nested *n = model.n;

	in_guest(n->m, &order)->task = task;
	in_guest(n->m, &order)->value = value;
	if (task == T_EXIT)
		exited(nested_go(n), "exit 0x81", 3);
	else if (task == T_CPUID)
		exited(nested_go(n), "exit 0x72", 2);
	else
		reported(nested_go(n), result);
}

static void step_in_l2(void)
{
	struct nested *n = model.n;
	struct guest *g = current();
	unsigned int what = below(TASKS + 5), depth = below(20);

	/* Natively, L2 does not see what it or the VMM writes: svm-msrs.c */
	if (native && (what == T_WRITE_S_CET || what == T_WRITE_TABLE || what == TASKS || what == TASKS + 1))
		what = T_EXCEPTION;
	switch (what) {
	case T_CALLS:
		do_task(T_CALLS, depth, depth);
		break;
	case T_EXCEPTION:
		do_task(T_EXCEPTION, 0, FAULT(VECTOR_UD));
		break;
	case T_WRITE_S_CET:
		g->state.s_cet ^= CET_WRSS;
		do_task(T_WRITE_S_CET, g->state.s_cet, ~0ull);
		break;
	case T_WRITE_TABLE:
		g->state.table = g->tables[below(2)];
		do_task(T_WRITE_TABLE, g->state.table, ~0ull);
		break;
	case T_WRITE_SHARED:
		model.shared = below(1000) * 16;
		do_task(T_WRITE_SHARED, model.shared, ~0ull);
		break;
	case T_CPUID:
		do_task(T_CPUID, 0, 0);
		break;
	case TASKS:
		g->state.s_cet ^= CET_WRSS;
		cpu_wrmsr(n->c, MSR_S_CET, g->state.s_cet);
		do_task(T_CALLS, depth, depth);
		break;
	case TASKS + 1:
		g->state.table = g->tables[below(2)];
		cpu_wrmsr(n->c, MSR_INT_SSP_TAB, g->state.table);
		do_task(T_EXCEPTION, 0, FAULT(VECTOR_UD));
		break;
	case TASKS + 2:
		smram_smi(n->c);
		expect(smram_get(SMRAM_SSP) == g->state.ssp, "SSP in SMRAM");
		do_task(T_CALLS, depth, depth);
		break;
	default:
		do_task(T_EXIT, 0, 0);
	}
}

static void step_in_l1(void)
{
	struct nested *n = model.n;
	struct guest *g = current();
	struct triple t;

	switch (below(8)) {
	case 0:
		n->current ^= 1;
		break;
	case 1:
		/* Seen, as it is not clean. */
		g->state.s_cet ^= CET_WRSS;
		g->state.table = g->tables[below(2)];
		vmcb_put_triple(n, &g->state);
		vmcb_put(n, VMCB_CLEAN, below(2) ? 0xffff & ~CLEAN_CET : 0);
		enter();
		break;
	case 2:
		vmcb_put(n, VMCB_CLEAN, 0xffff);
		enter();
		break;
	case 3:
		/* Invalid. The next entry must not say that nothing has changed since. */
		t = g->state;
		t.ssp |= 1;
		vmcb_put_triple(n, &t);
		vmcb_put(n, VMCB_CLEAN, 0);
		expect(nested_enter(n) == AT_EXIT && n->exit == EXIT_INVALID, "VMEXIT_INVALID");
		expect_triple(vmcb_triple(n), &t, "the VMCB after VMEXIT_INVALID");
		l1_is_right();
		vmcb_put_triple(n, &g->state);
		enter();
		break;
	case 4:
		t = triple_of(n->c);
		expect(!l1(n, L1_WRMSR, MSR_S_CET, t.s_cet ^ CET_WRSS, NULL), "L1 writes S_CET");
		break;
	case 5:
		model.shared = below(1000) * 16;
		expect(!l1(n, L1_WRMSR, MSR_PL1_SSP, model.shared, NULL), "L1 writes PL1_SSP");
		break;
	default:
		vmcb_put(n, VMCB_CLEAN, 0);
		enter();
	}
}

void test_stress(void)
{
	unsigned int i;

	random_state = stress_seed;
	memset(&model, 0, sizeof(model));
	model.n = svm_create(&(struct svm_config) { .npt = true });
	smram_create(model.n->c);
	for (i = 0; i < 2; i++) {
		prepare_l2(i);
		vmcb_set(model.n, VMCB_INTERCEPTS, INTERCEPT_CPUID);
		enter();
		do_task(T_EXIT, 0, 0);
	}
	for (model.round = 0; model.round < stress_rounds && !model.bad; model.round++) {
		if (model.active)
			step_in_l2();
		else
			step_in_l1();
	}
	tap_ok(!model.bad, "%u random steps, seed %u", stress_rounds, stress_seed);
	nested_destroy(model.n);
}
