/* SPDX-License-Identifier: GPL-2.0 */
/* The facts that all checks use. */
#ifndef DOCTOR_FACTS_H
#define DOCTOR_FACTS_H

#include <stdbool.h>

#include "base/process.h"
#include "model/cet.h"
#include "model/kernel.h"
#include "model/kvm.h"
#include "model/loaded.h"
#include "model/outlook.h"
#include "model/packages.h"

#define DKMS_TREE "/var/lib/dkms/" PACKAGE

extern struct facts {
	struct kernel *kernels, *kernel; /* all; the running one, or NULL */
	struct running running;
	enum kvm_access access;
	struct cet cet;
	struct outlook outlook;
	const char *flags; /* the CPU's, or NULL */
	const char *command_line;
	struct program_result dkms; /* dkms status */
	bool secure_boot, secure_boot_known;
	const char *lockdown; /* "none", "integrity", "confidentiality", or NULL */
} host;

/* Fill it in; @kernels: find_kernels() */
void look_at_host(struct kernel *kernels);

#endif
