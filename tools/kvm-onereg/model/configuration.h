/* SPDX-License-Identifier: GPL-2.0 */
/* What modprobe.d and the kernel's command line say about a module: what is in force, and where it stands. */
#ifndef MODEL_CONFIGURATION_H
#define MODEL_CONFIGURATION_H

enum statement { OPTIONS, BLACKLIST, INSTALL };

struct setting {
	char *value; /* of the parameter ("" if it has none); the command of an install; NULL: nothing is said */
	char *where; /* a file of modprobe.d, or "the kernel's command line" */
};

/*
 * configured - what modprobe takes for @module
 * @parameter: for OPTIONS, the parameter; NULL for others
 *
 * libkmod reads modprobe.d, so the last setting counts, and the kernel's command line after all files. @module has '_'.
 */
struct setting find_setting(enum statement kind, const char *module, const char *parameter);

#endif
