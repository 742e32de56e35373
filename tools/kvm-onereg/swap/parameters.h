/* SPDX-License-Identifier: GPL-2.0 */
/* Parameters of modules: those that are loaded have, and those to load with. */
#ifndef SWAP_PARAMETERS_H
#define SWAP_PARAMETERS_H

#include <stdbool.h>

#include "model/module-file.h"

struct parameter {
	int module;
	char *name, *value;
	bool whole; /* may be given at load, too */
};

/*
 * What the loaded modules' parameters are; .name NULL ends the list. Those of a kvm that has had no vendor module yet
 * are not final, and not all of them can be given at load.
 */
struct parameter *loaded_parameters(bool whole);
bool has_parameter(const struct module *file, const char *name);
/* "name=value" with the quotes that the kernel takes */
char *option_with_value(const char *name, const char *value);
/* modprobe's options for a module, those that its file has */
char *plain_options(const struct module *file, int which);
/* Whether the loaded module has it, and with another value, which goes to *@now */
bool parameter_differs(const struct parameter *parameter, char **now);
/* Set it in /sys; false if that cannot be done */
bool set_by_file(const struct parameter *parameter);

#endif
