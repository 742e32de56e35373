/* SPDX-License-Identifier: GPL-2.0 */
/* What the checks of kvm-onereg doctor share. A check begins, then reports; without a report it is good. */
#ifndef DOCTOR_H
#define DOCTOR_H

#include <stdbool.h>

#include "base/process.h"
#include "model/cet.h"
#include "model/kernel.h"
#include "model/kvm.h"
#include "model/loaded.h"
#include "model/outlook.h"
#include "model/packages.h"

#define DKMS_TREE	"/var/lib/dkms/" PACKAGE

/* What all checks look at */
extern struct facts {
	struct kernel *kernels, *kernel;	/* all; the running one, or NULL */
	struct running running;
	enum kvm_access access;
	struct cet cet;
	struct outlook outlook;
	const char *flags;			/* the CPU's, or NULL */
	const char *command_line;
	struct run dkms;			/* dkms status */
	bool secure_boot, secure_boot_known;
	const char *lockdown;			/* "none", "integrity", "confidentiality", or NULL */
} host;

int cmd_doctor(int argc, char **argv);

void begin(const char *name);
/* How it is, when it is as it should be */
void good(const char *detail);
/* It could not be looked at, and why */
void skipped(const char *why);
/* A problem, with a code for scripts, a sentence, and the command that puts it right */
void problem(const char *code, const char *fix, char *sentence);
/* What is no problem as long as nobody boots that kernel; @fix may be NULL */
void remark(char *sentence, const char *fix);

/* doctor-host.c */
void look_at_boot_security(void);
void check_cpu(void);
void check_configuration(void);
void check_device(void);
void check_loaded(void);
void check_cet(void);
void check_secure_boot(void);
void check_boot(void);
void check_next_boot(void);
void check_disk(void);

/* doctor-kernels.c; @only is the kernel that was asked for, or NULL */
void check_packages(void);
void check_dkms(void);
void check_kernel(struct kernel *kernel, const char *only);
void check_initramfs(struct kernel *kernel, const char *only);

#endif
