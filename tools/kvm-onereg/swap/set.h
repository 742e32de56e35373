/* SPDX-License-Identifier: GPL-2.0 */
/* The three modules as a set: load it, unload it, verify it. */
#ifndef SWAP_SET_H
#define SWAP_SET_H

#include <stdbool.h>

#include "model/loaded.h"
#include "model/module-file.h"
#include "swap/parameters.h"

struct set {
	enum whose whose;	       /* OURS, DISTRO, MIXED, MISSING: no module */
	struct module module[MODULES]; /* the files; of those to load */
	bool wanted[MODULES];	       /* load this one */
	int file[MODULES];	       /* open, because it may be deleted from disk later; 0 if not */
};

/* Open the files of a set, and read now what verify_set() asks of them */
void open_files(struct set *set);
bool is_loaded(int which);
/* 0, or an errno; a module that is not loaded is not an error */
int unload_module(int which);
/* kvm, once its vendor module is gone: a reference may be one of a moment */
int unload_kvm(void);
/* All of them; *@which is the one that does not unload */
int unload_all(int *which);
/*
 * Load @set as modprobe would, and give it the parameters that the modules had before. Those that can only be given
 * at load are, by loading once more: what a plain load gives must be known first. With @keep_kvm the kvm that is loaded
 * is the right one, and stays. NULL, or why not.
 */
char *load_set(struct set *set, const struct parameter *before, bool keep_kvm);
/* NULL, or what is wrong */
char *verify_set(struct set *set);
struct running what_runs_now(void);

/* "kvm kvm_intel" */
char *names_of_set(const struct set *set);
/* "our KVM VERSION" */
const char *describe_set(const struct set *set);

#endif
