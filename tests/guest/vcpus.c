// SPDX-License-Identifier: GPL-2.0
/*
 * vcpus: two vCPUs of one VM, deep in calls on their shadow stacks, one at CPL0 and one at CPL3, each with its own
 * values in its MSRs, on two CPUs of the host at the same time. Both are saved, and continue in another VM
 *
 *	vcpus --save FILE	saves them as FILE.0 and FILE.3
 *	vcpus --load FILE	both continue; then one without its SSP, and both with that of the other
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chain.h"
#include "host.h"
#include "snap.h"

#define CPUS 2

static const unsigned int cpls[CPUS] = { 0, 3 };
/* The call depth of each when it is saved. The second one has more calls to return from */
static const unsigned int levels[CPUS] = { DEPTH, 4 };

struct vcpu {
	unsigned int number;
	struct cpu *c;
	const struct snapshot *s;
	unsigned int without;
	uint64_t base;
	bool good;
};

static pthread_barrier_t together;

/* On a CPU of its own, and not before the other one is running */
static void settle(struct vcpu *v)
{
	if (!host_move(0, v->number))
		tap_bail("CPU %u", v->number);
	pthread_barrier_wait(&together);
}

static void *go_down(void *arg)
{
	struct vcpu *v = arg;
	unsigned int level;

	settle(v);
	v->good = true;
	for (level = 0; v->good && level <= levels[v->number]; level++)
		v->good = chain_is_at(v->c, CALL_DOWN, level, &v->base, cpls[v->number]);
	return NULL;
}

static void *restore_and_unwind(void *arg)
{
	struct vcpu *v = arg;
	unsigned int cpl = cpls[v->number], level;
	enum part part;
	bool good = true;

	settle(v);
	for (part = 0; part < PARTS; part++)
		if (!(v->without & 1u << part) && snapshot_put(v->s, v->c, part, NULL))
			tap_bail("restoring %s of vCPU %u", part_name(part), v->number);
	pthread_barrier_wait(&together);
	for (level = levels[v->number] + 1; good && level <= DEPTH; level++)
		good = chain_is_at(v->c, CALL_DOWN, level, &v->base, cpl);
	v->good = good && chain_unwinds(v->c, DEPTH, v->base, cpl);
	return NULL;
}

static void run_both(struct vcpu v[CPUS], void *(*function)(void *))
{
	pthread_t threads[CPUS];
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		v[i].number = i;
		if (pthread_create(&threads[i], NULL, function, &v[i]))
			tap_bail("thread");
	}
	for (i = 0; i < CPUS; i++)
		pthread_join(threads[i], NULL);
}

static void save(const char *name)
{
	const struct machine_config two = { .cpus = CPUS };
	struct machine *m = machine_create(&two);
	struct vcpu v[CPUS] = { 0 };
	struct snapshot *s;
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		v[i].c = m->cpus[i];
		cpu_cet(v[i].c, GUEST_ALL);
		cpu_wrmsr(v[i].c, MSR_XSS, i ? XSS_CET_U : XSS_CET_U | XSS_CET_S);
		cpu_wrmsr(v[i].c, MSR_PL1_SSP, 0x111111111110 + (i << 16));
		cpu_wrmsr(v[i].c, MSR_PL2_SSP, 0x222222222220 + (i << 16));
		cpu_start(v[i].c, cpls[i] ? chain_main_cpl3 : chain_main_cpl0, START_VALUE);
	}
	run_both(v, go_down);
	for (i = 0; i < CPUS; i++) {
		tap_ok(v[i].good, "vCPU %u is %u calls deep at CPL%u", i, levels[i], cpls[i]);
		s = snapshot_take(v[i].c);
		tap_ok(snapshot_save_cpl(s, name, cpls[i]), "vCPU %u is in a file", i);
		free(s);
	}
	machine_destroy(m);
}

/* WANT: NULL if that vCPU unwinds, else where it stops */
static void load(struct snapshot *s[CPUS], const unsigned int without[CPUS], const char * const want[CPUS],
		 const char *name)
{
	struct machine *m = snapshot_machines((const struct snapshot **)s, CPUS);
	struct vcpu v[CPUS] = { 0 };
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		v[i].c = m->cpus[i];
		v[i].s = s[i];
		v[i].without = without[i];
		v[i].base = *snapshot_ssp(s[i]) + 8 * levels[i];
	}
	run_both(v, restore_and_unwind);
	for (i = 0; i < CPUS; i++) {
		tap_ok(want[i] ? !strcmp(stop_text(v[i].c), want[i]) : v[i].good, "%s: vCPU %u, CPL%u: %s", name, i,
		       cpls[i], want[i] ? want[i] : "unwinds");
		if (want[i] || !v[i].good)
			tap_diag("%s", stop_text(v[i].c));
	}
	machine_destroy(m);
}

/* The state of a restored vCPU, while the other one has its own */
static void compare(struct snapshot *s[CPUS], const char *name)
{
	struct machine *m = snapshot_machines((const struct snapshot **)s, CPUS);
	struct snapshot *again;
	enum part part;
	unsigned int i, j;
	bool same;

	for (part = 0; part < PARTS; part++)
		for (i = 0; i < CPUS; i++)
			if (snapshot_put(s[i], m->cpus[i], part, NULL))
				tap_bail("restoring %s of vCPU %u", part_name(part), i);
	for (i = 0; i < CPUS; i++) {
		again = snapshot_take(m->cpus[i]);
		same = *snapshot_ssp(again) == *snapshot_ssp(s[i]) && again->sregs.cr4 == s[i]->sregs.cr4;
		for (j = 0; j < CET_MSRS_XSS; j++)
			same &= *snapshot_msr(again, cet_msrs[j]) == *snapshot_msr(s[i], cet_msrs[j]);
		tap_ok(same, "%s: vCPU %u has the SSP and the CET MSRs that it had", name, i);
		free(again);
	}
	machine_destroy(m);
}

static void go_on(const char *file)
{
	static const unsigned int whole[CPUS], no_second_ssp[CPUS] = { 0, 1 << PART_ONE_REG };
	static const char * const unwind[CPUS], * const second_faults[CPUS] = { NULL, "#PF(0x46)" },
							* const both_fault[CPUS] = { "#PF(0x41)", "#PF(0x47)" };
	struct snapshot *s[CPUS];
	char name[100];
	uint64_t ssp;
	unsigned int i;

	for (i = 0; i < CPUS; i++) {
		s[i] = snapshot_load_cpl(file, cpls[i]);
		snapshot_adapt(s[i]);
	}
	snprintf(name, sizeof(name), "from %s", basename(file));
	compare(s, name);
	load(s, whole, unwind, name);
	snprintf(name, sizeof(name), "from %s, no SSP on vCPU 1", basename(file));
	load(s, no_second_ssp, second_faults, name);
	ssp = *snapshot_ssp(s[0]);
	*snapshot_ssp(s[0]) = *snapshot_ssp(s[1]);
	*snapshot_ssp(s[1]) = ssp;
	snprintf(name, sizeof(name), "from %s, SSPs exchanged", basename(file));
	load(s, whole, both_fault, name);
	for (i = 0; i < CPUS; i++)
		free(s[i]);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	vmm_open(strcmp(argv[1], "--save") ? "vcpus --load" : "vcpus --save");
	tap_ok(sysconf(_SC_NPROCESSORS_ONLN) == CPUS, "the host has %u CPUs", CPUS);
	if (sysconf(_SC_NPROCESSORS_ONLN) != CPUS)
		return tap_done();
	pthread_barrier_init(&together, NULL, CPUS);
	if (strcmp(argv[1], "--save"))
		go_on(argv[2]);
	else
		save(argv[2]);
	return tap_done();
}
