// SPDX-License-Identifier: GPL-2.0
/* KVM's modules are unloaded and loaded many times, with guests between. VMMs are killed. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

/* In KiB. */
static long memory(const char *what)
{
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");
	long n = -1;

	while (f && n < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, what, strlen(what)))
			sscanf(line + strlen(what), ": %ld", &n);
	if (f)
		fclose(f);
	if (n < 0)
		tap_bail("no %s", what);
	return n;
}

/* After dropping caches, which the kernel would free on request. */
static void measure(long *available, long *slab)
{
	if (!host_put("/proc/sys/vm/drop_caches", "3"))
		tap_bail("drop_caches");
	*available = memory("MemAvailable");
	*slab = memory("SUnreclaim");
}

static bool runs_once(void)
{
	uint64_t base;
	struct machine *m;
	struct cpu *c = chain_start_deep(&m, 3, RETURN, &base);
	bool ok = chain_unwinds(c, DEPTH, base, 3);

	machine_destroy(m);
	return ok;
}

void test_load(void)
{
	unsigned int i, good = 0, clean = 0, right = 0, warm = loads / 5;
	long available = 0, slab = 0, available_then, slab_then;

	for (i = 0; i < loads; i++) {
		if (i == warm)
			measure(&available, &slab);
		good += unload_kvm() && load_kvm() && runs_once();
		clean += !host_rdmsr(MSR_PL0_SSP) && !host_rdmsr(MSR_PL3_SSP) && !host_rdmsr(MSR_U_CET);
		right += host_rdmsr(MSR_S_CET) == host_s_cet;
	}
	tap_ok(good == loads, "the modules are loaded anew %u times, with a guest each time", loads);
	tap_ok(clean == loads, "nothing of that guest is ever left");
	tap_ok(right == loads, "S_CET is always the host's");
	measure(&available_then, &slab_then);
	available -= available_then;
	slab = slab_then - slab;
	/* A debug kernel keeps freed memory for a while. There, the program leaks asks kmemleak instead. */
	if (access("/sys/kernel/debug/kmemleak", F_OK))
		tap_ok(available < (long)(loads - warm) * 4 + 4096 && slab < (long)(loads - warm) + 128,
		       "memory does not get less");
	tap_diag("per load: %ld bytes of memory, %ld of slab", available * 1024 / (loads - warm),
		 slab * 1024 / (loads - warm));
	check_new_guests("the modules loaded many times");
}

/* ---- VMMs that are killed ---- */

/* In the child: a VM with a vCPU on each of @cpus CPUs, from @first on; @ready gets a byte when they run. */
static _Noreturn void run_until_killed(int ready, unsigned int cpus, unsigned int first)
{
	const struct machine_config config = { .cpus = cpus };
	struct machine *m = machine_create(&config);
	struct walker walkers[MAX_HOST_CPUS];
	unsigned int i;

	for (i = 0; i < cpus; i++)
		walker_start(&walkers[i], m->cpus[i], first + i);
	for (i = 0; i < cpus; i++)
		if (!walker_goes_on(&walkers[i]))
			_exit(1);
	if (write(ready, "r", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* A VMM with @cpus vCPUs, from CPU @first on, is killed while all of them run. */
static bool killed_one(unsigned int cpus, unsigned int first)
{
	int ready[2], status;
	char byte;
	pid_t pid;

	fflush(stdout);
	if (pipe(ready))
		tap_bail("pipe");
	pid = fork();
	if (pid < 0)
		tap_bail("fork");
	if (!pid)
		run_until_killed(ready[1], cpus, first);
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		tap_bail("the VMM to be killed does not start");
	close(ready[0]);
	/* At some point of its guests' code. */
	usleep(137);
	return !kill(pid, SIGKILL) && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGKILL;
}

#define KILLS 3

void test_kill(void)
{
	struct machine *m, *closed;
	struct sitter sitters[MAX_SITTERS];
	struct walker walker;
	unsigned int i, killed = 0, left = 0, more = 0;
	const unsigned int last = host_cpus - 1;

	/* While other VMs exist that are not in KVM_RUN. */
	sitters_start(sitters);
	for (i = 0; i < KILLS; i++) {
		killed += killed_one(host_cpus, 0);
		check_supervisor_msrs("a VMM killed");
	}
	tap_ok(killed == KILLS, "VMMs are killed, with a vCPU on each CPU");
	sitters_end(sitters, "other VMMs killed");
	check_no_residue("VMMs killed, and no VM left");

	/* A guest runs on CPU 0, while VMs of the same process, and of another one, end on the last CPU. */
	m = machine_create(NULL);
	walker_start(&walker, m->cpus[0], 0);
	killed = 0;
	for (i = 0; i < KILLS; i++) {
		uint64_t base;

		killed += killed_one(1, last);
		if (last) {
			left += !!host_rdmsr_on(last, MSR_PL0_SSP);
			more += host_rdmsr_on(last, MSR_PL3_SSP) || host_rdmsr_on(last, MSR_U_CET);
		}
		if (!host_move(0, last))
			tap_bail("CPU %u", last);
		chain_start_deep(&closed, 3 * (i & 1), RETURN, &base);
		machine_destroy(closed);
		if (last) {
			left += !!host_rdmsr_on(last, MSR_PL0_SSP);
			more += host_rdmsr_on(last, MSR_PL3_SSP) || host_rdmsr_on(last, MSR_U_CET);
		}
		killed += walker_goes_on(&walker);
	}
	if (!host_move(0, 0))
		tap_bail("CPU 0");
	tap_ok(killed == 2 * KILLS, "a guest goes on while other VMs are killed and closed");
	tap_ok(!left && !more, "nothing of theirs is left in their CPU");
	if (left || more)
		tap_diag("PL0_SSP %u times, PL3_SSP or U_CET %u times, of %u", left, more, 2 * KILLS);
	walker_stop(&walker, "other VMs killed and closed");
	check_supervisor_msrs("other VMs killed and closed");
	machine_destroy(m);
	check_no_residue("other VMs killed and closed");
	check_new_guests("other VMs killed and closed");
}
