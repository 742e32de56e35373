// SPDX-License-Identifier: GPL-2.0
/*
 * A guest's thread loses its CPU wherever KVM deals with CET state: another guest runs there, and the thread moves to
 * another CPU, if there is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "life.h"
#include "smram.h"

#define HOOKS	   64
#define PARAMETERS "/sys/module/jostle/parameters/"
/* Enough instructions to get from a check to the code that relies on it, and to where a mistake shows. */
#define PLACES "16"

/* Real-time threads: each has a guest of its own, which runs when the victim is to lose this CPU. */
static struct rival {
	struct cpu *c;
	pthread_t thread;
	unsigned int cpu, runs, wrong, left, moves;
	unsigned int at[HOOKS];
} rivals[MAX_HOST_CPUS];

static int device;
static pid_t victim;
static uint64_t host_xss;

/* No vCPU is loaded on this CPU: the victim has just been preempted. Checks what the CPU has of a guest. */
static unsigned int count_left(unsigned int cpu)
{
	return !!host_rdmsr_on(cpu, MSR_PL0_SSP) + !!host_rdmsr_on(cpu, MSR_PL1_SSP) +
	       !!host_rdmsr_on(cpu, MSR_PL2_SSP) + (host_rdmsr_on(cpu, MSR_XSS) != host_xss) +
	       (!host_has_cet && host_rdmsr_on(cpu, MSR_U_CET));
}

static void *run_rival(void *arg)
{
	const struct sched_param param = { .sched_priority = 1 };
	struct rival *r = arg;
	unsigned int i;
	uint64_t mask;

	if (!host_move(0, r->cpu) || sched_setscheduler(0, SCHED_FIFO, &param))
		tap_bail("a real-time thread: %s", strerror(errno));
	for (;;) {
		if (read(device, &mask, sizeof(mask)) != sizeof(mask))
			tap_bail("/dev/jostle: %s", strerror(errno));
		r->left += count_left(r->cpu);
		r->wrong += !stepper_step(r->c);
		r->runs++;
		for (i = 0; i < HOOKS; i++)
			r->at[i] += mask >> i & 1;
		if (host_cpus > 1) {
			cpu_set_t set;

			CPU_ZERO(&set);
			CPU_SET(!r->cpu, &set);
			r->moves += !sched_setaffinity(victim, sizeof(set), &set);
		}
	}
	return NULL;
}

static void put_victim(pid_t tid)
{
	char text[16];

	victim = tid;
	snprintf(text, sizeof(text), "%d", tid);
	if (!host_put(PARAMETERS "victim", text))
		tap_bail("the module jostle");
}

/*
 * The first writes of a guest, of other values than those of the rivals, and what it reads then and before. XSS comes
 * last: PL1_SSP and PL2_SSP exit until it is set.
 */
static GUEST uint64_t write_first(uint64_t n)
{
	const uint64_t values[CET_MSRS_XSS] = {
		CET_HARMLESS,
		CET_HARMLESS,
		0xffff900000000000 + 8 * n,
		0xffff910000000000 + 8 * n,
		0xffff920000000000 + 8 * n,
		0x7d0000000000 + 8 * n,
		0xffff930000000000 + 8 * n,
		XSS_CET_U | XSS_CET_S,
	};
	uint64_t i, j, wrong = 0;

	for (i = 0; i < CET_MSRS_XSS; i++)
		wrong += g_rdmsr(cet_msrs[i]) != 0;
	for (i = 0; i < CET_MSRS_XSS; i++) {
		g_wrmsr(cet_msrs[i], values[i]);
		for (j = 0; j < CET_MSRS_XSS; j++)
			wrong += g_rdmsr(cet_msrs[j]) != (j <= i ? values[j] : 0);
	}
	for (i = 0; i < CET_MSRS_XSS; i++)
		g_wrmsr(cet_msrs[i], 0);
	for (i = 0; i < CET_MSRS_XSS; i++)
		wrong += g_rdmsr(cet_msrs[i]) != 0;
	return wrong;
}

static bool first_writes(unsigned int n)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	bool ok;

	cpu_start(c, write_first, n);
	/* The setup has used up the previous ones. */
	put_victim(victim);
	cpu_run(c);
	ok = cpu_called(c, CALL_RETURNED) && !c->stop.a;
	if (!ok)
		tap_diag("%s: %u wrong", stop_text(c), (unsigned int)c->stop.a);
	machine_destroy(m);
	return ok;
}

/* A guest deep in calls; its state by ioctl, there and back, and in SMM. */
static bool whole_life(unsigned int cpl)
{
	uint64_t base, ssp, values[CET_MSRS_XSS];
	struct machine *m;
	struct cpu *c = chain_start_deep(&m, cpl, RETURN, &base);
	unsigned int i, bad = 0;

	put_victim(victim);
	ssp = cpu_ssp(c);
	for (i = 0; i < CET_MSRS_XSS; i++)
		values[i] = cpu_rdmsr(c, cet_msrs[i]);
	for (i = 0; i < CET_MSRS_XSS; i++) {
		cpu_wrmsr(c, cet_msrs[i], 0);
		bad += cpu_rdmsr(c, cet_msrs[i]) != 0;
		cpu_wrmsr(c, cet_msrs[i], values[i]);
	}
	cpu_set_ssp(c, ssp);
	smram_create(c);
	smram_smi(c);
	bad += !chain_unwinds(c, DEPTH, base, cpl);
	for (i = 0; i < CET_MSRS_XSS; i++)
		if (cet_msrs[i] != MSR_PL3_SSP)
			bad += cpu_rdmsr(c, cet_msrs[i]) != values[i];
	if (bad)
		tap_diag("CPL%u: %u wrong, %s", cpl, bad, stop_text(c));
	machine_destroy(m);
	return !bad;
}

static void put(const char *parameter, const char *value)
{
	char path[64];

	snprintf(path, sizeof(path), PARAMETERS "%s", parameter);
	if (!host_put(path, value))
		tap_bail("%s", path);
}

static unsigned int count_firsts(void)
{
	FILE *f = fopen(PARAMETERS "firsts", "r");
	unsigned int n;

	if (!f || fscanf(f, "%u", &n) != 1)
		tap_bail(PARAMETERS "firsts");
	fclose(f);
	return n;
}

static bool jostled, jostled_in_turn;
static unsigned int firsts;

/* Until guests reach no further instruction at which a thread has not lost its CPU. */
static bool be_jostled_in_turn(pid_t self)
{
	unsigned int before, n = 0, good = 0;

	put("limit", "1");
	put("in_turn", PLACES);
	do {
		before = firsts;
		put_victim(self);
		good += first_writes(n++);
		firsts = count_firsts();
	} while (firsts > before);
	put("in_turn", "0");
	tap_diag("in turn: %u guests, %u instructions", n, firsts);
	return good == n;
}

static void *be_jostled(void *unused)
{
	pid_t self = syscall(SYS_gettid);
	unsigned int i, good = 0;

	(void)unused;
	for (i = 0; i < jostles; i++) {
		put_victim(self);
		good += first_writes(i);
		put_victim(self);
		good += whole_life(i % 2 * 3);
	}
	jostled = good == 2 * jostles;
	jostled_in_turn = be_jostled_in_turn(self);
	put_victim(0);
	return NULL;
}

static void check_hooks(void)
{
	unsigned int number, hits, found = 0, runs;
	char name[64], line[128];
	FILE *f = fopen(PARAMETERS "hooks", "r");

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "%u %63s %u", &number, name, &hits) == 3) {
		if (number >= HOOKS)
			tap_bail("function %u", number);
		runs = rivals[0].at[number] + rivals[1].at[number];
		tap_ok(hits && runs, "%s: its thread lost its CPU there", name);
		tap_diag("%u times, in %u calls", runs, hits);
		found += !!strstr(name, "_cet_");
	}
	if (f)
		fclose(f);
	/* The compiler may inline others into their callers. */
	tap_ok(found >= 12, "the functions that switch CET state are among them");
}

void test_jostle(void)
{
	struct machine *m = machine_create(&(struct machine_config) { .cpus = host_cpus });
	unsigned int cpu, runs = 0, wrong = 0, left = 0, moves = 0;
	pthread_t thread;

	host_xss = host_rdmsr(MSR_XSS);
	if (!host_load("jostle.ko", NULL))
		tap_bail("jostle.ko");
	device = open("/dev/jostle", O_RDONLY | O_CLOEXEC);
	if (device < 0)
		tap_bail("/dev/jostle: %s", strerror(errno));
	for (cpu = 0; cpu < host_cpus; cpu++) {
		rivals[cpu].c = m->cpus[cpu];
		rivals[cpu].cpu = cpu;
		count_left(cpu);
		stepper_start(m->cpus[cpu]);
		if (!stepper_step(m->cpus[cpu]))
			tap_bail("a guest: %s", stop_text(m->cpus[cpu]));
		if (pthread_create(&rivals[cpu].thread, NULL, run_rival, &rivals[cpu]))
			tap_bail("thread");
	}
	if (pthread_create(&thread, NULL, be_jostled, NULL))
		tap_bail("thread");
	pthread_join(thread, NULL);
	for (cpu = 0; cpu < host_cpus; cpu++) {
		runs += rivals[cpu].runs;
		wrong += rivals[cpu].wrong;
		left += rivals[cpu].left;
		moves += rivals[cpu].moves;
		pthread_cancel(rivals[cpu].thread);
		pthread_join(rivals[cpu].thread, NULL);
	}
	tap_ok(jostled, "guests whose thread keeps losing its CPU always have their own state");
	tap_ok(firsts && jostled_in_turn, "so do those whose thread loses it first at one instruction after another");
	tap_ok(runs && !wrong, "so do the guests that run there meanwhile");
	tap_ok(!left,
	       "a CPU never has anything of a guest in PL0_SSP, PL1_SSP, PL2_SSP, XSS when its thread has lost it");
	if (left)
		tap_diag("%u times", left);
	tap_diag("%u of these ran, %u moves", runs, moves);
	check_hooks();
	close(device);
	check_supervisor_msrs("jostled");
	machine_destroy(m);
	check_no_residue("jostled");
	check_new_guests("jostled");
	tap_ok(host_unload("jostle"), "the module goes");
}
