// SPDX-License-Identifier: GPL-2.0
/*
 * holder KIND [ARGUMENT...]: hold KVM until this process is killed. Prints "ready" once it holds KVM. For most kinds,
 * arguments only appear in /proc/PID/cmdline. KIND is
 *
 *   vm         a VM with two vCPUs that does nothing
 *   device     /dev/kvm, open
 *   path       /dev/kvm, opened with O_PATH, which does not hold KVM
 *   node       a device node with another name, open
 *   unlinked   the same, removed from its folder
 *   thread     /dev/kvm, opened by a thread with its own file table
 *   mapped     the mapped memory of a vCPU, with no file open
 *   stats      the statistics of a VM, with nothing else open
 *   uring      /dev/kvm, only as a registered file of an io_uring
 *   passed     /dev/kvm, in a message in a socket
 *   perf       a perf event on the tracepoint kvm:kvm_exit
 *   perfmap    the mapped buffer of such an event, with no file open
 *   bpf        a BPF program on the raw tracepoint kvm_exit
 *   pinned     the same, pinned to /sys/fs/bpf/held; the process exits
 *   stat       a file of KVM in debugfs
 *
 * These do not hold KVM:
 *
 *   tracefs    mount tracefs, and exit
 *   mount TYPE FOLDER OPTIONS       mount a file system, and exit
 *   bind PROGRAM [ARGUMENT...]      run a program with a memory policy for node 0 only
 *   listen SOCKET                   listen on a Unix socket, and never accept or answer
 *   qmp SOCKET [COMMAND...]         connect to a QMP socket and send commands; without any, stay connected
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/mempolicy.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

static long check(const char *what, long result)
{
	if (result >= 0)
		return result;
	perror(what);
	exit(1);
}

static int device(void)
{
	return check("/dev/kvm", open("/dev/kvm", O_RDWR));
}

static int node(void)
{
	unlink("/tmp/other");
	check("mknod", mknod("/tmp/other", S_IFCHR | 0600, makedev(10, 232)));
	return check("/tmp/other", open("/tmp/other", O_RDWR));
}

static int vcpu(int *vm)
{
	int kvm = device(), cpu;

	*vm = check("VM", ioctl(kvm, KVM_CREATE_VM, 0));
	cpu = check("vCPU", ioctl(*vm, KVM_CREATE_VCPU, 0));
	check("vCPU", ioctl(*vm, KVM_CREATE_VCPU, 1));
	return cpu;
}

static void *thread(void *ready)
{
	check("unshare", unshare(CLONE_FILES));
	device();
	*(volatile int *)ready = 1;
	pause();
	return NULL;
}

static void in_thread(void)
{
	volatile int ready = 0;
	pthread_t id;

	check("thread", -pthread_create(&id, NULL, thread, (void *)&ready));
	while (!ready)
		usleep(1000);
}

static void mapped(void)
{
	int vm, cpu = vcpu(&vm);

	if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, cpu, 0) == MAP_FAILED)
		check("mmap", -1);
	close_range(3, ~0U, 0);
}

static void stats(void)
{
	int vm, fd;

	vcpu(&vm);
	fd = check("statistics", ioctl(vm, KVM_GET_STATS_FD, NULL));
	check("dup", dup2(fd, 100));
	close_range(3, 99, 0);
}

static void uring(void)
{
	struct io_uring_params params = { 0 };
	int kvm = device(), ring = check("io_uring", syscall(SYS_io_uring_setup, 4, &params));

	check("register", syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &kvm, 1));
	close(kvm);
}

static void passed(void)
{
	char byte = 'x', room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)
	};
	struct cmsghdr *control = CMSG_FIRSTHDR(&message);
	int kvm = device(), pair[2];

	check("sockets", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(control), &kvm, sizeof(kvm));
	check("send", sendmsg(pair[0], &message, 0));
	close(kvm);
}

static int perf(void)
{
	struct perf_event_attr event = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(event) };
	FILE *id = fopen("/sys/kernel/tracing/events/kvm/kvm_exit/id", "r");
	unsigned long long number;

	check("tracefs", id && fscanf(id, "%llu", &number) == 1 ? 0 : -1);
	fclose(id);
	event.config = number;
	return check("perf", syscall(SYS_perf_event_open, &event, -1, 0, -1, 0));
}

static void perfmap(void)
{
	int fd = perf();

	if (mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
		check("mmap", -1);
	close(fd);
}

static int bpf(void)
{
	/* r0 = 0; exit */
	struct bpf_insn code[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT } };
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		.insns = (unsigned long)code,
		.insn_cnt = 2,
		.license = (unsigned long)"GPL",
	};
	union bpf_attr attach = { .raw_tracepoint.name = (unsigned long)"kvm_exit" };

	attach.raw_tracepoint.prog_fd = check("BPF", syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load)));
	return check("attach", syscall(SYS_bpf, BPF_RAW_TRACEPOINT_OPEN, &attach, sizeof(attach)));
}

static void pinned(void)
{
	union bpf_attr pin = { .pathname = (unsigned long)"/sys/fs/bpf/held", .bpf_fd = bpf() };

	mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL);
	check("pin", syscall(SYS_bpf, BPF_OBJ_PIN, &pin, sizeof(pin)));
}

static void listen_there(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = check("socket", socket(AF_UNIX, SOCK_STREAM, 0));

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	check(path, bind(fd, (struct sockaddr *)&address, sizeof(address)));
	check(path, listen(fd, 100));
}

static void run_bound(char **words)
{
	unsigned long nodes = 1;

	check("policy", syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 8 * sizeof(nodes)));
	check(*words, execvp(*words, words));
}

/* Sends QMP commands and prints the answers */
static void qmp(char **words)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = check("socket", socket(AF_UNIX, SOCK_STREAM, 0));
	FILE *stream = fdopen(fd, "r+");
	char line[65536];

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", *words);
	check(*words, connect(fd, (struct sockaddr *)&address, sizeof(address)));
	setbuf(stream, NULL);
	check("greeting", fgets(line, sizeof(line), stream) ? 0 : -1);
	for (const char *word = "{\"execute\":\"qmp_capabilities\"}"; word; word = *++words) {
		dprintf(fd, "%s\n", word);
		do
			check(word, fgets(line, sizeof(line), stream) ? 0 : -1);
		while (strncmp(line, "{\"return\"", 9) && strncmp(line, "{\"error\"", 8));
		fputs(line, stdout);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "vm";
	int vm;

	if (!strcmp(kind, "vm"))
		vcpu(&vm);
	else if (!strcmp(kind, "device"))
		device();
	else if (!strcmp(kind, "path"))
		check("/dev/kvm", open("/dev/kvm", O_PATH));
	else if (!strcmp(kind, "node") || !strcmp(kind, "unlinked"))
		node();
	else if (!strcmp(kind, "thread"))
		in_thread();
	else if (!strcmp(kind, "mapped"))
		mapped();
	else if (!strcmp(kind, "stats"))
		stats();
	else if (!strcmp(kind, "uring"))
		uring();
	else if (!strcmp(kind, "passed"))
		passed();
	else if (!strcmp(kind, "perf"))
		perf();
	else if (!strcmp(kind, "perfmap"))
		perfmap();
	else if (!strcmp(kind, "bpf"))
		bpf();
	else if (!strcmp(kind, "pinned"))
		pinned();
	else if (!strcmp(kind, "stat"))
		check("debugfs", open("/sys/kernel/debug/kvm/exits", O_RDONLY));
	else if (!strcmp(kind, "tracefs"))
		check("tracefs", mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL));
	else if (!strcmp(kind, "mount") && argc == 5)
		check(argv[2], mount(argv[2], argv[3], argv[2], 0, argv[4]));
	else if (!strcmp(kind, "bind") && argc > 2)
		run_bound(argv + 2);
	else if (!strcmp(kind, "listen") && argc > 2)
		listen_there(argv[2]);
	else if (!strcmp(kind, "qmp") && argc > 2)
		qmp(argv + 2);
	else
		return 2;
	if (strcmp(kind, "node"))
		unlink("/tmp/other");
	puts("ready");
	fflush(stdout);
	if (strcmp(kind, "pinned") && strcmp(kind, "tracefs") && strcmp(kind, "mount") &&
	    (strcmp(kind, "qmp") || argc == 3))
		pause();
	return 0;
}
