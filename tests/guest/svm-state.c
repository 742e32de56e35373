// SPDX-License-Identifier: GPL-2.0
/*
 * Nested SVM: the state of L1 and L2, saved while L2 is active, in a new VM. KVM_GET_NESTED_STATE has L1's save area
 * and the controls of vmcb12; L2's state is in the usual places.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested-svm.h"

#define DEPTH 5

void save(struct saved *s, struct nested *n)
{
	s->vm = snapshot_take(n->c);
	s->capabilities = NULL;
	blob_take(n->c, &s->blob);
	s->view = *n;
	s->l1 = n->own;
	s->l2 = triple_of(n->c);
}

struct nested *restore(const struct saved *s, const char *order)
{
	struct machine *m = snapshot_machine(s->vm);

	put_state(s, m->cpus[0], order);
	return svm_of(m, &s->view);
}

/* L2 deep in calls, on its shadow stack; below it L1, on its own. */
static GUEST uint64_t l2_deep(uint64_t page, uint64_t b, uint64_t c)
{
	uint64_t i;

	(void)b;
	(void)c;
	for (i = CPU_IST1_PAGE; i <= CPU_SS_IST2_PAGE; i++)
		(void)*(volatile uint64_t *)(page + i * PAGE);
	i = svm_chain(DEPTH, CALL_L2);
	g_call(CALL_L2 + 1, i, g_rdssp(), g_rdmsr(MSR_S_CET));
	/* Through IST 1, so through the table. */
	asm volatile("ud2");
	return 0;
}

static struct nested *deep(void)
{
	struct nested *n = svm_create(&(struct svm_config) { .npt = true });
	struct triple t;
	enum place w;

	cpu_wrmsr(n->c, MSR_U_CET, CET_SHSTK);
	cpu_wrmsr(n->c, MSR_PL3_SSP, UNWINDING_PL3_SSP);
	svm_prepare(n, true, l2_deep, n->l2.page, 0, 0);
	/* L1 has bit 1, L2 not. */
	t = vmcb_triple(n);
	t.s_cet = CET_SHSTK;
	vmcb_put_triple(n, &t);
	w = nested_enter(n);
	if (w != AT_STOP || !cpu_called(n->c, CALL_L2))
		tap_bail("L2 does not get deep: %s", where_text(n, w));
	return n;
}

static struct triple blob_triple(const struct blob *b)
{
	return (struct triple) { blob_get(b, VMCB_S_CET), blob_get(b, VMCB_SSP), blob_get(b, VMCB_ISST) };
}

/* Runs the guest from there to its end. */
static void goes_on(struct nested *n, const struct saved *s, const char *name)
{
	struct triple l2 = triple_of(n->c), want = s->l2;
	enum place w;

	same_triple(&l2, &s->l2, "%s: the VMM reads L2's state", name);
	check_unwinding(n, s, DEPTH, name);
	w = nested_leave(n);
	went(n, w, "exit 0x81", "%s: L2 exits", name);
	l1_intact(n, name);
	want.ssp = handler_ssp(cpu_shadow_stack(&n->l2, CPU_SS_IST1_PAGE));
	l2 = vmcb_triple(n);
	same_triple(&l2, &want, "%s: the VMCB has L2's state", name);
	/* L1's VMRUN may say that nothing has changed, though it is the first one of this VM. */
	vmcb_put(n, VMCB_CLEAN, CLEAN_CET);
	w = nested_enter(n);
	went(n, w, "exit 0x81", "%s: L1 enters L2 again", name);
	l2 = vmcb_triple(n);
	same_triple(&l2, &want, "%s: which has its state", name);
	l1_intact(n, name);
}

static void orders(const struct saved *s)
{
	static const char * const list[] = { "SNRMP", "SRMPN", "SMPNR", "PMSRN", "MSNPR" };
	struct saved again;
	const char *difference;
	struct triple t;
	struct nested *n;
	char name[40];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(list); i++) {
		snprintf(name, sizeof(name), "restored, order %s", list[i]);
		n = restore(s, list[i]);
		save(&again, n);
		difference = snapshot_difference(s->vm, again.vm);
		tap_ok(!difference, "%s: saved again, the state is the same", name);
		if (difference)
			tap_diag("%s", difference);
		t = blob_triple(&again.blob);
		same_triple(&t, &n->own, "%s: so is the nested state", name);
		goes_on(n, s, name);
		saved_free(&again);
		nested_destroy(n);
	}
}

/* What of the saved state is left out or falsified, besides what nested-guest.h has. */
static void l1_no_s_cet(struct saved *s)
{
	blob_set(&s->blob, VMCB_S_CET, 0);
}

static void l1_no_ssp(struct saved *s)
{
	blob_set(&s->blob, VMCB_SSP, 0);
}

static void l1_ssp_8_off(struct saved *s)
{
	blob_set(&s->blob, VMCB_SSP, s->l1.ssp + 8);
}

static void l1_no_table(struct saved *s)
{
	blob_set(&s->blob, VMCB_ISST, 0);
}

static const struct falsehood falsehoods[] = {
	{ "nothing false", NULL, "goes on" },
	{ "SSP left out", no_ssp, "L2: #PF(0x40)" },
	{ "SSP 8 off", ssp_8_off, "L2: #CP(1)" },
	{ "SSP of L1", l1s_ssp, "L2: #CP(1)" },
	{ "S_CET left out", no_s_cet, "L2 has S_CET 0x0" },
	{ "INT_SSP_TAB left out", no_table, "L2: shutdown" },
	{ "L1's S_CET left out", l1_no_s_cet, "L1 has S_CET 0x0" },
	{ "L1's SSP left out", l1_no_ssp, "L1: #PF(0x40)" },
	{ "L1's SSP 8 off", l1_ssp_8_off, "L1: #CP(1)" },
	{ "L1's INT_SSP_TAB left out", l1_no_table, "L1 has table 0x0" },
};

/* What KVM_SET_NESTED_STATE says to values that a CPU refuses: L1's are not checked. */
static void odd_values(const struct saved *s)
{
	static const struct {
		const char *name;
		unsigned int at;
		uint64_t value;
	} odd[] = {
		{ "S_CET bit 2", VMCB_S_CET, CET_SHSTK | CET_ENDBR },
		{ "SSP misaligned", VMCB_SSP, 1 },
		{ "INT_SSP_TAB not canonical", VMCB_ISST, 1ull << 47 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		struct blob b = s->blob;
		struct machine *m = snapshot_machine(s->vm);
		char name[80];
		int err;

		blob_set(&b, odd[i].at, odd[i].value);
		snapshot_put(s->vm, m->cpus[0], PART_SREGS, NULL);
		err = blob_put(m->cpus[0], &b);
		snprintf(name, sizeof(name), "KVM_SET_NESTED_STATE with L1's %s", odd[i].name);
		tap_fact(name, "%s", errno_name(err));
		machine_destroy(m);
	}
}

/*
 * A later nested state replaces an earlier one: L1's state is the later one's, even where vmcb01 was just in use with
 * another. And L2 that user space ends.
 */
static void twice(const struct saved *s)
{
	struct saved other = saved_copy(s);
	struct kvm_nested_state none = { .format = KVM_STATE_NESTED_FORMAT_SVM,
					 .size = sizeof(none),
					 .flags = KVM_STATE_NESTED_GIF_SET };
	struct triple t, want;
	struct nested *n;

	blob_set(&other.blob, VMCB_ISST, 0x77000);
	n = restore(&other, "SNRMP");
	if (blob_put(n->c, &s->blob))
		tap_bail("KVM_SET_NESTED_STATE");
	goes_on(n, s, "a second nested state");
	nested_destroy(n);

	n = restore(&other, "SNRMP");
	want = blob_triple(&other.blob);
	if (ioctl(n->c->io.vcpu, KVM_SET_NESTED_STATE, &none))
		tap_bail("KVM_SET_NESTED_STATE: none");
	t = triple_of(n->c);
	same_triple(&t, &want, "no nested state any more: the VMM reads L1's state");
	nested_destroy(n);
	saved_free(&other);
}

/* Into the vCPU that it came from, whose L1 has another state meanwhile, which the CPU may still have. */
static void same_vcpu(struct nested *n, const struct saved *s, const char *order)
{
	uint64_t table = machine_alloc(n->m, 1), page;
	char name[80];

	snprintf(name, sizeof(name), "restored into the same vCPU, order %s", order);
	memcpy(machine_at(n->m, table), machine_at(n->m, n->own.table), 64);
	l1(n, L1_WRMSR, MSR_S_CET, CET_SHSTK, NULL);
	l1(n, L1_WRMSR, MSR_INT_SSP_TAB, table, NULL);
	equals(l1(n, L1_CHECK, 0, 0, NULL), FAULT(VECTOR_UD), "%s: L1 has another state before", name);
	for (page = 0; page < RAM_SIZE / PAGE; page++)
		if (s->vm->present[page])
			memcpy(machine_at(n->m, page * PAGE), s->vm->ram + page * PAGE, PAGE);
	put_state(s, n->c, order);
	n->own = s->l1;
	goes_on(n, s, name);
}

void test_state(void)
{
	struct nested *n = deep();
	struct triple t;
	struct saved s;

	save(&s, n);
	t = blob_triple(&s.blob);
	same_triple(&t, &n->own, "the nested state has L1's state");
	equals(s.l2.s_cet, CET_SHSTK, "KVM_GET_MSRS has L2's S_CET");
	equals(s.l2.table, l2_table(n), "and L2's INT_SSP_TAB");
	goes_on(n, &s, "after saving");
	same_vcpu(n, &s, "SRMPN");
	same_vcpu(n, &s, "SNRMP");
	nested_destroy(n);
	orders(&s);
	check_falsehoods(&s, falsehoods, ARRAY_SIZE(falsehoods), "exit 0x81");
	odd_values(&s);
	twice(&s);
	saved_free(&s);
}
