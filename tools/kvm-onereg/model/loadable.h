/* SPDX-License-Identifier: GPL-2.0 */
/* Whether the kernel will load a module file, judging by the file. */
#ifndef MODEL_LOADABLE_H
#define MODEL_LOADABLE_H

#include "model/kernel.h"
#include "model/module-file.h"

struct obstacle {
	const char *code; /* doctor's: "damaged", "xz-check", "vermagic", "symbols"; NULL: none was found */
	const struct module *module;
	char *sentence;
	bool later; /* it loads with the current kmod, but will not with that of the next release */
};

/* The first that keeps one of the kernel's three modules, as modprobe finds them, from loading. */
struct obstacle find_obstacle(const struct kernel *kernel);

#endif
