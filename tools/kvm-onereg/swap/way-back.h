/* SPDX-License-Identifier: GPL-2.0 */
/*
 * When the wanted set does not load.
 *
 * The way back needs neither the disk, as the files are open from the beginning, nor kvm to unload: something may take
 * a reference to it while the vendor module is gone. Then the vendor module that belongs to that kvm is loaded.
 */
#ifndef SWAP_WAY_BACK_H
#define SWAP_WAY_BACK_H

#include <stdbool.h>

#include "swap/parameters.h"
#include "swap/set.h"

/* The sets that may be loaded, the better ones first */
struct ways {
	struct set before, other, to;
	bool have_before, have_other;
	const struct parameter *had;
};

/* Load what works, and finish; @holds: who keeps a module from unloading, and @fix, what ends it; or NULL */
int roll_back(struct ways *ways, const char *why, const char *holds, const char *fix);
/* KVM is held and has no vendor module: the wanted set cannot be loaded, but what is there can be completed */
int complete_loaded(struct ways *ways, const char *holds, const char *fix);

#endif
