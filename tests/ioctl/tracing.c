// SPDX-License-Identifier: GPL-2.0
/*
 * tracing - what perf kvm, kvm_stat, trace-cmd and bpftrace find out about KVM
 *
 * Usage: tracing --facts FILE
 *
 * The facts are for a comparison of modules on one kernel: the trace events with their formats, the statistics in
 * debugfs, and whether the kernel took the modules' BTF. That events and statistics count is checked here.
 *
 * Speaks TAP; exits 0 or 1, 77 without /dev/kvm.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/perf_event.h>

#include "kvm.h"

#define EVENTS	   "/sys/kernel/tracing/events"
#define STATISTICS "/sys/kernel/debug/kvm"

/* Always intercepted */
#define MSR_APIC_BASE 0x1bu

/* Reads all of a file as one line, without its line "ID: ", which depends on what was loaded before. */
static bool read_as_line(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "r");
	char line[4096];
	size_t used = 0;

	if (!file)
		return false;
	text[0] = '\0';
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "ID:", 3))
			continue;
		line[strcspn(line, "\n")] = ' ';
		used += snprintf(text + used, size - used, "%s", line);
		if (used >= size)
			tap_bail("%s is too long", path);
	}
	fclose(file);
	return used > 0;
}

static uint64_t read_number(const char *path)
{
	char text[256];

	return read_as_line(path, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

/* One fact for each event of @system. */
static unsigned int write_events(const char *system)
{
	char path[512], text[16384], name[300];
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), EVENTS "/%s", system);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), EVENTS "/%s/%s/format", system, entry->d_name);
		if (!read_as_line(path, text, sizeof(text)))
			continue;
		snprintf(name, sizeof(name), "event %s:%s", system, entry->d_name);
		tap_fact(name, "%s", text);
		count++;
	}
	if (dir)
		closedir(dir);
	return count;
}

static unsigned int write_systems(void)
{
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir = opendir(EVENTS);

	while (dir && (entry = readdir(dir)))
		if (!strncmp(entry->d_name, "kvm", 3))
			count += write_events(entry->d_name);
	if (dir)
		closedir(dir);
	return count;
}

/*
 * One fact for each file of @path, a folder of debugfs; *@folder becomes the folder in it, that of the VM or of the
 * vCPU.
 */
static unsigned int write_statistics(const char *path, const char *name, char *folder, size_t size)
{
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir = opendir(path);
	char fact[300];

	folder[0] = '\0';
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (entry->d_type == DT_DIR) {
			snprintf(folder, size, "%s/%s", path, entry->d_name);
			continue;
		}
		snprintf(fact, sizeof(fact), "statistic %s %s", name, entry->d_name);
		tap_fact(fact, "is there");
		count++;
	}
	if (dir)
		closedir(dir);
	return count;
}

static int count_event(const char *event)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr) };
	char path[300];

	snprintf(path, sizeof(path), EVENTS "/kvm/%s/id", event);
	attr.config = read_number(path);
	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static void check_counts(struct vm *vm)
{
	static const char * const events[] = { "kvm_entry", "kvm_exit", "kvm_msr" };
	uint64_t before = read_number(STATISTICS "/exits"), after, count, value;
	int fd[ARRAY_SIZE(events)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(events); i++)
		fd[i] = count_event(events[i]);
	tap_ok(guest_rdmsr(vm, MSR_APIC_BASE, &value) == GUEST_DONE, "a guest runs");
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		count = 0;
		tap_ok(fd[i] >= 0 && read(fd[i], &count, sizeof(count)) == sizeof(count) && count > 0,
		       "perf counts kvm:%s", events[i]);
		if (fd[i] >= 0)
			close(fd[i]);
	}
	after = read_number(STATISTICS "/exits");
	tap_ok(after > before, "debugfs counts exits");
}

static void write_btf(const char *module)
{
	char path[100], name[100];

	snprintf(path, sizeof(path), "/sys/kernel/btf/%s", module);
	snprintf(name, sizeof(name), "BTF of %s", module);
	tap_fact(name, access(path, R_OK) ? "none" : "is there");
}

static void mount_at(const char *type, const char *path)
{
	if (mount(type, path, type, 0, NULL) && errno != EBUSY)
		tap_bail("mount %s: %s", path, strerror(errno));
}

int main(int argc, char **argv)
{
	char vm_folder[300], vcpu_folder[300], rest[300];
	unsigned int count;
	struct vm vm;

	if (argc != 3 || strcmp(argv[1], "--facts")) {
		fprintf(stderr, "usage: tracing --facts FILE\n");
		return 2;
	}
	if (tap_open_facts(argv[2])) {
		perror(argv[2]);
		return 1;
	}
	kvm_open("tracing");
	mount_at("tracefs", "/sys/kernel/tracing");
	mount_at("debugfs", "/sys/kernel/debug");

	count = write_systems();
	tap_ok(count > 50, "%u trace events", count);
	vm_create(&vm, VM_CPUID | VM_MEMORY);
	count = write_statistics(STATISTICS, "of all", vm_folder, sizeof(vm_folder));
	tap_ok(count > 10, "%u statistics of all VMs", count);
	count = write_statistics(vm_folder, "of a VM", vcpu_folder, sizeof(vcpu_folder));
	tap_ok(count > 10, "%u statistics of a VM", count);
	count = write_statistics(vcpu_folder, "of a vCPU", rest, sizeof(rest));
	tap_ok(count > 0, "%u statistics of a vCPU", count);
	check_counts(&vm);
	vm_destroy(&vm);
	write_btf("kvm");
	write_btf(host_is("kvm_intel") ? "kvm_intel" : "kvm_amd");
	return tap_done();
}
