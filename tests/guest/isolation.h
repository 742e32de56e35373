/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the program isolation share. */
#ifndef TESTS_GUEST_ISOLATION_H
#define TESTS_GUEST_ISOLATION_H

#include "host.h"
#include "vmm.h"

/* Each is a part of the program. */
void test_private(void);
void test_residency(void);
void test_first_use(void);
void test_readers(void);
void test_xsaves(void);
void test_bad_values(void);
void test_filter(void);
void test_ignore_msrs(void);
void test_host_s_cet(void);
void test_host_shadow_stack(void);
void test_reload(void);
/* On a host with two CPUs. */
void test_cpus(void);
/* On a KVM that does not offer CET. */
void test_absent(void);

/* Whether the guest's function returned; prints a message if not. */
bool finished(struct cpu *c);

/* A line for the comparison of kernels; the name's blanks become underscores. */
void fact(const char *name, const char *fmt, ...) __printf(2, 3);

/* Indexes of cet_msrs[]. SSP is not among them. */
#define VALUE_U_CET 0
#define VALUE_S_CET 1
#define VALUE_PL0   2
#define VALUE_PL3   5
#define VALUE_TABLE 6

extern const char * const cet_names[CET_MSRS];

/*
 * A valid value for each MSR and each @n. They all differ, in their upper and in their lower half. Without IBT, U_CET
 * and S_CET have only four values.
 */
static inline uint64_t cet_value(unsigned int msr, uint64_t n)
{
	uint64_t low = (n & 0xffff) << 16;
	/* Only one of the bits 11 and 10 may be set. */
	uint64_t flags = (n & 0x3f) | ((n & 0xc0) == 0xc0 ? 0 : (n & 0xc0) << 4), value;

	n = (n >> 16 & 0xff) << 32;
	switch (msr) {
	case VALUE_U_CET:
		value = 0x0000700000000000 | n | low | flags;
		return cet_control(value);
	case VALUE_S_CET:
		/* No tracker: Bochs forgets it while it is not in use. */
		value = 0xffff810000000000 | n | low | ((flags ^ 0x15) & 0x3f);
		return cet_control(value);
	case VALUE_PL3:
		return 0x00007e0000000000 | n | low | 0xc;
	case VALUE_TABLE:
		return 0xffff870000000000 | n | low | 0x1;
	default:
		return (0xffff820000000000 + ((uint64_t)msr << 40)) | n | low | 0x4;
	}
}

/*
 * Components 11 and 12 alone, compacted: U_CET, PL3_SSP, PL0_SSP, PL1_SSP, PL2_SSP.
 */
struct cet_image {
	uint8_t legacy[512];
	uint64_t xstate_bv, xcomp_bv, zero[6];
	uint64_t u_cet, pl3_ssp;
	uint64_t pl_ssp[3];
	uint64_t behind; /* not part of it */
} __attribute__((aligned(64)));

#define XSAVE_COMPACT (1ull << 63)
#define XSS_CET	      (XSS_CET_U | XSS_CET_S)

/* For guests: RDMSR and WRMSR that KVM emulates, whatever it lets the guest do itself. */
static inline uint64_t g_forced_wrmsr(uint32_t msr, uint64_t value)
{
	G_TRY_VARS(fault, error);

	asm volatile(G_TRY(G_FORCED "wrmsr")
		     : G_TRY_OUT(fault, error)
		     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
		     : "memory");
	return fault;
}

static inline uint64_t g_forced_rdmsr(uint32_t msr, uint64_t *value)
{
	uint32_t low = 0, high = 0;

	G_TRY_VARS(fault, error);
	asm volatile(G_TRY(G_FORCED "rdmsr") : G_TRY_OUT(fault, error), "+a"(low), "+d"(high) : "c"(msr) : "memory");
	*value = low | (uint64_t)high << 32;
	return fault;
}

/* For guests; they need CR4.OSXSAVE, and XSS in which all of @mask is set. */
static inline void g_xsaves(void *image, uint64_t mask)
{
	asm volatile("xsaves64 (%0)" : : "r"(image), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)) : "memory");
}

static inline uint64_t g_xrstors(const void *image, uint64_t mask)
{
	G_TRY_VARS(fault, error);

	asm volatile(G_TRY("xrstors64 (%2)")
		     : G_TRY_OUT(fault, error)
		     : "r"(image), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
		     : "memory");
	return fault;
}

/* For machine_config.cpuid. */
void cpuid_hide_cet(struct kvm_cpuid2 *cpuid, unsigned int cpu);
/* Like a VMM that does not know that XSS belongs to it. */
void cpuid_hide_all_but_xss(struct kvm_cpuid2 *cpuid, unsigned int cpu);

/* VM exits of a vCPU so far. */
uint64_t cpu_exits(const struct cpu *c);

/* The number of VM exits that is enough to trust the result. */
extern unsigned int many_exits;

/* The exit status of a process that calls @function on a shadow stack; 128 + N: killed by signal N. */
int status_on_shadow_stack(void (*function)(void));

/*
 * A guest that changes all its CET MSRs all the time and reads them in between. After keeper_stop() it returns from its
 * first function.
 */
void keeper_start(struct cpu *c);
void keeper_stop(struct cpu *c);
/* How often it has changed them. */
uint64_t keeper_rounds(struct cpu *c);
/* Returns false, with a message, if it ever read another value. */
bool keeper_is_right(struct cpu *c);
/* How many MSRs have another value, as the host reads it, than the guest last wrote. */
unsigned int keeper_wrong_for_host(struct cpu *c);

/* A guest that executes orders: the arguments of serve() are the vCPU's number and the address of its orders. */
enum order { ORDER_READ, ORDER_WRITE, ORDER_WRITE_ONE, ORDER_XSAVES, ORDER_XRSTORS, ORDER_EXITS, ORDER_PEEK };

struct orders {
	uint64_t value[CET_MSRS]; /* to and from the MSRs */
	uint64_t which;		  /* for ORDER_WRITE_ONE, ORDER_PEEK: an index of cet_msrs */
	uint64_t fault;		  /* the result of the last order */
	struct cet_image image;
};

void serve(uint64_t cpu);
struct orders *orders_of(struct cpu *c);
/* Starts serve(), with XSS for the orders that need it. */
void server_start(struct cpu *c);
/* Has an order executed; returns false if the guest stops elsewhere. */
bool server_do(struct cpu *c, enum order order);

#endif
