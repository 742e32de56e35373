// SPDX-License-Identifier: GPL-2.0
/*
 * calls - instructions per call of KVM's vCPU ioctls, per VM exit and per load/put cycle
 *
 * Prints lines "NAME COUNT", or "NAME EINVAL" where the kernel has no such call. COUNT is the least of many
 * single calls, in TSC ticks, less the cost of reading the TSC. On the svm host with --icount a tick is an
 * instruction, and the least is what the call costs when no interrupt falls into it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kvm.h>

#include <asm/kvm_onereg.h>

#define MSR_LSTAR	0xc0000082
#define REPEAT		200
#define GUEST_SIZE	0x1000

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

static int vcpu;
static struct kvm_run *run;
static __u64 tsc_cost;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static __u64 ticks(void)
{
	__u32 lo, hi;

	asm volatile("lfence; rdtsc; lfence" : "=a"(lo), "=d"(hi) : : "memory");
	return (__u64)hi << 32 | lo;
}

/* Without the C library, whose errno costs more for a call that fails. */
static long vcpu_ioctl(unsigned long request, void *arg)
{
	long r;

	asm volatile("syscall"
		     : "=a"(r)
		     : "a"((long)SYS_ioctl), "D"((long)vcpu), "S"(request), "d"(arg)
		     : "rcx", "r11", "memory");
	return r;
}

/* Least cost of ioctl(vcpu, request, arg), whatever it returns; its last result in *result. */
static __u64 least(unsigned long request, void *arg, int *result)
{
	__u64 best = ~0ULL;
	int i;

	for (i = 0; i < REPEAT; i++) {
		__u64 t = ticks();

		long r = vcpu_ioctl(request, arg);

		t = ticks() - t - tsc_cost;
		*result = r < 0 ? -r : 0;
		if (t < best)
			best = t;
	}
	return best;
}

static void measure(const char *name, unsigned long request, void *arg, int expected)
{
	int result;
	__u64 cost = least(request, arg, &result);

	if (result == expected)
		printf("%s %llu\n", name, (unsigned long long)cost);
	else if (result == EINVAL)
		printf("%s EINVAL\n", name);
	else
		fail(name);
}

/* Real-mode guest at 0: @exits times CPUID, then OUT to leave KVM_RUN. */
static void write_guest(__u8 *mem, __u16 exits)
{
	static const __u8 code[] = {
		0xbe, 0, 0,		/* mov $exits, %si */
		0x85, 0xf6,		/* 1: test %si, %si */
		0x74, 0x07,		/* jz 2f */
		0x31, 0xc0,		/* xor %ax, %ax */
		0x0f, 0xa2,		/* cpuid */
		0x4e,			/* dec %si */
		0xeb, 0xf5,		/* jmp 1b */
		0xe6, 0x80,		/* 2: out %al, $0x80 */
	};

	memcpy(mem, code, sizeof(code));
	mem[1] = exits & 0xff;
	mem[2] = exits >> 8;
}

/* Least cost of KVM_RUN with @exits exits that KVM handles itself. */
static __u64 run_guest(__u8 *mem, __u16 exits)
{
	struct kvm_regs regs;
	__u64 best = ~0ULL;
	int i;

	write_guest(mem, exits);
	for (i = 0; i < REPEAT / 4; i++) {
		__u64 t;

		memset(&regs, 0, sizeof(regs));
		regs.rflags = 2;
		if (ioctl(vcpu, KVM_SET_REGS, &regs))
			fail("KVM_SET_REGS");
		t = ticks();
		if (vcpu_ioctl(KVM_RUN, NULL)) {
			fprintf(stderr, "KVM_RUN failed\n");
			exit(1);
		}
		t = ticks() - t - tsc_cost;
		if (run->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "guest left with exit reason %u\n", run->exit_reason);
			exit(1);
		}
		if (t < best)
			best = t;
	}
	return best;
}

int main(void)
{
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_SIZE };
	struct msrs msrs = { .head.nmsrs = 1, .entry.index = MSR_LSTAR };
	struct kvm_one_reg reg = { 0 };
	struct kvm_reg_list list = { 0 };
	struct kvm_sregs sregs;
	__u64 value = 0, one, many;
	__u8 *mem;
	int kvm, vm, size, i;

	for (tsc_cost = ~0ULL, i = 0; i < REPEAT; i++) {
		__u64 t = ticks();

		t = ticks() - t;
		if (t < tsc_cost)
			tsc_cost = t;
	}

	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		fail("/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		fail("KVM_CREATE_VM");
	mem = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		fail("mmap");
	region.userspace_addr = (unsigned long)mem;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		fail("KVM_SET_USER_MEMORY_REGION");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		fail("KVM_CREATE_VCPU");
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		fail("mmap of the vCPU");

	measure("unknown_ioctl", _IO(KVMIO, 0xff), NULL, EINVAL);

	reg.addr = (unsigned long)&value;
	measure("GET_MSRS(1)", KVM_GET_MSRS, &msrs, 0);
	measure("SET_MSRS(1)", KVM_SET_MSRS, &msrs, 0);
	reg.id = KVM_X86_REG_MSR(MSR_LSTAR);
	measure("GET_ONE_REG", KVM_GET_ONE_REG, &reg, 0);
	measure("SET_ONE_REG", KVM_SET_ONE_REG, &reg, 0);
	reg.id = KVM_X86_REG_ID(4, MSR_LSTAR);
	measure("GET_ONE_REG_bad_id", KVM_GET_ONE_REG, &reg, EINVAL);
	measure("GET_REG_LIST", KVM_GET_REG_LIST, &list, 0);

	/* Loads and puts the vCPU, with its FPU, without entering the guest. */
	run->immediate_exit = 1;
	measure("load_put_RUN", KVM_RUN, NULL, EINTR);
	run->immediate_exit = 0;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		fail("KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs))
		fail("KVM_SET_SREGS");
	one = run_guest(mem, 0);
	printf("RUN_to_IO_exit %llu\n", (unsigned long long)one);
	many = run_guest(mem, 100);
	printf("100_VM_exits_CPUID %llu\n", (unsigned long long)(many - one));
	return 0;
}
