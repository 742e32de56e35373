// SPDX-License-Identifier: GPL-2.0
/* Nested VMX: other ways into L2 and out of it for CET state: MSR lists, two VMCSs, CR4, MSR filters, SYSCALL. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested-vmx.h"

/*
 * MSR lists of a VMCS: loaded on entry, stored and loaded on exit.
 */
struct list_entry {
	uint32_t msr, reserved;
	uint64_t value;
};

static GUEST uint64_t l2_tells(uint64_t a, uint64_t b, uint64_t c)
{
	(void)a;
	(void)b;
	(void)c;
	g_call(CALL_L2, g_rdmsr(MSR_S_CET), g_rdmsr(MSR_U_CET), g_rdmsr(MSR_PL0_SSP));
	g_call(CALL_L2 + 1, g_rdmsr(MSR_INT_SSP_TAB), g_rdmsr(MSR_PL3_SSP), 0);
	g_wrmsr(MSR_PL0_SSP, 0x22220);
	g_wrmsr(MSR_U_CET, CET_ENDBR);
	asm volatile("vmcall" : : : "memory");
	return 0;
}

#define NOT_CANONICAL 0x0000800000000000ull

/* The MSR lists of L1's VMCS */
struct lists {
	struct list_entry load[16], store[16], back[16];
};

static void give_lists(struct nested *n, struct lists *l, uint64_t page, uint64_t own)
{
	l->load[0] = (struct list_entry) { MSR_S_CET, 0, CET_SHSTK | CET_WRSS | S_CET_NOTRACK };
	l->load[1] = (struct list_entry) { MSR_U_CET, 0, CET_SHSTK };
	l->load[2] = (struct list_entry) { MSR_PL0_SSP, 0, 0x11110 };
	l->load[3] = (struct list_entry) { MSR_PL3_SSP, 0, 0x33330 };
	l->load[4] = (struct list_entry) { MSR_INT_SSP_TAB, 0, 0x44440 };
	l->store[0].msr = MSR_S_CET;
	l->store[1].msr = MSR_PL0_SSP;
	l->store[2].msr = MSR_U_CET;
	l->back[0] = (struct list_entry) { MSR_S_CET, 0, own | S_CET_NOTRACK };
	l->back[1] = (struct list_entry) { MSR_PL0_SSP, 0, 0x55550 };
	l->back[2] = (struct list_entry) { MSR_U_CET, 0, 0 };
	vmwrite(n, ENTRY_LOAD_LIST, page + offsetof(struct lists, load));
	vmwrite(n, ENTRY_LOAD_COUNT, 5);
	vmwrite(n, EXIT_STORE_LIST, page + offsetof(struct lists, store));
	vmwrite(n, EXIT_STORE_COUNT, 3);
	vmwrite(n, EXIT_LOAD_LIST, page + offsetof(struct lists, back));
	vmwrite(n, EXIT_LOAD_COUNT, 3);
}

static void check_good_lists(struct nested *n, const struct lists *l)
{
	const struct stop *s = &n->c->stop;
	enum place w;

	w = nested_enter(n);
	if (went(n, w, "call 272", "MSR lists: L2 runs")) {
		equals(s->a, l->load[0].value, "entry list: S_CET, after LOAD_CET");
		equals(s->b, l->load[1].value, "entry list: U_CET");
		equals(s->c, l->load[2].value, "entry list: PL0_SSP");
	}
	w = nested_go(n);
	if (went(n, w, "call 273", "MSR lists: L2 runs on")) {
		equals(s->a, l->load[4].value, "entry list: INT_SSP_TAB");
		equals(s->b, l->load[3].value, "entry list: PL3_SSP");
	}
	w = nested_go(n);
	went(n, w, "exit 18", "MSR lists: L2's end");
	equals(l->store[0].value, l->load[0].value, "exit store list: S_CET");
	equals(l->store[1].value, 0x22220, "exit store list: PL0_SSP");
	equals(l->store[2].value, CET_ENDBR, "exit store list: U_CET");
	equals(n->after.s_cet, l->back[0].value, "exit load list: S_CET, after LOAD_CET");
	equals(cpu_rdmsr(n->c, MSR_PL0_SSP), l->back[1].value, "exit load list: PL0_SSP");
	equals(cpu_rdmsr(n->c, MSR_U_CET), l->back[2].value, "exit load list: U_CET");
	equals(n->after.table, n->c->page + CPU_SSP_TABLE, "INT_SSP_TAB, in no list, is loaded by LOAD_CET");
}

static void check_bad_lists(struct nested *n, struct lists *l, uint64_t own)
{
	enum place w;

	/* A bad value: the entry fails at this place of the list. */
	l->load[1].value = 1 << 6;
	vmwrite(n, EXIT_LOAD_COUNT, 0);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	w = nested_enter(n);
	if (went(n, w, "exit 0x80000022", "entry list: a bad value"))
		equals(n->qualification, 2, "entry list: the second");
	equals(n->after.s_cet, own, "entry list: the exit loads L1's S_CET");
	equals(n->after.ssp, n->own.ssp, "entry list: and its SSP");
	l->load[1].value = 0;
	w = nested_enter(n);
	went(n, w, "exit 18", "entry list: without it L2 runs");

	/* WRMSR would refuse it, and so would VM entry. Natively it is taken, and then there is no way back to L1. */
	l->load[0].value = NOT_CANONICAL;
	w = nested_enter(n);
	tap_fact("entry list: S_CET not canonical", "%s", where_text(n, w));
	if (!native)
		went(n, w, "exit 0x80000022", "entry list: S_CET not canonical");
	l->load[0].value = 0;
	l->back[0].value = NOT_CANONICAL;
	vmwrite(n, EXIT_LOAD_COUNT, 1);
	w = nested_enter(n);
	tap_fact("exit load list: S_CET not canonical", "%s", where_text(n, w));
	if (!native)
		went(n, w, "shutdown", "exit load list: S_CET not canonical, a VMX abort");
}

void test_msr_lists(void)
{
	struct nested *n = nested_create(NULL);
	uint64_t page = machine_alloc(n->m, 1), own = cpu_rdmsr(n->c, MSR_S_CET);
	struct lists *l = machine_at(n->m, page);

	nested_prepare(n, GUEST_SHSTK, l2_tells, 0, 0, 0);
	give_lists(n, l, page, own);
	check_good_lists(n, l);
	check_bad_lists(n, l, own);
	nested_destroy(n);
}

/*
 * Two VMCSs in turn: they share what KVM keeps for L2.
 */
void test_two(void)
{
	struct nested *n = nested_create(NULL);
	uint64_t vmcs[2] = { n->mail->vmcs, machine_alloc(n->m, 1) };
	struct triple want[2], got;
	bool launched[2] = { false, false };
	unsigned int i, j, good = 0;
	enum place w;

	for (i = 0; i < 2; i++) {
		n->mail->vmcs = vmcs[i];
		nested_prepare(n, GUEST_SHSTK, NULL, 0, 0, 0);
		vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
		want[i] = (struct triple) { i ? CET_SHSTK | CET_WRSS : CET_SHSTK, l2_ssp(n) - 64 * i,
					    0x44000 + 16 * i };
		vmwrite(n, GUEST_S_CET, want[i].s_cet);
		vmwrite(n, GUEST_SSP, want[i].ssp);
		vmwrite(n, GUEST_SSP_TABLE, want[i].table);
	}
	for (j = 0; j < 6; j++) {
		i = j & 1;
		l1(n, L1_VMPTRLD, vmcs[i], 0);
		n->launched = launched[i];
		w = nested_enter(n);
		launched[i] = n->launched;
		got = (struct triple) { vmread(n, GUEST_S_CET), vmread(n, GUEST_SSP), vmread(n, GUEST_SSP_TABLE) };
		good += w == AT_EXIT && n->reason == REASON_VMCALL && same(&got, &want[i]) && same(&n->after, &n->own);
	}
	equals(good, 6, "two VMCSs in turn: each keeps its own state");
	nested_destroy(n);
}

/*
 * L2's CR4.CET and CR0.WP.
 */
static GUEST uint64_t l2_crs(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t cr4 = g_cr4(), cr0 = g_cr0(), fault;

	(void)a;
	(void)b;
	(void)c;
	fault = g_set_cr0(cr0 & ~CR0_WP);
	g_call(CALL_L2, fault, g_cr0() & CR0_WP, 0);
	g_set_cr4(cr4 & ~CR4_CET);
	g_call(CALL_L2 + 1, g_cr4() & CR4_CET, g_rdssp(), 0);
	fault = g_set_cr0(cr0 & ~CR0_WP);
	g_call(CALL_L2 + 2, fault, g_cr0() & CR0_WP, 0);
	fault = g_set_cr4(cr4);
	g_set_cr0(cr0);
	g_call(CALL_L2 + 3, fault, g_cr0() & CR0_WP, 0);
	asm volatile("vmcall" : : : "memory");
	g_set_cr4(cr4);
	g_call(CALL_L2 + 4, g_cr4() & CR4_CET, g_rdssp(), 0);
	asm volatile("vmcall" : : : "memory");
	return 0;
}

/* L1 owns CR4.CET: the write exits, and L2 sees the shadow. */
static void check_owned_cr4(struct nested *n)
{
	const struct stop *s = &n->c->stop;
	enum place w;

	nested_prepare(n, GUEST_SHSTK, l2_crs, 0, 0, 0);
	vmwrite(n, CR4_MASK, CR4_CET);
	vmwrite(n, CR4_SHADOW, CR4_CET);
	w = nested_enter(n);
	went(n, w, "call 272", "CR4.CET owned by L1");
	w = nested_go(n);
	went(n, w, "exit 28", "L2's write exits");
	vmwrite(n, CR4_SHADOW, 0);
	nested_skip(n);
	w = nested_enter(n);
	if (went(n, w, "call 273", "L2 goes on")) {
		equals(s->a, 0, "L2 sees CR4.CET off");
		tap_ok(s->b != 0, "L2 has its shadow stack nevertheless");
	}
	nested_leave(n);
}

void test_crs(void)
{
	struct nested *n = nested_create(NULL);
	const struct stop *s = &n->c->stop;
	struct triple state, now;
	enum place w;

	nested_prepare(n, GUEST_SHSTK, l2_crs, 0, 0, 0);
	w = nested_enter(n);
	state = triple_now(n);
	if (went(n, w, "call 272", "CR0.WP in L2 with CR4.CET")) {
		equals(s->a, FAULT(VECTOR_GP), "clearing it: #GP");
		equals(s->b, CR0_WP, "CR0.WP is still set");
	}
	w = nested_go(n);
	if (went(n, w, "call 273", "CR4.CET off in L2")) {
		equals(s->a, 0, "L2 sees it off");
		equals(s->b, 0, "L2 has no shadow stack");
	}
	now = triple_now(n);
	same_triple(&now, &state, "the state stays");
	w = nested_go(n);
	if (went(n, w, "call 274", "CR0.WP in L2 without CR4.CET")) {
		equals(s->a, DONE, "clearing it: done");
		equals(s->b, 0, "CR0.WP is clear");
	}
	w = nested_go(n);
	if (went(n, w, "call 275", "CR4.CET in L2 without CR0.WP")) {
		equals(s->a, FAULT(VECTOR_GP), "setting it: #GP");
		equals(s->b, CR0_WP, "CR0.WP is on again");
	}
	w = nested_go(n);
	went(n, w, "exit 18", "L2 exits");
	tap_ok(!(vmread(n, GUEST_CR4) & CR4_CET), "GUEST_CR4 has CET off");
	tap_ok(n->after_cr4 & CR4_CET, "L1 has it on");
	nested_skip(n);
	w = nested_enter(n);
	if (went(n, w, "call 276", "CR4.CET on in L2")) {
		equals(s->a, CR4_CET, "L2 sees it on");
		equals(s->b, state.ssp, "L2's SSP is as before");
	}
	w = nested_go(n);
	went(n, w, "exit 18", "L2 exits again");
	tap_ok(vmread(n, GUEST_CR4) & CR4_CET, "GUEST_CR4 has CET on");
	check_owned_cr4(n);
	nested_destroy(n);
}

/* Only L2 has CR4.CET. Its SYSCALL writes PL3_SSP, which must not become that of another vCPU. */
static GUEST uint64_t l2_syscall(uint64_t a, uint64_t b, uint64_t c)
{
	(void)a;
	(void)b;
	(void)c;
	g_call(CALL_L2, 0, 0, 0);
	g_syscall();
	g_call(CALL_L2 + 1, 0, 0, 0);
	return 0;
}

#define OTHER_SSP 0x515150

void test_syscall(void)
{
	struct nested *n = nested_create(&(struct nested_config) {});
	struct machine *other = other_create(OTHER_SSP);
	struct kvm_sregs sregs;
	uint64_t ssp;

	other_pl3_ssp(other);
	cpu_get_sregs(n->c, &sregs);
	equals(sregs.cr4 & CR4_CET, 0, "L1 does not have CR4.CET");
	nested_prepare(n, 0, l2_syscall, 0, 0, 0);
	set_bits(n, GUEST_CR4, CR4_CET);
	went(n, nested_enter(n), "call 272", "L2 has it");
	ssp = l2_ssp(n);
	cpu_set_ssp(n->c, ssp);
	went(n, nested_go(n), "call 273", "it executes SYSCALL on a shadow stack");
	equals(other_pl3_ssp(other), OTHER_SSP, "another vCPU has its own PL3_SSP");
	equals(cpu_rdmsr(n->c, MSR_PL3_SSP), ssp, "L2's has what was its SSP");
	machine_destroy(other);
	nested_destroy(n);
}

/* An MSR filter of the VMM takes precedence over what L1 allows L2. */
static GUEST uint64_t l2_access(uint64_t msr, uint64_t b, uint64_t c)
{
	uint64_t value = 0, read;

	(void)b;
	(void)c;
	for (;;) {
		read = g_rdmsr_safe(msr, &value);
		g_call(CALL_L2, read, g_wrmsr_safe(msr, value), 0);
		asm volatile("vmcall" : : : "memory");
	}
	return 0;
}

static void expect_access(struct nested *n, enum place w, uint64_t fault, uint32_t msr, const char *name)
{
	if (!went(n, w, "call 272", "%s, MSR 0x%x: L1 is not asked", name, msr))
		return;
	equals(n->c->stop.a, fault, "%s, MSR 0x%x: L2 reads", name, msr);
	equals(n->c->stop.b, fault, "%s, MSR 0x%x: L2 writes", name, msr);
}

void test_filter(void)
{
	static const uint32_t msrs[] = { MSR_U_CET, MSR_S_CET, MSR_PL0_SSP, MSR_PL3_SSP, MSR_INT_SSP_TAB };
	struct nested *n = nested_create(NULL);
	unsigned int i;

	cpu_wrmsr(n->c, MSR_PL0_SSP, 0x99990);
	/* L1 is denied them, too. */
	*in_guest(n->m, &nested_l1_cet) = 0;
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		nested_prepare(n, GUEST_SHSTK, l2_access, msrs[i], 0, 0);
		expect_access(n, nested_enter(n), DONE, msrs[i], "no filter");
		nested_go(n);
		nested_skip(n);
		filter_cet_msrs(n->m, true);
		expect_access(n, nested_enter(n), FAULT(VECTOR_GP), msrs[i], "filter");
		nested_go(n);
		nested_skip(n);
		filter_cet_msrs(n->m, false);
		expect_access(n, nested_enter(n), DONE, msrs[i], "filter off");
		/* While L2 is active. */
		filter_cet_msrs(n->m, true);
		nested_go(n);
		nested_skip(n);
		expect_access(n, nested_enter(n), FAULT(VECTOR_GP), msrs[i], "filter set in L2");
		filter_cet_msrs(n->m, false);
		nested_leave(n);
	}
	nested_destroy(n);
}
