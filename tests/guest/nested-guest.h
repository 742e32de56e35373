/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Nested guests for tests, as far as VMX and SVM are alike: a hypervisor, L1, that does what the VMM asks for, one
 * operation at a time, and its guest, L2. Both are guest functions as vmm.h describes them; L2 runs with what the
 * library made for the machine's second vCPU, which itself never runs: CPU page, stacks, shadow stacks, TSS.
 *
 * nested-vmx.h has the rest for VMX, nested-svm.h for SVM. A program includes one of them.
 */
#ifndef TESTS_GUEST_NESTED_GUEST_H
#define TESTS_GUEST_NESTED_GUEST_H

#include "guest.h"

#ifndef __ASSEMBLER__
#include "snap.h"
#include "triple.h"
#include "vmm.h"

/* Where nested_go() stopped. */
enum place {
	AT_IDLE, /* L1 waits, and L2 has not exited: the entry failed */
	AT_EXIT, /* L2 exited, and L1 waits again */
	AT_STOP, /* something else: cpu->stop. L2 is active, or L1 stopped unexpectedly */
};

struct l1_mail; /* a request to L1 and its answer */

struct nested {
	struct machine *m;
	struct cpu *c;
	struct cpu l2;	       /* no vCPU: its CPU page, stacks, shadow stacks */
	struct l1_mail *mail;  /* the guest's */
	struct triple own;     /* L1's when it entered L2 */
	struct triple after;   /* L1's right after the exit, as the VMM reads it */
	struct triple l1_sees; /* the same as L1 reads it */

	/* VMX */
	uint64_t status; /* of the last operation or entry; after AT_IDLE @error too */
	uint64_t error;
	uint64_t after_cr0, after_cr4;
	/* After an exit L1 gets @own and its control registers back from the VMM, so that it can go on. */
	bool repair;
	bool launched;
	/* Of the last exit. */
	uint64_t reason, qualification, intr_info, error_code;

	/* SVM */
	uint64_t vmcbs[2], msrpm, npt; /* addresses */
	unsigned int current;	       /* of vmcbs[]: the one that functions mean */
	bool l1_cet;		       /* L1 uses shadow stacks */
	uint64_t exit, info1;	       /* of the last exit */
	unsigned int l1_interrupts;    /* VECTOR_IRQ in L1 since its creation */
};

/* L1 waits in @m, which may have been restored. */
struct nested *nested_of(struct machine *m);
/* For it: the part that VMX and SVM share. */
struct nested *nested_new(struct machine *m);
void nested_destroy(struct nested *n);

/* Enters L2, and runs to one of enum place. */
enum place nested_enter(struct nested *n);
/* Continues after AT_STOP. */
enum place nested_go(struct nested *n);
/* L2 is active and stopped: makes it exit by VMCALL or VMMCALL. */
enum place nested_leave(struct nested *n);

/* How the last nested_*() ended, in words: "exit 18", "exit 0x72", "vmfail 7", or stop_text(). */
const char *where_text(const struct nested *n, enum place where);
/* A check: it ended as @want says. */
bool went(struct nested *n, enum place where, const char *want, const char *fmt, ...) __printf(4, 5);

uint64_t l2_ssp(const struct nested *n); /* where L2's shadow stack starts */
uint64_t l2_table(const struct nested *n);
/* Resets the tokens of L2's shadow stacks for exceptions to their initial state. */
void nested_fresh_tokens(struct nested *n);
/* SSP in a handler whose shadow stack's token is at @token: CS, LIP and SSP are pushed. */
static inline uint64_t handler_ssp(uint64_t token)
{
	return token - 24;
}

/* L1 may read its CET MSRs; what it read after the last exit. Both are the guest's. */
extern uint64_t nested_l1_cet;
extern struct triple nested_seen;

/* A filter of the VMM denies MSRs 0x6a0 to 0x6a8, or nothing. */
void filter_cet_msrs(struct machine *m, bool deny);

/* KVM_GET_NESTED_STATE while L2 is active; under VMX, L2 has no VMCS of its own. */
struct blob {
	struct kvm_nested_state head;
	uint8_t block[PAGE]; /* the VMCS or VMCB */
};

void blob_take(struct cpu *c, struct blob *b);
/* 0, or errno. */
int blob_put(struct cpu *c, const struct blob *b);
uint64_t blob_get(const struct blob *b, unsigned int at);
void blob_set(struct blob *b, unsigned int at, uint64_t value);

/* All of a machine; its L2 may be active. */
struct saved {
	struct snapshot *vm;
	struct snapshot *capabilities; /* VMX: what KVM takes only before VMXON, and @vm does not have */
	struct blob blob;
	struct nested view; /* what the VMM knew of it */
	struct triple l1, l2;
};

void save(struct saved *s, struct nested *n);
struct saved saved_copy(const struct saved *s);
void saved_free(struct saved *s);
/*
 * A new machine. @order is in letters: Sregs, Regs, Msrs, sspP (ONE_REG), Events, Nested state; the rest comes last.
 * KVM takes the nested state of a vCPU in SMM only after the events, which say that it is there.
 */
struct nested *restore(const struct saved *s, const char *order);
/* The same into a vCPU that has the memory already. */
void put_state(const struct saved *s, struct cpu *c, const char *order);

/*
 * Checks that L2, restored while it was @depth calls deep, has its U_CET and PL3_SSP, returns from all calls, and takes
 * a #UD on another shadow stack. It was saved with U_CET of SH_STK_EN alone, and with this PL3_SSP.
 */
#define UNWINDING_PL3_SSP 0x33330
void check_unwinding(struct nested *n, const struct saved *s, unsigned int depth, const char *name);

/*
 * A guest is saved with L2 deep in calls, from which it returns to CALL_L2 + 1, with S_CET as the third argument, and
 * then to a #UD. It is restored with something left out or falsified.
 */
struct falsehood {
	const char *name;
	void (*falsify)(struct saved *s);
	const char *want; /* where the guest stops, in words */
};

void no_ssp(struct saved *s);
void ssp_8_off(struct saved *s);
void l1s_ssp(struct saved *s);
void no_s_cet(struct saved *s);
void no_table(struct saved *s);
/* Checks that each is noticed. @end is the exit that nested_leave() leads to. */
void check_falsehoods(const struct saved *s, const struct falsehood *falsehoods, unsigned int count, const char *end);

/* A vCPU of another VM on the same CPU, and its PL3_SSP */
struct machine *other_create(uint64_t pl3_ssp);
/* What its guest reads from PL3_SSP now. */
uint64_t other_pl3_ssp(struct machine *m);

/* A group of checks of a program that has several: for a KVM that offers CET, or for one that does not. */
struct group {
	const char *name;
	void (*run)(void);
	bool cet;
};

void list_groups(const struct group *groups, unsigned int count);
/*
 * Runs the groups @names, an array that ends with NULL, or all if it is empty; and @after, if not NULL, after each.
 * Ends the program if a name is unknown.
 */
void run_groups(const struct group *groups, unsigned int count, bool cet, char **names,
		void (*after)(const char *name));
#endif

#endif
