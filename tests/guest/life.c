// SPDX-License-Identifier: GPL-2.0
/*
 * A host lives on while guests use CET: it sleeps, CPUs go offline and come back, KVM is unloaded and loaded, VMMs are
 * killed. Guests continue, new ones work, and nothing of a guest is left in a CPU.
 *
 *   life [--host-without-cet] [--facts FILE] [--loads N] [--smis N] [--resets N] [--jostles N] PART...
 *
 * It needs the host's module msr, and to run where the host has its modules (/host).
 *
 *   --facts FILE  answers, for the comparison of kernels
 *   --loads N     how often to unload and load the modules (default 20)
 *   --smis N      the number of SMIs (default 300)
 *   --resets N    the number of INITs and RESETs (default 18)
 *   --jostles N   the number of guests whose thread keeps losing its CPU (default 4)
 *   PART          of parts[] below
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "life.h"
#include "smram.h"

static const struct test_part parts[] = {
	{ "sleep", test_sleep },
	/* It needs 512 MB. */
	{ "disk", test_disk },
	{ "hotplug", test_hotplug },
	/* A host whose kernel has no CET, and the module lacking. */
	{ "refused", test_refused },
	{ "load", test_load },
	{ "cpuid", test_cpuid },
	{ "kill", test_kill },
	{ "smi", test_smi },
	{ "reset", test_reset },
	{ "oom", test_oom },
	{ "close", test_close },
	/* The module jostle. */
	{ "jostle", test_jostle },
	/* Runs alone, before anything else; see life-kexec.c. */
	{ "kexec", test_kexec },
};

unsigned int host_cpus, loads = 20, smis = 300, resets = 18, jostles = 4;

/* ---- The guest that walks ---- */

#define MSR_ABSENT 0x6a3

static struct walk {
	uint64_t value[CET_MSRS];
	volatile uint64_t stop, rounds, wrong;
	uint64_t quiet;	    /* nothing that stops in the VMM */
	uint64_t what, got; /* the first wrong one */
} walks[MAX_CPUS];

static GUEST uint64_t down(uint64_t n)
{
	return n ? down(n - 1) + 8 : g_rdssp();
}

/* 0 if every level returned to where its shadow stack says. */
static GUEST uint64_t there_and_back(uint64_t n)
{
	return down(n) + 8 - g_rdssp();
}

static GUEST void wrong(struct walk *w, uint64_t what, uint64_t got)
{
	if (!w->wrong) {
		w->what = what;
		w->got = got;
	}
	w->wrong++;
}

#define WHAT_CPL0  1
#define WHAT_CPL3  2
#define WHAT_FAULT 3

static GUEST void walk_once(struct walk *w)
{
	uint64_t got, i;

	got = there_and_back(20);
	if (got)
		wrong(w, WHAT_CPL0, got);
	got = g_user(there_and_back, 20);
	if (got)
		wrong(w, WHAT_CPL3, got);
	if (!w->quiet && !(w->rounds & 7)) {
		got = g_rdmsr_safe(MSR_ABSENT, &i);
		if (got != FAULT(VECTOR_GP))
			wrong(w, WHAT_FAULT, got);
	}
	for (i = 0; i < CET_MSRS; i++) {
		got = g_rdmsr(cet_msrs[i]);
		/* PL3_SSP is what the first return to CPL0 left there. */
		if (!w->rounds)
			w->value[i] = got;
		else if (got != w->value[i])
			wrong(w, cet_msrs[i], got);
	}
	w->rounds++;
}

static GUEST uint64_t walk(uint64_t cpu)
{
	struct walk *w = &walks[cpu];

	while (!w->stop)
		walk_once(w);
	return w->rounds;
}

#define CALL_STEP 5

/* The same, with a stop after each round. */
static GUEST void walk_by_steps(uint64_t cpu)
{
	for (;;) {
		walk_once(&walks[cpu]);
		g_call(CALL_STEP, walks[cpu].wrong, 0, 0);
	}
}

/* ---- The VMM ---- */

static struct walk *walk_of(const struct cpu *c)
{
	return &in_guest(c->machine, &walks[0])[c->number];
}

static void *run_walker(void *arg)
{
	struct walker *w = arg;

	__atomic_store_n(&w->tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	for (;;) {
		cpu_run(w->c);
		/* When the host goes to sleep, KVM_RUN ends. */
		if (w->c->stop.kind != STOP_SIGNAL)
			return NULL;
		if (__atomic_load_n(&w->smi, __ATOMIC_ACQUIRE)) {
			smram_smi(w->c);
			__atomic_store_n(&w->smi, 0, __ATOMIC_RELEASE);
		}
	}
}

/* Busy guests have the CPU to themselves for most of the time. */
#define POLLS 2000

static bool wait_for_rounds(const struct cpu *c, uint64_t n)
{
	const struct walk *w = walk_of(c);
	const uint64_t wanted = w->rounds + n;
	unsigned int i;

	for (i = 0; i < POLLS && w->rounds < wanted && !w->wrong; i++)
		sleep_ms(1);
	return w->rounds >= wanted;
}

static void give_state(struct cpu *c)
{
	static const unsigned int pages[] = { CPU_SS_PL0_PAGE, CPU_SS_IST1_PAGE, CPU_SS_IST2_PAGE };
	unsigned int i;
	uint64_t token;

	/* It may have been stopped where a token is busy. */
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		token = cpu_shadow_stack(c, pages[i]);
		memcpy(machine_at(c->machine, token), &token, sizeof(token));
	}
	memset(walk_of(c), 0, sizeof(*walk_of(c)));
	cpu_cet(c, GUEST_ALL);
	/* For rings that it does not use. */
	cpu_wrmsr(c, MSR_PL1_SSP, 0xffff811100000000 + 8 * (c->number + 1));
	cpu_wrmsr(c, MSR_PL2_SSP, 0xffff822200000000 + 8 * (c->number + 1));
}

void stepper_start(struct cpu *c)
{
	give_state(c);
	cpu_start(c, walk_by_steps, c->number);
}

void walk_start(struct cpu *c, bool quiet)
{
	give_state(c);
	walk_of(c)->quiet = quiet;
	cpu_start(c, walk, c->number);
}

void walk_wait(const struct cpu *c)
{
	if (!wait_for_rounds(c, 1))
		tap_bail("vCPU %u does not run: %s", c->number, stop_text(c));
}

bool stepper_step(struct cpu *c)
{
	cpu_run(c);
	return cpu_called(c, CALL_STEP) && !c->stop.a;
}

void walker_start(struct walker *w, struct cpu *c, unsigned int cpu)
{
	w->c = c;
	w->tid = 0;
	w->smi = 0;
	walk_start(c, false);
	if (pthread_create(&w->thread, NULL, run_walker, w))
		tap_bail("thread");
	while (!__atomic_load_n(&w->tid, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	/* The first KVM_RUN of a new thread waits for RCU, and the thread cannot be moved while it does. */
	if (!wait_for_rounds(c, 2) || !host_move(w->tid, cpu))
		tap_bail("vCPU %u does not run on CPU %u: %s", c->number, cpu, stop_text(c));
}

bool walker_goes_on(const struct walker *w)
{
	return wait_for_rounds(w->c, 3) && !walk_of(w->c)->wrong;
}

void walker_stop(struct walker *w, const char *when)
{
	struct walk *walk = walk_of(w->c);
	bool ok;

	walk->stop = 1;
	pthread_join(w->thread, NULL);
	ok = cpu_called(w->c, CALL_RETURNED) && w->c->stop.a == walk->rounds && !walk->wrong;
	tap_ok(ok, "vCPU %u never found anything wrong, %s", w->c->number, when);
	if (!ok)
		tap_diag("%s; in %u rounds, %u wrong, first 0x%x: 0x%llx", stop_text(w->c), (unsigned int)walk->rounds,
			 (unsigned int)walk->wrong, (unsigned int)walk->what, (unsigned long long)walk->got);
}

static void move_main(unsigned int cpu)
{
	if (!host_move(0, cpu))
		tap_bail("this thread cannot be on CPU %u", cpu);
}

void sitters_start(struct sitter *s)
{
	unsigned int i, j;

	for (i = 0; i < 2 * host_cpus; i++, s++) {
		s->cpu = i / 2;
		s->cpl = i % 2 * 3;
		move_main(s->cpu);
		chain_start_deep(&s->m, s->cpl, RETURN, &s->base);
		for (j = 0; j < CET_MSRS; j++)
			s->values[j] = cpu_rdmsr(s->m->cpus[0], cet_msrs[j]);
	}
	move_main(0);
}

void sitters_end(struct sitter *s, const char *when)
{
	unsigned int i, j, bad = 0;

	for (i = 0; i < 2 * host_cpus; i++, s++) {
		move_main(s->cpu);
		for (j = 0; j < CET_MSRS; j++)
			bad += cpu_rdmsr(s->m->cpus[0], cet_msrs[j]) != s->values[j];
		bad += !chain_unwinds(s->m->cpus[0], DEPTH, s->base, s->cpl);
		for (j = 0; j < CET_MSRS; j++)
			if (cet_msrs[j] != MSR_PL3_SSP)
				bad += cpu_rdmsr(s->m->cpus[0], cet_msrs[j]) != s->values[j];
		machine_destroy(s->m);
	}
	move_main(0);
	tap_ok(!bad, "VMs in the middle of a call chain go on, and have their values, %s", when);
}

void check_new_guests(const char *when)
{
	unsigned int cpu, cpl, bad = 0;
	struct machine *m;
	struct cpu *c;
	uint64_t base;

	for (cpu = 0; cpu < host_cpus; cpu++) {
		move_main(cpu);
		for (cpl = 0; cpl <= 3; cpl += 3) {
			c = chain_start_deep(&m, cpl, RETURN, &base);
			bad += !chain_unwinds(c, DEPTH, base, cpl);
			machine_destroy(m);
		}
		if (host_rdmsr_on(cpu, MSR_S_CET) != host_s_cet) {
			bad++;
			tap_diag("S_CET of CPU %u: 0x%llx", cpu, (unsigned long long)host_rdmsr_on(cpu, MSR_S_CET));
		}
	}
	move_main(0);
	tap_ok(!bad, "new VMs work on each CPU, and leave it its S_CET, %s", when);
}

/* The number of CET MSRs of a CPU, from @first to @last, that differ from the host's value. */
static unsigned int count_residue(unsigned int cpu, uint32_t first, uint32_t last)
{
	unsigned int i, bad = 0;
	uint64_t got, want;

	for (i = 0; i < CET_MSRS; i++) {
		if (cet_msrs[i] < first || cet_msrs[i] > last)
			continue;
		want = cet_msrs[i] == MSR_S_CET ? host_s_cet : 0;
		got = host_rdmsr_on(cpu, cet_msrs[i]);
		if (got == want)
			continue;
		bad++;
		tap_diag("CPU %u, MSR 0x%x: 0x%llx", cpu, cet_msrs[i], (unsigned long long)got);
	}
	return bad;
}

bool cpu_is_clean(unsigned int cpu)
{
	return !count_residue(cpu, 0, ~0u);
}

static void check_msrs(uint32_t first, uint32_t last, const char *what, const char *when)
{
	unsigned int cpu, bad = 0;

	for (cpu = 0; cpu < host_cpus; cpu++)
		bad += count_residue(cpu, first, last);
	tap_ok(!bad, "%s, %s", what, when);
}

void check_supervisor_msrs(const char *when)
{
	check_msrs(MSR_PL0_SSP, MSR_PL2_SSP, "no CPU has a guest's PL0_SSP, PL1_SSP, PL2_SSP", when);
}

void check_no_residue(const char *when)
{
	check_msrs(0, ~0u, "no CPU has anything of a guest", when);
}

void crew_start(struct crew *crew)
{
	unsigned int cpu;

	crew->m = machine_create(&(struct machine_config) { .cpus = host_cpus });
	sitters_start(crew->sitters);
	for (cpu = 0; cpu < host_cpus; cpu++)
		walker_start(&crew->walkers[cpu], crew->m->cpus[cpu], cpu);
}

bool crew_goes_on(const struct crew *crew)
{
	unsigned int cpu;

	for (cpu = 0; cpu < host_cpus; cpu++)
		if (!walker_goes_on(&crew->walkers[cpu]))
			return false;
	return true;
}

void crew_end(struct crew *crew, const char *when)
{
	unsigned int cpu;

	for (cpu = 0; cpu < host_cpus; cpu++)
		walker_stop(&crew->walkers[cpu], when);
	check_supervisor_msrs(when);
	sitters_end(crew->sitters, when);
	machine_destroy(crew->m);
	check_new_guests(when);
}

bool unload_kvm(void)
{
	close(kvm_dev);
	return host_unload_kvm();
}

bool load_kvm(void)
{
	bool ok = host_load_kvm(NULL);

	kvm_dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_dev < 0)
		tap_bail("there is no /dev/kvm");
	return ok;
}

bool kvm_offers_cet(void)
{
	struct kvm_cpuid2 *cpuid = kvm_cpuid(KVM_GET_SUPPORTED_CPUID);
	const struct kvm_cpuid_entry2 *e = find_cpuid(cpuid, 7, 0);
	bool offered = e && e->ecx & 1u << 7 && !(e->edx & 1u << 20) == !kvm_has_ibt();

	free(cpuid);
	return offered;
}

int main(int argc, char **argv)
{
	const struct test_part *part;
	unsigned int cpu;
	int i;

	host_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (argc == 2 && !strcmp(argv[1], "kexec") && !kexec_arrive())
		kvm_open("life");
	else
		vmm_open("life");
	if (host_cpus > MAX_HOST_CPUS)
		tap_bail("the host has %u CPUs", host_cpus);
	move_main(0);
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--host-without-cet"))
			host_has_cet = false;
		else if (!strcmp(argv[i], "--facts") && i + 1 < argc)
			tap_open_facts(argv[++i]);
		else if (!strcmp(argv[i], "--loads") && i + 1 < argc)
			loads = atoi(argv[++i]);
		else if (!strcmp(argv[i], "--smis") && i + 1 < argc)
			smis = atoi(argv[++i]);
		else if (!strcmp(argv[i], "--resets") && i + 1 < argc)
			resets = atoi(argv[++i]);
		else if (!strcmp(argv[i], "--jostles") && i + 1 < argc)
			jostles = atoi(argv[++i]);
		else
			break;
	}
	host_s_cet = host_usual_s_cet();
	for (cpu = 0; cpu < host_cpus; cpu++)
		tap_ok(host_rdmsr_on(cpu, MSR_S_CET) == host_s_cet, "CPU %u: the host's kernel %s IBT", cpu,
		       host_s_cet ? "uses" : "has no");
	for (; i < argc; i++) {
		part = find_test_part(parts, ARRAY_SIZE(parts), argv[i]);
		part->test();
		if (part->test != test_kexec)
			check_no_residue(part->name);
	}
	return tap_done();
}
