// SPDX-License-Identifier: GPL-2.0
/* Nested SVM: what VMRUN takes from vmcb12, what it refuses, and what it does without CET. */
#include <stdio.h>
#include <string.h>

#include "smram.h"
#include "nested-svm.h"

/* It reports its state and exits, over and over; without a call, so that SSP may be anything. */
static GUEST uint64_t l2_reports(uint64_t a, uint64_t b, uint64_t c)
{
	(void)a;
	(void)b;
	(void)c;
	for (;;) {
		g_call(CALL_L2, g_rdmsr(MSR_S_CET), g_rdssp(), g_rdmsr(MSR_INT_SSP_TAB));
		asm volatile("vmmcall");
	}
	return 0;
}

/* The current VMCB: what L2 has now, which reports it. It exits again. */
static struct triple enter_and_read(struct nested *n, const char *name)
{
	struct triple l2 = { 0, 0, 0 };
	enum place w = nested_enter(n);

	if (went(n, w, "call 272", "%s: L2 runs", name))
		l2 = (struct triple) { n->c->stop.a, n->c->stop.b, n->c->stop.c };
	w = nested_go(n);
	went(n, w, "exit 0x81", "%s: L2 exits", name);
	svm_skip(n, 3);
	l1_intact(n, name);
	return l2;
}

static void sees(struct nested *n, const struct triple *want, const char *name)
{
	struct triple got = enter_and_read(n, name), saved = vmcb_triple(n);

	same_triple(&got, want, "%s", name);
	same_triple(&saved, want, "%s: and the exit saves it", name);
}

static struct triple other(const struct triple *t, unsigned int number)
{
	struct triple o = *t;

	o.s_cet ^= CET_WRSS;
	o.ssp -= 16 * (number + 1);
	o.table = 0x40000 + 0x1000 * number;
	return o;
}

/* With one field changed alone. */
static void one_field(struct nested *n, unsigned int at, const char *field)
{
	struct triple t = vmcb_triple(n), changed = other(&t, 7), want;
	char name[120];

	snprintf(name, sizeof(name), "bit clear, another %s", field);
	vmcb_put(n, VMCB_CLEAN, ~CLEAN_CET & 0xffff);
	vmcb_put(n, at, at == VMCB_S_CET ? changed.s_cet : at == VMCB_SSP ? changed.ssp : changed.table);
	want = vmcb_triple(n);
	sees(n, &want, name);
}

/*
 * A VMRUN that the CPU refuses loads nothing. L1 changes nothing that the CET bit covers before the next one, and sets
 * this bit: L2 has what the refused VMRUN should have loaded.
 */
static void refused(struct nested *n, const struct triple *now)
{
	const struct triple changed = other(now, 7);

	vmcb_put(n, VMCB_CLEAN, 0);
	vmcb_put_triple(n, &changed);
	vmcb_put(n, VMCB_CR0, vmcb_get(n, VMCB_CR0) & ~(uint64_t)CR0_WP);
	went(n, nested_enter(n), "exit -1", "VMRUN is refused");
	vmcb_set(n, VMCB_CR0, CR0_WP);
	vmcb_put(n, VMCB_CLEAN, CLEAN_CET);
	sees(n, &changed, "the bit set after a VMRUN that was refused");
}

void test_clean_bit(void)
{
	struct nested *n = svm_create(&(struct svm_config) { .npt = true });
	struct triple t[2], changed;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		n->current = i;
		svm_prepare(n, true, l2_reports, 0, 0, 0);
		t[i] = vmcb_triple(n);
		if (i)
			t[i] = other(&t[i], 5);
		/* In l2_reports(), without a call. */
		vmcb_put(n, VMCB_RIP, (uintptr_t)l2_reports);
		vmcb_put_triple(n, &t[i]);
	}
	n->current = 0;
	sees(n, &t[0], "first VMCB");
	sees(n, &t[0], "again, nothing clean");
	vmcb_put(n, VMCB_CLEAN, 0xffff);
	sees(n, &t[0], "again, all clean");
	one_field(n, VMCB_S_CET, "S_CET");
	one_field(n, VMCB_SSP, "SSP");
	one_field(n, VMCB_ISST, "ISST_ADDR");
	t[0] = vmcb_triple(n);

	/* Undefined: KVM keeps what it had, as a CPU may. */
	changed = other(&t[0], 1);
	vmcb_put(n, VMCB_CLEAN, CLEAN_CET);
	vmcb_put_triple(n, &changed);
	sees(n, &t[0], "the bit set, changed fields are not seen");
	vmcb_put_triple(n, &changed);
	vmcb_put(n, VMCB_CLEAN, 0xffff & ~CLEAN_CET);
	sees(n, &changed, "then the bit clear, all others set");
	t[0] = changed;

	refused(n, &t[0]);
	t[0] = vmcb_triple(n);

	/* A VMCB that was not the last one is loaded, whatever its clean bits say. */
	n->current = 1;
	vmcb_put(n, VMCB_CLEAN, 0xffff);
	sees(n, &t[1], "another VMCB, all clean");
	for (i = 0; i < 6; i++) {
		char name[80];

		n->current = i & 1;
		snprintf(name, sizeof(name), "alternating VMCBs, %u", i);
		vmcb_put(n, VMCB_CLEAN, i & 2 ? 0xffff : 0);
		if (i >= 2) {
			t[n->current] = other(&t[n->current], i);
			vmcb_put_triple(n, &t[n->current]);
		}
		sees(n, &t[n->current], name);
	}
	nested_destroy(n);
}

/* ---- Checks ---- */

struct check {
	const char *name;
	unsigned int at;
	uint64_t clear, set;
	bool fine;
};

/* Canonical addresses have 48 bits. */
static const struct check checks[] = {
	{ "nothing changed", VMCB_S_CET, 0, 0, true },
	{ "CR4.CET without CR0.WP", VMCB_CR0, CR0_WP, 0, false },
	{ "S_CET bit 1", VMCB_S_CET, CET_WRSS, 0, true },
	{ "S_CET bit 2", VMCB_S_CET, 0, CET_ENDBR, false },
	{ "S_CET bit 3", VMCB_S_CET, 0, 1 << 3, false },
	{ "S_CET bit 6", VMCB_S_CET, 0, 1 << 6, false },
	{ "S_CET bit 10", VMCB_S_CET, 0, CET_SUPPRESS, false },
	{ "S_CET bit 12", VMCB_S_CET, 0, 1 << 12, false },
	{ "S_CET bit 63", VMCB_S_CET, 0, 1ull << 63, false },
	{ "SSP bit 0", VMCB_SSP, 0, 1, false },
	{ "SSP bit 1", VMCB_SSP, 0, 2, false },
	{ "SSP bit 2", VMCB_SSP, 0, 4, true },
	{ "SSP bit 46", VMCB_SSP, 0, 1ull << 46, true },
	{ "SSP bit 47", VMCB_SSP, 0, 1ull << 47, false },
	{ "SSP bits 63:47", VMCB_SSP, 0, ~0ull << 47, true },
	{ "SSP bit 63", VMCB_SSP, 0, 1ull << 63, false },
	{ "ISST_ADDR bit 0", VMCB_ISST, 0, 1, true },
	{ "ISST_ADDR bit 47", VMCB_ISST, 0, 1ull << 47, false },
	{ "ISST_ADDR bits 63:47", VMCB_ISST, 0, ~0ull << 47, true },
};

static void check(struct nested *n, const struct check *t, const char *kind)
{
	struct triple want, got;
	char name[120];
	enum place w;

	snprintf(name, sizeof(name), "%s%s", kind, t->name);
	svm_prepare(n, true, l2_reports, 0, 0, 0);
	vmcb_put(n, VMCB_RIP, (uintptr_t)l2_reports);
	vmcb_put(n, t->at, (vmcb_get(n, t->at) & ~t->clear) | t->set);
	want = vmcb_triple(n);
	w = nested_enter(n);
	if (!t->fine) {
		went(n, w, "exit -1", "%s: VMEXIT_INVALID", name);
		got = vmcb_triple(n);
		same_triple(&got, &want, "%s: the VMCB is as it was", name);
		l1_intact(n, name);
		/* And the next one is not affected. */
		svm_prepare(n, true, l2_reports, 0, 0, 0);
		vmcb_put(n, VMCB_RIP, (uintptr_t)l2_reports);
		want = vmcb_triple(n);
		w = nested_enter(n);
	}
	if (went(n, w, "call 272", "%s: L2 runs", name)) {
		got = (struct triple) { n->c->stop.a, n->c->stop.b, n->c->stop.c };
		same_triple(&got, &want, "%s: L2 has what the VMCB has", name);
	}
	w = nested_go(n);
	went(n, w, "exit 0x81", "%s: L2 exits", name);
	l1_intact(n, name);
}

void test_checks(void)
{
	unsigned int i, l1_cet;

	for (l1_cet = 0; l1_cet < 2; l1_cet++) {
		const struct svm_config config = { .features = l1_cet ? GUEST_SHSTK : 0,
						   .no_features = !l1_cet,
						   .npt = true };
		struct nested *n = svm_create(&config);

		for (i = 0; i < ARRAY_SIZE(checks); i++)
			check(n, &checks[i], l1_cet ? "VMRUN: " : "VMRUN, L1 off: ");
		nested_destroy(n);
	}
}

/* ---- Without CET ---- */

static GUEST uint64_t l2_without(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t value = 0, msr;

	(void)a;
	(void)b;
	(void)c;
	for (msr = MSR_U_CET; msr <= MSR_INT_SSP_TAB; msr++)
		if (msr != 0x6a1 && msr != 0x6a3)
			g_call(CALL_L2, msr, g_rdmsr_safe(msr, &value), value);
	asm volatile("vmmcall");
	return 0;
}

/* KVM leaves L2 for SMM, and L1's state waits in the host save area. */
static void smi_without(struct nested *n, const struct triple *odd)
{
	void *saved = machine_at(n->m, n->mail->hsave + VMCB_S_CET);
	struct triple got;
	enum place w;

	smram_create(n->c);
	svm_prepare(n, false, l2_without, 0, 0, 0);
	vmcb_put_triple(n, odd);
	w = nested_enter(n);
	went(n, w, "call 272", "SMI: L2 runs");
	memcpy(saved, odd, sizeof(*odd));
	smram_smi(n->c);
	memcpy(&got, saved, sizeof(got));
	same_triple(&got, odd, "SMI: the host save area has no such fields");
	got = vmcb_triple(n);
	same_triple(&got, odd, "SMI: the VMCB is as it was");
	w = nested_go(n);
	went(n, w, "call 272", "SMI: L2 goes on");
	w = nested_leave(n);
	went(n, w, "exit 0x81", "SMI: L2 exits");
}

void test_without(void)
{
	struct nested *n = svm_create(&(struct svm_config) { .no_features = true, .npt = true });
	const struct triple odd = { 0x1111111111111111, 0x2222222222222222, 0x3333333333333333 };
	struct triple got;
	char name[80];
	uint64_t value;
	enum place w;

	tap_ok(!cpu_has_cet(n->c), "L1's CPUID has no shadow stacks");
	for (value = MSR_U_CET; value <= MSR_INT_SSP_TAB; value++)
		if (value != 0x6a1 && value != 0x6a3)
			equals(l1(n, L1_RDMSR, value, 0, NULL), FAULT(VECTOR_GP), "L1's RDMSR 0x%x",
			       (unsigned int)value);
	svm_prepare(n, true, l2_without, 0, 0, 0);
	vmcb_put_triple(n, &odd);
	w = nested_enter(n);
	went(n, w, "exit -1", "CR4.CET: VMEXIT_INVALID");
	got = vmcb_triple(n);
	same_triple(&got, &odd, "CR4.CET: the VMCB is as it was");

	svm_prepare(n, false, l2_without, 0, 0, 0);
	vmcb_put_triple(n, &odd);
	for (w = nested_enter(n); w == AT_STOP && n->c->stop.kind == STOP_CALL; w = nested_go(n)) {
		snprintf(name, sizeof(name), "L2's RDMSR 0x%x", (unsigned int)n->c->stop.a);
		tap_fact(name, "0x%llx 0x%llx", (unsigned long long)n->c->stop.b, (unsigned long long)n->c->stop.c);
		equals(n->c->stop.b, FAULT(VECTOR_GP), "%s", name);
	}
	went(n, w, "exit 0x81", "L2 runs and exits");
	got = vmcb_triple(n);
	same_triple(&got, &odd, "the exit does not touch the fields");
	tap_fact("fields after the exit", "0x%llx 0x%llx 0x%llx", (unsigned long long)got.s_cet,
		 (unsigned long long)got.ssp, (unsigned long long)got.table);
	/* A second time, with what may be clean. */
	svm_prepare(n, false, l2_without, 0, 0, 0);
	vmcb_put_triple(n, &odd);
	vmcb_put(n, VMCB_CLEAN, CLEAN_CET);
	w = nested_enter(n);
	went(n, w, "call 272", "clean bit 12 set: L2 runs");
	w = nested_leave(n);
	got = vmcb_triple(n);
	same_triple(&got, &odd, "clean bit 12 set: the exit does not touch the fields");
	smi_without(n, &odd);
	check_page_fault_bits(n, "page that the VMM removes");
	nested_destroy(n);
}
