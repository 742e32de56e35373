// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kvm.h"

int kvm_dev = -1;
int largest_one_reg_result = -1;

void kvm_open(const char *program)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("# program %s, %zu bits\n", program, 8 * sizeof(void *));
	kvm_dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_dev < 0) {
		printf("1..0 # SKIP cannot open /dev/kvm: %s\n", strerror(errno));
		exit(77);
	}
}

/* Mount sysfs if it is missing: an initramfs may not have it. */
static const char *sysfs_root(void)
{
	static const char own[] = "/tmp/onereg-sysfs";

	if (!access("/sys/module/kvm", F_OK))
		return "/sys";
	mkdir(own, 0700);
	if (access("/tmp/onereg-sysfs/module", F_OK))
		mount("sysfs", own, "sysfs", 0, NULL);
	return own;
}

bool host_is(const char *module)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/module/%s", sysfs_root(), module);
	return !access(path, F_OK);
}

static int open_param(const char *module, const char *name, int flags)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/module/%s/parameters/%s", sysfs_root(), module, name);
	return open(path, flags | O_CLOEXEC);
}

bool module_param_get(const char *module, const char *name, char *value)
{
	int fd = open_param(module, name, O_RDONLY);
	bool ok = fd >= 0 && read(fd, value, 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

bool kvm_param_get(const char *name, char *value)
{
	return module_param_get("kvm", name, value);
}

bool kvm_param_set(const char *name, char value)
{
	int fd = open_param("kvm", name, O_WRONLY);
	bool ok = fd >= 0 && write(fd, &value, 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

struct outcome xioctl(int fd, unsigned int nr, const void *arg)
{
	struct outcome o = { 0, 0 };

	errno = 0;
	o.ret = ioctl(fd, nr, arg);
	o.err = errno;
	if ((nr == GET_ONE_REG || nr == SET_ONE_REG || nr == GET_REG_LIST) && o.ret > largest_one_reg_result)
		largest_one_reg_result = o.ret;
	return o;
}

struct outcome one_reg(int fd, unsigned int nr, uint64_t id, uint64_t addr)
{
	struct kvm_one_reg reg = { .id = id, .addr = addr };

	return xioctl(fd, nr, &reg);
}

struct outcome get_reg(const struct vm *vm, uint64_t id, uint64_t *value)
{
	return one_reg(vm->vcpu, GET_ONE_REG, id, user_addr(value));
}

struct outcome set_reg(const struct vm *vm, uint64_t id, uint64_t value)
{
	return one_reg(vm->vcpu, SET_ONE_REG, id, user_addr(&value));
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

bool msrs_get(const struct vm *vm, uint32_t index, uint64_t *value)
{
	struct one_msr m = { .head.nmsrs = 1, .entry.index = index };
	int ret = ioctl(vm->vcpu, KVM_GET_MSRS, &m);

	if (ret < 0)
		tap_bail("KVM_GET_MSRS 0x%x", index);
	*value = m.entry.data;
	return ret == 1;
}

bool msrs_set(const struct vm *vm, uint32_t index, uint64_t value)
{
	struct one_msr m = {
		.head.nmsrs = 1,
		.entry = { .index = index, .data = value },
	};
	int ret = ioctl(vm->vcpu, KVM_SET_MSRS, &m);

	if (ret < 0)
		tap_bail("KVM_SET_MSRS 0x%x", index);
	return ret == 1;
}

struct kvm_msr_list *msr_list(unsigned int nr)
{
	struct kvm_msr_list probe = { .nmsrs = 0 }, *list;

	if (ioctl(kvm_dev, nr, &probe) && errno != E2BIG)
		tap_bail("MSR list");
	list = calloc(1, sizeof(*list) + probe.nmsrs * sizeof(uint32_t));
	if (!list)
		tap_bail("MSR list");
	list->nmsrs = probe.nmsrs;
	if (ioctl(kvm_dev, nr, list))
		tap_bail("MSR list");
	return list;
}

bool msr_listed(const struct kvm_msr_list *list, uint32_t index)
{
	unsigned int i;

	for (i = 0; i < list->nmsrs; i++)
		if (list->indices[i] == index)
			return true;
	return false;
}

#define CPUID_ENTRIES	     256
#define CPUID_7_ECX_SHSTK    (1u << 7)
#define CPUID_7_EDX_IBT	     (1u << 20)
#define CPUID_D_1_EAX_XSAVES (1u << 3)
#define CPUID_D_1_ECX_CET    (3u << 11)

static struct kvm_cpuid2 *get_cpuid(int fd, unsigned int nr, const char *name)
{
	struct kvm_cpuid2 *cpuid;

	cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));
	if (!cpuid)
		tap_bail("CPUID");
	cpuid->nent = CPUID_ENTRIES;
	if (ioctl(fd, nr, cpuid))
		tap_bail("%s", name);
	return cpuid;
}

struct kvm_cpuid2 *kvm_cpuid(unsigned int nr)
{
	return get_cpuid(kvm_dev, nr, "CPUID of KVM");
}

struct kvm_cpuid2 *vcpu_cpuid(const struct vm *vm)
{
	return get_cpuid(vm->vcpu, KVM_GET_CPUID2, "KVM_GET_CPUID2");
}

struct kvm_cpuid_entry2 *cpuid_entry(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
	unsigned int i;

	for (i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	return NULL;
}

static void set_bits(uint32_t *reg, uint32_t bits, bool on)
{
	if (on)
		*reg |= bits;
	else
		*reg &= ~bits;
}

struct outcome vm_set_cpuid(const struct vm *vm, unsigned int flags)
{
	struct kvm_cpuid2 *cpuid = kvm_cpuid(KVM_GET_SUPPORTED_CPUID);
	struct kvm_cpuid_entry2 *e;
	struct outcome o;

	/* Without the flags all hosts agree: only some support CET. */
	e = cpuid_entry(cpuid, 7, 0);
	if (e) {
		set_bits(&e->ecx, CPUID_7_ECX_SHSTK, flags & VM_SHSTK);
		set_bits(&e->edx, CPUID_7_EDX_IBT, flags & VM_IBT);
	}
	e = cpuid_entry(cpuid, 0xd, 1);
	if (e) {
		set_bits(&e->ecx, CPUID_D_1_ECX_CET, flags & VM_CET_XSS);
		if (flags & VM_NO_XSAVES)
			e->eax &= ~CPUID_D_1_EAX_XSAVES;
	}
	o = xioctl(vm->vcpu, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	return o;
}

static void add_memory(struct vm *vm)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = GUEST_MEMORY,
	};

	vm->memory = mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->memory == MAP_FAILED)
		tap_bail("guest memory");
	region.userspace_addr = user_addr(vm->memory);
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		tap_bail("KVM_SET_USER_MEMORY_REGION");

	/* Needed by VMX without unrestricted guest; harmless elsewhere. */
	ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000ul);
}

void vm_create(struct vm *vm, unsigned int flags)
{
	memset(vm, 0, sizeof(*vm));
	do {
		vm->fd = ioctl(kvm_dev, KVM_CREATE_VM, 0);
	} while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0)
		tap_bail("KVM_CREATE_VM");
	if (flags & VM_MEMORY)
		add_memory(vm);
	if ((flags & VM_IRQCHIP) && ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0))
		tap_bail("KVM_CREATE_IRQCHIP");
	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu < 0)
		tap_bail("KVM_CREATE_VCPU");
	vm->run_size = ioctl(kvm_dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	if (vm->run == MAP_FAILED)
		tap_bail("struct kvm_run");
	if ((flags & VM_CPUID) && vm_set_cpuid(vm, flags).ret)
		tap_bail("KVM_SET_CPUID2");
}

void vm_destroy(struct vm *vm)
{
	munmap(vm->run, vm->run_size);
	close(vm->vcpu);
	close(vm->fd);
	if (vm->memory)
		munmap(vm->memory, GUEST_MEMORY);
}

#define MSR_APIC_BASE 0x1bu
#define APIC_X2APIC   0xc00ull

bool vm_enable_x2apic(struct vm *vm)
{
	uint64_t base;

	return msrs_get(vm, MSR_APIC_BASE, &base) && msrs_set(vm, MSR_APIC_BASE, base | APIC_X2APIC);
}

static const struct {
	uint8_t bytes[8];
	size_t size;
} guest_codes[] = {
	[GUEST_HLT] = { { 0xf4 }, 1 },
	[GUEST_RDMSR] = { { 0x0f, 0x32, 0xf4 }, 3 },
	[GUEST_WRMSR] = { { 0x0f, 0x30, 0xf4 }, 3 },
	[GUEST_CPUID] = { { 0x0f, 0xa2, 0xf4 }, 3 },
	/* 1: incb (GUEST_COUNTER); jmp 1b */
	[GUEST_SPIN] = { { 0xfe, 0x06, 0x00, 0x30, 0xeb, 0xfa }, 6 },
};

#define VECTOR_GP 13

/*
 * Interrupts on: Bochs 3.0 holds back the host's interrupts as long as the guest has
 * them off, and then a spinning guest never ends. None are injected.
 */
#define GUEST_RFLAGS 0x202

void guest_load(struct vm *vm, enum guest_code code, uint32_t ecx, uint64_t edx_eax)
{
	const uint16_t handler[2] = { GUEST_GP, 0 };
	struct kvm_regs regs = {
		.rip = GUEST_CODE,
		.rsp = GUEST_CODE,
		.rflags = GUEST_RFLAGS,
		.rcx = ecx,
		.rax = (uint32_t)edx_eax,
		.rdx = edx_eax >> 32,
	};
	struct kvm_sregs sregs;

	memcpy(vm->memory + VECTOR_GP * sizeof(handler), handler, sizeof(handler));
	memcpy(vm->memory + GUEST_GP, guest_codes[GUEST_HLT].bytes, 1);
	memcpy(vm->memory + GUEST_CODE, guest_codes[code].bytes, guest_codes[code].size);

	if (ioctl(vm->vcpu, KVM_GET_SREGS, &sregs))
		tap_bail("KVM_GET_SREGS");
	sregs.cs.selector = 0;
	sregs.cs.base = 0;
	if (ioctl(vm->vcpu, KVM_SET_SREGS, &sregs) || ioctl(vm->vcpu, KVM_SET_REGS, &regs))
		tap_bail("guest registers");
}

enum guest_end guest_run(struct vm *vm, uint64_t *value)
{
	struct kvm_regs regs;
	int ret;

	do {
		ret = ioctl(vm->vcpu, KVM_RUN, 0);
	} while (ret && errno == EINTR);
	if (ret) {
		tap_diag("KVM_RUN: %s", strerror(errno));
		return GUEST_OTHER_EXIT;
	}
	if (vm->run->exit_reason != KVM_EXIT_HLT)
		return GUEST_OTHER_EXIT;
	if (ioctl(vm->vcpu, KVM_GET_REGS, &regs))
		tap_bail("KVM_GET_REGS");
	if (value)
		*value = (uint32_t)regs.rax | regs.rdx << 32;
	return regs.rip == GUEST_GP + 1 ? GUEST_GOT_GP : GUEST_DONE;
}

enum guest_end guest_rdmsr(struct vm *vm, uint32_t msr, uint64_t *value)
{
	guest_load(vm, GUEST_RDMSR, msr, 0);
	return guest_run(vm, value);
}

enum guest_end guest_wrmsr(struct vm *vm, uint32_t msr, uint64_t value)
{
	guest_load(vm, GUEST_WRMSR, msr, value);
	return guest_run(vm, NULL);
}

bool guest_cpuid(struct vm *vm, uint32_t function, uint32_t index, struct kvm_cpuid_entry2 *entry)
{
	struct kvm_regs regs;

	guest_load(vm, GUEST_CPUID, index, function);
	if (guest_run(vm, NULL) != GUEST_DONE)
		return false;
	if (ioctl(vm->vcpu, KVM_GET_REGS, &regs))
		tap_bail("KVM_GET_REGS");
	*entry = (struct kvm_cpuid_entry2) {
		.function = function,
		.index = index,
		.eax = regs.rax,
		.ebx = regs.rbx,
		.ecx = regs.rcx,
		.edx = regs.rdx,
	};
	return true;
}

void sleep_ms(unsigned int ms)
{
	struct timespec t = { .tv_nsec = ms * 1000000l };

	nanosleep(&t, NULL);
}

/*
 * Polls instead of seconds: where the host is emulated, a second inside can be a minute
 * outside, and a loaded machine must not make a test fail.
 */
#define POLLS 2000

static void no_op(int sig)
{
	(void)sig;
}

static void *run_guest(void *arg)
{
	struct runner *r = arg;

	do {
		r->result = xioctl(r->vm->vcpu, KVM_RUN, NULL);
	} while (r->result.err == EINTR && !r->vm->run->immediate_exit);
	__atomic_store_n(&r->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

bool guest_is_progressing(const struct vm *vm)
{
	const uint8_t *counter = vm->memory + GUEST_COUNTER;
	uint8_t before = __atomic_load_n(counter, __ATOMIC_RELAXED);
	unsigned int i;

	for (i = 0; i < POLLS; i++) {
		if (__atomic_load_n(counter, __ATOMIC_RELAXED) != before)
			return true;
		sleep_ms(1);
	}
	return false;
}

bool runner_start(struct runner *r, struct vm *vm)
{
	struct sigaction sa = { .sa_handler = no_op };

	sigaction(SIGUSR1, &sa, NULL);
	memset(r, 0, sizeof(*r));
	r->vm = vm;
	vm->run->immediate_exit = 0;
	guest_load(vm, GUEST_SPIN, 0, 0);
	if (pthread_create(&r->thread, NULL, run_guest, r))
		tap_bail("thread");
	return guest_is_progressing(vm);
}

void runner_stop(struct runner *r)
{
	unsigned int i;

	r->vm->run->immediate_exit = 1;
	for (i = 0; i < POLLS; i++) {
		if (__atomic_load_n(&r->done, __ATOMIC_ACQUIRE))
			break;
		pthread_kill(r->thread, SIGUSR1);
		sleep_ms(1);
	}
	if (i == POLLS)
		tap_bail("KVM_RUN cannot be interrupted");
	pthread_join(r->thread, NULL);
	r->vm->run->immediate_exit = 0;
}

static char task_state(pid_t pid, pid_t tid)
{
	char path[64], line[256], *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	p = fgets(line, sizeof(line), f);
	fclose(f);
	/* The name in parentheses may contain anything. */
	p = p ? strrchr(line, ')') : NULL;
	return p && p[1] == ' ' ? p[2] : 0;
}

bool wait_until_blocked(pid_t pid, pid_t tid)
{
	unsigned int i;

	for (i = 0; i < POLLS; i++) {
		if (task_state(pid, tid) == 'D')
			return true;
		sleep_ms(1);
	}
	return false;
}

bool wait_for_exit(pid_t pid, int *status)
{
	unsigned int i;

	for (i = 0; i < POLLS; i++) {
		if (waitpid(pid, status, WNOHANG | __WALL) == pid)
			return true;
		sleep_ms(1);
	}
	return false;
}

void pages_create(struct pages *p)
{
	size_t size = sysconf(_SC_PAGESIZE);
	uint8_t *m = mmap(NULL, 4 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* writable, inaccessible, read-only, inaccessible */
	if (m == MAP_FAILED || mprotect(m, size, PROT_READ | PROT_WRITE) || mprotect(m + 2 * size, size, PROT_READ))
		tap_bail("pages");
	p->rw_end = m + size;
	p->none = m + size;
	p->ro_end = m + 3 * size;
}
