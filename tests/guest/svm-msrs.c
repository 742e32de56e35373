// SPDX-License-Identifier: GPL-2.0
/* Nested SVM: L2's access to CET MSRs, as L1 and the VMM permit it; and what the VMM writes while L2 is active. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested-svm.h"

static const struct {
	uint32_t msr;
	const char *name;
	uint64_t value, other;
} msrs[] = {
	{ MSR_U_CET, "U_CET", CET_SHSTK, CET_SHSTK | CET_WRSS },
	{ MSR_S_CET, "S_CET", CET_SHSTK, CET_SHSTK | CET_WRSS },
	{ MSR_PL0_SSP, "PL0_SSP", 0x10000, 0x20000 },
	{ MSR_PL1_SSP, "PL1_SSP", 0x11000, 0x21000 },
	{ MSR_PL2_SSP, "PL2_SSP", 0x12000, 0x22000 },
	{ MSR_PL3_SSP, "PL3_SSP", 0x13000, 0x23000 },
	{ MSR_INT_SSP_TAB, "INT_SSP_TAB", 0x14000, 0x24000 },
};

/* Writes @value, reads, writes @value again; faults are reported. */
static GUEST uint64_t l2_access(uint64_t msr, uint64_t value, uint64_t c)
{
	uint64_t fault, seen = 0;

	(void)c;
	fault = g_wrmsr_safe(msr, value);
	g_call(CALL_L2, fault, 0, 0);
	fault = g_rdmsr_safe(msr, &seen);
	g_call(CALL_L2 + 1, fault, seen, 0);
	return 0;
}

static bool switched(unsigned int i)
{
	return msrs[i].msr == MSR_S_CET || msrs[i].msr == MSR_INT_SSP_TAB;
}

/*
 * Natively, KVM does L2's accesses to these MSRs itself, and marks the VMCB of L1 as changed instead of that of L2. A
 * CPU that keeps what the clean bits of a VMCB cover, as the emulated one does, does not see such a write.
 */
static bool lost(unsigned int i)
{
	return native && switched(i);
}

/* What L2 had before it wrote. */
static uint64_t old_value(struct nested *n, unsigned int i)
{
	return !switched(i) ? msrs[i].other : msrs[i].msr == MSR_S_CET ? CET_SHSTK | CET_WRSS : l2_table(n);
}

/* @reads, @writes: L1 intercepts these. */
static void access_msr(struct nested *n, unsigned int i, bool reads, bool writes)
{
	uint64_t value = msrs[i].value, l2s = writes || lost(i) ? old_value(n, i) : value, l1s, now;
	char name[80], fact[120];
	enum place w;

	snprintf(name, sizeof(name), "%s, L1 intercepts %s", msrs[i].name,
		 reads && writes ? "both" :
		 reads		 ? "reads" :
		 writes		 ? "writes" :
				   "nothing");
	svm_prepare(n, true, l2_access, msrs[i].msr, value, 0);
	svm_intercept_msr(n, msrs[i].msr, reads, writes);
	if (!switched(i))
		l1(n, L1_WRMSR, msrs[i].msr, msrs[i].other, NULL);
	l1(n, L1_RDMSR, msrs[i].msr, 0, &l1s);
	w = nested_enter(n);
	if (writes) {
		went(n, w, "exit 0x7c", "%s: L2's WRMSR exits", name);
		equals(n->info1, 1, "%s: it is a write", name);
		equals(vmcb_get(n, VMCB_RAX) & 0xffffffff, value, "%s: of L2's value", name);
		l1_intact(n, name);
		l1(n, L1_RDMSR, msrs[i].msr, 0, &now);
		equals(now, l1s, "%s: it has not been done", name);
		svm_skip(n, 2);
		w = nested_enter(n);
	}
	if (went(n, w, "call 272", "%s: L2 goes on", name))
		equals(n->c->stop.a, 0, "%s: its WRMSR does not fault", name);
	now = cpu_rdmsr(n->c, msrs[i].msr);
	snprintf(fact, sizeof(fact), "%s: L2 writes 0x%llx, the VMM reads", name, (unsigned long long)value);
	tap_fact(fact, "0x%llx", (unsigned long long)now);
	equals(now, l2s, "%s", fact);
	w = nested_go(n);
	if (reads) {
		went(n, w, "exit 0x7c", "%s: L2's RDMSR exits", name);
		equals(n->info1, 0, "%s: it is a read", name);
		l1_intact(n, name);
		vmcb_put(n, VMCB_RAX, 0x5550);
		*svm_gpr(n, L2_RDX) = 0;
		svm_skip(n, 2);
		w = nested_enter(n);
	}
	if (went(n, w, "call 273", "%s: L2 goes on again", name)) {
		equals(n->c->stop.a, 0, "%s: its RDMSR does not fault", name);
		equals(n->c->stop.b, reads ? 0x5550 : l2s, "%s: it gets the right value", name);
	}
	nested_leave(n);
	l1(n, L1_RDMSR, msrs[i].msr, 0, &now);
	equals(now, writes || switched(i) ? l1s : value, "%s: L1's value", name);
	if (switched(i))
		equals(vmcb_get(n, msrs[i].msr == MSR_S_CET ? VMCB_S_CET : VMCB_ISST), l2s,
		       "%s: the VMCB has L2's value", name);
	l1_intact(n, name);
	if (!switched(i))
		l1(n, L1_WRMSR, msrs[i].msr, 0, NULL);
}

void test_msrpm(void)
{
	struct nested *n = svm_create(&(struct svm_config) { .npt = true });
	unsigned int i, how;

	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		for (how = 0; how < 4; how++)
			access_msr(n, i, how & 1, how & 2);
	nested_destroy(n);
}

/* ---- The VMM's filter takes precedence over what L1 permits ---- */

static void filtered(struct nested *n, enum place w, uint64_t want, unsigned int i, const char *when)
{
	if (went(n, w, "call 272", "%s, %s: L2 runs", msrs[i].name, when))
		equals(n->c->stop.a, want, "%s, %s: WRMSR", msrs[i].name, when);
	w = nested_go(n);
	if (went(n, w, "call 273", "%s, %s: L2 goes on", msrs[i].name, when))
		equals(n->c->stop.a, want, "%s, %s: RDMSR", msrs[i].name, when);
}

void test_filter(void)
{
	struct nested *n = svm_create(&(struct svm_config) { .npt = true });
	unsigned int i;

	/* L1 is denied them, too. */
	*in_guest(n->m, &nested_l1_cet) = 0;
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		svm_prepare(n, true, l2_access, msrs[i].msr, msrs[i].value, 0);
		filtered(n, nested_enter(n), 0, i, "no filter");
		nested_leave(n);
		filter_cet_msrs(n->m, true);
		svm_prepare(n, true, l2_access, msrs[i].msr, msrs[i].value, 0);
		filtered(n, nested_enter(n), FAULT(VECTOR_GP), i, "filter");
		/* While L2 is active; it counts at the next VMRUN. */
		filter_cet_msrs(n->m, false);
		nested_leave(n);
		svm_prepare(n, true, l2_access, msrs[i].msr, msrs[i].value, 0);
		filtered(n, nested_enter(n), 0, i, "filter off");
		filter_cet_msrs(n->m, true);
		nested_leave(n);
		svm_prepare(n, true, l2_access, msrs[i].msr, msrs[i].value, 0);
		filtered(n, nested_enter(n), FAULT(VECTOR_GP), i, "filter set in L2");
		filter_cet_msrs(n->m, false);
		nested_leave(n);
	}
	nested_destroy(n);
}

/* ---- SYSCALL writes PL3_SSP ---- */

#define OTHER_SSP 0x515150

/*
 * Only L2 has CR4.CET. It has its shadow stack by VMRUN, and executes SYSCALL before anything that exits: what this
 * writes must not become PL3_SSP of another vCPU.
 */
void test_syscall(void)
{
	struct nested *n = svm_create(&(struct svm_config) { .no_features = true, .npt = true });
	struct machine *other = other_create(OTHER_SSP);
	struct kvm_sregs sregs;

	other_pl3_ssp(other);
	cpu_get_sregs(n->c, &sregs);
	equals(sregs.cr4 & CR4_CET, 0, "L1 does not have CR4.CET");
	svm_prepare(n, true, NULL, 0, 0, 0);
	vmcb_set(n, VMCB_EFER, EFER_SCE);
	vmcb_put(n, VMCB_STAR, (uint64_t)SEL_CODE64 << 32);
	vmcb_put(n, VMCB_LSTAR, (uintptr_t)svm_vmmcall);
	vmcb_put(n, VMCB_RIP, (uintptr_t)svm_syscall);
	went(n, nested_enter(n), "exit 0x81", "L2 executes SYSCALL on a shadow stack");
	equals(vmcb_get(n, VMCB_SSP), 0, "it has none after it");
	equals(other_pl3_ssp(other), OTHER_SSP, "another vCPU has its own PL3_SSP");
	equals(cpu_rdmsr(n->c, MSR_PL3_SSP), l2_ssp(n), "L2's has what was its SSP");
	l1_intact(n, "after it");
	machine_destroy(other);
	nested_destroy(n);
}

/* ---- The VMM writes L2's state while L2 is active ---- */

/* Reports its state at each go. */
static GUEST uint64_t l2_watches(uint64_t a, uint64_t b, uint64_t c)
{
	(void)a;
	(void)b;
	(void)c;
	for (;;)
		g_call(CALL_L2, g_rdmsr(MSR_S_CET), g_rdssp(), g_rdmsr(MSR_INT_SSP_TAB));
	return 0;
}

static struct triple watched(struct nested *n, const char *name)
{
	enum place w = nested_go(n);

	went(n, w, "call 272", "%s: L2 goes on", name);
	return (struct triple) { n->c->stop.a, n->c->stop.b, n->c->stop.c };
}

/* Natively, L2 does not see this either: see lost(). */
static void vmm_writes(struct nested *n, const char *what, struct triple new)
{
	struct triple old = vmcb_triple(n), got;
	char name[120];
	bool seen;

	snprintf(name, sizeof(name), "the VMM writes %s while L2 is active", what);
	svm_prepare(n, true, l2_watches, 0, 0, 0);
	vmcb_put(n, VMCB_RIP, (uintptr_t)l2_watches);
	old = vmcb_triple(n);
	if (!new.s_cet)
		new.s_cet = old.s_cet;
	if (!new.ssp)
		new.ssp = old.ssp;
	if (!new.table)
		new.table = old.table;
	went(n, nested_enter(n), "call 272", "%s: L2 runs", name);
	got = watched(n, name);
	same_triple(&got, &old, "%s: L2 has its state", name);
	if (new.s_cet != old.s_cet)
		cpu_wrmsr(n->c, MSR_S_CET, new.s_cet);
	if (new.ssp != old.ssp)
		cpu_set_ssp(n->c, new.ssp);
	if (new.table != old.table)
		cpu_wrmsr(n->c, MSR_INT_SSP_TAB, new.table);
	got = triple_of(n->c);
	same_triple(&got, &new, "%s: it reads them back", name);
	/* The first report was before that. */
	got = watched(n, name);
	seen = same(&got, &new);
	tap_fact(name, "%s", seen ? "seen by L2" : same(&got, &old) ? "not seen by L2" : "neither");
	if (native)
		same_triple(&got, &old, "%s: native does not show it to L2", name);
	else
		same_triple(&got, &new, "%s: L2 sees it", name);
	nested_leave(n);
	got = vmcb_triple(n);
	same_triple(&got, native ? &old : &new, "%s: the exit saves it", name);
	l1_intact(n, name);
	/* The VMCB is that of L2 again, not of what the VMM wrote. */
	svm_prepare(n, true, l2_watches, 0, 0, 0);
	vmcb_put(n, VMCB_RIP, (uintptr_t)l2_watches);
	went(n, nested_enter(n), "call 272", "%s: L2 runs again", name);
	got = (struct triple) { n->c->stop.a, n->c->stop.b, n->c->stop.c };
	same_triple(&got, &old, "%s: with what its VMCB says", name);
	nested_leave(n);
}

void test_vmm_writes(void)
{
	struct nested *n = svm_create(&(struct svm_config) { .npt = true });

	svm_prepare(n, true, l2_watches, 0, 0, 0);
	vmm_writes(n, "S_CET", (struct triple) { .s_cet = CET_SHSTK });
	vmm_writes(n, "SSP", (struct triple) { .ssp = cpu_shadow_stack(&n->l2, CPU_SS_PL0_PAGE) - 64 });
	vmm_writes(n, "INT_SSP_TAB", (struct triple) { .table = 0x55000 });
	vmm_writes(n, "all three", (struct triple) { CET_SHSTK, l2_ssp(n) - 128, 0x56000 });
	nested_destroy(n);
}
