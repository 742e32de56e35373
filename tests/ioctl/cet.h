/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the program cet share. */
#ifndef TESTS_IOCTL_CET_H
#define TESTS_IOCTL_CET_H

#include "kvm.h"

#define MSR_U_CET	0x6a0u
#define MSR_S_CET	0x6a2u
#define MSR_PL0_SSP	0x6a4u
#define MSR_PL3_SSP	0x6a7u
#define MSR_INT_SSP_TAB 0x6a8u
#define MSR_XSS		0xda0u

#define XSS_CET 0x1800ull

/* A vCPU: the features in its CPUID, and those of them that KVM supports. */
struct kind {
	const char *name;
	unsigned int flags;
	bool shstk;
	bool ibt;
};

#define KINDS 5

/* both, shadow stacks alone, IBT alone, neither, and without CPUID at all */
extern struct kind kinds[KINDS];

/* What KVM offers; main() has compared it with the option --kvm. */
extern bool host_shstk, host_ibt;

enum reg_rule { RULE_CONTROL, RULE_SSP, RULE_TABLE };

struct cet_reg {
	const char *name;
	uint32_t msr; /* 0: GUEST_SSP, which is not an MSR */
	enum reg_rule rule;
	bool listed; /* in KVM_GET_MSR_INDEX_LIST, if KVM has it */
};

#define CET_REGS 9

extern const struct cet_reg cet_regs[CET_REGS];

bool reg_exists(const struct kind *k, const struct cet_reg *r);
/* By ONE_REG; returns the result of the ioctl. */
struct outcome reg_get(const struct vm *vm, const struct cet_reg *r, uint64_t *value);
struct outcome reg_set(const struct vm *vm, const struct cet_reg *r, uint64_t value);

void test_advertised(void);
void test_matrix(void);
void test_bitmap(void);
void test_ssp(void);
void test_list(void);
void test_ignored(void);
void test_xss(void);
void test_cr4(void);
void test_toggle(void);
void test_xsave(void);
void test_kept(void);

#endif
