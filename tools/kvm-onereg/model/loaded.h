/* SPDX-License-Identifier: GPL-2.0 */
/* The modules of KVM that are loaded. */
#ifndef MODEL_LOADED_H
#define MODEL_LOADED_H

#include <stdbool.h>

#include "model/kernel.h"
#include "model/kvm.h"
#include "model/module-file.h"

/* A module that is loaded, or not: !there. */
struct loaded {
	bool there;
	bool live;	/* and not just coming or going */
	int references; /* -1 unknown */
	char *version, *srcversion, *build_id;
	bool out_of_tree;
	enum whose whose;	   /* OURS, DISTRO, NATIVE, FOREIGN, BUILTIN */
	const struct module *file; /* the file on disk that it came from, if one is the same */
};

/* What is loaded, and where from. */
struct running {
	enum whose set;	  /* MISSING: nothing; MIXED; a kvm without vendor module counts as kvm's */
	bool vendor;	  /* a vendor module is loaded */
	bool as_resolved; /* each one loaded is what modprobe would load */
	bool known;	  /* as_resolved is sure: build-ids on both sides */
	struct loaded module[MODULES];
};

struct running what_runs(struct kernel *kernel);
/* kvm_probe(), where it loads no module: not without a vendor module, as opening /dev/kvm would load kvm */
enum kvm_access probe_loaded_kvm(const struct running *running);
/* Whether a loaded module and a file are the same: by build-id, or else by what both say. */
bool same_module(const struct loaded *loaded, struct module *file);

#endif
