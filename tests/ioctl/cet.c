// SPDX-License-Identifier: GPL-2.0
/*
 * cet - shadow stacks and IBT as a VMM sees them
 *
 * Usage: cet --kvm both|shstk|none [--facts FILE] [GROUP...]
 *
 * Without groups: all but bitmap, which is for ours only.
 *
 * --kvm        what KVM has to offer here. None: whatever CPUID says, there are
 *              no CET registers
 * --facts FILE one line per probed input, to be compared between kernels
 *
 * What guests do with CET is tested in tests/guest. Here, the state of vCPUs is
 * written and read, and they run a few instructions at most.
 *
 * Speaks TAP; exits 0 if all passed, 1 if not, 77 without /dev/kvm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cet.h"

bool host_shstk, host_ibt;

struct kind kinds[KINDS] = {
	{ "both", VM_CPUID | VM_CET_XSS | VM_SHSTK | VM_IBT, true, true },
	{ "SHSTK", VM_CPUID | VM_CET_XSS | VM_SHSTK, true, false },
	{ "IBT", VM_CPUID | VM_CET_XSS | VM_IBT, false, true },
	{ "neither", VM_CPUID, false, false },
	{ "no CPUID", 0, false, false },
};

const struct cet_reg cet_regs[CET_REGS] = {
	{ "U_CET", MSR_U_CET, RULE_CONTROL, true },
	{ "S_CET", MSR_S_CET, RULE_CONTROL, true },
	{ "PL0_SSP", MSR_PL0_SSP, RULE_SSP, true },
	{ "PL1_SSP", MSR_PL0_SSP + 1, RULE_SSP, true },
	{ "PL2_SSP", MSR_PL0_SSP + 2, RULE_SSP, true },
	{ "PL3_SSP", MSR_PL3_SSP, RULE_SSP, true },
	{ "INT_SSP_TAB", MSR_INT_SSP_TAB, RULE_TABLE, true },
	{ "GUEST_SSP", 0, RULE_SSP, false },
	{ "MSR 0x4b564dff", MSR_INTERNAL_SSP, RULE_SSP, false },
};

bool reg_exists(const struct kind *k, const struct cet_reg *r)
{
	return k->shstk || (k->ibt && r->rule == RULE_CONTROL);
}

static uint64_t reg_id(const struct cet_reg *r)
{
	return r->msr ? ID_MSR_BASE | r->msr : ID_GUEST_SSP;
}

struct outcome reg_get(const struct vm *vm, const struct cet_reg *r, uint64_t *value)
{
	return get_reg(vm, reg_id(r), value);
}

struct outcome reg_set(const struct vm *vm, const struct cet_reg *r, uint64_t value)
{
	return set_reg(vm, reg_id(r), value);
}

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "advertised", test_advertised },
	{ "matrix", test_matrix },
	{ "bitmap", test_bitmap },
	{ "ssp", test_ssp },
	{ "list", test_list },
	{ "ignored", test_ignored },
	{ "xss", test_xss },
	{ "cr4", test_cr4 },
	{ "toggle", test_toggle },
	{ "xsave", test_xsave },
	{ "kept", test_kept },
};

static void wrong_use(void)
{
	unsigned int i;

	fprintf(stderr, "usage: cet --kvm both|shstk|none [--facts FILE] [GROUP...]\n"
			"groups:");
	for (i = 0; i < ARRAY_SIZE(groups); i++)
		fprintf(stderr, " %s", groups[i].name);
	fprintf(stderr, "\n");
	exit(2);
}

static void run_group(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		if (name ? strcmp(groups[i].name, name) : groups[i].run == test_bitmap)
			continue;
		tap_diag("%s", groups[i].name);
		groups[i].run();
		if (name)
			return;
	}
	if (name)
		wrong_use();
}

int main(int argc, char **argv)
{
	unsigned int i;

	if (argc < 3 || strcmp(argv[1], "--kvm"))
		wrong_use();
	if (!strcmp(argv[2], "both"))
		host_ibt = true;
	else if (strcmp(argv[2], "shstk") && strcmp(argv[2], "none"))
		wrong_use();
	host_shstk = strcmp(argv[2], "none");
	argv += 3;
	argc -= 3;
	if (argc >= 2 && !strcmp(*argv, "--facts")) {
		if (tap_open_facts(argv[1])) {
			perror(argv[1]);
			return 1;
		}
		argv += 2;
		argc -= 2;
	}
	for (i = 0; i < KINDS; i++) {
		kinds[i].shstk &= host_shstk;
		kinds[i].ibt &= host_ibt;
	}

	kvm_open("cet");
	if (!argc)
		run_group(NULL);
	while (argc--)
		run_group(*argv++);
	return tap_done();
}
