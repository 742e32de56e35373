/* SPDX-License-Identifier: GPL-2.0 */
/* What the three ioctls return according to the ABI. */
#ifndef TESTS_IOCTL_MODEL_H
#define TESTS_IOCTL_MODEL_H

#include "random.h"

struct vm;

/* The MSR that a host may use in place of register @id. */
uint32_t one_reg_msr(uint64_t id);
/*
 * What KVM_GET_ONE_REG or KVM_SET_ONE_REG (@nr) returns according to the ABI, in its order of checks: 0 or a negative
 * errno. For MSRs, KVM_GET_MSRS and KVM_SET_MSRS on @vm decide, which changes @vm. @shadow_stacks: GUEST_SSP exists.
 */
int one_reg_model(const struct vm *vm, unsigned int nr, enum pointer_place argp, enum pointer_place addr, uint64_t id,
		  uint64_t value, bool shadow_stacks, uint64_t *got);

/* The same for KVM_GET_REG_LIST, with room for @n ids. GUEST_SSP is all that can be listed. */
int reg_list_model(enum pointer_place argp, uint64_t n, bool shadow_stacks);

#endif
