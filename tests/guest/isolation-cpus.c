// SPDX-License-Identifier: GPL-2.0
/* A host with several CPUs: vCPUs that move between them, and CPUs that go offline and come back. */
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isolation.h"

#define CPUS 2

struct mover {
	struct cpu *c;
	pthread_t thread;
	pid_t tid;
};

static void *move_until_call(void *arg)
{
	struct mover *m = arg;

	__atomic_store_n(&m->tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	cpu_run(m->c);
	return NULL;
}

static bool move(struct mover *m, int cpu)
{
	return host_move(m->tid, cpu);
}

static void start(struct mover *m, struct cpu *c)
{
	m->c = c;
	m->tid = 0;
	keeper_start(c);
	if (pthread_create(&m->thread, NULL, move_until_call, m))
		tap_bail("thread");
	/* The first KVM_RUN of a new thread waits for RCU, and the thread cannot be moved while it does. */
	while (!__atomic_load_n(&m->tid, __ATOMIC_ACQUIRE) || !keeper_rounds(c))
		sleep_ms(1);
}

/* Waits until the guest has done one more whole round, milliseconds on a debug kernel; false if it never does. */
static bool goes_on(struct mover *m)
{
	uint64_t wanted = keeper_rounds(m->c) + 2;
	unsigned int i;

	/* Not more often: on a CPU that both share, each look interrupts the guest. */
	for (i = 0; i < 100 && keeper_rounds(m->c) < wanted; i++)
		sleep_ms(20);
	return keeper_rounds(m->c) >= wanted;
}

static void stop(struct mover *m, const char *what)
{
	keeper_stop(m->c);
	pthread_join(m->thread, NULL);
	tap_ok(cpu_called(m->c, CALL_RETURNED) && keeper_is_right(m->c),
	       "vCPU %u, %s: RDMSR and XSAVES always gave its own values", m->c->number, what);
	tap_ok(!keeper_wrong_for_host(m->c), "vCPU %u, %s: KVM_GET_MSRS gives its last values", m->c->number, what);
}

#define MOVES  100
#define ROUNDS 3

void test_cpus(void)
{
	const struct machine_config two = { .cpus = 2 };
	struct machine *m = machine_create(&two);
	unsigned int i, moved = 0, other = 0, progressed = 0;
	uint64_t rounds;
	struct mover movers[2];

	tap_ok(sysconf(_SC_NPROCESSORS_ONLN) == CPUS, "the host has %u CPUs", CPUS);
	if (sysconf(_SC_NPROCESSORS_ONLN) != CPUS)
		return;
	tap_ok(host_rdmsr_on(1, MSR_S_CET) == host_s_cet, "both have the same S_CET");

	/* Two that keep changing places. */
	for (i = 0; i < 2; i++)
		start(&movers[i], m->cpus[i]);
	for (i = 0; i < MOVES; i++) {
		moved += move(&movers[0], i & 1) && move(&movers[1], !(i & 1));
		usleep(100);
		other += host_rdmsr_on(i & 1, MSR_S_CET) != host_s_cet;
	}
	tap_ok(moved == MOVES, "two vCPUs change places %u times", MOVES);
	for (i = 0; i < 2; i++) {
		rounds = keeper_rounds(m->cpus[i]);
		tap_ok(rounds >= 10, "vCPU %u: it ran", i);
		tap_diag("%u rounds", (unsigned int)rounds);
		stop(&movers[i], "moved");
	}

	/* One whose CPU goes offline while it runs. */
	start(&movers[0], m->cpus[0]);
	for (i = 0; i < ROUNDS; i++) {
		bool ok = move(&movers[0], 1) && goes_on(&movers[0]);

		ok = ok && host_set_online(1, false) && !host_is_online(1) && host_cpu_of(movers[0].tid) == 0;
		progressed += goes_on(&movers[0]);
		tap_ok(ok, "its CPU goes offline, the vCPU runs on another one");
		if (!ok)
			tap_diag("CPU 1 %s online, the vCPU is on CPU %d", host_is_online(1) ? "is" : "is not",
				 host_cpu_of(movers[0].tid));
		tap_ok(host_set_online(1, true) && host_is_online(1), "the CPU comes back");
		other += host_rdmsr_on(1, MSR_S_CET) != host_s_cet || host_rdmsr(MSR_S_CET) != host_s_cet;
	}
	tap_ok(progressed == ROUNDS, "the vCPU always went on");
	tap_ok(move(&movers[0], 1) && goes_on(&movers[0]), "the vCPU can be moved back, and goes on");
	stop(&movers[0], "its CPU offline and online");
	tap_ok(!other, "the CPUs' S_CET was always that of the host");
	machine_destroy(m);
}
