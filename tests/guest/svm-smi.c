// SPDX-License-Identifier: GPL-2.0
/*
 * Nested SVM: an SMI, or INIT, while L2 runs. KVM leaves L2 for SMM as by a #VMEXIT into its VMCB, and L1's state waits
 * in the host save area; RSM enters L2 again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "smram.h"
#include "nested-svm.h"

#define DEPTH 4

static GUEST uint64_t l2_calls(uint64_t page, uint64_t s_cet, uint64_t c)
{
	uint64_t i;

	(void)c;
	for (i = CPU_IST1_PAGE; i <= CPU_SS_IST2_PAGE; i++)
		(void)*(volatile uint64_t *)(page + i * PAGE);
	if (s_cet)
		g_wrmsr(MSR_S_CET, s_cet);
	i = svm_chain(DEPTH, CALL_L2);
	g_call(CALL_L2 + 1, i, g_rdssp(), g_rdmsr(MSR_S_CET));
	asm volatile("ud2");
	return 0;
}

enum way { PLAIN, WRITES_S_CET, ALL_CLEAN, MOVED, WRITES_SSP, WRITES_SSP_CLEAN, WAYS };

static const char * const ways[] = {
	"",
	", the handler writes S_CET",
	", all clean",
	", moved in SMM",
	", the handler changes SSP in SMRAM",
	", the handler changes SSP in SMRAM, all clean",
};

/* SVM is not in guest mode then, so there is no nested state to move. */
static struct nested *move(struct nested *old)
{
	struct snapshot *s = snapshot_take(old->c);
	static const enum part order[PARTS] = { PART_SREGS,   PART_REGS,   PART_XCRS,	  PART_XSAVE,	 PART_MSRS,
						PART_ONE_REG, PART_EVENTS, PART_MP_STATE, PART_DEBUGREGS };
	struct kvm_nested_state none = { .size = sizeof(none) };
	struct machine *m;
	struct nested *n;

	if (ioctl(old->c->io.vcpu, KVM_GET_NESTED_STATE, &none))
		tap_bail("KVM_GET_NESTED_STATE in SMM");
	m = snapshot_restore_order(s, order);
	if (ioctl(m->cpus[0]->io.vcpu, KVM_SET_NESTED_STATE, &none))
		tap_bail("KVM_SET_NESTED_STATE in SMM");
	n = svm_of(m, old);
	nested_destroy(old);
	smram_attach(n->c);
	free(s);
	return n;
}

/* L2 has S_CET without bit 1; it writes that itself, but not natively, where this has no effect: svm-msrs.c */
static void prepare(struct nested *n, bool l2_cet)
{
	struct triple t;

	svm_prepare(n, l2_cet, l2_calls, n->l2.page, l2_cet && !native ? CET_SHSTK : 0, 0);
	t = vmcb_triple(n);
	if (l2_cet && native)
		t.s_cet = CET_SHSTK;
	vmcb_put_triple(n, &t);
}

/* After RSM: L2 has the state of before, in its calls and in a handler; @l2: what it had deep in calls */
static void goes_on(struct nested *n, enum place w, struct triple l2, bool l2_cet, const char *name)
{
	if (went(n, w, "call 273", "%s: L2 goes on", name))
		equals(n->c->stop.a, DEPTH, "%s: and returns from its calls", name);
	if (l2_cet)
		l2.ssp += (DEPTH + 1) * 8;
	equals(n->c->stop.b, l2_cet ? l2.ssp : 0, "%s: L2's SSP is right", name);
	equals(n->c->stop.c, l2.s_cet, "%s: L2's S_CET is right", name);
	w = nested_go(n);
	if (went(n, w, "#UD", "%s: L2 takes an exception", name))
		equals(n->c->stop.frame->ssp, l2_cet ? handler_ssp(cpu_shadow_stack(&n->l2, CPU_SS_IST1_PAGE)) : 0,
		       "%s: on its own shadow stack for that", name);
}

/* After RSM: L2 has the SSP that the handler wrote, with which it cannot return */
static void has_other_ssp(struct nested *n, enum place w, enum way way, const char *name)
{
	tap_fact(ways[way] + 2, "L2: %s", where_text(n, w));
	/* Natively, L2 does not see this with the clean bit set: svm-msrs.c */
	went(n, w, native && way == WRITES_SSP_CLEAN ? "call 273" : "#CP(1)", "%s: L2 has that SSP", name);
}

static void smi(bool l1_cet, bool l2_cet, enum way way)
{
	struct nested *n = svm_create(
		&(struct svm_config) { .features = l1_cet ? GUEST_SHSTK : 0, .no_features = !l1_cet, .npt = true });
	struct triple l2, now;
	char name[100];
	enum place w;

	snprintf(name, sizeof(name), "SMI in L2, L1 %s, L2 %s%s", l1_cet ? "on" : "off", l2_cet ? "on" : "off",
		 ways[way]);
	smram_create(n->c);
	prepare(n, l2_cet);
	if (way == ALL_CLEAN || way == WRITES_SSP_CLEAN) {
		/* Entered before, so that it is not new. */
		vmcb_put(n, VMCB_RIP, (uintptr_t)svm_vmmcall);
		nested_enter(n);
		prepare(n, l2_cet);
		vmcb_put(n, VMCB_CLEAN, 0xffff);
	}
	if (way == WRITES_S_CET)
		smram_write_s_cet(CET_WRSS);
	w = nested_enter(n);
	went(n, w, "call 272", "%s: L2 is deep in calls", name);
	l2 = triple_of(n->c);
	equals(l2.s_cet, l2_cet ? CET_SHSTK : CET_WRSS, "%s: L2 has its S_CET", name);

	smram_smi(n->c);
	equals(smram_get(SMRAM_SSP), l2.ssp, "%s: SMRAM has L2's SSP", name);
	now = triple_of(n->c);
	tap_fact(name, "in SMM: S_CET 0x%llx, SSP 0x%llx, INT_SSP_TAB 0x%llx", (unsigned long long)now.s_cet,
		 (unsigned long long)now.ssp, (unsigned long long)now.table);
	now = vmcb_triple(n);
	same_triple(&now, &l2, "%s: the VMCB has L2's state meanwhile", name);
	if (way >= WRITES_SSP)
		smram_put(SMRAM_SSP, l2.ssp + 8);
	if (way == MOVED)
		n = move(n);

	w = nested_go(n);
	if (way >= WRITES_SSP)
		has_other_ssp(n, w, way, name);
	else
		goes_on(n, w, l2, l2_cet, name);
	w = nested_leave(n);
	went(n, w, "exit 0x81", "%s: L2 exits", name);
	l1_intact(n, name);
	nested_destroy(n);
}

void test_smi(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		smi(i & 1, i & 2, PLAIN);
	for (i = PLAIN + 1; i < WAYS; i++)
		smi(true, true, i);
}

static const char *whose(uint64_t value, uint64_t l1s)
{
	if (!value)
		return "0";
	return value == l1s ? "L1's" : "another";
}

void test_init(void)
{
	struct nested *n = svm_create(&(struct svm_config) { .npt = true, .irqchip = true });
	struct kvm_mp_state state;
	struct triple l2, now;
	struct kvm_sregs sregs;

	/* Intercepted: L1 gets it. */
	svm_prepare(n, true, l2_calls, n->l2.page, CET_SHSTK, 0);
	vmcb_set(n, VMCB_INTERCEPTS, INTERCEPT_INIT);
	went(n, nested_enter(n), "call 272", "INIT intercepted: L2 is deep in calls");
	l2 = triple_of(n->c);
	svm_init(n);
	cpu_run(n->c);
	tap_ok(cpu_called(n->c, CALL_EXIT), "INIT intercepted: L2 exits");
	equals(vmcb_get(n, VMCB_EXIT), EXIT_INIT, "INIT intercepted: the exit code");
	now = vmcb_triple(n);
	same_triple(&now, &l2, "INIT intercepted: the VMCB has L2's state");
	now = triple_of(n->c);
	same_triple(&now, &n->own, "INIT intercepted: L1 has its state");
	nested_destroy(n);

	/* Not intercepted: the vCPU is reset. */
	n = svm_create(&(struct svm_config) { .npt = true, .irqchip = true });
	svm_prepare(n, true, l2_calls, n->l2.page, CET_SHSTK, 0);
	went(n, nested_enter(n), "call 272", "INIT: L2 is deep in calls");
	svm_init(n);
	/* KVM takes in the INIT. */
	if (ioctl(n->c->io.vcpu, KVM_GET_MP_STATE, &state))
		tap_bail("KVM_GET_MP_STATE");
	now = triple_of(n->c);
	cpu_get_sregs(n->c, &sregs);
	tap_fact("INIT in L2", "mp_state %u, CR0 0x%llx, CR4 0x%llx, S_CET 0x%llx, SSP %s, INT_SSP_TAB %s",
		 state.mp_state, sregs.cr0, sregs.cr4, (unsigned long long)now.s_cet, whose(now.ssp, n->own.ssp),
		 whose(now.table, n->own.table));
	tap_ok(!(sregs.cr0 & CR0_PG), "INIT: the vCPU is reset");
	nested_destroy(n);
}
