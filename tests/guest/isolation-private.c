// SPDX-License-Identifier: GPL-2.0
/*
 * Each vCPU has its own values. Four vCPUs never leave KVM_RUN, and a thread switches between them every 200 us.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "isolation.h"

/* In guest memory, one for each vCPU of the machine. */
static struct keeper {
	uint64_t first; /* round to begin with */
	volatile uint64_t stop;
	volatile uint64_t rounds;   /* finished */
	volatile uint64_t switches; /* how often it saw that the other vCPU had run */
	volatile uint64_t bad;	    /* wrong values so far; the first one: */
	uint64_t bad_msr, got, want;
	uint64_t current; /* whose values are in the MSRs at the end */
	struct cet_image image;
} keepers[2];

static volatile uint64_t last_runner;

static inline __attribute__((always_inline)) void compare(struct keeper *k, unsigned int msr, uint64_t got)
{
	uint64_t want = cet_value(msr, k->current);

	if (got == want)
		return;
	if (!k->bad) {
		k->bad_msr = msr;
		k->got = got;
		k->want = want;
	}
	k->bad++;
}

static GUEST void write_all(struct keeper *k)
{
	unsigned int i;

	if (k->current & 1) {
		for (i = 0; i < CET_MSRS; i++)
			if (k->current & 2)
				g_wrmsr(cet_msrs[i], cet_value(i, k->current));
			else if (g_forced_wrmsr(cet_msrs[i], cet_value(i, k->current)))
				k->bad++;
		return;
	}
	k->image.xcomp_bv = XSAVE_COMPACT | XSS_CET;
	k->image.xstate_bv = XSS_CET;
	k->image.u_cet = cet_value(VALUE_U_CET, k->current);
	k->image.pl3_ssp = cet_value(VALUE_PL3, k->current);
	for (i = 0; i < 3; i++)
		k->image.pl_ssp[i] = cet_value(VALUE_PL0 + i, k->current);
	if (g_xrstors(&k->image, XSS_CET))
		k->bad++;
	/* These two are not XSAVE state. */
	g_wrmsr(MSR_S_CET, cet_value(VALUE_S_CET, k->current));
	g_wrmsr(MSR_INT_SSP_TAB, cet_value(VALUE_TABLE, k->current));
}

static GUEST void read_all(struct keeper *k, unsigned int pass)
{
	uint64_t value;
	unsigned int i;

	/* INT_SSP_TAB always exits. The others do not exit, so they are only preempted. */
	for (i = 0; i < VALUE_TABLE; i++)
		compare(k, i, g_rdmsr(cet_msrs[i]));
	if (!(pass & 15))
		compare(k, VALUE_TABLE, g_rdmsr(MSR_INT_SSP_TAB));
	if (pass == 1) {
		for (i = 0; i < CET_MSRS; i++) {
			if (g_forced_rdmsr(cet_msrs[i], &value))
				k->bad++;
			compare(k, i, value);
		}
	}
	if (pass & 3)
		return;
	g_xsaves(&k->image, XSS_CET);
	compare(k, VALUE_U_CET, k->image.u_cet);
	compare(k, VALUE_PL3, k->image.pl3_ssp);
	for (i = 0; i < 3; i++)
		compare(k, VALUE_PL0 + i, k->image.pl_ssp[i]);
}

static GUEST uint64_t keep(uint64_t cpu)
{
	struct keeper *k = &keepers[cpu];
	unsigned int pass;

	g_wrmsr(MSR_XSS, XSS_CET);
	for (k->current = k->first;; k->current++) {
		write_all(k);
		for (pass = 0; pass < 64; pass++) {
			read_all(k, pass);
			if (last_runner != cpu) {
				last_runner = cpu;
				k->switches++;
			}
			if (k->stop)
				return 0;
		}
		k->rounds++;
	}
}

/* Two passes, which include all ways of reading, over the values that the host has set. */
static GUEST uint64_t verify(uint64_t cpu)
{
	g_wrmsr(MSR_XSS, XSS_CET);
	read_all(&keepers[cpu], 0);
	read_all(&keepers[cpu], 1);
	return 0;
}

/* A guest without CET looks for values that it must not find; in guest memory: */
static volatile uint64_t peek_stop, peeks, found;

static GUEST uint64_t peek(uint64_t unused)
{
	uint64_t value;
	unsigned int i;

	(void)unused;
	while (!peek_stop) {
		for (i = 0; i < CET_MSRS; i++) {
			found += g_rdmsr_safe(cet_msrs[i], &value) != FAULT(VECTOR_GP);
			found += g_wrmsr_safe(cet_msrs[i], 0) != FAULT(VECTOR_GP);
		}
		found += g_wrmsr_safe(MSR_XSS, XSS_CET_U) != FAULT(VECTOR_GP);
		found += g_wrmsr_safe(MSR_XSS, XSS_CET_S) != FAULT(VECTOR_GP);
		found += g_rdmsr(MSR_XSS) != 0;
		peeks++;
	}
	return 0;
}

/*
 * A guest whose CPUID does not show CET, but does show its components in XSS. Their state is the guest's own: it reads
 * zeroes, and then what it has written.
 */
static struct cet_image seen;

static GUEST uint64_t peek_by_xsaves(uint64_t unused)
{
	uint64_t own = 0;

	(void)unused;
	g_wrmsr(MSR_XSS, XSS_CET);
	while (!peek_stop) {
		seen.u_cet = 0;
		seen.pl3_ssp = 0;
		seen.pl_ssp[0] = 0;
		seen.pl_ssp[1] = 0;
		seen.pl_ssp[2] = 0;
		g_xsaves(&seen, XSS_CET);
		found += seen.u_cet || seen.pl3_ssp != own || seen.pl_ssp[0] != own || seen.pl_ssp[1] ||
			 seen.pl_ssp[2] != own;
		peeks++;
		if (peeks & 7)
			continue;
		own = (peeks & 0xffff) << 8;
		seen.xstate_bv = XSS_CET;
		seen.pl3_ssp = own;
		seen.pl_ssp[0] = own;
		seen.pl_ssp[2] = own;
		found += g_xrstors(&seen, XSS_CET) != 0;
	}
	return 0;
}

struct runner_of {
	struct cpu *c;
	pthread_t thread;
	long preempted; /* involuntary context switches */
};

static void *run_until_call(void *arg)
{
	struct runner_of *r = arg;
	struct rusage before, after;

	getrusage(RUSAGE_THREAD, &before);
	cpu_run(r->c);
	getrusage(RUSAGE_THREAD, &after);
	r->preempted = after.ru_nivcsw - before.ru_nivcsw;
	return NULL;
}

static void set_priority(pthread_t thread, int priority)
{
	struct sched_param p = { .sched_priority = priority };

	if (pthread_setschedparam(thread, SCHED_FIFO, &p))
		tap_bail("priority");
}

#define RUNNERS 4
#define TURNS	320

/* Runs all of them, each for a while, until the stop flags are set. Counts how often the host's S_CET was wrong. */
static unsigned int take_turns(struct runner_of *r)
{
	const struct timespec turn = { .tv_nsec = 200000 };
	unsigned int i, t, other = 0;

	set_priority(pthread_self(), 50);
	for (i = 0; i < RUNNERS; i++) {
		if (pthread_create(&r[i].thread, NULL, run_until_call, &r[i]))
			tap_bail("thread");
		set_priority(r[i].thread, 10);
	}
	for (t = 0; t < TURNS; t++) {
		set_priority(r[t % RUNNERS].thread, 20);
		nanosleep(&turn, NULL);
		set_priority(r[t % RUNNERS].thread, 10);
		other += host_rdmsr(MSR_S_CET) != host_s_cet;
	}
	return other;
}

static struct keeper *keeper_of(struct cpu *c)
{
	return &in_guest(c->machine, &keepers[0])[c->number];
}

void keeper_start(struct cpu *c)
{
	struct keeper *k = keeper_of(c);

	memset(k, 0, sizeof(*k));
	k->first = (uint64_t)(c->number + 1) << 16;
	cpu_start(c, keep, c->number);
}

void keeper_stop(struct cpu *c)
{
	keeper_of(c)->stop = 1;
}

uint64_t keeper_rounds(struct cpu *c)
{
	return keeper_of(c)->rounds;
}

bool keeper_is_right(struct cpu *c)
{
	const struct keeper *k = keeper_of(c);

	if (k->bad)
		tap_diag("%u wrong values, the first in %s: 0x%llx, wanted 0x%llx", (unsigned int)k->bad,
			 cet_names[k->bad_msr], (unsigned long long)k->got, (unsigned long long)k->want);
	return !k->bad;
}

unsigned int keeper_wrong_for_host(struct cpu *c)
{
	const uint64_t n = keeper_of(c)->current;
	unsigned int i, wrong = 0;
	uint64_t value;

	for (i = 0; i < CET_MSRS; i++) {
		value = cpu_rdmsr(c, cet_msrs[i]);
		if (value == cet_value(i, n))
			continue;
		tap_diag("%s for the host: 0x%llx, the guest wrote 0x%llx", cet_names[i], (unsigned long long)value,
			 (unsigned long long)cet_value(i, n));
		wrong++;
	}
	return wrong;
}

/* The same code detects a foreign value, in each of the ways to read it. */
static void check_keepers(struct cpu *c, struct keeper *k)
{
	unsigned int i, j;

	for (i = 0; i <= CET_MSRS; i++) {
		uint64_t foreign = k[1].current;

		while (i < CET_MSRS && cet_value(i, foreign) == cet_value(i, k[0].current))
			foreign++;

		k[0].bad = 0;
		for (j = 0; j < CET_MSRS; j++)
			cpu_wrmsr(c, cet_msrs[j], cet_value(j, i == j ? foreign : k[0].current));
		cpu_start(c, verify, 0);
		cpu_run(c);
		if (i == CET_MSRS)
			tap_ok(!k[0].bad && !keeper_wrong_for_host(c), "no foreign value: nothing to notice");
		else
			tap_ok(k[0].bad == (i == VALUE_TABLE ? 2 :
					    i == VALUE_S_CET ? 3 :
							       4) &&
				       k[0].bad_msr == i && k[0].got == cet_value(i, foreign) &&
				       keeper_wrong_for_host(c) == 1,
			       "the other one's value in %s is noticed", cet_names[i]);
	}
}

void test_private(void)
{
	const struct machine_config two = { .cpus = 2 };
	const struct machine_config none = { .cpuid = cpuid_hide_cet }, half = { .cpuid = cpuid_hide_all_but_xss };
	static const char * const names[] = { "CET", "CET but for XSS" };
	struct runner_of r[RUNNERS] = { { 0 } };
	struct machine *m = machine_create(&two);
	struct machine *without[2] = { machine_create(&none), machine_create(&half) };
	struct keeper *k = *in_guest(m, &keepers);
	unsigned int i, other;

	for (i = 0; i < 2; i++) {
		r[i].c = m->cpus[i];
		keeper_start(r[i].c);
	}
	r[2].c = without[0]->cpus[0];
	cpu_start(r[2].c, peek, 0);
	r[3].c = without[1]->cpus[0];
	cpu_start(r[3].c, peek_by_xsaves, 0);
	other = take_turns(r);
	for (i = 0; i < 2; i++) {
		keeper_stop(r[i].c);
		*in_guest(without[i], &peek_stop) = 1;
	}
	for (i = 0; i < RUNNERS; i++)
		pthread_join(r[i].thread, NULL);
	if (pthread_setschedparam(pthread_self(), SCHED_OTHER, &(struct sched_param) { 0 }))
		tap_bail("priority");

	for (i = 0; i < 2; i++) {
		tap_ok(cpu_called(r[i].c, CALL_RETURNED), "vCPU %u: stays in KVM_RUN until it is told to stop", i);
		tap_ok(r[i].preempted >= TURNS / RUNNERS / 2 && k[i].rounds >= 10 && k[i].switches >= 10,
		       "vCPU %u: was preempted and saw the other one's traces", i);
		tap_diag("preempted %ld times, %u rounds, saw %u switches", r[i].preempted, (unsigned int)k[i].rounds,
			 (unsigned int)k[i].switches);
		tap_ok(keeper_is_right(r[i].c),
		       "vCPU %u: RDMSR, emulated or not, and XSAVES always give its own values", i);
		tap_ok(!keeper_wrong_for_host(r[i].c), "vCPU %u: KVM_GET_MSRS gives its last values", i);
	}
	for (i = 0; i < 2; i++) {
		uint64_t peeked = *in_guest(without[i], &peeks), bad = *in_guest(without[i], &found);

		/* Each of its faults exits twice, which takes longer on SVM. */
		tap_ok(peeked >= (kvm_is_svm() ? 5 : 10) && r[2 + i].preempted >= 10 &&
			       r[2 + i].c->stop.kind == STOP_CALL,
		       "a vCPU without %s runs between them", names[i]);
		tap_diag("preempted %ld times, looked %u times", r[2 + i].preempted, (unsigned int)peeked);
		tap_ok(!bad, "a vCPU without %s finds nothing of the others", names[i]);
		if (bad)
			tap_diag("%u times", (unsigned int)bad);
	}
	tap_ok(!other, "the host's S_CET is the same whenever a vCPU is preempted");
	check_keepers(m->cpus[0], k);
	machine_destroy(m);
	machine_destroy(without[0]);
	machine_destroy(without[1]);
}
