// SPDX-License-Identifier: GPL-2.0
/*
 * onereg - KVM_GET_ONE_REG, KVM_SET_ONE_REG and KVM_GET_REG_LIST on x86
 *
 * Usage: onereg [--facts FILE] [--random N] [GROUP...]
 *        onereg --absent
 *
 * --absent     the kernel must not have the ioctls
 * --facts FILE one line per probed input: name, result, errno, value if the
 *              architecture defines it
 * --random N   number of random MSR indexes to try
 *
 * Speaks TAP; exits 0 if all passed, 1 if not, 77 without /dev/kvm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvm.h"
#include "onereg.h"

unsigned int random_msrs = 10000;

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "cap", test_cap },   { "ids", test_ids },	  { "memory", test_memory }, { "reglist", test_reglist },
	{ "msrs", test_msrs }, { "policy", test_policy }, { "run", test_run },
};

static void wrong_use(void)
{
	unsigned int i;

	fprintf(stderr, "usage: onereg [--facts FILE] [--random N] [GROUP...]\n"
			"       onereg --absent\n"
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
		if (strcmp(groups[i].name, name))
			continue;
		tap_diag("%s", name);
		groups[i].run();
		return;
	}
	wrong_use();
}

int main(int argc, char **argv)
{
	unsigned int i;

	for (argv++, argc--; argc && !strncmp(*argv, "--", 2); argv++, argc--) {
		if (!strcmp(*argv, "--absent") && argc == 1) {
			kvm_open("onereg --absent");
			test_absent();
			return tap_done();
		}
		if (argc < 2)
			wrong_use();
		if (!strcmp(*argv, "--facts")) {
			if (tap_open_facts(argv[1])) {
				perror(argv[1]);
				return 1;
			}
		} else if (!strcmp(*argv, "--random")) {
			random_msrs = strtoul(argv[1], NULL, 0);
		} else {
			wrong_use();
		}
		argv++;
		argc--;
	}

	kvm_open("onereg");
	if (argc)
		while (argc--)
			run_group(*argv++);
	else
		for (i = 0; i < ARRAY_SIZE(groups); i++)
			run_group(groups[i].name);
	tap_ok(largest_one_reg_result == 0, "no result was positive");
	return tap_done();
}
