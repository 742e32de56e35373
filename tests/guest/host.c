// SPDX-License-Identifier: GPL-2.0
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "host.h"
#include "kvm.h" /* of tests/ioctl */
#include "tap.h"
#include "vmm.h"

uint64_t host_s_cet;
bool host_has_cet = true;

static int host_msrs(unsigned int cpu)
{
	static int fds[MAX_HOST_CPUS] = { -1, -1 };
	char node[32];

	if (cpu >= MAX_HOST_CPUS)
		tap_bail("CPU %u", cpu);
	if (fds[cpu] >= 0)
		return fds[cpu];
	/* Major 202 is that of the module msr, a minor number is a CPU. */
	snprintf(node, sizeof(node), "/tmp/msr%u", cpu);
	unlink(node);
	if (mknod(node, S_IFCHR | 0600, makedev(202, cpu)))
		tap_bail("%s", node);
	fds[cpu] = open(node, O_RDWR | O_CLOEXEC);
	if (fds[cpu] < 0)
		tap_bail("the host's MSRs");
	return fds[cpu];
}

uint64_t host_rdmsr_on(unsigned int cpu, uint32_t msr)
{
	uint64_t value;

	if (pread(host_msrs(cpu), &value, sizeof(value), msr) != sizeof(value))
		tap_bail("the host's MSR 0x%x", msr);
	return value;
}

uint64_t host_rdmsr(uint32_t msr)
{
	return host_rdmsr_on(0, msr);
}

int host_msr_file(unsigned int cpu)
{
	return host_msrs(cpu);
}

bool host_wrmsr_on(unsigned int cpu, uint32_t msr, uint64_t value)
{
	return pwrite(host_msrs(cpu), &value, sizeof(value), msr) == sizeof(value);
}

bool host_wrmsr(uint32_t msr, uint64_t value)
{
	return host_wrmsr_on(0, msr, value);
}

bool host_put(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, word, strlen(word)) == (ssize_t)strlen(word);

	if (!ok)
		tap_diag("%s to %s: %s", word, path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

bool host_set_online(unsigned int cpu, bool online)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	return host_put(path, online ? "1" : "0");
}

bool host_is_online(unsigned int cpu)
{
	char path[64], c = '0';
	int fd;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, &c, 1) != 1)
		c = '0';
	if (fd >= 0)
		close(fd);
	return c == '1';
}

int host_cpu_of(pid_t tid)
{
	char path[64], line[1024] = "", *p;
	unsigned int field;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	if (!f)
		return -1;
	p = fgets(line, sizeof(line), f);
	fclose(f);
	/* The name in parentheses is the second field, the CPU the 39th. */
	p = p ? strrchr(line, ')') : NULL;
	for (field = 2; p && field < 39; field++)
		p = strchr(p + 1, ' ');
	return p ? atoi(p) : -1;
}

bool host_move(pid_t tid, unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (!tid)
		tid = syscall(SYS_gettid);
	return !sched_setaffinity(tid, sizeof(set), &set) && host_cpu_of(tid) == (int)cpu;
}

bool host_unload(const char *module)
{
	unsigned int tries;

	for (tries = 0; tries < 100; tries++) {
		if (!syscall(SYS_delete_module, module, O_NONBLOCK))
			return true;
		if (errno != EAGAIN && errno != EBUSY)
			break;
		sleep_ms(1);
	}
	tap_diag("%s cannot be unloaded: %s", module, strerror(errno));
	return false;
}

/* "FILE PARAMETER=VALUE..." is a line of the file modules. */
bool host_load(const char *file, const char *more)
{
	char line[512], parameters[600], *p;
	FILE *list = fopen("modules", "r");
	bool found = false, ok;
	int fd;

	while (list && !found && fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		p = strchr(line, ' ');
		if (p)
			*p++ = '\0';
		found = !strcmp(line, file);
		snprintf(parameters, sizeof(parameters), "%s %s", p ? p : "", more ? more : "");
	}
	if (list)
		fclose(list);
	if (!found)
		snprintf(parameters, sizeof(parameters), "%s", more ? more : "");
	fd = open(file, O_RDONLY | O_CLOEXEC);
	ok = fd >= 0 && !syscall(SYS_finit_module, fd, parameters, 0);
	if (!ok)
		tap_diag("%s cannot be loaded: %s", file, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

bool host_unload_kvm(void)
{
	return host_unload(kvm_is_svm() ? "kvm_amd" : "kvm_intel") && host_unload("kvm");
}

bool host_load_kvm(const char *more)
{
	return host_load("kvm.ko", NULL) && host_load(kvm_is_svm() ? "kvm-amd.ko" : "kvm-intel.ko", more);
}

const char *host_vendor_parameter(const char *name)
{
	static char path[96];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", kvm_is_svm() ? "kvm_amd" : "kvm_intel", name);
	return path;
}

uint64_t host_usual_s_cet(void)
{
	unsigned int eax, ebx, ecx, edx;

	__cpuid_count(7, 0, eax, ebx, ecx, edx);
	return host_has_cet && edx & 1u << 20 ? CET_ENDBR : 0;
}

const char *host_dump(struct cpu *c)
{
	static char dump[32768];
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	const char *parameter = host_vendor_parameter(kvm_is_svm() ? "dump_invalid_vmcb" : "dump_invalid_vmcs");
	int file = open(parameter, O_RDONLY | O_CLOEXEC);
	char before[2] = "";
	size_t used = 0;
	ssize_t n;

	if (file < 0 || read(file, before, 1) != 1)
		tap_bail("%s", parameter);
	close(file);
	if (kmsg < 0 || lseek(kmsg, 0, SEEK_END) < 0)
		tap_bail("/dev/kmsg");
	/* KVM dumps nothing of other VM entries that fail. */
	host_put(parameter, "Y");
	cpu_run(c);
	host_put(parameter, before);
	/* Each read() returns one record. */
	while (used < sizeof(dump) - 1 &&
	       ((n = read(kmsg, dump + used, sizeof(dump) - 1 - used)) > 0 || (n < 0 && errno == EPIPE)))
		used += n < 0 ? 0 : n;
	close(kmsg);
	dump[c->stop.kind == STOP_FAIL_ENTRY ? used : 0] = '\0';
	return dump;
}

uint64_t host_cr4(void)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	struct kvm_sregs sregs;
	const char *p;

	cpu_get_sregs(c, &sregs);
	sregs.cs.type = 0;
	cpu_set_sregs(c, &sregs);
	p = strstr(host_dump(c), "*** Host State ***");
	p = p ? strstr(p, " CR4=") : NULL;
	machine_destroy(m);
	return p ? strtoull(p + 5, NULL, 16) : 0;
}
