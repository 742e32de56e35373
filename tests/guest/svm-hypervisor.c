// SPDX-License-Identifier: GPL-2.0
/* Nested SVM with shadow stacks: nested-svm.h says how. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nested-svm.h"

static const struct group groups[] = {
	{ "exits", test_exits, true },	    { "shared", test_shared, true }, { "clean-bit", test_clean_bit, true },
	{ "checks", test_checks, true },    { "msrpm", test_msrpm, true },   { "filter", test_filter, true },
	{ "syscall", test_syscall, true },  { "state", test_state, true },   { "vmm-writes", test_vmm_writes, true },
	{ "smi", test_smi, true },	    { "init", test_init, true },     { "stress", test_stress, true },
	{ "without", test_without, false },
};

bool native;

static _Noreturn void usage(void)
{
	fprintf(stderr,
		"usage: svm-hypervisor cet|no-cet [--native] [--facts FILE] [--stress ROUNDS SEED] [GROUP]...\n");
	fprintf(stderr, "cet: KVM offers shadow stacks, no-cet: it does not; --native: it is the kernel's own\n");
	list_groups(groups, ARRAY_SIZE(groups));
	exit(2);
}

int main(int argc, char **argv)
{
	bool cet;

	if (argc < 2 || (strcmp(argv[1], "cet") && strcmp(argv[1], "no-cet")))
		usage();
	cet = !strcmp(argv[1], "cet");
	kvm_open("svm-hypervisor");
	for (argv += 2; argv[0] && argv[0][0] == '-'; argv++) {
		if (!strcmp(argv[0], "--native")) {
			native = true;
		} else if (!strcmp(argv[0], "--facts") && argv[1]) {
			if (tap_open_facts(*++argv))
				tap_bail("%s", argv[0]);
		} else if (!strcmp(argv[0], "--stress") && argv[1] && argv[2]) {
			stress_rounds = strtoul(*++argv, NULL, 0);
			stress_seed = strtoul(*++argv, NULL, 0);
		} else {
			usage();
		}
	}
	tap_ok(kvm_has_shstk() == cet, "KVM %s shadow stacks", cet ? "offers" : "does not offer");
	run_groups(groups, ARRAY_SIZE(groups), cet, argv, NULL);
	return tap_done();
}
