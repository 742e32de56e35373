/* SPDX-License-Identifier: GPL-2.0 */
/* The options of a command about kernels. */
#ifndef KERNEL_OPTIONS_H
#define KERNEL_OPTIONS_H

#include <stdbool.h>

#include "model/kernel.h"

struct kernel_options {
	bool json, check;
	const char *release; /* of -k, or NULL */
	struct kernel *all;  /* find_kernels() */
	struct kernel *only; /* the one of -k, or NULL */
};

/*
 * read_kernel_options - --json, -k KERNEL and --help; --check if @with_check
 *
 * False after --help, which printed @help. Wrong use, and a KERNEL that is not installed, end the program.
 */
bool read_kernel_options(struct kernel_options *options, const char *command, bool with_check, const char *help,
			 int argc, char **argv);

#endif
