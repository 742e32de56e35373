/* SPDX-License-Identifier: GPL-2.0 */
/* What VM entries and exits switch of CET, and checks, for the tests of nested VMX and SVM. */
#ifndef TESTS_GUEST_TRIPLE_H
#define TESTS_GUEST_TRIPLE_H

#include <stdarg.h>

#include "vmm.h"

struct triple {
	uint64_t s_cet, ssp, table;
};

/* What the VMM reads; 0 for what the vCPU does not have. */
struct triple triple_of(struct cpu *c);
bool same(const struct triple *a, const struct triple *b);
void tell_triple(const char *name, const struct triple *t);

/* The vCPU's CPUID has IBT or shadow stacks; it has shadow stacks. */
bool cpu_has_cet(struct cpu *c);
bool cpu_has_shstk(struct cpu *c);

bool equals(uint64_t got, uint64_t want, const char *fmt, ...) __printf(3, 4);
bool same_triple(const struct triple *got, const struct triple *want, const char *fmt, ...) __printf(3, 4);
/* A check of where a guest went, in words. @c, if it stopped in the VMM, lets a failure say where; or NULL. */
bool check_place(const struct cpu *c, const char *got, const char *want, const char *fmt, va_list ap);

#endif
