/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the program hostile share. */
#ifndef TESTS_FUZZ_HOSTILE_H
#define TESTS_FUZZ_HOSTILE_H

#include "fuzz.h"

/* Where an attempt dies. */
enum death {
	DEATH_STEP,   /* it kills itself before a step */
	DEATH_PARENT, /* the parent kills it at any time after that */
	DEATH_RUN,    /* ... while it is in KVM_RUN */
	DEATH_SAVE,   /* ... while a thread saves the state of the vCPU that runs */
	DEATH_EXIT,   /* exit, with all file descriptors open */
	DEATH_EXEC,   /* exec; the new program has some of them, and uses them */
	DEATH_FORK,   /* exit, and a child has all of them, and uses them */
	DEATH_CLOSE,  /* exit, with all of them closed under a thread in KVM_RUN */
	DEATH_NESTED, /* L2 is active; if there is none, the same as DEATH_STEP */
	DEATH_SMM,    /* a vCPU is in SMM */
	DEATH_END,    /* not at all: the VMs are destroyed as they should be */
	DEATHS
};

/* Everything that the seed determines. */
struct attempt {
	unsigned long number;
	uint64_t seed;
	bool guest;	      /* its guests are hostile, its VMM is not */
	bool alone;	      /* no other VM exists */
	unsigned int threads; /* that do the same as the main thread, at the same time */
	enum death death;
	unsigned int die_at; /* this step */
};

/* Shared by the parent and what it starts. */
struct shared {
	/* Of this attempt. */
	const char *at;	    /* the step */
	unsigned int step;  /* its number */
	bool may_be_killed; /* by the parent */
	bool entry_refused; /* KVM_RUN returned KVM_EXIT_FAIL_ENTRY, for no known reason */
	bool outlived;	    /* KVM did something for a process that the VM does not belong to */
	/* Of all. */
	unsigned long steps, nmis, smis, inits, tried, failed, in_smm, in_l2;
};

extern struct shared *shared;
extern bool native;

/*
 * Whether VM entry refuses SSP because it is above 4 GiB, and the vCPU is not in long mode: in SMM, for instance. KVM
 * lets a guest come there, natively as well.
 */
bool ssp_is_too_high(const struct cpu *c);

/* Steps of a VMM: hostile-vmm.c */
const struct fuzz_step *vmm_random_step(void);
/* Reads everything that a VMM saves of a vCPU. */
void save_state(const struct cpu *c);

/* Steps of guests: hostile-guest.c */
const struct fuzz_step *guest_random_step(void);
/* NMI, SMI, INIT or SIPI for a vCPU, without waiting for it to leave KVM_RUN. Needs an irqchip. */
void send_message(const struct cpu *c, unsigned int kind);
#define MESSAGES 4
/* Lets L1 carry out its mail. False if it does not wait for the next order afterwards. */
bool l1_obeys(struct cpu *c);
/* The guest, for an L2: does @n of these things from a seed; @cpu is its CPU page. */
void assault(uint64_t seed, uint64_t n, uint64_t cpu);
#define ASSAULTS 40
/* A guest that does not end. */
void start_endless(struct cpu *c);
/* A valid value of a CET MSR with one bit changed. */
uint64_t almost_valid(struct fuzz *f, const struct cpu *c, uint32_t msr);

/* hostile-vmx.c, hostile-svm.c: orders L1 to enter L2, with or without a fault in what is loaded then. */
void bad_entry(struct fuzz *f, struct cpu *c);

/* The host, as the parent sees it: hostile-host.c */
void host_start(void);
/* The number of its CPUs, all of which stay online. */
unsigned int host_cpus(void);
/* Goes to this CPU; from now on, it is the one that is examined. */
void host_examine(unsigned int cpu);
/*
 * Compares it with its state at the start. @vms: VMs may exist. Returns false, with a message for @when, if something
 * differs.
 */
bool host_is_right(bool vms, const char *when);
/* Slower checks, when no attempt is left: a new VM works, the kernel has not complained; sometimes CR4. */
bool host_works(const char *when);
void host_end(void);

#define COUNT(counter) __atomic_fetch_add(&(counter), 1, __ATOMIC_RELAXED)

#endif
