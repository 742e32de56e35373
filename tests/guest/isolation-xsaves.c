// SPDX-License-Identifier: GPL-2.0
/* The guest's XSAVES and XRSTORS of components 11 and 12: images equal the MSRs, both ways. */
#include <stdio.h>
#include <string.h>

#include "isolation.h"

static struct area {
	uint8_t legacy[512];
	uint64_t xstate_bv, xcomp_bv, zero[6];
	uint8_t extended[4096 - 576];
} __attribute__((aligned(64))) area;

static uint64_t results[8];

static inline void g_cpuid(uint32_t leaf, uint32_t index, uint32_t r[4])
{
	asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(index));
}

static inline uint64_t g_xsetbv(uint64_t value)
{
	G_TRY_VARS(fault, error);

	asm volatile(G_TRY("xsetbv")
		     : G_TRY_OUT(fault, error)
		     : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
		     : "memory");
	return fault;
}

/* CPUID of both components, and the size of all that is on: XCR0 alone, with each, with both. */
static GUEST uint64_t describe(uint64_t unused)
{
	uint32_t r[4];
	unsigned int i;

	(void)unused;
	g_cpuid(0xd, 11, r);
	results[0] = (uint64_t)r[0] << 32 | r[2];
	g_cpuid(0xd, 12, r);
	results[1] = (uint64_t)r[0] << 32 | r[2];
	for (i = 0; i < 4; i++) {
		g_wrmsr(MSR_XSS, (i & 1 ? XSS_CET_U : 0) | (i & 2 ? XSS_CET_S : 0));
		g_cpuid(0xd, 1, r);
		results[2 + i] = r[1];
	}
	g_cpuid(0xd, 1, r);
	results[6] = r[2];
	return 0;
}

/* XSS is @xss, then XSAVES of @mask: XCOMP_BV in results[0]. */
static GUEST uint64_t save(uint64_t xcr0, uint64_t xss, uint64_t mask)
{
	results[1] = g_xsetbv(xcr0);
	g_wrmsr(MSR_XSS, xss);
	g_xsaves(&area, mask);
	results[0] = area.xcomp_bv;
	return 0;
}

static GUEST uint64_t restore(uint64_t xcr0, uint64_t xss, uint64_t mask)
{
	unsigned int i;

	results[1] = g_xsetbv(xcr0);
	g_wrmsr(MSR_XSS, xss);
	results[0] = g_xrstors(&area, mask);
	for (i = 0; i < 6; i++)
		results[2 + i] = g_rdmsr(cet_msrs[i]);
	return 0;
}

/* WRMSR(XSS): results[0] is the fault. */
static GUEST uint64_t set_xss(uint64_t value)
{
	results[0] = g_wrmsr_safe(MSR_XSS, value);
	results[1] = g_rdmsr(MSR_XSS);
	return 0;
}

#define XCR0_FP_SSE 3ull
#define XCR0_AVX    7ull
/* Where the first extended component is in a compacted image; AVX's has 256 bytes. */
#define EXTENDED 576

static void set_values(struct cpu *c, uint64_t n)
{
	unsigned int i;

	for (i = 0; i < CET_MSRS; i++)
		cpu_wrmsr(c, cet_msrs[i], cet_value(i, n));
}

/* The components of @which, one after the other, as in the image. */
static size_t fill(uint64_t *to, uint64_t which, uint64_t n)
{
	size_t k = 0;

	if (which & XSS_CET_U) {
		to[k++] = cet_value(VALUE_U_CET, n);
		to[k++] = cet_value(VALUE_PL3, n);
	}
	if (which & XSS_CET_S) {
		to[k++] = cet_value(VALUE_PL0, n);
		to[k++] = cet_value(VALUE_PL0 + 1, n);
		to[k++] = cet_value(VALUE_PL0 + 2, n);
	}
	return k * sizeof(*to);
}

struct way {
	uint64_t xcr0, xss, mask; /* mask: what the instruction is asked for */
	uint64_t layout;	  /* what is in the image before CET's components */
};

static void check_save(struct cpu *c, const struct way *w, uint64_t n)
{
	struct area *a = in_guest(c->machine, &area);
	uint64_t *r = *in_guest(c->machine, &results);
	uint64_t want[8], saved = w->mask & w->xss & XSS_CET;
	uint8_t *at = a->extended + (w->layout & 4 ? 256 : 0);
	size_t size = fill(want, saved, n), i;
	bool clean = true;

	memset(a, 0x5a, sizeof(*a));
	memset(&a->xstate_bv, 0, 64);
	set_values(c, n);
	cpu_start(c, save, w->xcr0, w->xss, w->mask);
	tap_ok(finished(c) && !r[1] && r[0] == (XSAVE_COMPACT | (w->mask & (w->xcr0 | w->xss))) &&
		       (a->xstate_bv & XSS_CET) == saved && !memcmp(at, want, size),
	       "XSAVES of 0x%llx with XSS 0x%llx, XCR0 0x%llx: the image has the MSRs", (unsigned long long)w->mask,
	       (unsigned long long)w->xss, (unsigned long long)w->xcr0);
	for (i = size; i < 64; i++)
		clean &= at[i] == 0x5a;
	tap_ok(clean, "nothing is written behind the image");
}

static void check_restore(struct cpu *c, const struct way *w, uint64_t n, uint64_t in_image)
{
	struct area *a = in_guest(c->machine, &area);
	uint64_t *r = *in_guest(c->machine, &results);
	uint64_t loaded = w->mask & w->xss & XSS_CET;
	bool right = true, host = true;
	unsigned int i;
	uint64_t v[8];

	memset(a, 0, sizeof(*a));
	a->xcomp_bv = XSAVE_COMPACT | (w->layout & ~XCR0_FP_SSE) | loaded;
	a->xstate_bv = in_image;
	/* MXCSR is not tested here. */
	fill(v, loaded, n);
	memcpy(a->extended + (w->layout & 4 ? 256 : 0), v, sizeof(v));
	set_values(c, n + 1);
	cpu_start(c, restore, w->xcr0, w->xss, w->mask);
	right = finished(c) && !r[0] && !r[1];
	for (i = 0; i < 6; i++) {
		uint64_t component = i == VALUE_U_CET || i == VALUE_PL3 ? XSS_CET_U : i == VALUE_S_CET ? 0 : XSS_CET_S;
		uint64_t want = !(component & loaded) ? cet_value(i, n + 1) :
				component & in_image  ? cet_value(i, n) :
							0;

		right &= r[2 + i] == want;
		host &= cpu_rdmsr(c, cet_msrs[i]) == want;
		if (r[2 + i] != want || cpu_rdmsr(c, cet_msrs[i]) != want)
			tap_diag("%s: 0x%llx, for the host 0x%llx, wanted 0x%llx", cet_names[i],
				 (unsigned long long)r[2 + i], (unsigned long long)cpu_rdmsr(c, cet_msrs[i]),
				 (unsigned long long)want);
	}
	if (r[0] || r[1])
		tap_diag("faults: XRSTORS 0x%llx, XSETBV 0x%llx", (unsigned long long)r[0], (unsigned long long)r[1]);
	tap_ok(right, "XRSTORS of 0x%llx with XSS 0x%llx, XCR0 0x%llx, image of 0x%llx: RDMSR gives it",
	       (unsigned long long)w->mask, (unsigned long long)w->xss, (unsigned long long)w->xcr0,
	       (unsigned long long)in_image);
	tap_ok(host, "and KVM_GET_MSRS");
}

static void check_refused(struct cpu *c)
{
	/* Bochs loads values with reserved bits, so this cannot be tested. */
	static const struct {
		const char *name;
		uint64_t xss, xcomp_bv, xstate_bv;
	} bad[] = {
		{ "XCOMP_BV not in XSS", XSS_CET_U, XSS_CET, XSS_CET },
		{ "XSTATE_BV not in XCOMP_BV", XSS_CET, XSS_CET_U, XSS_CET },
	};
	struct area *a = in_guest(c->machine, &area);
	uint64_t *r = *in_guest(c->machine, &results);
	unsigned int i, j;
	char name[80];

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		bool kept = true;

		memset(a, 0, sizeof(*a));
		a->xcomp_bv = XSAVE_COMPACT | bad[i].xcomp_bv;
		a->xstate_bv = bad[i].xstate_bv;
		set_values(c, 500 + i);
		cpu_start(c, restore, XCR0_FP_SSE, bad[i].xss, bad[i].xss);
		snprintf(name, sizeof(name), "XRSTORS, %s", bad[i].name);
		if (!finished(c)) {
			tap_ok(false, "%s", name);
			continue;
		}
		for (j = 0; j < 6; j++)
			kept &= r[2 + j] == cet_value(j, 500 + i) && cpu_rdmsr(c, cet_msrs[j]) == r[2 + j];
		tap_ok(r[0] == FAULT(VECTOR_GP) && kept, "%s: #GP", name);
		fact(name, "0x%llx", (unsigned long long)r[0]);
	}
}

void test_xsaves(void)
{
	/* clang-format off */
	static const struct way ways[] = {
		{ XCR0_FP_SSE,	XSS_CET,	XSS_CET,		0 },
		{ XCR0_FP_SSE,	XSS_CET_U,	XSS_CET_U,		0 },
		{ XCR0_FP_SSE,	XSS_CET_S,	XSS_CET_S,		0 },
		{ XCR0_FP_SSE,	XSS_CET,	XSS_CET_U,		0 },
		{ XCR0_FP_SSE,	XSS_CET,	XSS_CET_S,		0 },
		{ XCR0_FP_SSE,	XSS_CET_U,	XSS_CET,		0 },
		{ XCR0_FP_SSE,	0,		XSS_CET,		0 },
		{ XCR0_AVX,	XSS_CET,	XCR0_AVX | XSS_CET,	XCR0_AVX },
		{ XCR0_AVX,	XSS_CET,	4 | XSS_CET,		4 },
	};
	/* clang-format on */
	static const struct {
		uint64_t value;
		bool ok;
	} xss[] = {
		{ XSS_CET_U, true }, { XSS_CET_S, true }, { XSS_CET, true },	      { 0, true },
		{ 0x400, false },    { 0x2000, false },	  { XSS_CET | 0x100, false }, { XSS_CET | 1ull << 63, false },
		{ 1, false },
	};
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	uint64_t *r = *in_guest(m, &results);
	unsigned int i;

	cpu_start(c, describe, 0);
	tap_ok(finished(c) && r[0] == (16ull << 32 | 1) && r[1] == (24ull << 32 | 1),
	       "CPUID: components of 16 and 24 bytes, supervisor, not aligned");
	tap_ok(r[3] == r[2] + 16 && r[4] == r[2] + 24 && r[5] == r[2] + 40 && (r[6] & XSS_CET) == XSS_CET,
	       "CPUID: the size follows XSS");
	for (i = 0; i < ARRAY_SIZE(xss); i++) {
		cpu_start(c, set_xss, xss[i].value);
		tap_ok(finished(c) && r[0] == (xss[i].ok ? 0 : FAULT(VECTOR_GP)) &&
			       (r[1] == xss[i].value) == xss[i].ok && cpu_rdmsr(c, MSR_XSS) == r[1],
		       "WRMSR of XSS = 0x%llx: %s", (unsigned long long)xss[i].value, xss[i].ok ? "taken" : "#GP");
	}
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		check_save(c, &ways[i], 100 + i);
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		uint64_t loaded = ways[i].mask & ways[i].xss & XSS_CET;

		check_restore(c, &ways[i], 200 + 4 * i, loaded);
		/* Components that are not in the image are reset. */
		check_restore(c, &ways[i], 300 + 4 * i, loaded & XSS_CET_S);
		check_restore(c, &ways[i], 400 + 4 * i, 0);
	}
	check_refused(c);
	machine_destroy(m);
}
