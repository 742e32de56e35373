// SPDX-License-Identifier: GPL-2.0
/*
 * calls - count the instructions of KVM's vCPU ioctls, of VM exits, and of loading and putting a vCPU
 *
 * Prints lines "NAME COUNT", or "NAME EINVAL" if the kernel does not have the call. COUNT is the lowest cost that at
 * least one call in ten has, in TSC ticks, less the cost of reading the TSC. On the host vmx, and on the host svm with
 * --icount, a tick is an instruction. A call that an interrupt disturbs costs more. On the host vmx, a few calls in a
 * hundred seem to cost some instructions less, because its clock is not exact.
 *
 * The first vCPU has no CPUID, and therefore no CET. If KVM supports shadow stacks, a second vCPU has all features; the
 * names of its calls begin with "CET_". "MSRs_" are the accesses to the MSRs of CET during one KVM_RUN, from the
 * kernel's trace, which needs debugfs.
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
#define MSR_U_CET	0x6a0
#define MSR_S_CET	0x6a2
#define MSR_PL0_SSP	0x6a4
#define MSR_PL3_SSP	0x6a7
#define MSR_INT_SSP_TAB 0x6a8
#define MSR_XSS		0xda0
#define XSS_CET_USER	0x800
#define XSS_CET		0x1800
#define CR4_OSXSAVE	(1u << 18)
#define REPEAT		200
#define GUEST_SIZE	0x1000

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

/* The current guest */
static int vcpu;
static struct kvm_run *run;
static __u8 *mem;
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

/* Without the C library, because setting errno would make a failed call more expensive. */
static long vcpu_ioctl(unsigned long request, void *arg)
{
	long r;

	asm volatile("syscall"
		     : "=a"(r)
		     : "a"((long)SYS_ioctl), "D"((long)vcpu), "S"(request), "d"(arg)
		     : "rcx", "r11", "memory");
	return r;
}

static int compare(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return (x > y) - (x < y);
}

/* The lowest of REPEAT counts that at least one in ten has: lower ones are exceptions. */
static __u64 usual(__u64 *counts)
{
	int i;

	qsort(counts, REPEAT, sizeof(*counts), compare);
	for (i = 0; i + REPEAT / 10 <= REPEAT; i++)
		if (counts[i] == counts[i + REPEAT / 10 - 1])
			return counts[i];
	fprintf(stderr, "no count repeats\n");
	exit(1);
}

/* The usual cost of ioctl(vcpu, request, arg), whatever it returns; its last errno, or 0, goes to *result. */
static __u64 call_cost(unsigned long request, void *arg, int *result)
{
	__u64 counts[REPEAT];
	int i;

	for (i = 0; i < REPEAT; i++) {
		__u64 t = ticks();

		long r = vcpu_ioctl(request, arg);

		counts[i] = ticks() - t - tsc_cost;
		*result = r < 0 ? -r : 0;
	}
	return usual(counts);
}

static void measure(const char *name, unsigned long request, void *arg, int expected)
{
	int result;
	__u64 cost = call_cost(request, arg, &result);

	if (result == expected)
		printf("%s %llu\n", name, (unsigned long long)cost);
	else if (result == EINVAL)
		printf("%s EINVAL\n", name);
	else
		fail(name);
}

/* A real-mode guest at address 0 that executes CPUID @exits times, then OUT to leave KVM_RUN. */
static void write_guest(__u16 exits)
{
	static const __u8 code[] = {
		0xbe, 0,    0, /* mov $exits, %si */
		0x85, 0xf6,    /* 1: test %si, %si */
		0x74, 0x07,    /* jz 2f */
		0x31, 0xc0,    /* xor %ax, %ax */
		0x0f, 0xa2,    /* cpuid */
		0x4e,	       /* dec %si */
		0xeb, 0xf5,    /* jmp 1b */
		0xe6, 0x80,    /* 2: out %al, $0x80 */
	};

	memcpy(mem, code, sizeof(code));
	mem[1] = exits & 0xff;
	mem[2] = exits >> 8;
}

/* The usual cost of a KVM_RUN with @exits exits that KVM handles itself. */
static __u64 run_guest(__u16 exits)
{
	__u64 counts[REPEAT];
	struct kvm_regs regs;
	int i;

	write_guest(exits);
	for (i = 0; i < REPEAT; i++) {
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
		counts[i] = ticks() - t - tsc_cost;
		if (run->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "guest left with exit reason %u\n", run->exit_reason);
			exit(1);
		}
	}
	return usual(counts);
}

static int kvm;

#define CPUID_ENTRIES	  256
#define CPUID_7_ECX_SHSTK (1u << 7)

struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[CPUID_ENTRIES];
};

static const struct kvm_cpuid_entry2 *cpuid_entry(const struct cpuid *cpuid, __u32 function, __u32 index)
{
	static const struct kvm_cpuid_entry2 none;
	unsigned int i;

	for (i = 0; i < cpuid->head.nent; i++)
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	return &none;
}

/* A guest in real mode with its code at address 0; with @cpuid, XCR0 has all its features, as an OS sets it. */
static void create_guest(const struct cpuid *cpuid)
{
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_SIZE };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1 };
	struct kvm_sregs sregs;
	int vm, size;

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
	if (cpuid && ioctl(vcpu, KVM_SET_CPUID2, cpuid))
		fail("KVM_SET_CPUID2");

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		fail("KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (cpuid)
		sregs.cr4 |= CR4_OSXSAVE;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs))
		fail("KVM_SET_SREGS");
	xcrs.xcrs[0].value = cpuid ? cpuid_entry(cpuid, 0xd, 0)->eax : 0;
	if (cpuid && ioctl(vcpu, KVM_SET_XCRS, &xcrs))
		fail("KVM_SET_XCRS");
}

static void measure_runs(const char *prefix)
{
	__u64 one = run_guest(0), many;

	printf("%sRUN_to_IO_exit %llu\n", prefix, (unsigned long long)one);
	many = run_guest(100);
	printf("%s100_VM_exits_CPUID %llu\n", prefix, (unsigned long long)(many - one));
}

/* ---- MSR accesses, from the kernel's trace */

#define TRACING "/sys/kernel/debug/tracing/"

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	int ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Lines "... read_msr: 6a4, value 0" and "... write_msr: ..." */
static void print_accesses(const char *prefix)
{
	unsigned int msr, reads = 0, writes = 0, xss = 0;
	char line[256], *p;
	FILE *f = fopen(TRACING "trace", "r");

	if (!f)
		fail("trace");
	while (fgets(line, sizeof(line), f)) {
		p = strstr(line, "_msr: ");
		if (line[0] == '#' || !p || sscanf(p, "_msr: %x", &msr) != 1)
			continue;
		if (msr == MSR_XSS)
			xss++;
		else if (msr < MSR_U_CET || msr > MSR_INT_SSP_TAB)
			continue;
		else if (p[-1] == 'd')
			reads++;
		else
			writes++;
	}
	fclose(f);
	printf("%sMSRs_read %u\n%sMSRs_written %u\n%sMSRs_XSS %u\n", prefix, reads, prefix, writes, prefix, xss);
}

static void trace_run(const char *prefix)
{
	struct kvm_regs regs = { .rflags = 2 };

	if (!put(TRACING "trace", "") || !put(TRACING "events/msr/enable", "1"))
		return;
	write_guest(100);
	if (ioctl(vcpu, KVM_SET_REGS, &regs) || ioctl(vcpu, KVM_RUN, 0))
		fail("KVM_RUN");
	/* If the vCPU is still loaded, this puts it, which saves its state. */
	if (ioctl(vcpu, KVM_GET_REGS, &regs))
		fail("KVM_GET_REGS");
	put(TRACING "events/msr/enable", "0");
	print_accesses(prefix);
}

/* ---- shadow stacks */

static void set_one(__u64 id, __u64 value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (unsigned long)&value };

	if (ioctl(vcpu, KVM_SET_ONE_REG, &reg))
		fail("KVM_SET_ONE_REG");
}

static void measure_cet(const struct cpuid *cpuid)
{
	static const struct {
		const char *get, *set;
		__u64 id;
	} regs[] = {
		{ "CET_GET_ONE_REG_GUEST_SSP", "CET_SET_ONE_REG_GUEST_SSP", KVM_X86_REG_KVM(KVM_REG_GUEST_SSP) },
		{ "CET_GET_ONE_REG_S_CET", "CET_SET_ONE_REG_S_CET", KVM_X86_REG_MSR(MSR_S_CET) },
		{ "CET_GET_ONE_REG_U_CET", "CET_SET_ONE_REG_U_CET", KVM_X86_REG_MSR(MSR_U_CET) },
		{ "CET_GET_ONE_REG_PL0_SSP", "CET_SET_ONE_REG_PL0_SSP", KVM_X86_REG_MSR(MSR_PL0_SSP) },
	};
	struct kvm_one_reg reg = { 0 };
	__u64 value = 0;
	unsigned int i;

	create_guest(cpuid);
	measure("CET_unknown_ioctl", _IO(KVMIO, 0xff), NULL, EINVAL);
	reg.addr = (unsigned long)&value;
	for (i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
		reg.id = regs[i].id;
		measure(regs[i].get, KVM_GET_ONE_REG, &reg, 0);
		measure(regs[i].set, KVM_SET_ONE_REG, &reg, 0);
	}
	/* CPUID shows CET, but the guest does not use it. */
	measure_runs("CET_unused_");
	trace_run("CET_unused_");
	/* Shadow stacks in user mode, as in Linux, without the bit in XSS: KVM switches what the CPU does not. */
	set_one(KVM_X86_REG_MSR(MSR_PL3_SSP), 0x1000);
	set_one(KVM_X86_REG_MSR(MSR_U_CET), 1);
	measure_runs("CET_used_");
	trace_run("CET_used_");
	set_one(KVM_X86_REG_MSR(MSR_XSS), XSS_CET_USER);
	measure_runs("CET_used_with_XSS_");
	trace_run("CET_used_with_XSS_");
	/* Shadow stacks in supervisor mode, too. */
	for (i = 0; i < 3; i++)
		set_one(KVM_X86_REG_MSR(MSR_PL0_SSP + i), 0x2000 + 8 * i);
	set_one(KVM_X86_REG_MSR(MSR_S_CET), 1);
	set_one(KVM_X86_REG_MSR(MSR_XSS), XSS_CET);
	measure_runs("CET_supervisor_");
	trace_run("CET_supervisor_");
}

int main(void)
{
	struct msrs msrs = { .head.nmsrs = 1, .entry.index = MSR_LSTAR };
	static struct cpuid cpuid = { .head.nent = CPUID_ENTRIES };
	struct kvm_one_reg reg = { 0 };
	struct kvm_reg_list list = { 0 };
	__u64 counts[REPEAT], value = 0;
	int i;

	for (i = 0; i < REPEAT; i++) {
		__u64 t = ticks();

		counts[i] = ticks() - t;
	}
	tsc_cost = usual(counts);

	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		fail("/dev/kvm");
	create_guest(NULL);

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
	measure_runs("");

	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid))
		fail("KVM_GET_SUPPORTED_CPUID");
	if (cpuid_entry(&cpuid, 7, 0)->ecx & CPUID_7_ECX_SHSTK)
		measure_cet(&cpuid);
	return 0;
}
