/* SPDX-License-Identifier: GPL-2.0 */
/* An SMI handler that stops in the VMM and resumes, and the memory that only SMM sees. One machine at a time has it. */
#ifndef TESTS_GUEST_SMRAM_H
#define TESTS_GUEST_SMRAM_H

#include "vmm.h"

#define SMRAM_SSP 0xff18 /* of the 64-bit layout */

/* Gives the vCPU's machine the existing SMRAM. */
void smram_attach(struct cpu *c);
/* New SMRAM, with the handler. */
void smram_create(struct cpu *c);
/* The handler writes this to S_CET before it stops. */
void smram_write_s_cet(uint32_t value);
/* The next KVM_RUN is an SMI; it stops in the handler, or the program ends. A following KVM_RUN is RSM. */
void smram_smi(struct cpu *c);

uint64_t smram_get(unsigned int offset);
void smram_put(unsigned int offset, uint64_t value);

#endif
