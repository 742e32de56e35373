// SPDX-License-Identifier: GPL-2.0
/*
 * reading - query KVM without the command kvm-onereg and without ONE_REG
 *
 * Usage: reading FILE                 write the lines below to FILE
 *        reading --as-user COMMAND... run a command as the user nobody
 *        reading --told N COMMAND...  run a command; print "== N" before, "== N status STATUS" after it. Exit status: 0
 *
 * msr INDEX VALUE SETTABLE            of a vCPU with all features that KVM supports, from KVM_GET_MSRS and
 *                                     KVM_SET_MSRS; "msr INDEX -" if it cannot be read
 * cpuid LEAF SUBLEAF EAX EBX ECX EDX  KVM_GET_SUPPORTED_CPUID
 * emulated ...                        KVM_GET_EMULATED_CPUID
 * feature INDEX VALUE                 KVM_GET_MSRS on /dev/kvm
 * tsc KHZ
 */
#include <err.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 1000

static struct {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[256];
} cpuid;

static struct {
	struct kvm_msr_list head;
	__u32 indices[MOST];
} list;

static FILE *out;
static int kvm, vcpu;

static int one(int fd, unsigned long request, __u32 index, __u64 *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = { { .nmsrs = 1 }, { .index = index, .data = *value } };
	int n = ioctl(fd, request, &msr);

	*value = msr.entry.data;
	return n == 1;
}

static void write_cpuid(unsigned long request, const char *name)
{
	cpuid.head.nent = sizeof(cpuid.entries) / sizeof(*cpuid.entries);
	if (ioctl(kvm, request, &cpuid))
		err(1, "%s", name);
	for (__u32 i = 0; i < cpuid.head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid.entries[i];

		fprintf(out, "%s 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x\n", name, e->function, e->index, e->eax, e->ebx, e->ecx,
			e->edx);
	}
}

static void get_list(unsigned long request)
{
	list.head.nmsrs = MOST;
	if (ioctl(kvm, request, &list))
		err(1, "list of MSRs");
}

static int told(const char *words, char **command)
{
	int status;
	pid_t child;

	printf("== %s\n", words);
	fflush(stdout);
	setenv("NO_COLOR", "1", 1);
	child = fork();
	if (!child) {
		execv(command[0], command);
		err(127, "%s", command[0]);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		err(1, "fork");
	printf("== %s status %d\n", words, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 0;
}

int main(int argc, char **argv)
{
	static __u64 values[MOST];
	static int there[MOST];

	if (argc > 2 && !strcmp(argv[1], "--as-user")) {
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
			err(1, "setuid");
		execv(argv[2], argv + 2);
		err(1, "%s", argv[2]);
	}
	if (argc > 3 && !strcmp(argv[1], "--told"))
		return told(argv[2], argv + 3);
	out = argc == 2 ? fopen(argv[1], "w") : NULL;
	if (!out)
		errx(2, "usage: reading FILE");
	kvm = open("/dev/kvm", O_RDWR);
	write_cpuid(KVM_GET_EMULATED_CPUID, "emulated");
	write_cpuid(KVM_GET_SUPPORTED_CPUID, "cpuid");
	vcpu = ioctl(ioctl(kvm, KVM_CREATE_VM, 0), KVM_CREATE_VCPU, 0);
	if (vcpu < 0 || ioctl(vcpu, KVM_SET_CPUID2, &cpuid))
		err(1, "vCPU");
	fprintf(out, "tsc %d\n", ioctl(vcpu, KVM_GET_TSC_KHZ, 0));

	get_list(KVM_GET_MSR_FEATURE_INDEX_LIST);
	for (__u32 i = 0; i < list.head.nmsrs; i++)
		if (one(kvm, KVM_GET_MSRS, list.indices[i], &values[i]))
			fprintf(out, "feature 0x%x 0x%llx\n", list.indices[i], values[i]);
	get_list(KVM_GET_MSR_INDEX_LIST);
	for (__u32 i = 0; i < list.head.nmsrs; i++)
		there[i] = one(vcpu, KVM_GET_MSRS, list.indices[i], &values[i]);
	for (__u32 i = 0; i < list.head.nmsrs; i++) {
		__u64 value = values[i];

		if (there[i])
			fprintf(out, "msr 0x%x 0x%llx %s\n", list.indices[i], values[i],
				one(vcpu, KVM_SET_MSRS, list.indices[i], &value) ? "true" : "false");
		else
			fprintf(out, "msr 0x%x -\n", list.indices[i]);
	}
	return fclose(out) != 0;
}
