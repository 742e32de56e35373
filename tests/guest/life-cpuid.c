// SPDX-License-Identifier: GPL-2.0
/* KVM_SET_CPUID2 adds CET to a vCPU that already has state, and removes it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "life.h"

#define SHSTK_BIT  (1u << 7)  /* CPUID(7,0).ECX */
#define IBT_BIT	   (1u << 20) /* CPUID(7,0).EDX */
#define XSAVES_BIT (1u << 3)  /* CPUID(0xD,1).EAX */

/* The features that a CPUID shows. */
#define HAS_SHSTK  1u
#define HAS_IBT	   2u
#define HAS_XSS	   4u /* components 11 and 12 */
#define HAS_XSAVES 8u
#define HAS_ALL	   15u

static const unsigned int kinds[] = {
	HAS_ALL,
	HAS_ALL & ~HAS_IBT,
	HAS_ALL & ~HAS_SHSTK,
	HAS_XSS | HAS_XSAVES,
	HAS_XSAVES,
	0,
	HAS_SHSTK | HAS_IBT,
	HAS_SHSTK | HAS_IBT | HAS_XSAVES,
};

#define KINDS ARRAY_SIZE(kinds)

static const struct {
	const char *name;
	uint32_t msr;
	/* Valid for all that have the MSR with shadow stacks, or with IBT. */
	uint64_t shstk, ibt;
} msrs[] = {
	{ "U_CET", MSR_U_CET, CET_SHSTK | CET_WRSS, CET_ENDBR | 0x700000000000 },
	{ "S_CET", MSR_S_CET, CET_SHSTK, CET_ENDBR | 0x710000000000 },
	{ "PL0_SSP", MSR_PL0_SSP, 0xffff820000000000, 0 },
	{ "PL1_SSP", MSR_PL1_SSP, 0xffff830000000000, 0 },
	{ "PL2_SSP", MSR_PL2_SSP, 0xffff840000000000, 0 },
	{ "PL3_SSP", MSR_PL3_SSP, 0x7e0000000000, 0 },
	{ "TABLE", MSR_INT_SSP_TAB, 0xffff870000000000, 0 },
	{ "XSS", MSR_XSS, 0, 0 },
};

#define MSRS ARRAY_SIZE(msrs)

static bool set_kind(struct cpu *c, unsigned int kind)
{
	struct kvm_cpuid_entry2 *seven = find_cpuid(c->cpuid, 7, 0), *thirteen = find_cpuid(c->cpuid, 0xd, 1);

	seven->ecx = (seven->ecx & ~SHSTK_BIT) | (kind & HAS_SHSTK ? SHSTK_BIT : 0);
	seven->edx = (seven->edx & ~IBT_BIT) | (kind & HAS_IBT ? IBT_BIT : 0);
	thirteen->eax = (thirteen->eax & ~XSAVES_BIT) | (kind & HAS_XSAVES ? XSAVES_BIT : 0);
	thirteen->ecx = kind & HAS_XSS ? XSS_CET_U | XSS_CET_S : 0;
	return !ioctl(c->io.vcpu, KVM_SET_CPUID2, c->cpuid);
}

static void put_all(struct cpu *c, unsigned int kind, uint64_t mark)
{
	unsigned int i;

	for (i = 0; i < MSRS; i++) {
		uint64_t value = (kind & HAS_SHSTK ? msrs[i].shstk : 0) | (kind & HAS_IBT ? msrs[i].ibt : 0);

		if (msrs[i].msr == MSR_U_CET || msrs[i].msr == MSR_S_CET)
			value = cet_control(value);
		if (msrs[i].msr == MSR_XSS)
			value = XSS_CET_U | XSS_CET_S;
		else if (value >> 40)
			value |= mark << 20;
		if (value)
			msrs_set(&c->io, msrs[i].msr, value);
	}
}

/* Guest: the value of every MSR, or the vector of the fault. */
static struct seen {
	uint64_t value, fault;
} seen[MSRS];
static uint64_t cet_fault;

static GUEST uint64_t look(uint64_t unused)
{
	unsigned int i;

	(void)unused;
	for (i = 0; i < MSRS; i++)
		seen[i].fault = g_rdmsr_safe(msrs[i].msr, &seen[i].value);
	/* With it, the rest of this function would have no shadow stack to return on. */
	g_wrmsr_safe(MSR_S_CET, 0);
	cet_fault = g_set_cr4(g_cr4() | CR4_CET);
	return 0;
}

static void answers(struct cpu *c, const char *stage)
{
	char name[80];
	unsigned int i;
	uint64_t value;

	for (i = 0; i < MSRS; i++) {
		snprintf(name, sizeof(name), "%s,%s", stage, msrs[i].name);
		if (msrs_get(&c->io, msrs[i].msr, &value))
			tap_fact(name, "0x%llx", (unsigned long long)value);
		else
			tap_fact(name, "none");
	}
}

/* A value that the vCPU had under an earlier CPUID, or a later one. */
static bool has_mark(uint64_t value, uint64_t mark)
{
	return value >> 40 && (value >> 20 & 0xfff) == mark;
}

void test_cpuid(void)
{
	unsigned int a, b, i, set = 0, odd = 0, refused = 0, same = 0;
	char stage[80], name[100];
	struct machine *m;
	struct cpu *c;

	for (a = 0; a < KINDS; a++) {
		for (b = 0; b < KINDS; b++) {
			m = machine_create(NULL);
			c = m->cpus[0];
			/* It has state of one kind, then of another, then of the first kind again. */
			set += set_kind(c, kinds[a]);
			put_all(c, kinds[a], 0x111);
			set += set_kind(c, kinds[b]);
			snprintf(stage, sizeof(stage), "cpuid-%x-%x", kinds[a], kinds[b]);
			answers(c, stage);
			put_all(c, kinds[b], 0x222);
			set += set_kind(c, kinds[a]);
			snprintf(stage, sizeof(stage), "cpuid-%x-%x-%x", kinds[a], kinds[b], kinds[a]);
			answers(c, stage);
			set += set_kind(c, kinds[b]);
			snprintf(stage, sizeof(stage), "cpuid-%x-%x-guest", kinds[a], kinds[b]);
			cpu_start(c, look, 0);
			cpu_run(c);
			if (strcmp(stop_text(c), "call 65536")) {
				odd++;
				tap_diag("%s: %s", stage, stop_text(c));
			}
			for (i = 0; i < MSRS; i++) {
				struct seen *s = &in_guest(m, &seen[0])[i];

				snprintf(name, sizeof(name), "%s,%s", stage, msrs[i].name);
				tap_fact(name, "0x%llx fault 0x%llx", s->fault ? 0 : (unsigned long long)s->value,
					 (unsigned long long)s->fault);
				/*
				 * Under a CPUID that lacks some of the previous features, none of their state is
				 * visible.
				 */
				if (!s->fault && has_mark(s->value, 0x111) && !(kinds[b] & (HAS_SHSTK | HAS_IBT)))
					odd++;
			}
			snprintf(name, sizeof(name), "%s,CR4.CET", stage);
			tap_fact(name, "fault 0x%llx", (unsigned long long)*in_guest(m, &cet_fault));
			/* It has run: only the CPUID that it has is accepted. */
			same += set_kind(c, kinds[b]);
			if (a != b) {
				errno = 0;
				refused += !set_kind(c, kinds[a]) && errno == EINVAL;
			}
			snprintf(stage, sizeof(stage), "cpuid-%x-%x-after", kinds[a], kinds[b]);
			answers(c, stage);
			machine_destroy(m);
		}
	}
	tap_ok(set == 4 * KINDS * KINDS, "CPUID can be set again and again before the first KVM_RUN");
	tap_ok(!odd, "guests without CET run, and find nothing of the earlier state");
	tap_ok(refused == KINDS * (KINDS - 1), "another CPUID is refused after KVM_RUN");
	tap_ok(same == KINDS * KINDS, "the same CPUID is accepted after KVM_RUN");
	check_supervisor_msrs("CPUIDs");
}
