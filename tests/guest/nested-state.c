// SPDX-License-Identifier: GPL-2.0
/* Nested VMX: the state of L1 and L2, saved while L2 is active, in a new VM. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested-vmx.h"

/* Where the VMCS in it has its fields: KVM's ABI. */
#define AT_HOST_S_CET	  680
#define AT_HOST_SSP	  688
#define AT_HOST_TABLE	  696
#define AT_GUEST_S_CET	  704
#define AT_GUEST_SSP	  712
#define AT_GUEST_TABLE	  720
#define AT_GUEST_CR4	  440
#define AT_HOST_CR4	  600
#define AT_EXIT_CONTROLS  768
#define AT_ENTRY_CONTROLS 780

/* Fields of 32 bits. */
static uint32_t blob_get32(const struct blob *b, unsigned int at)
{
	uint32_t value;

	memcpy(&value, b->block + at, sizeof(value));
	return value;
}

static void blob_set32(struct blob *b, unsigned int at, uint32_t value)
{
	memcpy(b->block + at, &value, sizeof(value));
}

static struct triple blob_guest(const struct blob *b)
{
	return (struct triple) { blob_get(b, AT_GUEST_S_CET), blob_get(b, AT_GUEST_SSP), blob_get(b, AT_GUEST_TABLE) };
}

static struct triple blob_host(const struct blob *b)
{
	return (struct triple) { blob_get(b, AT_HOST_S_CET), blob_get(b, AT_HOST_SSP), blob_get(b, AT_HOST_TABLE) };
}

/*
 * The state that is saved: L2 deep in calls, on its shadow stack; below it L1, on its own.
 */
#define DEPTH 5

static GUEST uint64_t l2_deep(uint64_t a, uint64_t b, uint64_t l2_page)
{
	uint64_t returns;
	unsigned int i;

	(void)a;
	(void)b;
	for (i = CPU_SS_PAGE; i <= CPU_SS_IST2_PAGE; i++)
		(void)*(volatile uint64_t *)(l2_page + i * PAGE);
	g_wrmsr(MSR_S_CET, g_rdmsr(MSR_S_CET) | S_CET_NOTRACK);
	returns = nested_chain(DEPTH, BOTTOM_CALL, CALL_L2);
	g_call(CALL_L2 + 1, returns, g_rdssp(), g_rdmsr(MSR_S_CET));
	/* Through IST 1, so through the table. */
	asm volatile("ud2");
	return 0;
}

/* L2 is active and at its deepest. */
static struct nested *deep(void)
{
	struct nested *n = nested_create(NULL);
	enum place w;

	cpu_wrmsr(n->c, MSR_U_CET, CET_SHSTK);
	cpu_wrmsr(n->c, MSR_PL3_SSP, UNWINDING_PL3_SSP);
	nested_prepare(n, GUEST_SHSTK, l2_deep, 0, 0, n->l2.page);
	vmwrite(n, EXCEPTION_BITMAP, 0);
	w = nested_enter(n);
	if (w != AT_STOP || !cpu_called(n->c, CALL_L2))
		tap_bail("L2 does not get deep: %s", where_text(n, w));
	return n;
}

static void check_triple(struct triple got, struct triple want, const char *name, const char *what)
{
	same_triple(&got, &want, "%s: %s", name, what);
}

/* Runs the guest from there to its end. */
static void goes_on(struct nested *n, const struct saved *s, const char *name)
{
	struct triple now;
	enum place w;

	check_triple(triple_now(n), s->l2, name, "the VMM reads L2's state");
	check_unwinding(n, s, DEPTH, name);
	w = nested_leave(n);
	went(n, w, "exit 18", "%s: L2 exits, and L1 has its own shadow stack again", name);
	check_triple(n->after, s->l1, name, "the exit loads L1's state");
	now = triple_now(n);
	now.ssp -= 16;
	check_triple(now, s->l1, name, "which it has still");
	equals(vmread(n, GUEST_S_CET), s->l2.s_cet, "%s: L1 reads L2's S_CET", name);
	w = nested_enter(n);
	went(n, w, "exit 18", "%s: L1 enters L2 again", name);
}

/* The first byte of the VMCS that differs, or -1. The linear address of the last exit is not state. */
#define AT_LINEAR_ADDRESS 416

static int blob_difference(const struct blob *a, const struct blob *b)
{
	int i;

	for (i = 0; i < KVM_STATE_NESTED_VMX_VMCS_SIZE; i++)
		if (a->block[i] != b->block[i] && i / 8 != AT_LINEAR_ADDRESS / 8)
			return i;
	return -1;
}

static void orders(const struct saved *s)
{
	static const char * const list[] = { "SNRMP", "SRMPN", "NSRMP", "PMNRS", "MSNPR" };
	struct saved again;
	struct nested *n;
	const char *difference;
	char name[32];
	unsigned int i;
	int at;

	for (i = 0; i < ARRAY_SIZE(list); i++) {
		snprintf(name, sizeof(name), "restored, order %s", list[i]);
		n = restore(s, list[i]);
		save(&again, n);
		difference = snapshot_difference(s->vm, again.vm);
		tap_ok(!difference, "%s: saved again, the state is the same", name);
		if (difference)
			tap_diag("%s", difference);
		at = blob_difference(&s->blob, &again.blob);
		tap_ok(at < 0, "%s: so is the nested state", name);
		if (at >= 0)
			tap_diag("at byte %d of the VMCS", at);
		goes_on(n, s, name);
		saved_free(&again);
		nested_destroy(n);
	}
}

/* What of the saved state is left out or falsified, besides what nested-guest.h has. */
static void host_ssp_8_off(struct saved *s)
{
	blob_set(&s->blob, AT_HOST_SSP, s->l1.ssp + 8);
}

static void host_no_ssp(struct saved *s)
{
	blob_set(&s->blob, AT_HOST_SSP, 0);
}

static void host_no_s_cet(struct saved *s)
{
	blob_set(&s->blob, AT_HOST_S_CET, 0);
}

static void host_no_table(struct saved *s)
{
	blob_set(&s->blob, AT_HOST_TABLE, 0);
}

static void host_not_loaded(struct saved *s)
{
	blob_set32(&s->blob, AT_EXIT_CONTROLS, blob_get32(&s->blob, AT_EXIT_CONTROLS) & ~EXIT_LOAD_CET);
}

static const struct falsehood falsehoods[] = {
	{ "nothing false", NULL, "goes on" },
	{ "SSP left out", no_ssp, "L2: #PF(0x40)" },
	{ "SSP 8 off", ssp_8_off, "L2: #CP(1)" },
	{ "SSP of L1", l1s_ssp, "L2: #CP(1)" },
	{ "S_CET left out", no_s_cet, "L2 has S_CET 0x0" },
	{ "INT_SSP_TAB left out", no_table, "L2: exit 2" },
	{ "HOST_SSP 8 off", host_ssp_8_off, "L1: #CP(1)" },
	{ "HOST_SSP 0", host_no_ssp, "L1: #PF(0x40)" },
	{ "HOST_S_CET 0", host_no_s_cet, "L1 has S_CET 0x0" },
	{ "HOST_INTR_SSP_TABLE 0", host_no_table, "L1 has table 0x0" },
	{ "LOAD_CET on exit left out", host_not_loaded, "L1: #DF" },
};

/*
 * GUEST_* of the saved VMCS: what a pending entry will load. If none is pending, the state is in the MSRs and SSP.
 */
static void pending(const struct saved *s)
{
	struct triple fields = { s->l2.s_cet | CET_ENDBR, s->l2.ssp - 64, 0x44000 };
	struct saved copy = saved_copy(s);
	struct nested *n;

	blob_set(&copy.blob, AT_GUEST_S_CET, fields.s_cet);
	blob_set(&copy.blob, AT_GUEST_SSP, fields.ssp);
	blob_set(&copy.blob, AT_GUEST_TABLE, fields.table);
	n = restore(&copy, "SNRMP");
	check_triple(triple_now(n), s->l2, "entry done, nested state first", "L2 has what MSRs and SSP say");
	nested_destroy(n);
	n = restore(&copy, "SRMPN");
	check_triple(triple_now(n), s->l2, "entry done, nested state last", "L2 has what MSRs and SSP say");
	nested_destroy(n);

	copy.blob.head.flags |= KVM_STATE_NESTED_RUN_PENDING;
	n = restore(&copy, "SNRMP");
	check_triple(triple_now(n), s->l2, "entry pending, nested state first", "L2 has what MSRs and SSP say");
	nested_destroy(n);
	n = restore(&copy, "SRMPN");
	check_triple(triple_now(n), fields, "entry pending, nested state last", "L2 has what the VMCS says");
	nested_destroy(n);

	blob_set32(&copy.blob, AT_ENTRY_CONTROLS, blob_get32(&copy.blob, AT_ENTRY_CONTROLS) & ~ENTRY_LOAD_CET);
	n = restore(&copy, "SRMPN");
	check_triple(triple_now(n), s->l2, "entry pending, without LOAD_CET", "L2 has what MSRs and SSP say");
	nested_destroy(n);
	saved_free(&copy);
}

/* What KVM_SET_NESTED_STATE rejects. */
struct refusal {
	const char *name;
	unsigned int at;
	uint64_t clear, set;
	int err;
};

static const struct refusal refusals[] = {
	{ "as it was", 0, 0, 0, 0 },
	{ "host S_CET bit 6", AT_HOST_S_CET, 0, 1 << 6, EINVAL },
	{ "host S_CET bit 5", AT_HOST_S_CET, 0, 1 << 5, 0 },
	{ "host SSP misaligned", AT_HOST_SSP, 0, 1, EINVAL },
	{ "host table not canonical", AT_HOST_TABLE, 0, 1ull << 47, EINVAL },
	{ "guest S_CET bit 6", AT_GUEST_S_CET, 0, 1 << 6, EINVAL },
	{ "guest S_CET bit 5", AT_GUEST_S_CET, 0, 1 << 5, 0 },
	{ "guest SSP misaligned", AT_GUEST_SSP, 0, 2, EINVAL },
	{ "guest SSP bit 47", AT_GUEST_SSP, 0, 1ull << 47, 0 },
	{ "guest SSP bit 48", AT_GUEST_SSP, 0, 1ull << 48, EINVAL },
	{ "guest table not canonical", AT_GUEST_TABLE, 0, 1ull << 47, EINVAL },
};

static int try_blob(const struct saved *s, const struct blob *b)
{
	struct machine *m = snapshot_machine(s->vm);
	int err;

	if (snapshot_put(s->capabilities, m->cpus[0], PART_MSRS, NULL))
		tap_bail("VMX capabilities");
	err = blob_put(m->cpus[0], b);
	machine_destroy(m);
	return err;
}

static void refused(const struct saved *s)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct refusal *r = &refusals[i];
		struct blob b = s->blob;
		int err;

		if (r->at)
			blob_set(&b, r->at, (blob_get(&b, r->at) & ~r->clear) ^ r->set);
		err = try_blob(s, &b);
		tap_ok(err == r->err, "KVM_SET_NESTED_STATE: %s: %s", r->name, errno_name(r->err));
		if (err != r->err)
			tap_diag("got %s", errno_name(err));
	}
}

/* For other kernels. */
static const char *file_name(const char *files, const char *suffix)
{
	static char name[256];

	snprintf(name, sizeof(name), "%s.%s", files, suffix);
	return name;
}

static void write_files(const struct saved *s)
{
	FILE *f = fopen(file_name(save_files, "state"), "w");

	if (!f || fwrite(&s->blob, sizeof(s->blob), 1, f) != 1 || fclose(f))
		tap_bail("%s.state", save_files);
	if (!snapshot_save(s->vm, file_name(save_files, "image")))
		tap_bail("%s.image", save_files);
}

static void read_state(struct blob *b)
{
	FILE *f = fopen(file_name(load_files, "state"), "r");

	if (!f || fread(b, sizeof(*b), 1, f) != 1)
		tap_bail("%s.state", load_files);
	fclose(f);
}

/* The L2 of another kernel goes on here. VMX capabilities are this kernel's: they need not be equal, but suffice. */
void test_foreign(void)
{
	struct nested *n;
	struct saved s;
	unsigned int i;

	if (!load_files)
		return;
	s.vm = snapshot_load(file_name(load_files, "image"));
	snapshot_adapt(s.vm);
	read_state(&s.blob);
	s.l1 = blob_host(&s.blob);
	s.l2 = blob_guest(&s.blob);
	/* What is set before VMXON: that VMX may be used. */
	s.capabilities = snapshot_copy(s.vm);
	for (i = s.vm->msrs.nmsrs; --i;)
		snapshot_drop_msr(s.capabilities, s.vm->msr_entries[i].index);
	s.capabilities->msr_entries[0].index = MSR_FEATURE_CONTROL;
	s.capabilities->msr_entries[0].data = 5;
	n = restore(&s, "SNRMP");
	goes_on(n, &s, "of another kernel");
	nested_destroy(n);
	saved_free(&s);
}

/* A vCPU without CET in its CPUID rejects a VMCS that has any. */
static void refused_by_cpuid(const struct saved *s)
{
	struct saved copy = saved_copy(s);
	struct blob *b = &copy.blob;

	hide_cet(&copy.vm->cpuid, 0);
	equals(try_blob(&copy, b), EINVAL, "KVM_SET_NESTED_STATE, no CET in CPUID: EINVAL");
	blob_set(b, AT_GUEST_CR4, blob_get(b, AT_GUEST_CR4) & ~CR4_CET);
	blob_set(b, AT_HOST_CR4, blob_get(b, AT_HOST_CR4) & ~CR4_CET);
	equals(try_blob(&copy, b), EINVAL, "KVM_SET_NESTED_STATE, no CET in CPUID, nor in CR4: EINVAL");
	blob_set(b, AT_GUEST_S_CET, 0);
	equals(try_blob(&copy, b), EINVAL, "KVM_SET_NESTED_STATE, no CET in CPUID, nor GUEST_S_CET: EINVAL");
	blob_set(b, AT_HOST_S_CET, 0);
	equals(try_blob(&copy, b), 0, "KVM_SET_NESTED_STATE, no CET in CPUID, nor HOST_S_CET: 0");
	saved_free(&copy);
}

/* Saved while L1 runs, with a current VMCS. */
static void in_l1(void)
{
	struct nested *n = nested_create(NULL);
	struct triple fields = { CET_SHSTK | S_CET_NOTRACK, 0x12340, 0x45678 }, now;
	struct saved s;
	enum place w;

	nested_prepare(n, GUEST_SHSTK, NULL, 0, 0, 0);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	w = nested_enter(n);
	went(n, w, "exit 18", "in L1: L2 has run");
	vmwrite(n, GUEST_S_CET, fields.s_cet);
	vmwrite(n, GUEST_SSP, fields.ssp);
	vmwrite(n, GUEST_SSP_TABLE, fields.table);
	save(&s, n);
	tap_ok(!(s.blob.head.flags & KVM_STATE_NESTED_GUEST_MODE), "in L1: L2 is not active");
	check_triple(blob_guest(&s.blob), fields, "in L1", "the nested state has what L1 wrote");
	s.l1 = s.l2;
	nested_destroy(n);
	n = restore(&s, "SNRMP");
	check_triple(triple_now(n), s.l1, "in L1, restored", "L1 has its state");
	now = (struct triple) { vmread(n, GUEST_S_CET), vmread(n, GUEST_SSP), vmread(n, GUEST_SSP_TABLE) };
	check_triple(now, fields, "in L1, restored", "L1 reads what it wrote");
	w = nested_enter(n);
	went(n, w, "exit 18", "in L1, restored: L1 enters L2");
	check_triple(n->after, n->own, "in L1, restored", "the exit loads L1's state");
	nested_destroy(n);
	saved_free(&s);
}

/* KVM_SET_NESTED_STATE can also end L2: as an exit, but nothing is stored. */
static void ended(void)
{
	struct nested *n = deep();
	struct blob b = {
		.head.size = sizeof(b.head),
		.head.hdr.vmx = { .vmxon_pa = -1ull, .vmcs12_pa = -1ull },
	};
	struct triple l1 = n->own;

	equals(blob_put(n->c, &b), 0, "KVM_SET_NESTED_STATE ends VMX operation while L2 is active");
	check_triple(triple_now(n), l1, "L2 ended", "the state is L1's");
	nested_destroy(n);
}

/* KVM_SET_NESTED_STATE makes an L2 active after an entry that failed. Saved before it runs, it has what its VMM set. */
static void set_after_failure(void)
{
	struct nested *n = deep();
	struct saved s;
	struct blob b;
	enum place w;

	save(&s, n);
	nested_leave(n);
	vmwrite(n, GUEST_RFLAGS, 0);
	w = nested_enter(n);
	went(n, w, "exit 0x80000021", "an entry with invalid RFLAGS fails");
	put_state(&s, n->c, "SRMPN");
	s.l2.ssp -= 8;
	cpu_set_ssp(n->c, s.l2.ssp);
	blob_take(n->c, &b);
	check_triple(blob_guest(&b), s.l2, "set after an entry that failed", "the nested state has L2's");
	saved_free(&s);
	nested_destroy(n);
}

void test_snapshot(void)
{
	struct nested *n = deep();
	struct triple fields;
	struct saved s;

	save(&s, n);
	if (save_files)
		write_files(&s);
	fields = blob_guest(&s.blob);
	check_triple(fields, s.l2, "saved", "the nested state has L2's");
	fields = blob_host(&s.blob);
	check_triple(fields, s.l1, "saved", "the nested state has L1's");
	goes_on(n, &s, "not restored");
	nested_destroy(n);
	orders(&s);
	check_falsehoods(&s, falsehoods, ARRAY_SIZE(falsehoods), "exit 18");
	pending(&s);
	refused(&s);
	refused_by_cpuid(&s);
	saved_free(&s);
	ended();
	set_after_failure();
	in_l1();
}

/*
 * KVM_SET_CPUID2 while L2 is active, before the vCPU has run: nested state was set early. Native refuses to change
 * anything then, 6.12 lets it: both leave the host alone, and L1 as it is.
 */
static GUEST uint64_t l2_plain(uint64_t a, uint64_t b, uint64_t c)
{
	(void)a;
	(void)b;
	(void)c;
	g_call(CALL_L2, 0, 0, 0);
	asm volatile("vmcall" : : : "memory");
	return 0;
}

static struct nested *plain(void (*cpuid)(struct kvm_cpuid2 *cpuid, unsigned int cpu))
{
	struct nested *n = nested_create(&(struct nested_config) { .cpuid = cpuid });
	enum place w;

	/* With EPT of L1's, 6.12 loses L2's MMU when CPUID is set while L2 is active: EPT violations without end. */
	n->mail->eptp = 0;
	nested_prepare(n, 0, l2_plain, 0, 0, 0);
	w = nested_enter(n);
	if (w != AT_STOP || !cpu_called(n->c, CALL_L2))
		tap_bail("L2 does not start: %s", where_text(n, w));
	return n;
}

static int set_cpuid(struct cpu *c, const struct kvm_cpuid2 *cpuid)
{
	return ioctl(c->io.vcpu, KVM_SET_CPUID2, cpuid) ? errno : 0;
}

/* A new VM where L2 is active and nothing but SREGS, MSRs and nested state has been set. */
static struct nested *early(const struct saved *s)
{
	struct machine *m = snapshot_machine(s->vm);
	struct cpu *c = m->cpus[0];

	if (snapshot_put(s->capabilities, c, PART_MSRS, NULL) || snapshot_put(s->vm, c, PART_SREGS, NULL) ||
	    snapshot_put(s->vm, c, PART_MSRS, NULL) || blob_put(c, &s->blob))
		tap_bail("early nested state");
	return nested_of(m);
}

/* L2 and L1 continue; L1 tries the features that CPUID now shows. */
static void after_cpuid(struct nested *n, const struct saved *s, const char *name, bool l1_has_cet)
{
	uint64_t s_cet = host_rdmsr(MSR_S_CET), cr4;
	struct kvm_sregs sregs;
	enum place w;
	int i;

	if (snapshot_put(s->vm, n->c, PART_REGS, NULL) || snapshot_put(s->vm, n->c, PART_XCRS, NULL) ||
	    snapshot_put(s->vm, n->c, PART_XSAVE, NULL))
		tap_bail("registers");
	time_limit(500);
	w = nested_go(n);
	time_limit(0);
	went(n, w, "exit 18", "%s: L2 goes on to its end", name);
	if (w != AT_EXIT)
		return;
	n->launched = true;
	cpu_get_sregs(n->c, &sregs);
	cr4 = sregs.cr4;
	l1(n, L1_CR4, cr4 | CR4_CET, 0);
	equals(n->status, l1_has_cet ? DONE : FAULT(VECTOR_GP), "%s: L1's CR4.CET", name);
	/* The worst case: a write that reaches a CPU which would not switch the register. */
	l1(n, L1_WRMSR, MSR_S_CET, S_CET_NOTRACK);
	equals(n->status, l1_has_cet ? DONE : FAULT(VECTOR_GP), "%s: L1's S_CET", name);
	equals(host_rdmsr(MSR_S_CET), s_cet, "%s: the host's S_CET is as before", name);
	l1(n, L1_CR4, cr4, 0);
	for (i = 0; i < 3; i++) {
		vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
		w = nested_enter(n);
		went(n, w, "exit 18", "%s: L1 enters L2 again", name);
	}
	if (l1_has_cet)
		equals(l1(n, L1_RDMSR, MSR_S_CET, 0), S_CET_NOTRACK, "%s: L1's S_CET passes through L2", name);
	equals(host_rdmsr(MSR_S_CET), s_cet, "%s: the host's S_CET is as before", name);
}

static void cpuid_of(void (*before)(struct kvm_cpuid2 *cpuid, unsigned int cpu),
		     void (*after)(struct kvm_cpuid2 *cpuid, unsigned int cpu), const char *name)
{
	struct nested *n = plain(before), *with;
	struct kvm_cpuid2 *other;
	struct saved s;
	int err;

	/* The different one is made from one that has everything. */
	with = nested_create_off(NULL);
	other = calloc(1, sizeof(*other) + MAX_CPUID * sizeof(other->entries[0]));
	if (!other)
		tap_bail("no memory");
	memcpy(other, with->c->cpuid, sizeof(*other) + with->c->cpuid->nent * sizeof(other->entries[0]));
	nested_destroy(with);
	if (after)
		after(other, 0);
	save(&s, n);
	nested_destroy(n);

	n = early(&s);
	check_errno((struct outcome) { set_cpuid(n->c, &s.vm->cpuid) ? -1 : 0, errno }, 0,
		    "%s: the same CPUID while L2 is active", name);
	err = set_cpuid(n->c, other);
	check_value((struct outcome) { 0, 0 }, err, err == EINVAL ? EINVAL : 0,
		    "%s: another CPUID while L2 is active: done or refused", name);
	/* The result is in L1's capabilities. */
	memcpy(n->c->cpuid, err ? &s.vm->cpuid : other, sizeof(*other) + other->nent * sizeof(other->entries[0]));
	after_cpuid(n, &s, name, err ? !before : !after);
	nested_destroy(n);
	saved_free(&s);
	free(other);
}

void test_cpuid(void)
{
	cpuid_of(NULL, hide_cet, "CET to none");
	cpuid_of(hide_cet, NULL, "no CET to CET");
}

/*
 * An entry that is really pending: a signal stops KVM_RUN between VMLAUNCH and the first instruction of L2. The right
 * moment is found by trying.
 */
static bool stop_at_entry(struct nested *n, struct blob *b)
{
	unsigned int us;

	for (us = 1; us < 200; us++) {
		enum place w;

		nested_prepare(n, GUEST_SHSTK, l2_deep, 0, 0, n->l2.page);
		time_limit_once(us);
		w = nested_enter(n);
		time_limit(0);
		if (w == AT_STOP && n->c->stop.kind == STOP_SIGNAL) {
			blob_take(n->c, b);
			if (b->head.flags & KVM_STATE_NESTED_RUN_PENDING)
				return true;
			w = nested_go(n);
		}
		if (w == AT_STOP)
			nested_leave(n);
	}
	return false;
}

void test_pending(void)
{
	static const char * const list[] = { "SNRMP", "SRMPN" };
	struct nested *n = nested_create(NULL);
	struct saved s;
	unsigned int i;
	enum place w;

	if (!stop_at_entry(n, &s.blob)) {
		tap_ok(false, "KVM_RUN stops while an entry is pending");
		nested_destroy(n);
		return;
	}
	cpu_wrmsr(n->c, MSR_U_CET, CET_SHSTK);
	cpu_wrmsr(n->c, MSR_PL3_SSP, UNWINDING_PL3_SSP);
	save(&s, n);
	check_triple(s.l2, blob_guest(&s.blob), "entry pending", "the VMM reads what L2 will have");
	nested_destroy(n);
	for (i = 0; i < ARRAY_SIZE(list); i++) {
		struct saved later = s;

		n = restore(&s, list[i]);
		w = nested_go(n);
		if (went(n, w, "call 272", "entry pending, order %s: L2 runs in the new VM", list[i])) {
			later.l2 = triple_now(n);
			equals(later.l2.ssp, s.l2.ssp - (DEPTH + 2) * 8, "entry pending, order %s: L2's SSP", list[i]);
			goes_on(n, &later, "entry pending");
		}
		nested_destroy(n);
	}
	saved_free(&s);
}

/*
 * KVM without CET.
 */
static const struct {
	const char *name;
	unsigned int at;
	bool wide;
	uint64_t set;
	int err;
} states_without[] = {
	{ "nothing changed", 0, false, 0, 0 },
	{ "LOAD_CET on entry", AT_ENTRY_CONTROLS, false, ENTRY_LOAD_CET, EINVAL },
	{ "LOAD_CET on exit", AT_EXIT_CONTROLS, false, EXIT_LOAD_CET, EINVAL },
	{ "GUEST_CR4.CET", AT_GUEST_CR4, true, CR4_CET, EINVAL },
	{ "HOST_CR4.CET", AT_HOST_CR4, true, CR4_CET, EINVAL },
	{ "something in GUEST_S_CET", AT_GUEST_S_CET, true, 1 << 6, 0 },
	{ "something in HOST_SSP", AT_HOST_SSP, true, 1, 0 },
};

void test_state_without(void)
{
	struct nested *n = plain(NULL);
	struct saved s;
	struct blob b;
	unsigned int i;
	int err;

	save(&s, n);
	nested_destroy(n);
	for (i = 0; i < ARRAY_SIZE(states_without); i++) {
		b = s.blob;
		if (states_without[i].wide)
			blob_set(&b, states_without[i].at, blob_get(&b, states_without[i].at) | states_without[i].set);
		else if (states_without[i].at)
			blob_set32(&b, states_without[i].at,
				   blob_get32(&b, states_without[i].at) | states_without[i].set);
		err = try_blob(&s, &b);
		equals(err, states_without[i].err, "KVM_SET_NESTED_STATE, %s: %s", states_without[i].name,
		       errno_name(states_without[i].err));
	}
	if (load_files) {
		read_state(&b);
		tap_ok(blob_get32(&b, AT_ENTRY_CONTROLS) & ENTRY_LOAD_CET && b.head.flags & KVM_STATE_NESTED_GUEST_MODE,
		       "the nested state of a host with CET has L2 active, with LOAD_CET");
		equals(try_blob(&s, &b), EINVAL, "KVM_SET_NESTED_STATE, of a host with CET: EINVAL");
	}
	saved_free(&s);
}
