// SPDX-License-Identifier: GPL-2.0
/* Nested VMX with CET: an L1 on shadow stacks and IBT, and its L2. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nested-vmx.h"

/* An L1 without CET, and L1s with half of it. */
void hide_shstk(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	(void)cpu;
	cpuid_hide_shstk(cpuid);
}

void hide_ibt(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	(void)cpu;
	cpuid_hide_ibt(cpuid);
}

void hide_cet(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	hide_shstk(cpuid, cpu);
	hide_ibt(cpuid, cpu);
}

static void capabilities(struct nested *n, const char *who)
{
	struct outcome good = { 0, 0 };
	uint64_t value;
	uint32_t msr;

	for (msr = MSR_VMX_BASIC; msr <= MSR_VMX_LAST; msr++) {
		value = l1(n, L1_RDMSR, msr, 0);
		equals(n->status, DONE, "%s: L1 reads MSR 0x%x", who, msr);
		/* A fact, for the comparison of kernels. */
		check_value(good, value, cpu_rdmsr(n->c, msr), "%s: MSR 0x%x is the same for L1 and the VMM", who, msr);
	}
}

static uint64_t capability(struct nested *n, uint32_t msr)
{
	return l1(n, L1_RDMSR, msr, 0);
}

/* L1 cannot use features that the VMM removed from its capabilities. */
static void hidden(struct nested *n, uint32_t field, uint64_t bit, const char *name)
{
	enum place w;

	nested_prepare(n, 0, NULL, 0, 0, 0);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	set_bits(n, field, bit);
	w = nested_enter(n);
	went(n, w, "vmfail 7", "the VMM hides LOAD_CET on %s: error 7", name);
	clear_bits(n, field, bit);
	w = nested_enter(n);
	went(n, w, "exit 18", "the VMM hides LOAD_CET on %s: L2 runs without", name);
}

void test_capabilities(void)
{
	static const struct {
		uint32_t msr;
		uint32_t bit;
		const char *name;
	} bits[] = {
		{ MSR_VMX_BASIC, 56, "VMX_BASIC: error codes are free" },
		{ MSR_VMX_EXIT, 32 + 28, "exit controls: LOAD_CET may be 1" },
		{ MSR_VMX_TRUE_EXIT, 32 + 28, "true exit controls: LOAD_CET may be 1" },
		{ MSR_VMX_ENTRY, 32 + 20, "entry controls: LOAD_CET may be 1" },
		{ MSR_VMX_TRUE_ENTRY, 32 + 20, "true entry controls: LOAD_CET may be 1" },
		{ MSR_VMX_CR4_FIXED1, 23, "CR4_FIXED1: CET may be 1" },
	};
	static const uint32_t must[] = { MSR_VMX_EXIT, MSR_VMX_TRUE_EXIT, MSR_VMX_ENTRY, MSR_VMX_TRUE_ENTRY };
	static const struct nested_config no_entry_load = {
		.msr = MSR_VMX_TRUE_ENTRY,
		.clear = (uint64_t)ENTRY_LOAD_CET << 32,
	};
	struct nested *n = nested_create(NULL);
	unsigned int i;

	capabilities(n, "full");
	for (i = 0; i < ARRAY_SIZE(bits); i++)
		tap_ok(capability(n, bits[i].msr) >> bits[i].bit & 1, "%s", bits[i].name);
	for (i = 0; i < ARRAY_SIZE(must); i++)
		tap_ok(!(capability(n, must[i]) & (i < 2 ? EXIT_LOAD_CET : ENTRY_LOAD_CET)),
		       "MSR 0x%x: LOAD_CET may be 0", must[i]);
	nested_destroy(n);

	n = nested_create(&no_entry_load);
	hidden(n, ENTRY_CONTROLS, ENTRY_LOAD_CET, "entry");
	nested_destroy(n);
	n = nested_create(&(struct nested_config) { .msr = MSR_VMX_TRUE_EXIT, .clear = (uint64_t)EXIT_LOAD_CET << 32 });
	hidden(n, EXIT_CONTROLS, EXIT_LOAD_CET, "exit");
	nested_destroy(n);

	n = nested_create(&(struct nested_config) { .cpuid = hide_cet });
	capabilities(n, "no CET");
	tap_ok(!(capability(n, MSR_VMX_CR4_FIXED1) & CR4_CET), "without CET in CPUID: CR4_FIXED1 forbids CET");
	nested_destroy(n);
	n = nested_create(&(struct nested_config) { .cpuid = hide_shstk, .features = GUEST_IBT });
	tap_ok(capability(n, MSR_VMX_CR4_FIXED1) & CR4_CET, "IBT alone: CR4_FIXED1 allows CET");
	nested_destroy(n);
	n = nested_create(&(struct nested_config) { .cpuid = hide_ibt, .features = GUEST_SHSTK });
	tap_ok(capability(n, MSR_VMX_CR4_FIXED1) & CR4_CET, "SHSTK alone: CR4_FIXED1 allows CET");
	nested_destroy(n);
}

/*
 * VMXON with CR4.CET, and CR4.CET while in VMX operation.
 */
void test_vmxon(void)
{
	struct nested *n = nested_create_off(NULL);
	struct kvm_sregs sregs;

	cpu_get_sregs(n->c, &sregs);
	tap_ok(sregs.cr4 & CR4_CET, "L1 has CR4.CET");
	l1(n, L1_VMXON, 0, 0);
	equals(n->status, FAULT(VECTOR_UD), "VMXON without CR4.VMXE: #UD");
	l1(n, L1_CR4, sregs.cr4 | CR4_VMXE, 0);
	equals(n->status, DONE, "CR4.VMXE");
	l1(n, L1_VMXON, 0, 0);
	equals(n->status, DONE, "VMXON with CR4.CET");
	l1(n, L1_CR4, (sregs.cr4 | CR4_VMXE) & ~CR4_CET, 0);
	equals(n->status, DONE, "in VMX operation: CR4.CET off");
	l1(n, L1_CR4, sregs.cr4 | CR4_VMXE, 0);
	equals(n->status, DONE, "in VMX operation: CR4.CET on");
	/* Each return since then was checked. */
	tap_ok(l1(n, L1_RDSSP, 0, 0) == cpu_shadow_stack(n->c, CPU_SS_PAGE) - 16, "L1's shadow stack is in use");
	l1(n, L1_VMXOFF, 0, 0);
	equals(n->status, DONE, "VMXOFF");
	nested_destroy(n);
}

static const struct {
	uint32_t field;
	const char *name;
} cet_fields[] = {
	{ GUEST_S_CET, "GUEST_S_CET" }, { GUEST_SSP, "GUEST_SSP" }, { GUEST_SSP_TABLE, "GUEST_INTR_SSP_TABLE" },
	{ HOST_S_CET, "HOST_S_CET" },	{ HOST_SSP, "HOST_SSP" },   { HOST_SSP_TABLE, "HOST_INTR_SSP_TABLE" },
};

/* Each field keeps the value that is written to it. The fields exist for every L1, as natively. */
static void fields_of(struct nested *n, const char *who)
{
	const uint64_t pattern = 0xa5a50000c3c30000;
	unsigned int i;
	uint64_t value;

	l1(n, L1_INIT, 0, 0);
	for (i = 0; i < ARRAY_SIZE(cet_fields); i++) {
		value = l1(n, L1_VMREAD, cet_fields[i].field, 0);
		tap_ok(n->status == DONE && !value, "%s: %s is 0 in a new VMCS", who, cet_fields[i].name);
		l1(n, L1_VMWRITE, cet_fields[i].field, pattern + i);
		equals(n->status, DONE, "%s: VMWRITE %s", who, cet_fields[i].name);
	}
	for (i = 0; i < ARRAY_SIZE(cet_fields); i++)
		equals(l1(n, L1_VMREAD, cet_fields[i].field, 0), pattern + i, "%s: VMREAD %s", who, cet_fields[i].name);
	/* Also in memory, where VMCLEAR stores them. */
	l1(n, L1_VMCLEAR, n->mail->vmcs, 0);
	l1(n, L1_VMPTRLD, n->mail->vmcs, 0);
	for (i = 0; i < ARRAY_SIZE(cet_fields); i++)
		equals(l1(n, L1_VMREAD, cet_fields[i].field, 0), pattern + i, "%s: %s after VMCLEAR and VMPTRLD", who,
		       cet_fields[i].name);
}

void test_fields(void)
{
	struct nested *n = nested_create(NULL);

	fields_of(n, "full");
	l1(n, L1_VMREAD, 0x682e, 0);
	tap_ok(n->status == FAIL_VALID && vmread(n, INSTRUCTION_ERROR) == VMFAIL_FIELD,
	       "the field after them: error 12");
	nested_destroy(n);
	n = nested_create(&(struct nested_config) { .cpuid = hide_cet });
	fields_of(n, "L1 without CET");
	nested_destroy(n);
}

/*
 * The four combinations of LOAD_CET on entry and exit.
 */
#define SOME_TABLE  0x123000
#define OTHER_TABLE 0x77000

/* Reports its state, changes all of it, and exits below some calls; then returns from these. */
static GUEST uint64_t l2_triple(uint64_t a, uint64_t b, uint64_t c)
{
	(void)a;
	(void)b;
	(void)c;
	g_call(CALL_L2, g_rdssp(), g_rdmsr(MSR_S_CET), g_rdmsr(MSR_INT_SSP_TAB));
	g_wrmsr(MSR_S_CET, g_rdmsr(MSR_S_CET) ^ S_CET_NOTRACK);
	g_wrmsr(MSR_INT_SSP_TAB, OTHER_TABLE);
	g_call(CALL_L2 + 1, nested_chain(3, BOTTOM_VMCALL, 0), 0, 0);
	return 0;
}

static struct triple guest_fields(struct nested *n)
{
	return (struct triple) { vmread(n, GUEST_S_CET), vmread(n, GUEST_SSP), vmread(n, GUEST_SSP_TABLE) };
}

/* What L1's exit is to load, with LOAD_CET */
static struct triple set_host_fields(struct nested *n)
{
	struct triple host = triple_now(n);

	host.s_cet |= S_CET_NOTRACK;
	host.table = SOME_TABLE;
	vmwrite(n, HOST_S_CET, host.s_cet);
	vmwrite(n, HOST_SSP_TABLE, host.table);
	return host;
}

/* L2 has exited with the state @want, and continues with it, whether LOAD_CET was set on the first entry or not */
static void enters_with_stored(struct nested *n, struct triple want, const char *name)
{
	struct triple now;
	enum place w;

	set_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
	nested_skip(n);
	w = nested_enter(n);
	if (went(n, w, "call 273", "%s: L2 goes on with what was stored", name))
		equals(n->c->stop.a, 3, "%s: L2 returned from all calls", name);
	now = triple_now(n);
	want.ssp += 4 * 8;
	same_triple(&now, &want, "%s: and has its shadow stack", name);
	w = nested_leave(n);
	went(n, w, "exit 18", "%s: L2 exits again", name);
	/* A third entry, which needs only what KVM has kept. */
	w = nested_enter(n);
	went(n, w, "exit 18", "%s: and again", name);
	now = guest_fields(n);
	same_triple(&now, &want, "%s: L2's values are still stored", name);
}

static void combination(struct nested *n, bool entry, bool exit)
{
	struct triple host, guest, now, want;
	const struct stop *s = &n->c->stop;
	char name[40];
	enum place w;

	snprintf(name, sizeof(name), "LOAD_CET on %s",
		 entry && exit ? "entry and exit" :
		 entry	       ? "entry" :
		 exit	       ? "exit" :
				 "neither");
	nested_prepare(n, GUEST_SHSTK, l2_triple, 0, 0, 0);
	guest = guest_fields(n);
	if (!entry)
		clear_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
	if (!exit)
		clear_bits(n, EXIT_CONTROLS, EXIT_LOAD_CET);
	host = set_host_fields(n);
	n->repair = !exit;

	w = nested_enter(n);
	if (!went(n, w, "call 272", "%s: L2 runs", name))
		return;
	host.ssp = n->own.ssp;
	want = entry ? guest : n->own;
	want.ssp -= 8; /* g_start's call */
	same_triple(&(struct triple) { s->b, s->a, s->c }, &want, "%s: L2 sees the values of %s", name,
		    entry ? "the VMCS" : "L1");
	now = triple_now(n);
	same_triple(&now, &want, "%s: so does the VMM", name);

	want.s_cet ^= S_CET_NOTRACK;
	want.ssp -= 4 * 8;
	want.table = OTHER_TABLE;
	w = nested_go(n);
	if (!went(n, w, "exit 18", "%s: L2 exits", name))
		return;
	guest = guest_fields(n);
	same_triple(&guest, &want, "%s: the exit stores L2's", name);
	same_triple(&n->after, exit ? &host : &want, "%s: the exit loads %s", name, exit ? "L1's" : "nothing");
	same_triple(&n->l1_sees, exit ? &host : &want, "%s: L1 sees that too", name);
	if (exit) {
		/* By now, returns of L1 were checked with its shadow stack. */
		cpu_wrmsr(n->c, MSR_S_CET, n->own.s_cet);
		cpu_wrmsr(n->c, MSR_INT_SSP_TAB, n->own.table);
	}
	enters_with_stored(n, want, name);
}

void test_triples(void)
{
	struct nested *n = nested_create(NULL);
	unsigned int i;

	for (i = 0; i < 4; i++)
		combination(n, i & 1, i & 2);
	nested_destroy(n);
}

static void refuses(struct nested *n, uint32_t msr, uint64_t bit)
{
	uint64_t value = cpu_rdmsr(n->c, msr);

	tap_ok(msrs_set(&n->c->io, msr, value), "KVM_SET_MSRS 0x%x: as it is", msr);
	tap_ok(!msrs_set(&n->c->io, msr, value | bit), "KVM_SET_MSRS 0x%x: not with CET's bit", msr);
}

/*
 * KVM without CET: what KVM shows to L1 is what it always was.
 */
void test_capabilities_without(void)
{
	struct nested *n = nested_create(&(struct nested_config) { .features = 0 });

	capabilities(n, "without");
	tap_ok(!(capability(n, MSR_VMX_BASIC) & BASIC_ANY_ERROR_CODE), "VMX_BASIC[56] is 0");
	tap_ok(!(capability(n, MSR_VMX_TRUE_EXIT) >> 32 & EXIT_LOAD_CET), "no LOAD_CET on exit");
	tap_ok(!(capability(n, MSR_VMX_TRUE_ENTRY) >> 32 & ENTRY_LOAD_CET), "no LOAD_CET on entry");
	tap_ok(!(capability(n, MSR_VMX_CR4_FIXED1) & CR4_CET), "CR4_FIXED1 forbids CET");
	nested_destroy(n);

	/* The VMM cannot enable it either. */
	n = nested_create_off(&(struct nested_config) { .features = 0 });
	refuses(n, MSR_VMX_BASIC, BASIC_ANY_ERROR_CODE);
	refuses(n, MSR_VMX_TRUE_EXIT, (uint64_t)EXIT_LOAD_CET << 32);
	refuses(n, MSR_VMX_TRUE_ENTRY, (uint64_t)ENTRY_LOAD_CET << 32);
	nested_destroy(n);
}

void test_fields_without(void)
{
	struct nested *n = nested_create(&(struct nested_config) { .features = 0 });
	unsigned int i;

	l1(n, L1_INIT, 0, 0);
	for (i = 0; i < ARRAY_SIZE(cet_fields); i++) {
		l1(n, L1_VMREAD, cet_fields[i].field, 0);
		tap_ok(n->status == FAIL_VALID && vmread(n, INSTRUCTION_ERROR) == VMFAIL_FIELD, "VMREAD %s: error 12",
		       cet_fields[i].name);
		vmwrite(n, GUEST_SYSENTER_EIP, i);
		l1(n, L1_VMWRITE, cet_fields[i].field, 0);
		tap_ok(n->status == FAIL_VALID && vmread(n, INSTRUCTION_ERROR) == VMFAIL_FIELD, "VMWRITE %s: error 12",
		       cet_fields[i].name);
	}
	nested_destroy(n);
}

static void entry_without(struct nested *n, uint32_t field, uint64_t bits, const char *want, const char *name)
{
	uint64_t old = vmread(n, field);
	enum place w;

	vmwrite(n, field, old | bits);
	w = nested_enter(n);
	went(n, w, want, "%s: %s", name, want);
	if (w == AT_STOP)
		nested_leave(n);
	vmwrite(n, field, old);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
}

void test_entries_without(void)
{
	struct nested *n = nested_create(&(struct nested_config) { .features = 0 });

	l1(n, L1_RDMSR, MSR_S_CET, 0);
	equals(n->status, FAULT(VECTOR_GP), "L1's RDMSR S_CET: #GP");
	l1(n, L1_CR4, CR4_PAE | CR4_OSFXSR | CR4_OSXSAVE | CR4_VMXE | CR4_CET, 0);
	equals(n->status, FAULT(VECTOR_GP), "L1's CR4.CET: #GP");
	nested_prepare(n, 0, NULL, 0, 0, 0);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	entry_without(n, ENTRY_CONTROLS, 0, "exit 18", "nothing changed");
	entry_without(n, ENTRY_CONTROLS, ENTRY_LOAD_CET, "vmfail 7", "LOAD_CET on entry");
	entry_without(n, EXIT_CONTROLS, EXIT_LOAD_CET, "vmfail 7", "LOAD_CET on exit");
	entry_without(n, GUEST_CR4, CR4_CET, "exit 0x80000021", "GUEST_CR4.CET");
	entry_without(n, HOST_CR4, CR4_CET, "vmfail 8", "HOST_CR4.CET");
	entry_without(n, ENTRY_INTR_INFO, INTR_VALID | INTR_HARD | INTR_CODE | VECTOR_CP, "vmfail 7",
		      "#CP with an error code");
	entry_without(n, ENTRY_INTR_INFO, INTR_VALID | INTR_HARD | INTR_CODE | VECTOR_GP, "#GP",
		      "#GP with an error code");
	nested_destroy(n);
}

static const struct group groups[] = {
	{ "capabilities", test_capabilities, true },
	{ "vmxon", test_vmxon, true },
	{ "fields", test_fields, true },
	{ "triples", test_triples, true },
	{ "checks", test_checks, true },
	{ "checks32", test_checks32, true },
	{ "injection", test_injection, true },
	{ "interception", test_interception, true },
	{ "msr-bitmap", test_msr_bitmap, true },
	{ "snapshot", test_snapshot, true },
	{ "foreign", test_foreign, true },
	{ "cpuid", test_cpuid, true },
	{ "pending", test_pending, true },
	{ "msr-lists", test_msr_lists, true },
	{ "two", test_two, true },
	{ "readers", test_readers, true },
	{ "crs", test_crs, true },
	{ "filter", test_filter, true },
	{ "syscall", test_syscall, true },
	{ "smi", test_smi, true },
	{ "partial", test_partial, true },
	{ "no-ept", test_no_ept, true },
	{ "many", test_many, true },
	{ "late", test_late, true },
	{ "capabilities-without", test_capabilities_without, false },
	{ "fields-without", test_fields_without, false },
	{ "entries-without", test_entries_without, false },
	{ "state-without", test_state_without, false },
};

const char *save_files, *load_files;
bool native;

static void usage(void)
{
	fprintf(stderr, "usage: hypervisor cet|no-cet [--native] [--facts FILE] [--save FILES] [--load FILES]\n");
	fprintf(stderr, "       [--host-s-cet VALUE] [GROUP]...\n");
	fprintf(stderr, "cet: KVM offers CET, no-cet: it does not; --native: it is the kernel's own\n");
	fprintf(stderr, "FILES.state and FILES.image: of an L2, for other kernels\n");
	list_groups(groups, ARRAY_SIZE(groups));
	exit(2);
}

static uint64_t host_s_cet_at_first;

static void check_host(const char *group)
{
	equals(host_rdmsr(MSR_S_CET), host_s_cet_at_first, "%s: the host's S_CET is as before", group);
}

int main(int argc, char **argv)
{
	uint64_t kernels_own = CET_ENDBR;
	bool cet;

	if (argc < 2 || (strcmp(argv[1], "cet") && strcmp(argv[1], "no-cet")))
		usage();
	cet = !strcmp(argv[1], "cet");
	kvm_open("hypervisor");
	argv += 2;
	native = argv[0] && !strcmp(argv[0], "--native");
	for (argv += native; argv[0] && argv[1]; argv += 2) {
		if (!strcmp(argv[0], "--facts")) {
			if (tap_open_facts(argv[1]))
				tap_bail("%s", argv[1]);
		} else if (!strcmp(argv[0], "--save")) {
			save_files = argv[1];
		} else if (!strcmp(argv[0], "--load")) {
			load_files = argv[1];
		} else if (!strcmp(argv[0], "--host-s-cet")) {
			kernels_own = strtoull(argv[1], NULL, 0);
		} else {
			break;
		}
	}
	host_s_cet_at_first = host_rdmsr(MSR_S_CET);
	equals(host_s_cet_at_first, kernels_own, "the host's S_CET is what its kernel makes it");
	tap_ok(nested_has_cet() == cet, "KVM %s L1 LOAD_CET", cet ? "offers" : "does not offer");
	run_groups(groups, ARRAY_SIZE(groups), cet, argv, check_host);
	return tap_done();
}
