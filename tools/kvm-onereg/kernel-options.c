// SPDX-License-Identifier: GPL-2.0
/* The options of a command about kernels. */
#include <getopt.h>
#include <stdio.h>

#include "base/message.h"
#include "base/options.h"
#include "kernel-options.h"
#include "model/kernel.h"

bool read_kernel_options(struct kernel_options *options, const char *command, bool with_check, const char *help,
			 int argc, char **argv)
{
	enum { JSON = LONG_ONLY, CHECK };
	const struct option known[] = { { "json", no_argument, NULL, JSON },
					{ "kernel", required_argument, NULL, 'k' },
					{ "help", no_argument, NULL, 'h' },
					{ with_check ? "check" : NULL, no_argument, NULL, CHECK },
					{} };
	int option;

	*options = (struct kernel_options) { 0 };
	while ((option = next_option(command, known, argc, argv)) != -1) {
		switch (option) {
		case JSON:
			options->json = true;
			break;
		case CHECK:
			options->check = true;
			break;
		case 'k':
			options->release = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return false;
		}
	}
	if (optind < argc)
		usage_error(command, "unexpected argument '%s'", argv[optind]);
	if (options->check && (options->json || options->release))
		usage_error(command, "--check takes no other option");
	options->all = kernels();
	if (!options->release)
		return true;
	options->only = find_kernel(options->all, options->release);
	if (!options->only)
		usage_error(command, "no kernel '%s' is installed: it has no modules in /lib/modules",
			    options->release);
	return true;
}
