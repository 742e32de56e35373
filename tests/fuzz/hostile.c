// SPDX-License-Identifier: GPL-2.0
/*
 * hostile - VMMs and guests that try to harm their host, each in a process that dies at some point
 *
 *   hostile [--seed N] [--attempts N] [--first N] [--host-without-cet] [--wrong N] [--verbose]
 *
 * An attempt is a child process. Half of them are hostile VMMs: they call ioctls in random order, also from several
 * threads at once, with file descriptors closed and memory gone under vCPUs that run. In the others, guests are
 * hostile: hypervisors whose entries fail half way; NMI, SMI and INIT from another thread; values with a reserved bit,
 * by WRMSR, XRSTORS, VMCS or VMCB, MSR list and KVM's emulator; shadow stacks where there is no memory. During an
 * attempt and after it, the parent looks at the CPU that it is on: its CET MSRs and IA32_XSS are as they were at rest,
 * and a process with its own shadow stack continues. If the host has two CPUs, the parent and all threads of the
 * attempt keep changing theirs. Afterwards, a new VM works, and the kernel has not complained. Only those bits of CR4
 * are compared each time that user mode sees; sometimes all of it, on VMX, where KVM's dump has it.
 *
 * The seed determines, for each attempt: its kind, its VMs, how many threads there are, the steps of each with their
 * random numbers, and where it dies. When threads take turns, and when a signal or a message comes, depends on the
 * clock, and so does what a step meets. Attempts do not depend on each other: --first 7 --attempts 1 repeats the
 * eighth. After N wrong ones (10), no more are made. --verbose shows what they print, and has KVM dump what the CPU
 * refuses. It needs the host's module msr, and preferably kvm.force_emulation_prefix=1.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"
#include "hostile.h"
#include "l1.h"

struct shared *shared;
bool native;

static uint64_t seed = 1;
static bool verbose;

bool ssp_is_too_high(const struct cpu *c)
{
	struct kvm_sregs sregs;
	uint64_t ssp;

	return !ioctl(c->io.vcpu, KVM_GET_SREGS, &sregs) && !(sregs.efer & EFER_LMA) &&
	       !get_reg(&c->io, ID_GUEST_SSP, &ssp).ret && ssp >> 32;
}

static bool any_ssp_is_too_high(const struct fuzz *f)
{
	unsigned int i;

	for (i = 0; i < f->ncpus; i++)
		if (ssp_is_too_high(f->cpus[i]))
			return true;
	return false;
}

/* ---- What the fuzzer's steps note ---- */

/* Nothing is compared. Of the notes, only how entries of L2 and of the guest ended is counted. */
void note(struct fuzz *f, const char *name, uint64_t value)
{
	static __thread uint64_t kind;

	(void)f;
	if (!strcmp(name, "kind")) {
		kind = value;
	} else if (!strcmp(name, "l2")) {
		if (value)
			COUNT(shared->in_l2);
		kind = 0;
	} else if (!strcmp(name, "exit")) {
		if (value == KVM_EXIT_FAIL_ENTRY)
			shared->entry_refused |= !any_ssp_is_too_high(f);
	} else if (kind != l1_functions.run) {
		return;
	} else if (!strcmp(name, "status")) {
		COUNT(shared->tried);
		if (value)
			COUNT(shared->failed);
	} else if ((!strcmp(name, "reason") && value >> 31) || (!strcmp(name, "vmexit") && value == UINT32_MAX)) {
		COUNT(shared->failed);
	}
}

void note_bytes(struct fuzz *f, const char *name, const void *p, size_t size)
{
	(void)f;
	(void)name;
	(void)p;
	(void)size;
}

void note_code(struct fuzz *f, const uint8_t *code)
{
	(void)f;
	(void)code;
}

int note_result(struct fuzz *f, const char *name, int ret)
{
	(void)f;
	(void)name;
	return ret;
}

void check_tag(struct fuzz *f, const struct cpu *c, const char *where, uint64_t value)
{
	(void)f;
	(void)c;
	(void)where;
	(void)value;
}

/* ---- The child ---- */

#define THREADS_MAX 4

static const struct attempt *own;
static struct fuzz own_fuzz;
static pthread_t threads[THREADS_MAX];
static unsigned int nthreads;

static const struct fuzz_step *any_step(void)
{
	return own->guest ? guest_random_step() : vmm_random_step();
}

static void one_step(struct fuzz *f, uint64_t number)
{
	struct cpu *c;

	random_seed(own->seed ^ random_mix(number));
	c = f->cpus[random_below(f->ncpus)];
	any_step()->step(f, c);
	f->ended = NULL;
}

/* The same VMs and vCPUs; but what it saves from them is its own. */
static void *other_thread(void *arg)
{
	const uint64_t number = (uintptr_t)arg;
	struct fuzz f = own_fuzz;
	uint64_t step;

	memset(f.xsaves, 0, sizeof(f.xsaves));
	memset(f.nested_states, 0, sizeof(f.nested_states));
	for (step = 1;; step++)
		one_step(&f, number << 32 | step);
	return NULL;
}

/* Messages for the vCPUs of the first VM, at any time. */
static void *storm(void *arg)
{
	struct fuzz *f = arg;
	unsigned int burst;

	random_seed(own->seed ^ random_mix(~0ull));
	for (;;) {
		usleep(50 + random_below(1000));
		for (burst = random_below(4); burst--;)
			send_message(f->cpus[0], random_one_in(24) ? 2 + random_below(2) : random_below(2));
	}
	return NULL;
}

static void kick(pthread_t thread)
{
	cpu_set_t set;

	if (host_cpus() > 1) {
		CPU_ZERO(&set);
		CPU_SET(random_below(host_cpus()), &set);
		pthread_setaffinity_np(thread, sizeof(set), &set);
	}
	pthread_kill(thread, SIGUSR1);
}

/*
 * The signal of a timer may reach a thread that is not in KVM_RUN: here, each gets one. If the host has several CPUs,
 * each goes to one of them.
 */
#define KICK_US 3000

static void *kicker(void *arg)
{
	const pthread_t *first = arg;
	unsigned int i;

	random_seed(own->seed);
	for (;;) {
		usleep(KICK_US);
		kick(*first);
		for (i = 0; i < nthreads; i++)
			kick(threads[i]);
	}
	return NULL;
}

static void start_thread(void *(*function)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, arg))
		_exit(1);
	if (function != kicker && nthreads < THREADS_MAX)
		threads[nthreads++] = thread;
}

static void *runner(void *arg)
{
	const struct cpu *c = arg;

	for (;;)
		if (ioctl(c->io.vcpu, KVM_RUN, 0) && errno != EINTR)
			usleep(100);
	return NULL;
}

static void *saver(void *arg)
{
	for (;;)
		save_state(arg);
	return NULL;
}

static _Noreturn void die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* A guest that never ends: KVM_RUN until the parent kills all processes. */
static _Noreturn void run_until_killed(struct cpu *c)
{
	start_endless(c);
	shared->may_be_killed = true;
	runner(c);
	die();
}

/* KVM must refuse to work for any process other than the one that created the VM. */
static int use_as_another(int vm, int vcpu)
{
	struct kvm_regs regs;
	/* Usually EIO; the attempt may have closed them. */
	bool refused = ioctl(vcpu, KVM_RUN, 0) < 0;

	refused &= ioctl(vcpu, KVM_GET_REGS, &regs) < 0;
	refused &= ioctl(vm, KVM_CREATE_VCPU, 77) < 0;
	return refused ? 0 : 3;
}

static _Noreturn void exec_itself(const struct cpu *c)
{
	char vm[12], vcpu[12];

	snprintf(vm, sizeof(vm), "%d", dup(c->machine->fd));
	snprintf(vcpu, sizeof(vcpu), "%d", dup(c->io.vcpu));
	execl("/proc/self/exe", "hostile", "--after-exec", vm, vcpu, NULL);
	_exit(4);
}

static _Noreturn void leave_to_child(const struct cpu *c)
{
	const pid_t pid = fork();

	if (!pid) {
		/* The parent may have ended by then, or not. */
		usleep(500);
		_exit(use_as_another(c->machine->fd, c->io.vcpu));
	}
	_exit(0);
}

static _Noreturn void close_under_run(struct fuzz *f, struct cpu *c)
{
	unsigned int i;

	start_endless(c);
	start_thread(runner, c);
	usleep(2000);
	for (i = 0; i < f->ncpus; i++)
		close(f->cpus[i]->io.vcpu);
	for (i = 0; i < 2; i++)
		close(f->machines[i]->fd);
	usleep(500);
	_exit(0);
}

static _Noreturn void die_in_l2(struct fuzz *f, struct cpu *c)
{
	unsigned int tries;

	for (tries = 0; f->nested && tries < 20; tries++) {
		step_l1(f, c);
		f->ended = NULL;
		if (l1_in_l2(c))
			die();
	}
	die();
}

static _Noreturn void die_in_smm(struct cpu *c)
{
	unsigned int tries;

	fuzz_smi_handler(c, true);
	start_endless(c);
	for (tries = 0; tries < 5; tries++) {
		ioctl(c->io.vcpu, KVM_SMI, 0);
		ioctl(c->io.vcpu, KVM_RUN, 0);
		if (c->io.run->flags & KVM_RUN_X86_SMM) {
			COUNT(shared->in_smm);
			break;
		}
	}
	save_state(c);
	die();
}

/* For those who die here. */
static void end_of(const struct attempt *a, struct fuzz *f)
{
	/* The only vCPU of its VM, and not a hypervisor. */
	struct cpu *plain = f->cpus[f->ncpus - 1];

	switch (a->death) {
	case DEATH_STEP:
		die();
	case DEATH_PARENT:
		shared->may_be_killed = true;
		return;
	case DEATH_SAVE:
		start_thread(saver, plain);
		run_until_killed(plain);
	case DEATH_RUN:
		run_until_killed(plain);
	case DEATH_EXIT:
		_exit(0);
	case DEATH_EXEC:
		exec_itself(plain);
	case DEATH_FORK:
		leave_to_child(plain);
	case DEATH_CLOSE:
		close_under_run(f, plain);
	case DEATH_NESTED:
		die_in_l2(f, f->cpus[0]);
	case DEATH_SMM:
		die_in_smm(plain);
	default:
		fuzz_destroy(f);
		_exit(0);
	}
}

static _Noreturn void attempt_run(const struct attempt *a)
{
	pthread_t self = pthread_self();
	struct fuzz *f = &own_fuzz;
	const struct fuzz_step *s;
	unsigned int i;
	struct cpu *c;

	own = a;
	/* Failures that the libraries print are not failures here. */
	if (!verbose && dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO) < 0)
		_exit(1);
	signals_end_run();
	time_limit_once(0);
	shared->at = "creation";
	random_seed(a->seed);
	area_create(&f->argp);
	area_create(&f->addr);
	f->messages = a->guest;
	fuzz_create(f);
	if (!a->guest && random_below(2))
		fuzz_smi_handler(f->cpus[0], true);
	start_thread(kicker, &self);
	if (f->irqchip && a->death != DEATH_END && (a->guest || a->threads))
		start_thread(storm, f);
	for (i = 0; i < a->threads && !a->guest; i++)
		start_thread(other_thread, (void *)(uintptr_t)(i + 1));
	for (f->step = 0;; f->step++) {
		random_seed(a->seed ^ random_mix(f->step + 1));
		c = f->cpus[random_below(f->ncpus)];
		s = any_step();
		shared->at = s->name;
		shared->step = f->step;
		if (f->step == a->die_at)
			end_of(a, f);
		s->step(f, c);
		f->ended = NULL;
		COUNT(shared->steps);
	}
}

/* ---- The parent ---- */

static const char * const deaths[DEATHS] = {
	[DEATH_STEP] = "a step", [DEATH_PARENT] = "any time", [DEATH_RUN] = "KVM_RUN", [DEATH_SAVE] = "a save",
	[DEATH_EXIT] = "exit",	 [DEATH_EXEC] = "exec",	      [DEATH_FORK] = "fork",   [DEATH_CLOSE] = "close",
	[DEATH_NESTED] = "L2",	 [DEATH_SMM] = "SMM",	      [DEATH_END] = "the end",
};

static unsigned long attempts_done, survived, kills, given_up, died[DEATHS];

/* Where it happened: how the attempt died, and in which step. */
static struct {
	enum death death;
	const char *at;
} points[256];
static unsigned int npoints;

static void died_at(enum death death)
{
	unsigned int i;

	kills++;
	for (i = 0; i < npoints; i++)
		if (points[i].death == death && points[i].at == shared->at)
			return;
	if (npoints < ARRAY_SIZE(points)) {
		points[npoints].death = death;
		points[npoints++].at = shared->at;
	}
}

static struct attempt plan(unsigned long number)
{
	struct attempt a = { .number = number, .seed = random_mix(random_mix(seed + 1) + number) };

	random_seed(a.seed);
	a.guest = random_below(2);
	a.alone = random_one_in(4);
	a.death = random_below(DEATHS);
	/* Threads that use a VM must not outlive it. */
	a.threads = a.death == DEATH_END ? 0 : random_below(3);
	a.die_at = random_below(random_one_in(3) ? 12 : 80);
	return a;
}

/* How often the parent checks before it ends an attempt: some VMMs wait for a lock that is never released. */
#define LOOKS_MAX 600
/* How often it waits for processes that it has killed. */
#define WAITS_MAX 2000

static void name_of(const struct attempt *a, char *name, size_t size)
{
	snprintf(name, size, "seed %llu attempt %lu (%s, dies: %s at %u), step %u %s", (unsigned long long)seed,
		 a->number, a->guest ? "guest" : "VMM", deaths[a->death], a->die_at, shared->step, shared->at ?: "");
}

/* All processes of an attempt have one group. Returns false if they do not end. */
static bool collect(pid_t group, const struct attempt *a)
{
	unsigned int waits = 0;
	int status;
	pid_t pid;

	while ((pid = waitpid(-group, &status, WNOHANG)) >= 0) {
		if (!pid) {
			if (waits++ > WAITS_MAX)
				return false;
			usleep(500);
			continue;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status) >= 3)
			shared->outlived = true;
		if (pid != group)
			continue;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
			given_up++;
		else
			died[a->death]++;
		died_at(a->death);
	}
	return errno == ECHILD;
}

/* Checks the host until the attempt is over. */
static bool watch(pid_t pid, const struct attempt *a)
{
	bool right = true;
	siginfo_t info;
	unsigned int looks;
	char name[200];

	for (looks = 0; looks < LOOKS_MAX; looks++) {
		usleep(300 + random_below(4000));
		name_of(a, name, sizeof(name));
		host_examine(random_below(host_cpus()));
		right &= host_is_right(true, name);
		info.si_pid = 0;
		if (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == pid)
			return right;
		if (!shared->may_be_killed)
			continue;
		usleep(random_below(3000));
		break;
	}
	kill(-pid, SIGKILL);
	return right;
}

static bool attempt(const struct attempt *a, int vm)
{
	struct shared *s = shared;
	unsigned int cpu;
	bool right, ended;
	char name[200];
	pid_t pid;

	s->at = "";
	s->step = 0;
	s->may_be_killed = false;
	s->entry_refused = false;
	s->outlived = false;
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		tap_bail("fork");
	if (!pid) {
		setpgid(0, 0);
		if (vm >= 0)
			close(vm);
		attempt_run(a);
	}
	setpgid(pid, pid);
	random_seed(~a->seed);
	right = watch(pid, a);
	ended = collect(pid, a);
	name_of(a, name, sizeof(name));
	if (!ended) {
		tap_diag("%s: does not end", name);
		return false;
	}
	if (s->outlived) {
		tap_diag("%s: KVM did something for a process that the VM does not belong to", name);
		right = false;
	}
	/* Native kernels do not check values of an MSR list that VM entry then refuses. */
	if (s->entry_refused && a->guest && !native) {
		tap_diag("%s: a guest made the CPU refuse a VM entry of the host", name);
		right = false;
	}
	for (cpu = 0; cpu < host_cpus(); cpu++) {
		host_examine(cpu);
		right &= host_is_right(false, name);
		right &= host_works(name);
	}
	return right;
}

static void report(unsigned long n)
{
	unsigned int i;

	tap_diag("%lu attempts, %lu survived; %lu kills at %u points, %lu steps", n, survived, kills, npoints,
		 shared->steps);
	tap_diag("%lu NMIs, %lu SMIs, %lu INITs; of %lu nested entries, %lu failed; stops in L2: %lu, in SMM: %lu",
		 shared->nmis, shared->smis, shared->inits, shared->tried, shared->failed, shared->in_l2,
		 shared->in_smm);
	tap_diag("%lu gave up by themselves", given_up);
	for (i = 0; i < DEATHS; i++)
		tap_diag("%lu died: %s", died[i], deaths[i]);
}

/* After this many attempts, everything that is counted must have occurred, and each way to die. */
#define ATTEMPTS_FOR_ALL    20
#define ATTEMPTS_FOR_DEATHS 200
int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "attempts", required_argument, NULL, 'n' },
		{ "first", required_argument, NULL, 'f' },
		{ "host-without-cet", no_argument, NULL, 'w' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "wrong", required_argument, NULL, 'x' },
		{},
	};
	/* A defect may show in each. */
	unsigned long n = 100, first = 0, i, wrong = 0, wrong_max = 10;
	struct attempt a;
	int o, vm;

	if (argc == 4 && !strcmp(argv[1], "--after-exec"))
		return use_as_another(atoi(argv[2]), atoi(argv[3]));
	while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (o) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			n = strtoul(optarg, NULL, 0);
			break;
		case 'f':
			first = strtoul(optarg, NULL, 0);
			break;
		case 'w':
			host_has_cet = false;
			break;
		case 'x':
			wrong_max = strtoul(optarg, NULL, 0);
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return 2;
		}
	}
	vmm_open("hostile");
	native = access("/sys/module/kvm/version", F_OK);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1))
		tap_bail("memory, or processes");
	/* An attempt may end because of a fault of its own. */
	host_put("/proc/sys/debug/exception-trace", "0");
	host_start();
	if (verbose)
		host_put(host_vendor_parameter(kvm_is_svm() ? "dump_invalid_vmcb" : "dump_invalid_vmcs"), "Y");
	for (i = first; i < first + n && wrong < wrong_max; i++) {
		a = plan(i);
		/* Another VM keeps KVM active after those of the attempt have ended. */
		vm = a.alone ? -1 : ioctl(kvm_dev, KVM_CREATE_VM, 0);
		if (attempt(&a, vm))
			survived++;
		else
			wrong++;
		attempts_done++;
		if (vm >= 0)
			close(vm);
		if (attempts_done % 100 == 0)
			tap_diag("%lu attempts, %lu survived", attempts_done, survived);
	}
	report(attempts_done);
	tap_ok(!wrong, "seed %llu, attempts %lu to %lu: after each, the host is as it was before",
	       (unsigned long long)seed, first, first + attempts_done - 1);
	if (n >= ATTEMPTS_FOR_ALL && !wrong) {
		tap_ok(shared->nmis && shared->smis && shared->inits, "there were NMIs, SMIs and INITs");
		tap_ok(shared->failed && shared->tried > shared->failed, "there were nested entries, and some failed");
		tap_ok(shared->in_l2 && shared->in_smm, "a VMM stopped in L2 and in SMM");
		for (o = 0; o < DEATHS && n >= ATTEMPTS_FOR_DEATHS; o++)
			tap_ok(died[o], "attempts died: %s", deaths[o]);
		tap_ok(given_up < n / 4, "few attempts ended early");
	}
	host_end();
	return tap_done();
}
