// SPDX-License-Identifier: GPL-2.0
/*
 * show - what the demo's table shows of one host, as lines "ROW|CELL"
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/kvm.h>

#include <asm/kvm_onereg.h>

#define MSR_LSTAR 0xc0000082U
#define MSR_STAR  0xc0000081U

static int vcpu;

static const char *error_name(int e)
{
	switch (e) {
	case EINVAL:
		return "EINVAL";
	case EFAULT:
		return "EFAULT";
	case E2BIG:
		return "E2BIG";
	default:
		return strerror(e);
	}
}

static void row(const char *name, int failed, __u64 value)
{
	if (failed)
		printf("%s|%s\n", name, error_name(errno));
	else
		printf("%s|0x%llx\n", name, (unsigned long long)value);
}

static int one_reg(unsigned long request, __u64 id, __u64 *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (unsigned long)value };

	return ioctl(vcpu, request, &reg);
}

/* 0, or -1 with errno: KVM_GET_MSRS and KVM_SET_MSRS return how many of one succeeded. */
static int msrs(unsigned long request, __u32 index, __u64 *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1, .entry = { .index = index, .data = *value } };
	int r = ioctl(vcpu, request, &m);

	*value = m.entry.data;
	if (r == 0)
		errno = EINVAL;
	return r == 1 ? 0 : -1;
}

static void bad_id(const char *name, __u64 id)
{
	__u64 value = 0;

	row(name, one_reg(KVM_GET_ONE_REG, id, &value), value);
}

int main(void)
{
	struct kvm_reg_list list = { .n = 0 };
	char version[32] = "the distro's";
	__u64 value;
	int kvm, vm, failed;
	FILE *f;

	f = fopen("/sys/module/kvm/version", "r");
	if (f) {
		if (fscanf(f, "%31s", version) != 1)
			return 1;
		fclose(f);
	}
	printf("kvm.ko that is loaded|%s\n", version);

	kvm = open("/dev/kvm", O_RDWR);
	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	vcpu = vm < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0) {
		perror("/dev/kvm");
		return 1;
	}
	printf("KVM_CAP_ONE_REG|%d\n", ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_ONE_REG));

	value = 0x7f0123456000;
	failed = one_reg(KVM_SET_ONE_REG, KVM_X86_REG_MSR(MSR_LSTAR), &value);
	row("LSTAR set by KVM_SET_ONE_REG to", failed, value);
	value = 0;
	failed = one_reg(KVM_GET_ONE_REG, KVM_X86_REG_MSR(MSR_LSTAR), &value);
	row("  read by KVM_GET_ONE_REG", failed, value);
	value = 0;
	failed = msrs(KVM_GET_MSRS, MSR_LSTAR, &value);
	row("  read by KVM_GET_MSRS", failed, value);

	value = 0x23001000000000;
	failed = msrs(KVM_SET_MSRS, MSR_STAR, &value);
	row("STAR set by KVM_SET_MSRS to", failed, value);
	value = 0;
	failed = one_reg(KVM_GET_ONE_REG, KVM_X86_REG_MSR(MSR_STAR), &value);
	row("  read by KVM_GET_ONE_REG ", failed, value);

	bad_id("no such MSR, 0xdeadbeef", KVM_X86_REG_MSR(0xdeadbeef));
	bad_id("size of 4 bytes", 0x2020000200000010ULL);
	bad_id("reserved bit 48 set", 0x2031000200000010ULL);
	bad_id("type 4", 0x2030000400000010ULL);
	bad_id("an id of ARM64", 0x6030000200000010ULL);
	bad_id("GUEST_SSP, without shadow stacks", KVM_X86_REG_KVM(KVM_REG_GUEST_SSP));
	row("value at a bad address", one_reg(KVM_GET_ONE_REG, KVM_X86_REG_MSR(MSR_LSTAR), NULL), 0);

	if (ioctl(vcpu, KVM_GET_REG_LIST, &list))
		printf("KVM-defined registers listed|%s\n", error_name(errno));
	else
		printf("KVM-defined registers listed|%llu\n", (unsigned long long)list.n);
	return 0;
}
