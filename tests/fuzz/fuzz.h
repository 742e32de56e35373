/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The differential fuzzer: it makes sequences of operations on VMs and vCPUs from a seed. It notes the result of each
 * operation, which depends only on the seed and on KVM, so that two kernels can be compared.
 *
 * A sequence has its own VMs, and consists of steps. The random numbers of a step depend only on the seed, the sequence
 * and the number of the step, so the rest of a sequence does not change if steps are left out.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "random.h"
#include "vmm.h"

#define STEPS 500 /* of a sequence */

#define EFER_SVME 0x1000

/* Room for what KVM_GET_NESTED_STATE returns. */
#define NESTED_SIZE 0x4000

/* The first VM has two vCPUs, or one that is an L1 hypervisor; the second has one. */
#define FUZZ_CPUS 3

/*
 * Bits 32 to 47 of each address that a step may write in a VM. If another VM sees such an address, it is a leak. The
 * tags are far enough apart that offsets which guests add do not turn one into the other.
 */
#define TAG(vm)	   (0x3a50ull + 0x100 * (vm))
#define TAGGED(vm) (TAG(vm) << 32)
#define TAG_OF(v)  ((v) >> 32 & 0xffff)

struct fuzz {
	struct machine *machines[2];
	struct cpu *cpus[FUZZ_CPUS];
	unsigned int ncpus;
	bool irqchip;		/* of the first VM */
	bool messages;		/* fuzz_create() always gives it one, so that threads can send messages */
	bool nested;		/* cpus[0] is an L1 hypervisor */
	bool no_lm[FUZZ_CPUS];	/* CPUID hides long mode */
	bool lost[FUZZ_CPUS];	/* the last run ended with a shutdown while NMIs were masked */
	bool emulate;		/* KVM has no ONE_REG, and it is emulated */
	uint64_t code, data;	/* pages of the guests, at the same address in both VMs */
	struct area argp, addr; /* for pointers */
	/* Saved from one vCPU, to be set on any other. */
	struct kvm_nested_state *nested_states[4];
	struct kvm_xsave *xsaves[4];
	/* Why the rest of the sequence is left out: a guest did not end, or a result of KVM cannot be compared. */
	const char *ended;
	/* The notes so far. */
	uint64_t hash;
	unsigned long operations;
	unsigned int step;
	bool verbose;
};

/* The number of the vCPU's VM: 0 or 1. */
unsigned int vm_of(const struct fuzz *f, const struct cpu *c);
/* The vCPU's place in arrays of FUZZ_CPUS. */
unsigned int index_of(const struct fuzz *f, const struct cpu *c);

/* Notes a value under a name for the reader. */
void note(struct fuzz *f, const char *name, uint64_t value);
/* The same for memory. */
void note_bytes(struct fuzz *f, const char *name, const void *p, size_t size);
/* The same for a page of instructions, which are shown as they are; what follows the last one is FUZZ_NO_CODE. */
#define FUZZ_NO_CODE 0xcc
/* INT1. On SVM, KVM intercepts its #DB, and older kernels deliver it with another address: it is omitted there. */
#define FUZZ_INT1 0xf1
void note_code(struct fuzz *f, const uint8_t *code);
/* Notes one operation: what an ioctl() returned, and its errno. Returns @ret. */
int note_result(struct fuzz *f, const char *name, int ret);
/* A value that a guest, or the VMM of it, can see must not carry the tag of the other VM. */
void check_tag(struct fuzz *f, const struct cpu *c, const char *where, uint64_t value);

/*
 * KVM_SET_SREGS, noted. EFER gets no bit that CPUID hides: newer kernels refuse those, and guests are started in long
 * mode. EFER.SVME stays set: when it is cleared, older kernels set GIF, and newer ones leave it as it is.
 */
int fuzz_set_sregs(struct fuzz *f, struct cpu *c, const char *name, struct kvm_sregs *s);

/* A random number. If it looks like an address, it has the tag of the vCPU's VM. */
uint64_t fuzz_value(struct fuzz *f, const struct cpu *c);
/* An MSR whose results can be compared, at least whether the MSR exists. */
uint32_t fuzz_msr(void);
/* An MSR of CET, or one next to those. */
uint32_t fuzz_cet_msr(void);
/* Whether it changes by itself: then its value is not noted. */
bool msr_moves(uint32_t msr);
/* A value to write to it: for some MSRs, none that starts something which depends on the clock. */
uint64_t msr_value(struct fuzz *f, const struct cpu *c, uint32_t msr);

/* CPUID with what all supported kernels offer. */
void fuzz_cpuid(struct kvm_cpuid2 *cpuid, unsigned int cpu);
/* The same for MSRs that describe the features of a CPU. */
void fuzz_capabilities(struct cpu *c);

/* Steps: calls.c */
void step_one_reg(struct fuzz *f, struct cpu *c);
void step_reg_list(struct fuzz *f, struct cpu *c);
void step_get_msrs(struct fuzz *f, struct cpu *c);
void step_set_msrs(struct fuzz *f, struct cpu *c);
void step_cet(struct fuzz *f, struct cpu *c);
void step_cpuid(struct fuzz *f, struct cpu *c);
void step_sregs(struct fuzz *f, struct cpu *c);
void step_regs(struct fuzz *f, struct cpu *c);
void step_xsave(struct fuzz *f, struct cpu *c);
void step_xcrs(struct fuzz *f, struct cpu *c);
void step_events(struct fuzz *f, struct cpu *c);
void step_mp_state(struct fuzz *f, struct cpu *c);
void step_nested_state(struct fuzz *f, struct cpu *c);
void step_filter(struct fuzz *f, struct cpu *c);
void step_interrupts(struct fuzz *f, struct cpu *c);
void step_debug(struct fuzz *f, struct cpu *c);
void step_odd_ioctl(struct fuzz *f, struct cpu *c);
void step_threads(struct fuzz *f, struct cpu *c);

/* guests.c */
void step_run(struct fuzz *f, struct cpu *c);
void step_continue(struct fuzz *f, struct cpu *c);
void note_state(struct fuzz *f, struct cpu *c);
/* Only the CET MSRs and SSP. */
void note_cet(struct fuzz *f, struct cpu *c);
/* KVM_RUN, noted. */
void fuzz_run(struct fuzz *f, struct cpu *c);

/* code.c: at most a page of instructions that only go forward, and end with an OUT, if they do not fault. */
void fuzz_code(struct fuzz *f, struct cpu *c, uint8_t *at);
/* One access to a CET MSR: the result depends on the intercepts, and on the vCPU's CPUID. */
void fuzz_msr_access(struct fuzz *f, struct cpu *c, uint8_t *at);

/* l1.c: gives the hypervisor an order, and runs it. */
void step_l1(struct fuzz *f, struct cpu *c);

/* sequence.c */
struct fuzz_step {
	void (*step)(struct fuzz *f, struct cpu *c);
	const char *name;
	unsigned int weight;
};

/* A random one of @n steps, by their weights; and a random one of all steps of the fuzzer. */
const struct fuzz_step *fuzz_step_of(const struct fuzz_step steps[], unsigned int n);
const struct fuzz_step *fuzz_random_step(void);
/* Creates the VMs of a sequence. The caller zeroes @f, except for members that say otherwise. */
void fuzz_create(struct fuzz *f);
void fuzz_destroy(struct fuzz *f);
/* SMM has the same memory. An SMI executes RSM there; if it @stops, an exit to the VMM comes first. */
void fuzz_smi_handler(const struct cpu *c, bool stops);
#define FUZZ_SMBASE(vcpu) (0x100000ull + 0x10000 * (vcpu))

#endif
