/* SPDX-License-Identifier: GPL-2.0 */
/* Kernels on disk, and the three modules of KVM that each would load. */
#ifndef MODEL_KERNEL_H
#define MODEL_KERNEL_H

#include <stdbool.h>

#include "model/module-file.h"

/* A kernel, and what modprobe would load for it. */
struct kernel {
	char *release;
	bool running;
	bool native; /* is_native() */
	enum whose set;
	struct module module[MODULES];
};

/* All kernels with modules on disk, in the order of their versions; ended by .release NULL. */
struct kernel *find_kernels(void);
/* One of them, NULL if there is none. */
struct kernel *find_kernel(struct kernel *all, const char *release);
/* "ours VERSION, from linux-source-6.12 6.12.117-1": one phrase for what modprobe would load */
char *describe_kernel(const struct kernel *kernel);

/*
 * The three files of ours or of the distro's for a kernel, wherever they are: under kernel/, updates/dkms or
 * updates/kvm-onereg, or where DKMS keeps the distro's. True if all are there, and ours of one version and origin.
 */
bool find_set(const struct kernel *kernel, enum whose whose, struct module set[MODULES]);

#endif
