// SPDX-License-Identifier: GPL-2.0
/* A VMM that uses a shadow stack itself: both VMM and guest keep their own. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolation.h"
#include "user-shadow-stack.h"

#define SEGV_BY_CP 10 /* si_code */

/* What a process has found, for the one that started it. */
struct found {
	bool enabled, status;
	uint64_t ssp, ssp_at_end;
	unsigned int runs, signals, wrong_msrs, wrong_stops, wrong_values;
	unsigned int deepest;
	bool finished;
	/* The last wrong one: */
	uint64_t u_cet, pl3_ssp, ssp_then;
};

static struct found *found;

/* By two threads, and by signals. */
#define COUNT(counter, n) __atomic_fetch_add(&(counter), n, __ATOMIC_RELAXED)

/* Its callers have no entries on the new shadow stack: it must not return. */
static _Noreturn void on_shadow_stack(void (*function)(void))
{
	if (own_arch_prctl(ARCH_SHSTK_ENABLE, ARCH_SHSTK_SHSTK))
		_exit(1);
	found->enabled = true;
	function();
	_exit(0);
}

static int msr_fd;

/*
 * U_CET and PL3_SSP of the CPU are this process's own. A thread that loses the CPU in the kernel before it reads the
 * MSR gets it back with the state of another process, and its own is loaded only on the way to user mode: read once
 * more.
 */
static void check_own(uint64_t u_cet)
{
	uint64_t ssp, got, pl3;
	int i;

	for (i = 0; i < 2; i++) {
		got = own_msr(msr_fd, MSR_U_CET, &ssp);
		pl3 = own_msr(msr_fd, MSR_PL3_SSP, &ssp);
		if (got == u_cet && pl3 == ssp)
			return;
	}
	COUNT(found->wrong_msrs, 1);
	found->u_cet = got;
	found->pl3_ssp = pl3;
	found->ssp_then = ssp;
}

static GUEST unsigned int nested_calls(unsigned int n)
{
	return n ? nested_calls(n - 1) + 1 : 0;
}

static void on_alarm(int number)
{
	(void)number;
	COUNT(found->signals, 1);
	if (nested_calls(20) != 20)
		_exit(2);
}

static volatile uint64_t spins;

/* In the guest, at CPL3 on its own shadow stack. */
static GUEST uint64_t spin(uint64_t unused)
{
	(void)unused;
	for (;;) {
		if (nested_calls(10) != 10)
			return 1;
		spins++;
	}
}

/* The guest's PL0..2_SSP and INT_SSP_TAB; U_CET is what lets it work. */
#define MARK(msr) cet_value(msr, 0x123456)

static GUEST void run_deep(struct cpu *c, unsigned int depth)
{
	unsigned int i;

	if (depth > found->deepest)
		found->deepest = depth;
	if (depth < 12)
		run_deep(c, depth + 1);
	for (i = 0; i < 3; i++) {
		cpu_run(c);
		COUNT(found->runs, 1);
		COUNT(found->wrong_stops, c->stop.kind != STOP_SIGNAL);
		check_own(ARCH_SHSTK_SHSTK);
		COUNT(found->wrong_values,
		      cpu_rdmsr(c, MSR_PL1_SSP) != MARK(VALUE_PL0 + 1) ||
			      cpu_rdmsr(c, MSR_U_CET) != cet_control(CET_SHSTK | CET_WRSS | CET_ENDBR));
	}
}

static struct machine *user_guest(void)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];

	cpu_cet(c, GUEST_ALL);
	cpu_start_user(c, spin, 0);
	cpu_wrmsr(c, MSR_PL1_SSP, MARK(VALUE_PL0 + 1));
	return m;
}

static void *second_thread(void *arg)
{
	struct cpu *c = arg;

	run_deep(c, 0);
	return NULL;
}

static void alarms(unsigned int us)
{
	const struct itimerval t = { .it_interval.tv_usec = us, .it_value.tv_usec = us };

	setitimer(ITIMER_REAL, &t, NULL);
}

/* Interrupts KVM_RUN in both threads: the one that gets the alarm passes it on. */
static pthread_t peers[2];

static void on_alarm_of_two(int number)
{
	pthread_t other = pthread_equal(pthread_self(), peers[0]) ? peers[1] : peers[0];

	on_alarm(number);
	pthread_kill(other, SIGUSR1);
}

static void vmm_on_shadow_stack(void)
{
	struct sigaction one = { .sa_handler = on_alarm }, both = { .sa_handler = on_alarm_of_two };
	unsigned long features = 0;
	struct machine *m, *n;
	uint64_t spun;

	asm volatile("rdsspq %0" : "+r"(found->ssp));
	check_own(ARCH_SHSTK_SHSTK);
	m = user_guest();
	sigaction(SIGALRM, &one, NULL);
	sigaction(SIGUSR1, &one, NULL);
	alarms(500);
	run_deep(m->cpus[0], 0);
	alarms(0);
	spun = *in_guest(m, &spins);

	/* Two threads, each with its shadow stack and its vCPU. */
	n = user_guest();
	peers[0] = pthread_self();
	if (pthread_create(&peers[1], NULL, second_thread, n->cpus[0]))
		_exit(3);
	sigaction(SIGALRM, &both, NULL);
	alarms(500);
	run_deep(m->cpus[0], 0);
	sigaction(SIGALRM, &one, NULL);
	/* The other one may not have finished. */
	while (pthread_tryjoin_np(peers[1], NULL)) {
		pthread_kill(peers[1], SIGUSR1);
		usleep(500);
	}
	alarms(0);
	found->wrong_values += !spun || *in_guest(m, &spins) <= spun || !*in_guest(n, &spins);
	machine_destroy(n);
	machine_destroy(m);

	found->status = !own_arch_prctl(ARCH_SHSTK_STATUS, (unsigned long)&features) && features == ARCH_SHSTK_SHSTK;
	asm volatile("rdsspq %0" : "+r"(found->ssp_at_end));
	found->finished = true;
}

#define EXIT_BY_CP     42
#define EXIT_BY_RETURN 44

static void on_segv(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	_exit(info->si_code == SEGV_BY_CP ? EXIT_BY_CP : 43);
}

/* Returns to a place that it was not called from. */
static void corrupt_return(void)
{
	struct sigaction act = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	struct machine *m = user_guest();
	struct sigaction one = { .sa_handler = on_alarm };

	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGALRM, &one, NULL);
	alarms(500);
	cpu_run(m->cpus[0]);
	alarms(0);
	asm volatile("call 1f\n\t"
		     "ud2\n"
		     "1:\tlea 2f(%%rip), %%rax\n\t"
		     "mov %%rax, (%%rsp)\n\t"
		     "ret\n"
		     "2:"
		     :
		     :
		     : "rax", "memory");
	_exit(EXIT_BY_RETURN);
}

/* The exit status of a process that calls @function, on a shadow stack or not; 128 + N: killed by signal N. */
static int status_of(void (*function)(void), bool shadow_stack)
{
	int status = 0;
	pid_t pid;

	memset(found, 0, sizeof(*found));
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		tap_bail("fork");
	if (!pid) {
		if (shadow_stack)
			on_shadow_stack(function);
		function();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/*
 * A VMM without a shadow stack: after KVM_RUN of a guest with one, nothing of the guest's is left. Only PL3_SSP may
 * stay, if the host does not know CET, as nothing reads it there.
 */
static void vmm_without_shadow_stack(void)
{
	struct machine *m = user_guest();
	struct sigaction one = { .sa_handler = on_alarm };
	uint64_t ssp, before = own_msr(msr_fd, MSR_PL3_SSP, &ssp);
	unsigned int i;

	sigaction(SIGALRM, &one, NULL);
	alarms(500);
	found->wrong_msrs += own_msr(msr_fd, MSR_U_CET, &ssp) != 0;
	for (i = 0; i < 10; i++) {
		cpu_run(m->cpus[0]);
		COUNT(found->runs, 1);
		found->wrong_stops += m->cpus[0]->stop.kind != STOP_SIGNAL;
		found->u_cet = own_msr(msr_fd, MSR_U_CET, &ssp);
		found->pl3_ssp = own_msr(msr_fd, MSR_PL3_SSP, &ssp);
		found->wrong_msrs += found->u_cet != 0 || (host_has_cet && found->pl3_ssp != before);
		found->wrong_values += cpu_rdmsr(m->cpus[0], MSR_U_CET) !=
				       cet_control(CET_SHSTK | CET_WRSS | CET_ENDBR);
	}
	alarms(0);
	found->finished = true;
}

static void tell_found(void)
{
	tap_diag("%u runs, %u signals, depth %u; wrong: %u MSRs, %u stops, %u values", found->runs, found->signals,
		 found->deepest, found->wrong_msrs, found->wrong_stops, found->wrong_values);
	tap_diag("SSP 0x%llx, at the end 0x%llx", (unsigned long long)found->ssp,
		 (unsigned long long)found->ssp_at_end);
	if (found->wrong_msrs)
		tap_diag("U_CET 0x%llx, PL3_SSP 0x%llx, SSP then 0x%llx", (unsigned long long)found->u_cet,
			 (unsigned long long)found->pl3_ssp, (unsigned long long)found->ssp_then);
}

static void map_found(void)
{
	found = mmap(NULL, sizeof(*found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (found == MAP_FAILED)
		tap_bail("memory");
}

int status_on_shadow_stack(void (*function)(void))
{
	int status;

	map_found();
	status = status_of(function, true);
	munmap(found, sizeof(*found));
	return status;
}

void test_host_shadow_stack(void)
{
	int status;

	msr_fd = host_msr_file(0);
	map_found();

	if (!host_has_cet) {
		tap_ok(own_arch_prctl(ARCH_SHSTK_ENABLE, ARCH_SHSTK_SHSTK) < 0,
		       "the host gives no process a shadow stack");
		goto without;
	}
	status = status_of(vmm_on_shadow_stack, true);
	tap_ok(found->enabled && found->ssp, "the host gives a process a shadow stack");
	tap_ok(status == 0 && found->finished, "a VMM on a shadow stack, two threads, signals: it lives to its end");
	if (status)
		tap_diag("status %d", status);
	tap_ok(found->runs >= 3 * 13 * 3 && found->signals >= 40 && found->deepest == 12 && !found->wrong_stops,
	       "KVM_RUN was interrupted by signals at all depths");
	tap_ok(!found->wrong_msrs, "after each KVM_RUN, U_CET and PL3_SSP are the process's own");
	tap_ok(found->ssp && found->ssp == found->ssp_at_end && found->status,
	       "its SSP at the end is that of the start");
	tap_ok(!found->wrong_values, "the guests ran on their own shadow stacks and kept their values");
	tell_found();

without:
	status = status_of(vmm_without_shadow_stack, false);
	tap_ok(status == 0 && found->finished && found->runs && !found->wrong_stops && !found->wrong_msrs &&
		       !found->wrong_values,
	       "a VMM without a shadow stack: after KVM_RUN, nothing of the guest is in U_CET%s",
	       host_has_cet ? " and PL3_SSP" : "");
	tell_found();
	if (!host_has_cet) {
		munmap(found, sizeof(*found));
		return;
	}

	status = status_of(corrupt_return, true);
	tap_ok(status == EXIT_BY_CP, "after KVM_RUN the shadow stack still catches a corrupted return");
	if (status != EXIT_BY_CP)
		tap_diag("status %d", status);
	status = status_of(corrupt_return, false);
	tap_ok(status == EXIT_BY_RETURN, "without a shadow stack, the corrupted return succeeds");
	munmap(found, sizeof(*found));
}
