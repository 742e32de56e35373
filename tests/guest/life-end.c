// SPDX-License-Identifier: GPL-2.0
/* VMs that end in unwanted ways: out of memory, or with file descriptors closed in any order. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

/* ---- Out of memory ---- */

#define CGROUPS	  "/tmp/cgroups"
#define GROUP	  CGROUPS "/vmm"
#define GROUP_MAX "33554432"

static unsigned int oom_kills(void)
{
	FILE *f = fopen(GROUP "/memory.events", "r");
	unsigned int n = 0;
	char line[80];

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "oom_kill %u", &n);
	if (f)
		fclose(f);
	return n;
}

/* In the child: a VM with a vCPU on each CPU, and more and more memory. */
static _Noreturn void use_memory(void)
{
	struct machine *m;
	struct walker walkers[MAX_HOST_CPUS];
	unsigned int i;
	char *p;

	if (!host_put(GROUP "/cgroup.procs", "0"))
		_exit(1);
	m = machine_create(&(struct machine_config) { .cpus = host_cpus });
	for (i = 0; i < host_cpus; i++)
		walker_start(&walkers[i], m->cpus[i], i);
	for (i = 0; i < host_cpus; i++)
		if (!walker_goes_on(&walkers[i]))
			_exit(1);
	for (i = 0; i < 1024; i++) {
		p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			_exit(2);
		memset(p, 1, 1 << 20);
	}
	_exit(3);
}

#define OOMS 2

void test_oom(void)
{
	unsigned int i, killed = 0, on = 0;
	struct crew crew;
	int status;
	pid_t pid;

	mkdir(CGROUPS, 0755);
	if (mount("cgroup2", CGROUPS, "cgroup2", 0, NULL))
		tap_bail("cgroups: %s", strerror(errno));
	if (!host_put(CGROUPS "/cgroup.subtree_control", "+memory") || mkdir(GROUP, 0755) ||
	    !host_put(GROUP "/memory.max", GROUP_MAX))
		tap_bail("a cgroup with little memory");
	crew_start(&crew);
	for (i = 0; i < OOMS; i++) {
		fflush(stdout);
		pid = fork();
		if (pid < 0)
			tap_bail("fork");
		if (!pid)
			use_memory();
		if (waitpid(pid, &status, 0) == pid)
			killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
		on += crew_goes_on(&crew);
	}
	tap_ok(killed == OOMS && oom_kills() == OOMS, "VMMs run out of memory and are killed, with a vCPU on each CPU");
	tap_diag("%u killed, %u of them by the kernel", killed, oom_kills());
	tap_ok(on == OOMS, "other guests go on");
	crew_end(&crew, "VMMs out of memory");
	check_no_residue("VMMs out of memory");
	rmdir(GROUP);
	umount(CGROUPS);
}

/* ---- File descriptors ---- */

static void *run_to_the_end(void *arg)
{
	struct cpu *c = arg;

	do {
		cpu_run(c);
	} while (c->stop.kind == STOP_SIGNAL);
	return NULL;
}

/* A VM whose vCPU is in KVM_RUN, in @thread. */
static struct machine *create(pthread_t *thread)
{
	struct machine *m = machine_create(NULL);

	machine_end_touching(m);
	walk_start(m->cpus[0], true);
	if (thread) {
		if (pthread_create(thread, NULL, run_to_the_end, m->cpus[0]))
			tap_bail("thread");
		walk_wait(m->cpus[0]);
	}
	return m;
}

static void unmap(struct machine *m)
{
	munmap(m->cpus[0]->io.run, ioctl(kvm_dev, KVM_GET_VCPU_MMAP_SIZE, 0));
}

/* Both file descriptors are closed by another thread than that which is in KVM_RUN. */
static bool close_under_run(bool vm_first)
{
	pthread_t thread;
	struct machine *m = create(&thread);
	struct cpu *c = m->cpus[0];
	bool ok;

	close(vm_first ? m->fd : c->io.vcpu);
	close(vm_first ? c->io.vcpu : m->fd);
	/* The guest does not notice it. */
	walk_wait(c);
	while (!__atomic_load_n(&c->stop.err, __ATOMIC_ACQUIRE)) {
		pthread_kill(thread, SIGUSR1);
		sleep_ms(1);
	}
	pthread_join(thread, NULL);
	ok = c->stop.kind == STOP_FAILED && c->stop.err == EBADF;
	if (!ok)
		tap_diag("%s", stop_text(c));
	unmap(m);
	return ok;
}

/* No thread is in KVM_RUN; kvm_run is unmapped last, or first. */
static bool close_at_rest(bool vm_first, bool unmap_first)
{
	uint64_t base;
	struct machine *m;
	struct cpu *c = chain_start_deep(&m, 3, RETURN, &base);
	bool ok = true;

	machine_end_touching(m);
	if (unmap_first)
		unmap(m);
	close(vm_first ? m->fd : c->io.vcpu);
	/* A vCPU does not need the file descriptor of its VM. */
	if (vm_first && !unmap_first)
		ok = chain_unwinds(c, DEPTH, base, 3);
	close(vm_first ? c->io.vcpu : m->fd);
	if (!unmap_first)
		unmap(m);
	return ok;
}

static _Noreturn void pass_vcpu(int to)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	pthread_t thread;
	struct machine *m = create(&thread);

	memcpy(CMSG_DATA(&control.header), &m->cpus[0]->io.vcpu, sizeof(int));
	if (sendmsg(to, &message, 0) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* The VMM is killed, and one of its vCPUs is left, which only this process has open. */
static bool outlive(void)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int pair[2], vcpu, r, status;
	struct kvm_regs regs;
	pid_t pid;

	fflush(stdout);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		tap_bail("socketpair");
	pid = fork();
	if (pid < 0)
		tap_bail("fork");
	if (!pid)
		pass_vcpu(pair[1]);
	if (recvmsg(pair[0], &message, 0) != 1)
		tap_bail("no vCPU");
	memcpy(&vcpu, CMSG_DATA(&control.header), sizeof(vcpu));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	/* Its VM belongs to another process. */
	r = ioctl(vcpu, KVM_GET_REGS, &regs);
	if (r != -1 || errno != EIO)
		tap_diag("KVM_GET_REGS: %d", r);
	check_supervisor_msrs("the VMM gone, its vCPU held");
	close(vcpu);
	close(pair[0]);
	close(pair[1]);
	return r == -1 && errno == EIO;
}

void test_close(void)
{
	struct sitter sitters[MAX_SITTERS];
	unsigned int i;

	signals_end_run();
	sitters_start(sitters);
	for (i = 0; i < 4; i++)
		tap_ok(close_at_rest(i & 1, i & 2), "the file descriptor of a %s is closed first, kvm_run %s",
		       i & 1 ? "VM" : "vCPU", i & 2 ? "before" : "last");
	check_supervisor_msrs("file descriptors closed");
	for (i = 0; i < 2; i++)
		tap_ok(close_under_run(i), "both are closed in the middle of KVM_RUN, first that of a %s",
		       i ? "VM" : "vCPU");
	check_supervisor_msrs("file descriptors closed in the middle of KVM_RUN");
	tap_ok(outlive(), "a vCPU outlives its VMM");
	sitters_end(sitters, "file descriptors closed");
	check_no_residue("file descriptors closed");
	check_new_guests("file descriptors closed");
}
