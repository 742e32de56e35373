// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "triple.h"

bool cpu_has_cet(struct cpu *c)
{
	struct kvm_cpuid_entry2 *e = find_cpuid(c->cpuid, 7, 0);

	return e && (e->ecx & 1u << 7 || e->edx & 1u << 20);
}

bool cpu_has_shstk(struct cpu *c)
{
	struct kvm_cpuid_entry2 *e = find_cpuid(c->cpuid, 7, 0);

	return e && e->ecx & 1u << 7;
}

struct triple triple_of(struct cpu *c)
{
	struct triple t = { 0, 0, 0 };

	if (cpu_has_cet(c))
		t.s_cet = cpu_rdmsr(c, MSR_S_CET);
	if (cpu_has_shstk(c)) {
		t.ssp = cpu_ssp(c);
		t.table = cpu_rdmsr(c, MSR_INT_SSP_TAB);
	}
	return t;
}

bool same(const struct triple *a, const struct triple *b)
{
	return a->s_cet == b->s_cet && a->ssp == b->ssp && a->table == b->table;
}

void tell_triple(const char *name, const struct triple *t)
{
	tap_diag("%s: S_CET 0x%llx, SSP 0x%llx, table 0x%llx", name, (unsigned long long)t->s_cet,
		 (unsigned long long)t->ssp, (unsigned long long)t->table);
}

bool same_triple(const struct triple *got, const struct triple *want, const char *fmt, ...)
{
	bool ok = same(got, want);
	char name[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	tap_ok(ok, "%s", name);
	if (!ok) {
		tell_triple("got", got);
		tell_triple("wanted", want);
	}
	return ok;
}

bool equals(uint64_t got, uint64_t want, const char *fmt, ...)
{
	char name[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	tap_ok(got == want, "%s", name);
	if (got != want)
		tap_diag("got 0x%llx, wanted 0x%llx", (unsigned long long)got, (unsigned long long)want);
	return got == want;
}

bool check_place(const struct cpu *c, const char *got, const char *want, const char *fmt, va_list ap)
{
	bool ok = !strcmp(got, want);
	char name[160];

	vsnprintf(name, sizeof(name), fmt, ap);
	tap_ok(ok, "%s", name);
	if (!ok) {
		tap_diag("wanted: %s, got: %s", want, got);
		if (c && c->stop.kind == STOP_EXCEPTION)
			tap_diag("at 0x%llx, cr2 0x%llx", (unsigned long long)c->stop.frame->rip,
				 (unsigned long long)c->stop.frame->cr2);
	}
	return ok;
}
