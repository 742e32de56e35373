/* SPDX-License-Identifier: GPL-2.0 */
/* The groups of tests that make up onereg. */
#ifndef TESTS_IOCTL_ONEREG_H
#define TESTS_IOCTL_ONEREG_H

/* How many random MSR indexes test_msrs() tries. */
extern unsigned int random_msrs;

void test_absent(void);
void test_cap(void);
void test_ids(void);
void test_memory(void);
void test_msrs(void);
void test_policy(void);
void test_reglist(void);
void test_run(void);

#endif
