// SPDX-License-Identifier: GPL-2.0
/* The options of a command about kernels. */
#include <getopt.h>

#include "base/message.h"
#include "base/options.h"
#include "kernel-options.h"
#include "model/kernel.h"

bool read_kernel_options(struct kernel_options *options, const char *command, bool with_check, const char *help,
			 int argc, char **argv)
{
	const struct known_option known[] = {
		{ "json", .flag = &options->json },
		{ "kernel", 'k', .argument = &options->release },
		{ with_check ? "check" : NULL, .flag = &options->check },
		{},
	};

	*options = (struct kernel_options) { 0 };
	if (!read_options(command, help, known, argc, argv))
		return false;
	if (optind < argc)
		usage_error(command, "unexpected argument '%s'", argv[optind]);
	if (options->check && (options->json || options->release))
		usage_error(command, "--check takes no other option");
	options->all = find_kernels();
	if (!options->release)
		return true;
	options->only = find_kernel(options->all, options->release);
	if (!options->only)
		usage_error(command, "no kernel '%s' is installed: it has no modules in /lib/modules",
			    options->release);
	return true;
}
