/* SPDX-License-Identifier: GPL-2.0 */
/* What fuzzer-vmx.c and fuzzer-svm.c provide for l1.c: a hypervisor in a VM, from tests/guest. */
#ifndef TESTS_FUZZ_L1_H
#define TESTS_FUZZ_L1_H

#include "fuzz.h"

/* The start of struct l1_mail, for VMX and for SVM. */
struct l1_request {
	uint64_t kind, a, b;
	uint64_t status, result;
};

struct l1_functions {
	void (*first)(void); /* of L1 */
	void (*leave)(void); /* of L2: an exit */
	uint64_t cr4;	     /* bits that L1 needs */
	uint64_t run;	     /* the kind of request that enters L2 */
};

extern const struct l1_functions l1_functions;

/* A VM, with an irqchip or not, whose vCPU is a hypervisor, which has not entered its guest yet. */
struct machine *l1_create(bool irqchip);
/* Whether its guest, L2, is active. */
bool l1_in_l2(const struct cpu *c);
/* L1 starts anew, whatever state it is in. */
void l1_restart(struct fuzz *f, struct cpu *c);
struct l1_request *l1_request(void);
/* Makes a random request to L1, and changes what L1 and L2 will find. */
void l1_operation(struct fuzz *f, struct cpu *c);
/* A field of its VMCB; under SVM only. */
void l1_vmcb_put(unsigned int field, uint64_t value);
/* Notes what the VMM can see afterwards. */
void l1_note(struct fuzz *f, struct cpu *c);

#endif
