// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg(8): whose KVM runs on this host, what is wrong with it, and what it offers guests. */
#include <stdio.h>
#include <string.h>

#include "base/message.h"
#include "doctor/doctor.h"
#include "preflight/preflight.h"
#include "regs.h"
#include "status.h"
#include "swap/swap.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *does;
} commands[] = {
	{ "status", cmd_status, "whose KVM modules are installed and loaded" },
	{ "doctor", cmd_doctor, "find what is wrong, and the command that fixes it" },
	{ "regs", cmd_regs, "print the registers of a temporary vCPU" },
	{ "swap", cmd_swap, "load our modules, or the distro's, without a reboot" },
	{ "preflight", cmd_preflight, "save what this host offers guests, and compare hosts" },
};

static void help(FILE *to)
{
	fputs("usage: kvm-onereg COMMAND [OPTION]...\n\n", to);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		fprintf(to, "  %-10s  %s\n", commands[i].name, commands[i].does);
	fputs("\n\"kvm-onereg COMMAND --help\" shows its options; kvm-onereg(8) has examples.\n", to);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		help(stderr);
		return STATUS_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help(stdout);
		return STATUS_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("kvm-onereg %s\n", tools_version);
		return STATUS_OK;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		int status = commands[i].run(argc - 1, argv + 1);

		if (fflush(stdout) || ferror(stdout))
			die(STATUS_CANNOT, NULL, "cannot write to standard output: %m");
		return status;
	}
	complain(NULL, "no command '%s'", argv[1]);
	help(stderr);
	return STATUS_USAGE;
}
