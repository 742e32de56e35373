/* SPDX-License-Identifier: GPL-2.0 */
/* The three modules of KVM: on disk, per kernel, and loaded. See host.h for memory and $KVM_ONEREG_ROOT. */
#ifndef MODULES_H
#define MODULES_H

#include <libkmod.h>
#include <stdbool.h>

#include "model/kvm.h"

enum whose { MISSING, DAMAGED, BUILTIN, OURS, DISTRO, NATIVE, FOREIGN, MIXED };
extern const char *const whose_names[];

#define MODULES	3
enum { KVM, KVM_INTEL, KVM_AMD };
/* With '-', as files; loaded modules have '_'. */
extern const char *const file_names[MODULES];
extern const char *const loaded_names[MODULES];

/* A module file. What it does not say is NULL. */
struct module {
	enum whose whose;	/* MISSING, DAMAGED, OURS, DISTRO, FOREIGN */
	char *file;
	bool not_configured;	/* it is MISSING because the kernel's configuration does not have it */
	bool prebuilt;		/* of a package kvm-onereg-modules-KERNEL, not built here */
	char *version, *origin, *srcversion, *vermagic, *depends, *signer;
	char **parameters;	/* names, ended by NULL */
	char *build_id;		/* in hexadecimal; ask build_id() for it */
	bool build_id_read;
};

/* A kernel, and what modprobe would load for it. */
struct kernel {
	char *release;
	bool running;
	bool native;		/* is_native() */
	enum whose set;
	struct module module[MODULES];
};

/* A module that is loaded, or not: !there. */
struct loaded {
	bool there;
	bool live;		/* and not just coming or going */
	int references;		/* -1 unknown */
	char *version, *srcversion, *build_id;
	bool out_of_tree;
	enum whose whose;	/* OURS, DISTRO, NATIVE, FOREIGN, BUILTIN */
	const struct module *file;	/* the file on disk that it came from, if one is the same */
};

/* What is loaded, and where from. */
struct running {
	enum whose set;		/* MISSING: nothing; MIXED; a kvm without vendor module counts as kvm's */
	bool vendor;		/* a vendor module is loaded */
	bool as_resolved;	/* each one loaded is what modprobe would load */
	bool known;		/* as_resolved is sure: build-ids on both sides */
	struct loaded module[MODULES];
};

/* libkmod's context for modules in @folder, with the modprobe.d files or folders of @config; NULL: the system's. */
struct kmod_ctx *context_of(const char *folder, const char *const *config);
/* The same for the modules of @release, with the host's modprobe.d. */
struct kmod_ctx *modules_of(const char *release);
/* For files that are named by their path: in a context that knows modules.dep, a name may belong to another file. */
struct kmod_ctx *no_modules(void);

/* Read what a module file says, once per run; @file is taken as it is. */
struct module module_of_file(const char *file);
const char *build_id(struct module *module);
/* The file that module_of_file() read, unpacked and as it is; NULL if it cannot be read or unpacked. */
const unsigned char *contents(const struct module *module, size_t *size);
const unsigned char *packed_contents(const struct module *module, size_t *size);

/* All kernels with modules on disk, in the order of their versions; ended by .release NULL. */
struct kernel *kernels(void);
/* One of them, NULL if there is none. */
struct kernel *find_kernel(struct kernel *all, const char *release);

/* The options of a command about kernels. */
struct kernel_options {
	bool json, check;
	const char *release;	/* of -k, or NULL */
	struct kernel *all;	/* kernels() */
	struct kernel *only;	/* the one of -k, or NULL */
};

/*
 * read_kernel_options - --json, -k KERNEL and --help; --check if @with_check
 *
 * False after --help, which printed @help. Wrong use, and a KERNEL that is not installed, end the program.
 */
bool read_kernel_options(struct kernel_options *options, const char *command, bool with_check, const char *help,
			 int argc, char **argv);
/* "ours VERSION, from linux-source-6.12 6.12.117-1": one phrase for what modprobe would load */
char *describe(const struct kernel *kernel);

/*
 * The three files of ours or of the distro's for a kernel, wherever they are: under kernel/, updates/dkms or
 * updates/kvm-onereg, or where DKMS keeps the distro's. True if all are there, and ours of one version and origin.
 */
bool find_set(const struct kernel *kernel, enum whose whose, struct module set[MODULES]);

struct running what_runs(struct kernel *kernel);
/* kvm_probe(), where it loads no module: not without a vendor module, as opening /dev/kvm would load kvm */
enum kvm_access probe(const struct running *running);
/* Whether a loaded module and a file are the same: by build-id, or else by what both say. */
bool same_module(const struct loaded *loaded, struct module *file);

#endif
