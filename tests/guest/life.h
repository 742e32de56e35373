/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the program life share. */
#ifndef TESTS_GUEST_LIFE_H
#define TESTS_GUEST_LIFE_H

#include <pthread.h>

#include "chain.h"
#include "host.h"

/* Each is a part of the program. */
void test_sleep(void);
void test_disk(void);
void test_hotplug(void);
void test_refused(void);
void test_load(void);
void test_cpuid(void);
void test_kill(void);
void test_smi(void);
void test_reset(void);
void test_oom(void);
void test_close(void);
void test_jostle(void);
void test_kexec(void);
/* To be called before /dev/kvm is opened: it loads KVM. Returns false if KVM does not offer CET. */
bool kexec_arrive(void);

/* Online CPUs of the host. */
extern unsigned int host_cpus;
/* How often to unload and load the modules, how many SMIs, INITs and RESETs, guests to be jostled. */
extern unsigned int loads, smis, resets, jostles;

/* ---- Walkers: vCPUs that use all CET state, over and over, each in a thread of the VMM ---- */

struct walker {
	struct cpu *c;
	pthread_t thread;
	pid_t tid;
	/* In place of the next KVM_RUN: an SMI. */
	int smi;
};

/*
 * Starts vCPU @c on CPU @cpu of the host: calls and returns on shadow stacks at CPL0, at CPL3, from one to the other
 * and back, and a #GP by IST; and each time it compares all CET MSRs with what they were.
 */
void walker_start(struct walker *w, struct cpu *c, unsigned int cpu);
/* Returns true if it does further rounds from now on, without finding anything wrong. */
bool walker_goes_on(const struct walker *w);
/* Ends it, and checks that it never found anything wrong. */
void walker_stop(struct walker *w, const char *when);

/* The same guest, on the caller's thread, round by round. False if anything was wrong. */
void stepper_start(struct cpu *c);
bool stepper_step(struct cpu *c);
/* A walker for a thread of the caller to run. @quiet: without faults, as they stop in the VMM. */
void walk_start(struct cpu *c, bool quiet);
/* Waits until it has done another round. */
void walk_wait(const struct cpu *c);

/* ---- Sitters: VMs that are not in KVM_RUN, in the middle of a call chain. One for each CPU and CPL. ---- */

struct sitter {
	struct machine *m;
	uint64_t base;
	unsigned int cpu, cpl;
	uint64_t values[CET_MSRS];
};

#define MAX_SITTERS (2 * MAX_HOST_CPUS)

void sitters_start(struct sitter *s);
/* Checks that they continue and end as they should. Then they are gone. */
void sitters_end(struct sitter *s, const char *when);

/* ---- A crew: a VM with a walker on each CPU, and the sitters. ---- */

struct crew {
	struct machine *m;
	struct walker walkers[MAX_HOST_CPUS];
	struct sitter sitters[MAX_SITTERS];
};

void crew_start(struct crew *crew);
/* walker_goes_on() for each. */
bool crew_goes_on(const struct crew *crew);
/* Checks that nothing was wrong, and that no CPU has anything of it. Then it is gone. */
void crew_end(struct crew *crew, const char *when);

/* ---- The host ---- */

/* Checks: a VM is created on each CPU of the host, uses CET, and goes away; then S_CET of that CPU is the host's. */
void check_new_guests(const char *when);
/* Whether CPU @cpu has nothing of a guest in any CET MSR, and the host's S_CET. If not, prints what it has. */
bool cpu_is_clean(unsigned int cpu);
/* A check: no CPU has anything of a guest in PL0_SSP, PL1_SSP, PL2_SSP; no guest is in KVM_RUN. */
void check_supervisor_msrs(const char *when);
/* A check: no CET MSR of any CPU has a guest's value, and S_CET is the host's. No VM exists. */
void check_no_residue(const char *when);

/* Unloads or loads KVM's modules, with /dev/kvm as kvm_dev. Returns false, with a message, if that fails. */
bool unload_kvm(void);
bool load_kvm(void);
/* The KVM that is loaded now. */
bool kvm_offers_cet(void);

#endif
