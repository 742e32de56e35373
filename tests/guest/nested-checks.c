// SPDX-License-Identifier: GPL-2.0
/* What KVM checks when L1 enters L2: every rejected value has an accepted neighbour. */
#include <stdio.h>
#include <string.h>

#include "nested-vmx.h"

#define ENTRY 1 /* with LOAD_CET on entry */
#define EXIT  2

/* The field becomes (old & ~clear) ^ set. */
struct change {
	uint32_t field;
	uint64_t clear, set;
};

struct check {
	const char *name;
	unsigned int load;
	struct change changes[2];
	const char *want;
};

#define ALL	      (~0ull)
#define NOT_CANONICAL 0x0000800000000000ull
#define HIGH	      0xffff800000000000ull
#define PASSES	      "exit 18"
#define BAD_HOST      "vmfail 8"
#define BAD_GUEST     "exit 0x80000021"

static const struct check host_checks[] = {
	{ "nothing changed", EXIT, { { 0 } }, PASSES },
	{ "host CR4.CET without CR0.WP", EXIT, { { HOST_CR0, CR0_WP, 0 } }, BAD_HOST },
	{ "the same without LOAD_CET", 0, { { HOST_CR0, CR0_WP, 0 } }, BAD_HOST },
	{ "host without CR4.CET and CR0.WP", EXIT, { { HOST_CR0, CR0_WP, 0 }, { HOST_CR4, CR4_CET, 0 } }, PASSES },
	{ "host S_CET bit 5", EXIT, { { HOST_S_CET, 0, 1 << 5 } }, PASSES },
	{ "host S_CET bit 6", EXIT, { { HOST_S_CET, 0, 1 << 6 } }, BAD_HOST },
	{ "host S_CET bit 7", EXIT, { { HOST_S_CET, 0, 1 << 7 } }, BAD_HOST },
	{ "host S_CET bit 8", EXIT, { { HOST_S_CET, 0, 1 << 8 } }, BAD_HOST },
	{ "host S_CET bit 9", EXIT, { { HOST_S_CET, 0, 1 << 9 } }, BAD_HOST },
	{ "host S_CET bit 6 without LOAD_CET", 0, { { HOST_S_CET, 0, 1 << 6 } }, PASSES },
	{ "host S_CET bit 12", EXIT, { { HOST_S_CET, 0, 1 << 12 } }, BAD_HOST },
	{ "host S_CET bit 13", EXIT, { { HOST_S_CET, 0, 1 << 13 } }, BAD_HOST },
	{ "host S_CET bit 14", EXIT, { { HOST_S_CET, 0, 1 << 14 } }, PASSES },
	{ "host S_CET suppress", EXIT, { { HOST_S_CET, 0, CET_SUPPRESS } }, PASSES },
	{ "host S_CET tracker, and an ENDBR there",
	  EXIT,
	  { { HOST_S_CET, 0, CET_WAIT_ENDBR }, { HOST_RIP, ALL, (uintptr_t)nested_exit } },
	  PASSES },
	{ "host S_CET suppress and tracker", EXIT, { { HOST_S_CET, 0, CET_SUPPRESS | CET_WAIT_ENDBR } }, BAD_HOST },
	{ "host S_CET high", EXIT, { { HOST_S_CET, 0, HIGH } }, PASSES },
	{ "host S_CET not canonical", EXIT, { { HOST_S_CET, 0, NOT_CANONICAL } }, BAD_HOST },
	{ "host S_CET not canonical without LOAD_CET", 0, { { HOST_S_CET, 0, NOT_CANONICAL } }, PASSES },
	{ "host SSP 1", EXIT, { { HOST_SSP, ALL, 0x1001 } }, BAD_HOST },
	{ "host SSP 2", EXIT, { { HOST_SSP, ALL, 0x1002 } }, BAD_HOST },
	{ "host SSP 3", EXIT, { { HOST_SSP, ALL, 0x1003 } }, BAD_HOST },
	{ "host SSP 4", EXIT, { { HOST_SSP, ALL, 0x1004 } }, PASSES },
	{ "host SSP 1 without LOAD_CET", 0, { { HOST_SSP, ALL, 0x1001 } }, PASSES },
	{ "host SSP high", EXIT, { { HOST_SSP, ALL, HIGH } }, PASSES },
	{ "host SSP not canonical", EXIT, { { HOST_SSP, ALL, NOT_CANONICAL } }, BAD_HOST },
	{ "host SSP not canonical without LOAD_CET", 0, { { HOST_SSP, ALL, NOT_CANONICAL } }, PASSES },
	{ "host table 1", EXIT, { { HOST_SSP_TABLE, ALL, 1 } }, PASSES },
	{ "host table high", EXIT, { { HOST_SSP_TABLE, ALL, HIGH } }, PASSES },
	{ "host table not canonical", EXIT, { { HOST_SSP_TABLE, ALL, NOT_CANONICAL } }, BAD_HOST },
	{ "host table not canonical without LOAD_CET", 0, { { HOST_SSP_TABLE, ALL, NOT_CANONICAL } }, PASSES },
};

static const struct check guest_checks[] = {
	{ "nothing changed", ENTRY | EXIT, { { 0 } }, PASSES },
	{ "guest CR4.CET without CR0.WP", ENTRY | EXIT, { { GUEST_CR0, CR0_WP, 0 } }, BAD_GUEST },
	{ "the same without LOAD_CET", EXIT, { { GUEST_CR0, CR0_WP, 0 } }, BAD_GUEST },
	{ "guest without CR4.CET and CR0.WP",
	  ENTRY | EXIT,
	  { { GUEST_CR0, CR0_WP, 0 }, { GUEST_CR4, CR4_CET, 0 } },
	  PASSES },
	{ "guest S_CET bit 5", ENTRY | EXIT, { { GUEST_S_CET, 0, 1 << 5 } }, PASSES },
	{ "guest S_CET bit 6", ENTRY | EXIT, { { GUEST_S_CET, 0, 1 << 6 } }, BAD_GUEST },
	{ "guest S_CET bit 7", ENTRY | EXIT, { { GUEST_S_CET, 0, 1 << 7 } }, BAD_GUEST },
	{ "guest S_CET bit 8", ENTRY | EXIT, { { GUEST_S_CET, 0, 1 << 8 } }, BAD_GUEST },
	{ "guest S_CET bit 9", ENTRY | EXIT, { { GUEST_S_CET, 0, 1 << 9 } }, BAD_GUEST },
	{ "guest S_CET bit 6 without LOAD_CET", EXIT, { { GUEST_S_CET, 0, 1 << 6 } }, PASSES },
	{ "guest S_CET bit 12", ENTRY | EXIT, { { GUEST_S_CET, 0, 1 << 12 } }, BAD_GUEST },
	{ "guest S_CET bit 13", ENTRY | EXIT, { { GUEST_S_CET, 0, 1 << 13 } }, BAD_GUEST },
	{ "guest S_CET bit 14", ENTRY | EXIT, { { GUEST_S_CET, 0, 1 << 14 } }, PASSES },
	{ "guest S_CET suppress", ENTRY | EXIT, { { GUEST_S_CET, 0, CET_SUPPRESS } }, PASSES },
	{ "guest S_CET tracker, and an ENDBR there", ENTRY | EXIT, { { GUEST_S_CET, 0, CET_WAIT_ENDBR } }, PASSES },
	{ "guest S_CET suppress and tracker",
	  ENTRY | EXIT,
	  { { GUEST_S_CET, 0, CET_SUPPRESS | CET_WAIT_ENDBR } },
	  BAD_GUEST },
	{ "guest S_CET high", ENTRY | EXIT, { { GUEST_S_CET, 0, HIGH } }, PASSES },
	/* KVM leaves this one to the processor. */
	{ "guest S_CET not canonical", ENTRY | EXIT, { { GUEST_S_CET, 0, NOT_CANONICAL } }, BAD_GUEST },
	{ "guest S_CET not canonical without LOAD_CET", EXIT, { { GUEST_S_CET, 0, NOT_CANONICAL } }, PASSES },
	{ "guest SSP 1", ENTRY | EXIT, { { GUEST_SSP, ALL, 0x1001 } }, BAD_GUEST },
	{ "guest SSP 2", ENTRY | EXIT, { { GUEST_SSP, ALL, 0x1002 } }, BAD_GUEST },
	{ "guest SSP 3", ENTRY | EXIT, { { GUEST_SSP, ALL, 0x1003 } }, BAD_GUEST },
	{ "guest SSP 4", ENTRY | EXIT, { { GUEST_SSP, ALL, 0x1004 } }, PASSES },
	{ "guest SSP 1 without LOAD_CET", EXIT, { { GUEST_SSP, ALL, 0x1001 } }, PASSES },
	{ "guest SSP high", ENTRY | EXIT, { { GUEST_SSP, ALL, HIGH } }, PASSES },
	/* KVM requires bits 63 to 48 to be equal; Bochs also requires bit 47 to be the same. */
	{ "guest SSP bit 47", ENTRY | EXIT, { { GUEST_SSP, ALL, NOT_CANONICAL } }, BAD_GUEST },
	{ "guest SSP bit 48", ENTRY | EXIT, { { GUEST_SSP, ALL, NOT_CANONICAL << 1 } }, BAD_GUEST },
	{ "guest SSP bit 48 without LOAD_CET", EXIT, { { GUEST_SSP, ALL, NOT_CANONICAL << 1 } }, PASSES },
	{ "guest table 1", ENTRY | EXIT, { { GUEST_SSP_TABLE, ALL, 1 } }, PASSES },
	{ "guest table high", ENTRY | EXIT, { { GUEST_SSP_TABLE, ALL, HIGH } }, PASSES },
	{ "guest table not canonical", ENTRY | EXIT, { { GUEST_SSP_TABLE, ALL, NOT_CANONICAL } }, BAD_GUEST },
	{ "guest table not canonical without LOAD_CET", EXIT, { { GUEST_SSP_TABLE, ALL, NOT_CANONICAL } }, PASSES },
};

/* The initial state of every check: the VMCS fields that a check or an exit changes. */
static const uint32_t kept[] = {
	GUEST_S_CET, GUEST_SSP,	     GUEST_SSP_TABLE, GUEST_CR0, GUEST_CR4, GUEST_RIP,	    HOST_S_CET,
	HOST_SSP,    HOST_SSP_TABLE, HOST_CR0,	      HOST_CR4,	 HOST_RIP,  ENTRY_CONTROLS, EXIT_CONTROLS,
};

static void one_check(struct nested *n, const struct check *t, const uint64_t *base)
{
	struct triple before, now, loaded;
	enum place w;
	unsigned int i;
	bool as_it_was;

	for (i = 0; i < ARRAY_SIZE(kept); i++)
		vmwrite(n, kept[i], base[i]);
	set_bits(n, ENTRY_CONTROLS, t->load & ENTRY ? ENTRY_LOAD_CET : 0);
	set_bits(n, EXIT_CONTROLS, t->load & EXIT ? EXIT_LOAD_CET : 0);
	for (i = 0; i < 2 && t->changes[i].field; i++)
		vmwrite(n, t->changes[i].field,
			(vmread(n, t->changes[i].field) & ~t->changes[i].clear) ^ t->changes[i].set);
	loaded = (struct triple) { vmread(n, HOST_S_CET), vmread(n, HOST_SSP), vmread(n, HOST_SSP_TABLE) };
	before = triple_now(n);
	n->repair = true;
	w = nested_enter_as_is(n);
	went(n, w, t->want, "%s: %s", t->name, t->want);
	if (w == AT_STOP)
		tap_bail("L1 is lost after \"%s\": %s", t->name, stop_text(n->c));
	/* An ENDBR, where there is one, has ended the wait. */
	loaded.s_cet &= ~CET_WAIT_ENDBR;
	if (w == AT_EXIT && t->load & EXIT) {
		as_it_was = same(&n->after, &loaded);
		tap_ok(as_it_was, "%s: the exit loads L1's state", t->name);
		if (!as_it_was) {
			tell_triple("got", &n->after);
			tell_triple("wanted", &loaded);
		}
	}
	now = triple_now(n);
	tap_ok(same(&now, &before), "%s: L1 is as before", t->name);
}

static void run_checks(const struct check *checks, unsigned int count)
{
	struct nested *n = nested_create(NULL);
	uint64_t base[ARRAY_SIZE(kept)];
	unsigned int i;

	nested_prepare(n, GUEST_SHSTK | GUEST_IBT, NULL, 0, 0, 0);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	vmwrite(n, HOST_RIP, (uintptr_t)nested_exit_bare);
	vmwrite(n, HOST_SSP, triple_now(n).ssp - 16);
	clear_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
	clear_bits(n, EXIT_CONTROLS, EXIT_LOAD_CET);
	for (i = 0; i < ARRAY_SIZE(kept); i++)
		base[i] = vmread(n, kept[i]);
	for (i = 0; i < count; i++)
		one_check(n, &checks[i], base);
	nested_destroy(n);
}

void test_checks(void)
{
	run_checks(host_checks, ARRAY_SIZE(host_checks));
	run_checks(guest_checks, ARRAY_SIZE(guest_checks));
}

/*
 * L1 in 32-bit mode: the high halves of HOST_S_CET and HOST_SSP must be 0. L1 writes the VMCS in 64-bit mode, then
 * the VMM moves it to 32-bit mode. What L2 is does not matter, it is a 32-bit one.
 */
static const struct check checks32[] = {
	{ "32-bit host", EXIT, { { 0 } }, PASSES },
	{ "32-bit host, S_CET bit 31", EXIT, { { HOST_S_CET, ALL, 1ull << 31 } }, PASSES },
	{ "32-bit host, S_CET bit 32", EXIT, { { HOST_S_CET, ALL, 1ull << 32 } }, BAD_HOST },
	{ "32-bit host, S_CET bit 32 without LOAD_CET", 0, { { HOST_S_CET, ALL, 1ull << 32 } }, PASSES },
	{ "32-bit host, SSP bit 31", EXIT, { { HOST_SSP, ALL, 1ull << 31 } }, PASSES },
	{ "32-bit host, SSP bit 32", EXIT, { { HOST_SSP, ALL, 1ull << 32 } }, BAD_HOST },
	{ "32-bit host, SSP bit 32 without LOAD_CET", 0, { { HOST_SSP, ALL, 1ull << 32 } }, PASSES },
	{ "32-bit host, table bit 32", EXIT, { { HOST_SSP_TABLE, ALL, 1ull << 32 } }, PASSES },
	{ "32-bit host, table not canonical", EXIT, { { HOST_SSP_TABLE, ALL, NOT_CANONICAL } }, BAD_HOST },
};

/* Make it the VMCS of a 32-bit L1 and its L2; @cr3: page tables that both use */
static void make32(struct nested *n, const struct check *t, uint64_t cr3, uint64_t cr4)
{
	unsigned int i;

	clear_bits(n, ENTRY_CONTROLS, ENTRY_IA32E);
	clear_bits(n, EXIT_CONTROLS, EXIT_HOST64);
	set_bits(n, EXIT_CONTROLS, t->load & EXIT ? EXIT_LOAD_CET : 0);
	vmwrite(n, GUEST_CR4, cr4);
	vmwrite(n, HOST_CR4, cr4);
	vmwrite(n, GUEST_CR3, cr3);
	vmwrite(n, HOST_CR3, cr3);
	vmwrite(n, GUEST_SEL(1), SEL_CODE32);
	vmwrite(n, GUEST_ACCESS(1), 0xc09b);
	vmwrite(n, HOST_SEL(1), SEL_CODE32);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_l2_32);
	vmwrite(n, HOST_RIP, (uintptr_t)nested_exit32);
	for (i = 0; i < 2 && t->changes[i].field; i++)
		vmwrite(n, t->changes[i].field, t->changes[i].set);
}

/* L1 goes on in 32-bit mode, where it enters L2 */
static void run32(struct cpu *c, struct kvm_sregs *sregs, uint64_t cr3)
{
	struct kvm_segment flat = sregs->ds;
	struct kvm_regs regs;

	cpu_get_regs(c, &regs);
	regs.rip = (uintptr_t)nested_launch32;
	flat.db = 1;
	sregs->cs.selector = SEL_CODE32;
	sregs->cs.l = 0;
	sregs->cs.db = 1;
	sregs->ss = flat;
	sregs->ds = flat;
	sregs->es = flat;
	sregs->cr3 = cr3;
	sregs->efer = EFER_SCE | EFER_NXE;
	cpu_wrmsr(c, MSR_S_CET, 0);
	cpu_set_ssp(c, 0);
	cpu_set_sregs(c, sregs);
	cpu_set_regs(c, &regs);
	cpu_run(c);
}

static void one_check32(const struct check *t)
{
	struct nested *n = nested_create(NULL);
	uint64_t table = machine_alloc(n->m, 1);
	uint32_t *entry = machine_at(n->m, table);
	struct kvm_sregs sregs;
	char got[40];

	entry[0] = 0x80 | PTE_NORMAL;
	nested_prepare(n, 0, NULL, 0, 0, 0);
	cpu_get_sregs(n->c, &sregs);
	sregs.cr4 = (sregs.cr4 & ~CR4_PAE) | CR4_PSE;
	make32(n, t, table, sregs.cr4);
	run32(n->c, &sregs, table);
	snprintf(got, sizeof(got), "%s", stop_text(n->c));
	if (!strcmp(got, "call 258"))
		snprintf(got, sizeof(got), "%s", PASSES);
	if (!strcmp(got, "call 259"))
		snprintf(got, sizeof(got), "%s", BAD_HOST);
	tap_ok(!strcmp(got, t->want), "%s: %s", t->name, t->want);
	if (strcmp(got, t->want))
		tap_diag("got %s", got);
	if (!strcmp(t->want, PASSES) && t->load) {
		uint64_t ssp = t->changes[0].field == HOST_SSP ? t->changes[0].set : 0;
		uint64_t s_cet = t->changes[0].field == HOST_S_CET ? t->changes[0].set : 0;

		tap_ok(cpu_ssp(n->c) == ssp && cpu_rdmsr(n->c, MSR_S_CET) == s_cet, "%s: the exit loads it", t->name);
	}
	nested_destroy(n);
}

void test_checks32(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(checks32); i++)
		one_check32(&checks32[i]);
}
