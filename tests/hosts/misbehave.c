// SPDX-License-Identifier: GPL-2.0
/*
 * misbehave WHAT [ARGUMENT]...: what a program on an emulated host can do, for
 * the self-test of the hosts
 *
 *   exit STATUS		exits with it
 *   say WORD...		prints each word on a line
 *   abort, loop		prints a line, and aborts or never ends
 *   daemon			leaves a process behind that holds its terminal
 *   log TEXT			writes TEXT to the kernel log
 *   panic			panics the kernel (sysrq c)
 *   taint NUMBER		taints the kernel
 *   copy FILE NAME		copies FILE to /out/NAME
 *   kvm			creates a virtual machine with a vCPU
 *   cycles NUMBER		prints the TSC ticks that NUMBER calls of getppid() take
 *   load FILE		loads a module
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err(1, "%s", path);
	close(fd);
	return 0;
}

static int copy(const char *from, const char *name)
{
	char to[256], data[1000], *slash;
	int in, out;
	ssize_t n;

	snprintf(to, sizeof(to), "/out/%s", name);
	slash = strrchr(to, '/');
	*slash = '\0';
	mkdir(to, 0755);
	*slash = '/';
	in = open(from, O_RDONLY);
	out = open(to, O_WRONLY | O_CREAT, 0644);
	if (in < 0 || out < 0)
		err(1, "%s, %s", from, to);
	while ((n = read(in, data, sizeof(data))) > 0)
		if (write(out, data, n) != n)
			err(1, "%s", to);
	return n != 0;
}

static int create_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR), vm, vcpu;

	if (kvm < 0)
		err(1, "/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		err(1, "KVM_CREATE_VCPU");
	printf("api %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
	return 0;
}

static int cycles(int n)
{
	unsigned long long start = __builtin_ia32_rdtsc();

	while (n--)
		syscall(SYS_getppid);
	printf("%llu\n", __builtin_ia32_rdtsc() - start);
	return 0;
}

static int load(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
		err(1, "%s", path);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int i;

	if (!strcmp(what, "exit") && argc == 3)
		return atoi(argv[2]);
	if (!strcmp(what, "say")) {
		for (i = 2; i < argc; i++)
			puts(argv[i]);
		return 0;
	}
	if (!strcmp(what, "abort")) {
		puts("about to abort");
		abort();
	}
	if (!strcmp(what, "loop")) {
		puts("about to loop");
		for (;;)
			__asm__ volatile("pause");
	}
	if (!strcmp(what, "daemon"))
		return fork() ? 0 : pause();
	if (!strcmp(what, "log") && argc == 3)
		return put("/dev/kmsg", argv[2]);
	if (!strcmp(what, "panic"))
		return put("/proc/sysrq-trigger", "c");
	if (!strcmp(what, "taint") && argc == 3)
		return put("/proc/sys/kernel/tainted", argv[2]);
	if (!strcmp(what, "copy") && argc == 4)
		return copy(argv[2], argv[3]);
	if (!strcmp(what, "kvm"))
		return create_vm();
	if (!strcmp(what, "cycles") && argc == 3)
		return cycles(atoi(argv[2]));
	if (!strcmp(what, "load") && argc == 3)
		return load(argv[2]);
	errx(2, "wrong arguments");
}
