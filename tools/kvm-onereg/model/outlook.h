/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between now and later: what a swap or the next boot changes. */
#ifndef MODEL_OUTLOOK_H
#define MODEL_OUTLOOK_H

#include "model/boot.h"
#include "model/cet.h"
#include "model/kernel.h"
#include "model/loaded.h"

struct outlook {
	struct next_boot next;
	/*
	 * A sentence if the next boot has no KVM of ours, while an installed kernel or the loaded modules have it; or
	 * NULL
	 */
	char *loses_ours;
	bool loses_cet; /* and CET is in use, or requested */

	/* Why the modules on disk do not load: those of the running kernel, and of the one that boots next */
	char *unloadable, *next_unloadable;

	char *loaded_source;  /* "linux 6.12.117-1": what the loaded KVM was built from; or NULL */
	bool source_inferred; /* from the running kernel, as the file is no longer on disk */
	char *disk_source;    /* the same of what modprobe would load now */
	bool swap_pending;    /* what is loaded is not what modprobe would load */
	bool reboot_pending;  /* a later kernel boots next, or the running one was upgraded under its name */
	char *upgraded;	      /* for the latter: "6.12.116-2 runs, 6.12.117-1 is installed" */
};

struct outlook look_ahead(struct kernel *all, struct kernel *running_kernel, const struct running *running,
			  const struct cet *cet);

#endif
