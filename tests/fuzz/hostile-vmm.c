// SPDX-License-Identifier: GPL-2.0
/* The steps of a hostile VMM that the fuzzer does not have, because their results could not be compared. */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile.h"
#include "l1.h"

/* ---- All ioctls except those that give the guest memory of this process, as the parent reads that ---- */

enum target { SYSTEM, VM, VCPU };

#define OF(target, nr) { nr, target }

static const struct {
	unsigned long nr;
	enum target target;
} ioctls[] = {
	OF(SYSTEM, KVM_GET_API_VERSION),
	OF(SYSTEM, KVM_GET_VCPU_MMAP_SIZE),
	OF(SYSTEM, KVM_GET_MSR_INDEX_LIST),
	OF(SYSTEM, KVM_GET_MSR_FEATURE_INDEX_LIST),
	OF(SYSTEM, KVM_GET_SUPPORTED_CPUID),
	OF(SYSTEM, KVM_GET_EMULATED_CPUID),
	OF(SYSTEM, KVM_GET_MSRS),
	OF(SYSTEM, KVM_X86_GET_MCE_CAP_SUPPORTED),
	OF(VM, KVM_CREATE_VCPU),
	OF(VM, KVM_SET_TSS_ADDR),
	OF(VM, KVM_SET_IDENTITY_MAP_ADDR),
	OF(VM, KVM_CREATE_IRQCHIP),
	OF(VM, KVM_IRQ_LINE),
	OF(VM, KVM_IRQ_LINE_STATUS),
	OF(VM, KVM_GET_IRQCHIP),
	OF(VM, KVM_SET_IRQCHIP),
	OF(VM, KVM_CREATE_PIT2),
	OF(VM, KVM_GET_PIT2),
	OF(VM, KVM_SET_PIT2),
	OF(VM, KVM_REINJECT_CONTROL),
	OF(VM, KVM_SET_BOOT_CPU_ID),
	OF(VM, KVM_SET_GSI_ROUTING),
	OF(VM, KVM_IRQFD),
	OF(VM, KVM_IOEVENTFD),
	OF(VM, KVM_REGISTER_COALESCED_MMIO),
	OF(VM, KVM_UNREGISTER_COALESCED_MMIO),
	OF(VM, KVM_GET_CLOCK),
	OF(VM, KVM_SET_CLOCK),
	OF(VM, KVM_XEN_HVM_CONFIG),
	OF(VM, KVM_SET_PMU_EVENT_FILTER),
	OF(VM, KVM_SIGNAL_MSI),
	OF(VM, KVM_CREATE_DEVICE),
	OF(VM, KVM_SET_NR_MMU_PAGES),
	OF(VM, KVM_GET_NR_MMU_PAGES),
	OF(VM, KVM_CHECK_EXTENSION),
	OF(VM, KVM_GET_STATS_FD),
	OF(VM, KVM_RESET_DIRTY_RINGS),
	OF(VCPU, KVM_GET_REGS),
	OF(VCPU, KVM_SET_REGS),
	OF(VCPU, KVM_GET_SREGS),
	OF(VCPU, KVM_SET_SREGS),
	OF(VCPU, KVM_GET_SREGS2),
	OF(VCPU, KVM_SET_SREGS2),
	OF(VCPU, KVM_TRANSLATE),
	OF(VCPU, KVM_INTERRUPT),
	OF(VCPU, KVM_GET_MSRS),
	OF(VCPU, KVM_GET_CPUID2),
	OF(VCPU, KVM_SET_CPUID2),
	OF(VCPU, KVM_GET_FPU),
	OF(VCPU, KVM_SET_FPU),
	OF(VCPU, KVM_GET_LAPIC),
	OF(VCPU, KVM_SET_LAPIC),
	OF(VCPU, KVM_GET_MP_STATE),
	OF(VCPU, KVM_SET_MP_STATE),
	OF(VCPU, KVM_NMI),
	OF(VCPU, KVM_SMI),
	OF(VCPU, KVM_TPR_ACCESS_REPORTING),
	OF(VCPU, KVM_SET_VAPIC_ADDR),
	OF(VCPU, KVM_X86_SETUP_MCE),
	OF(VCPU, KVM_X86_SET_MCE),
	OF(VCPU, KVM_GET_VCPU_EVENTS),
	OF(VCPU, KVM_SET_VCPU_EVENTS),
	OF(VCPU, KVM_GET_DEBUGREGS),
	OF(VCPU, KVM_SET_DEBUGREGS),
	OF(VCPU, KVM_GET_XSAVE),
	OF(VCPU, KVM_GET_XSAVE2),
	OF(VCPU, KVM_SET_XSAVE),
	OF(VCPU, KVM_GET_XCRS),
	OF(VCPU, KVM_SET_XCRS),
	OF(VCPU, KVM_SET_TSC_KHZ),
	OF(VCPU, KVM_GET_TSC_KHZ),
	OF(VCPU, KVM_KVMCLOCK_CTRL),
	OF(VCPU, KVM_GET_NESTED_STATE),
	OF(VCPU, KVM_SET_NESTED_STATE),
	OF(VCPU, KVM_GET_SUPPORTED_HV_CPUID),
	OF(VCPU, KVM_GET_STATS_FD),
	OF(VCPU, GET_REG_LIST),
};

#define ARGUMENT_SIZE 0x8000

static int fd_of(const struct cpu *c, enum target target)
{
	return target == SYSTEM ? kvm_dev : target == VM ? c->machine->fd : c->io.vcpu;
}

/* What the last ioctl left there, with changes: so the result of one is the argument of another. */
static void step_any_ioctl(struct fuzz *f, struct cpu *c)
{
	static __thread uint64_t argument[ARGUMENT_SIZE / 8];
	const unsigned int i = random_below(ARRAY_SIZE(ioctls));
	/* Sometimes an ioctl of another kind of file descriptor. */
	const enum target target = random_one_in(12) ? random_below(3) : ioctls[i].target;
	struct kvm_nested_state *nested = (void *)argument;
	struct kvm_regs *regs = (void *)argument;
	unsigned int n;

	switch (random_below(4)) {
	case 0:
		memset(argument, 0, sizeof(argument));
		break;
	case 1:
		for (n = 0; n < 64; n++)
			argument[n] = random_value();
		break;
	case 2:
		argument[random_below(64)] ^= 1ull << random_below(64);
		break;
	}
	/* In long mode, Bochs panics at this after VMRUN. */
	if (ioctls[i].nr == KVM_SET_REGS && kvm_is_svm())
		regs->rflags &= ~(uint64_t)RFLAGS_VM;
	/* The size that it may fill. */
	if (ioctls[i].nr == KVM_GET_NESTED_STATE)
		nested->size = random_below(ARGUMENT_SIZE);
	note_result(f, "any", ioctl(fd_of(c, target), ioctls[i].nr, random_one_in(16) ? NULL : argument));
}

static void step_enable_cap(struct fuzz *f, struct cpu *c)
{
	struct kvm_enable_cap cap = {
		.cap = random_below(256),
		.flags = random_one_in(8),
		.args = { random_below(4) ? random_below(8) : random_next(), random_below(4) },
	};

	note_result(f, "cap", ioctl(fd_of(c, 1 + random_below(2)), KVM_ENABLE_CAP, &cap));
}

/* ---- What a running vCPU relies on: memory, file descriptors ---- */

static void slot(struct fuzz *f, struct machine *m, unsigned int space, uint64_t size, uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = space << 16 | space,
		.flags = flags,
		.memory_size = size,
		.userspace_addr = (uintptr_t)m->ram,
	};

	note_result(f, "slot", ioctl(m->fd, KVM_SET_USER_MEMORY_REGION, &region));
}

/* Removes memslots of the VM, or of SMM, puts them back, makes them read-only, or logs writes to them. */
static void step_slots(struct fuzz *f, struct cpu *c)
{
	static __thread uint64_t bitmap[RAM_SIZE / PAGE / 64];
	const unsigned int space = random_one_in(4);
	struct kvm_dirty_log log = { .slot = space << 16 | space, .dirty_bitmap = bitmap };

	switch (random_below(4)) {
	case 0:
		slot(f, c->machine, space, 0, 0);
		step_continue(f, c);
		break;
	case 1:
		slot(f, c->machine, space, 0, 0);
		slot(f, c->machine, space, RAM_SIZE, KVM_MEM_READONLY);
		step_continue(f, c);
		slot(f, c->machine, space, 0, 0);
		break;
	default:
		slot(f, c->machine, space, RAM_SIZE, KVM_MEM_LOG_DIRTY_PAGES);
		step_continue(f, c);
		note_result(f, "log", ioctl(c->machine->fd, KVM_GET_DIRTY_LOG, &log));
	}
	slot(f, c->machine, space, RAM_SIZE, 0);
}

/* Removes pages of the process, and thereby of the guest, or replaces them. */
static void step_memory(struct fuzz *f, struct cpu *c)
{
	const uint64_t page = random_below(2) ? c->page + random_below(CPU_PAGES) * PAGE :
						(random_next() & (RAM_SIZE - 1) & ~(PAGE - 1));
	uint8_t *at = machine_at(c->machine, page);

	switch (random_below(3)) {
	case 0:
		madvise(at, PAGE, MADV_DONTNEED);
		break;
	case 1:
		mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 2:
		munmap(at, PAGE);
		step_continue(f, c);
		mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
	step_continue(f, c);
}

/* Closes the file descriptor while other threads use it, and opens it again. */
static void step_fds(struct fuzz *f, struct cpu *c)
{
	const int fd = random_below(2) ? c->io.vcpu : c->machine->fd, spare = dup(fd);

	if (spare < 0)
		return;
	close(fd);
	step_any_ioctl(f, c);
	usleep(random_below(200));
	dup2(spare, fd);
	close(spare);
}

/* ---- VMs that exist for a moment, or that are never closed ---- */

#define NEW_CPUS 3

static void step_new_vm(struct fuzz *f, struct cpu *c)
{
	struct vm vms[NEW_CPUS];
	unsigned int i, j, n = random_below(NEW_CPUS + 1);
	const int fd = ioctl(kvm_dev, KVM_CREATE_VM, 0);
	const bool leave = random_one_in(3);

	if (fd < 0)
		return;
	if (random_below(2))
		ioctl(fd, KVM_CREATE_IRQCHIP, 0);
	for (i = 0; i < n; i++) {
		vms[i] = (struct vm) { .fd = fd };
		vms[i].vcpu = ioctl(fd, KVM_CREATE_VCPU, random_below(4) ? i : random_next() & 0xfff);
		if (vms[i].vcpu < 0)
			continue;
		if (random_below(4))
			ioctl(vms[i].vcpu, KVM_SET_CPUID2, c->cpuid);
		for (j = 0; j < CET_MSRS_XSS; j++)
			if (random_below(2) && !(native && cet_msrs[j] == MSR_U_CET))
				msrs_set(&vms[i], cet_msrs[j], almost_valid(f, c, cet_msrs[j]));
		if (random_below(2)) {
			time_limit_once(2000);
			note_result(f, "run", ioctl(vms[i].vcpu, KVM_RUN, 0));
			time_limit_once(0);
		}
	}
	if (leave)
		return;
	if (random_below(2))
		close(fd);
	for (i = 0; i < n; i++)
		if (vms[i].vcpu >= 0)
			close(vms[i].vcpu);
	/* Closed twice if it was closed above: another object may have that number now. */
	close(fd);
}

/*
 * Sets each bit of an MSR that could be refused, one after the other. The last value that is accepted stays, and the
 * vCPU runs. On a native kernel, U_CET would make the host's kernel complain.
 */
static void step_wild_msrs(struct fuzz *f, struct cpu *c)
{
	const uint32_t msr = random_one_in(4) ? MSR_U_CET : cet_msrs[random_below(CET_MSRS_XSS)];
	const uint64_t value = random_below(2) ? 0 : almost_valid(f, c, msr);
	unsigned int bit;

	if (native && msr == MSR_U_CET)
		return;
	for (bit = 0; bit < 64; bit++) {
		if (random_below(2))
			msrs_set(&c->io, msr, value ^ 1ull << bit);
		else
			set_reg(&c->io, ID_MSR_BASE | msr, value ^ 1ull << bit);
	}
	set_reg(&c->io, ID_GUEST_SSP, almost_valid(f, c, MSR_PL0_SSP));
	step_continue(f, c);
}

void save_state(const struct cpu *c)
{
	static __thread uint64_t to[NESTED_SIZE / 8];
	static const unsigned long parts[] = {
		KVM_GET_REGS,  KVM_GET_SREGS, KVM_GET_XSAVE,	KVM_GET_XCRS,	   KVM_GET_VCPU_EVENTS,
		KVM_GET_LAPIC, KVM_GET_FPU,   KVM_GET_MP_STATE, KVM_GET_DEBUGREGS,
	};
	struct kvm_nested_state *nested = (void *)to;
	uint64_t value;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(parts); i++)
		ioctl(c->io.vcpu, parts[i], to);
	memset(to, 0, sizeof(to));
	nested->size = sizeof(to);
	ioctl(c->io.vcpu, KVM_GET_NESTED_STATE, nested);
	for (i = 0; i < CET_MSRS_XSS; i++)
		msrs_get(&c->io, cet_msrs[i], &value);
	get_reg(&c->io, ID_GUEST_SSP, &value);
}

static void step_save(struct fuzz *f, struct cpu *c)
{
	(void)f;
	save_state(c);
}

static const struct fuzz_step steps[] = {
	{ step_any_ioctl, "any ioctl", 20 },
	{ step_enable_cap, "enable_cap", 3 },
	{ step_slots, "slots", 4 },
	{ step_memory, "memory", 3 },
	{ step_fds, "fds", 3 },
	{ step_new_vm, "new vm", 3 },
	{ step_wild_msrs, "wild msrs", 5 },
	{ step_save, "save", 2 },
};

const struct fuzz_step *vmm_random_step(void)
{
	switch (random_below(4)) {
	case 0:
		return guest_random_step();
	case 1:
		return fuzz_random_step();
	default:
		return fuzz_step_of(steps, ARRAY_SIZE(steps));
	}
}
