// SPDX-License-Identifier: GPL-2.0
/*
 * Nested VMX: a VM entry of L1 that fails after the checks of controls and host state. L1 continues at HOST_RIP.
 * Without LOAD_CET on exit, it has the CET state that the CPU had: its own, unless that of L2 was already loaded, as it
 * is when the MSR list fails. On a native kernel, it has the guest fields of the VMCS, which were not checked.
 * Also an L2 that was running when its VMM gave it a state that the CPU, or KVM, refuses to run: this is an exit of L2.
 * Then L1 has the CET state of L2, and finds it in its VMCS.
 */
#include <stdio.h>
#include <string.h>

#include "nested-vmx.h"

#define L1S_TABLE 0x123000
#define L2S_TABLE 0x77000

struct failure {
	const char *name;
	uint32_t field;
	uint64_t flip; /* these bits of it */
	const char *want;
	bool loaded; /* L2's CET state, if LOAD_CET is set on entry */
	bool entry;  /* with LOAD_CET on entry alone */
	bool no_ept;
	bool unlinked; /* the link pointer is wrong, too */
	uint64_t qualification;
};

/* Exit qualifications of "Invalid guest state": SDM, "VM-Entry Failures During or After Loading Guest State" */
#define WRONG_LINK_POINTER 4

#define LINK_FLIP 0xff0

static const struct failure failures[] = {
	{ "activity state", GUEST_ACTIVITY, 7, "exit 0x80000021", .qualification = 0 },
	{ "link pointer", LINK_POINTER, LINK_FLIP, "exit 0x80000021", .qualification = WRONG_LINK_POINTER },
	{ "CR4.CET without CR0.WP", GUEST_CR0, CR0_WP, "exit 0x80000021", .qualification = 0 },
	{ "CR4.CET without CR0.WP, and link pointer", GUEST_CR0, CR0_WP, "exit 0x80000021", .unlinked = true },
	{ "S_CET, which KVM refuses", GUEST_S_CET, 1 << 6, "exit 0x80000021", .entry = true },
	{ "S_CET, which the CPU refuses", GUEST_S_CET, 1ull << 47, "exit 0x80000021", .entry = true },
	{ "SSP", GUEST_SSP, 1, "exit 0x80000021", .entry = true },
	{ "SSP, and link pointer", GUEST_SSP, 1, "exit 0x80000021", .entry = true, .unlinked = true,
	  .qualification = WRONG_LINK_POINTER },
	{ "RFLAGS", GUEST_RFLAGS, 2, "exit 0x80000021", .qualification = 0 },
	{ "access rights of CS", GUEST_ACCESS(1), 0x80, "exit 0x80000021", .qualification = 0 },
	{ "CR3 without EPT", GUEST_CR3, 1ull << 62, "exit 0x80000021", .no_ept = true },
	{ "MSR list", ENTRY_LOAD_COUNT, 1, "exit 0x80000022", .loaded = true, .qualification = 1 },
};

/* The guest fields that entry does not load: values that would leave L1 unprotected, and invalid ones. */
static const struct triple garbage[] = {
	{ 0, 0x5550, L2S_TABLE },
	{ 1 << 6, 0x4000000000000001, 1ull << 62 },
};

static const char *whose_triple(const struct triple *got, const struct triple *own, const struct triple *host,
				const struct triple *guest)
{
	return same(got, own)	? "L1's own" :
	       same(got, host)	? "host fields" :
	       same(got, guest) ? "guest fields" :
				  "a mixture";
}

static uint64_t bad_list(struct nested *n)
{
	/* Two words: the MSR and the value */
	uint64_t page = machine_alloc(n->m, 1), *list = machine_at(n->m, page);

	list[0] = MSR_S_CET;
	list[1] = 1 << 6;
	return page;
}

/* L1 has survived: it enters L2 once more. */
static void enters_again(struct nested *n, const struct failure *f, bool entry, const char *name)
{
	enum place w;

	vmwrite(n, f->field, vmread(n, f->field) ^ f->flip);
	if (f->unlinked)
		vmwrite(n, LINK_POINTER, -1ull);
	if (entry) {
		vmwrite(n, GUEST_S_CET, n->own.s_cet);
		vmwrite(n, GUEST_SSP, l2_ssp(n));
	}
	n->repair = true;
	w = nested_enter(n);
	went(n, w, "exit 18", "%s: L1 enters L2 without it", name);
}

/* One entry that fails: how it is made, and the CET state that L1 may find after it */
struct late {
	const struct failure *failure;
	bool entry, exit; /* LOAD_CET */
	char name[120];
	struct triple own, host, guest;
};

/* What entry loads; or, without LOAD_CET, what it must not load: then it may be @garbage */
static void set_guest_fields(struct nested *n, struct late *t, unsigned int features, const struct triple *fields)
{
	t->guest = *fields;
	if (t->entry)
		t->guest = (struct triple) { t->own.s_cet ^ (features & GUEST_IBT ? 8 : CET_WRSS), l2_ssp(n),
					     L2S_TABLE };
	else
		clear_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
	vmwrite(n, GUEST_S_CET, t->guest.s_cet);
	if (features & GUEST_SHSTK) {
		vmwrite(n, GUEST_SSP, t->guest.ssp);
		vmwrite(n, GUEST_SSP_TABLE, t->guest.table);
	} else {
		t->guest.ssp = 0;
		t->guest.table = 0;
	}
}

static void set_host_fields(struct nested *n, struct late *t, unsigned int features)
{
	if (!t->exit)
		clear_bits(n, EXIT_CONTROLS, EXIT_LOAD_CET);
	t->host = t->own;
	t->host.s_cet ^= features & GUEST_IBT ? S_CET_NOTRACK : CET_WRSS;
	t->host.table = features & GUEST_SHSTK ? L1S_TABLE : 0;
	vmwrite(n, HOST_S_CET, t->host.s_cet);
	vmwrite(n, HOST_SSP_TABLE, t->host.table);
}

static void let_it_fail(struct nested *n, struct late *t)
{
	const struct failure *f = t->failure;

	vmwrite(n, f->field, vmread(n, f->field) ^ f->flip);
	if (f->unlinked)
		vmwrite(n, LINK_POINTER, ~(uint64_t)LINK_FLIP);
	if (f->field == GUEST_S_CET)
		t->guest.s_cet ^= f->flip;
	if (f->field == GUEST_SSP)
		t->guest.ssp ^= f->flip;
}

/* The entry failed, and led to @w */
static void check_l1(struct nested *n, struct late *t, enum place w)
{
	const struct triple *want = t->exit ? &t->host : t->failure->loaded && t->entry ? &t->guest : &t->own;
	struct triple now;

	t->own.ssp = n->own.ssp;
	t->host.ssp = n->own.ssp;
	now = n->after;
	tap_fact(t->name, "%s", w == AT_EXIT ? whose_triple(&now, &t->own, &t->host, &t->guest) : where_text(n, w));
	if (native && w != AT_EXIT)
		return;
	if (!went(n, w, t->failure->want, "%s: L1 goes on", t->name))
		return;
	equals(vmread(n, EXIT_QUALIFICATION), t->failure->qualification, "%s: exit qualification", t->name);
	if (!native)
		tap_ok(same(&now, want), "%s: L1 has what %s", t->name,
		       t->exit		 ? "the host fields say" :
		       want == &t->guest ? "was loaded for L2" :
					   "it had");
	if (!native && !same(&now, want)) {
		tell_triple("got", &now);
		tell_triple("wanted", want);
	}
	enters_again(n, t->failure, t->entry, t->name);
}

static void late(const struct nested_config *config, const struct failure *f, bool entry, bool exit,
		 const struct triple *fields, const char *kind)
{
	unsigned int features = config ? config->features : GUEST_SHSTK | GUEST_IBT;
	struct nested *n = nested_create(config);
	struct late t = { .failure = f, .entry = entry, .exit = exit, .own = triple_now(n) };

	snprintf(t.name, sizeof(t.name), "%sentry fails by %s, LOAD_CET on %s%s", kind, f->name,
		 load_cet_text(entry, exit), fields == &garbage[1] ? ", garbage" : "");
	if (f->no_ept)
		n->mail->eptp = 0;
	nested_prepare(n, features, NULL, 0, 0, 0);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	if (f->field == ENTRY_LOAD_COUNT)
		vmwrite(n, ENTRY_LOAD_LIST, bad_list(n));
	set_guest_fields(n, &t, features, fields);
	set_host_fields(n, &t, features);
	let_it_fail(n, &t);
	/* L1 cannot use L2's shadow stack; otherwise L1 must be able to continue by itself. */
	n->repair = native || (f->loaded && entry && !exit);
	check_l1(n, &t, nested_enter(n));
	nested_destroy(n);
}

/* What a VMM does to an L2 that has run, and the exit that L1 gets. */
struct breakage {
	const char *name, *want;
	bool segment; /* CS, which KVM refuses to enter L2 with; otherwise RFLAGS, which the CPU does */
};

static const struct breakage breakages[] = {
	{ "RFLAGS", "exit 0x80000021", false },
	{ "CS", "exit 2", true },
};

#define RFLAGS_RESERVED 8

static void break_l2(struct nested *n, const struct breakage *b)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	if (b->segment) {
		cpu_get_sregs(n->c, &sregs);
		sregs.cs.dpl = 3;
		cpu_set_sregs(n->c, &sregs);
	} else {
		cpu_get_regs(n->c, &regs);
		regs.rflags |= RFLAGS_RESERVED;
		cpu_set_regs(n->c, &regs);
	}
}

static void stops(struct nested *n, bool entry, bool exit, const char *name)
{
	enum place w;

	nested_prepare(n, GUEST_SHSTK | GUEST_IBT, nested_chain, 2, BOTTOM_CALL, CALL_L2);
	if (!entry)
		clear_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
	if (!exit)
		clear_bits(n, EXIT_CONTROLS, EXIT_LOAD_CET);
	w = nested_enter(n);
	if (w != AT_STOP || !cpu_called(n->c, CALL_L2))
		tap_bail("%s: L2 does not stop: %s", name, where_text(n, w));
}

static void broken(const struct breakage *b, bool entry, bool exit, bool moved)
{
	struct nested *n = nested_create(NULL);
	struct triple l1, l2;
	struct saved s;
	char name[120];
	enum place w;

	snprintf(name, sizeof(name), "%s of L2%s is invalid, LOAD_CET on %s", b->name,
		 moved ? ", which was moved," : "", load_cet_text(entry, exit));
	stops(n, entry, exit, name);
	if (moved) {
		save(&s, n);
		nested_destroy(n);
		n = restore(&s, "SRMPN");
		saved_free(&s);
	}
	l1 = n->own;
	l2 = (struct triple) { n->own.s_cet ^ CET_WRSS, l2_ssp(n) - 8, L2S_TABLE };
	cpu_wrmsr(n->c, MSR_S_CET, l2.s_cet);
	cpu_wrmsr(n->c, MSR_INT_SSP_TAB, l2.table);
	cpu_set_ssp(n->c, l2.ssp);
	break_l2(n, b);
	n->repair = !exit;
	w = nested_go(n);
	if (went(n, w, b->want, "%s: L1 gets an exit", name)) {
		same_triple(&n->after, exit ? &l1 : &l2, "%s: L1 has what %s", name,
			    exit ? "its host fields say" : "L2 had");
		equals(vmread(n, GUEST_S_CET), l2.s_cet, "%s: L1 reads L2's S_CET", name);
		equals(vmread(n, GUEST_SSP), l2.ssp, "%s: SSP", name);
		equals(vmread(n, GUEST_SSP_TABLE), l2.table, "%s: INT_SSP_TAB", name);
	}
	nested_destroy(n);
}

static void test_broken(void)
{
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(breakages); i++)
		for (j = 0; j < 8; j++)
			broken(&breakages[i], j & 1, j & 2, j & 4);
}

void test_late(void)
{
	const struct nested_config ibt = { .cpuid = hide_shstk, .features = GUEST_IBT };
	const struct nested_config shstk = { .cpuid = hide_ibt, .features = GUEST_SHSTK };
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(failures); i++) {
		for (j = 0; j < 4; j++) {
			bool entry = j & 1, exit = j & 2;
			const struct failure *f = &failures[i];

			if (f->entry && !entry)
				continue;
			late(NULL, f, entry, exit, &garbage[0], "");
			if (!entry)
				late(NULL, f, entry, exit, &garbage[1], "");
			if (i && i + 1 != ARRAY_SIZE(failures))
				continue;
			late(&ibt, f, entry, exit, &garbage[0], "IBT alone, ");
			late(&shstk, f, entry, exit, &garbage[0], "shadow stacks alone, ");
		}
	}
	test_broken();
}
