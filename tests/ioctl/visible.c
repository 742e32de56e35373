// SPDX-License-Identifier: GPL-2.0
/*
 * visible - write down what VMMs and guests can see of KVM, for a comparison
 *
 * Usage: visible --facts FILE
 *
 * Nothing here is right or wrong. Ioctls that only some modules have, and the values of
 * clocks are left out, so that two runs on the same kernel write the same.
 * What concerns CET is asked of each vCPU, including those whose CPUID claims CET.
 *
 * Speaks TAP, with one point for each part; exits 0 or 1, 77 without /dev/kvm.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvm.h"

#define CAPABILITIES 300

static const struct {
	const char *name;
	unsigned int flags;
} kinds[] = {
	{ "no CPUID", 0 },
	{ "CPUID", VM_CPUID },
	{ "CPUID that claims CET", VM_CPUID | VM_SHSTK | VM_IBT | VM_CET_XSS },
};

static unsigned int written;

static void part(const char *name)
{
	tap_ok(written > 0, "%s: %u facts", name, written);
	written = 0;
}

static void write_capabilities(void)
{
	unsigned long cap;
	char name[32];

	for (cap = 0; cap < CAPABILITIES; cap++) {
		struct outcome o = xioctl(kvm_dev, KVM_CHECK_EXTENSION, (void *)cap);

		snprintf(name, sizeof(name), "capability %lu", cap);
		tap_fact(name, "%d", o.ret);
		written++;
	}
	part("capabilities");
}

static void write_cpuid(unsigned int nr, const char *which)
{
	struct kvm_cpuid2 *cpuid = kvm_cpuid(nr);
	char name[64];
	unsigned int i;

	for (i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		snprintf(name, sizeof(name), "%s CPUID %u 0x%x.%u", which, i, e->function, e->index);
		tap_fact(name, "0x%x 0x%x 0x%x 0x%x 0x%x", e->flags, e->eax, e->ebx, e->ecx, e->edx);
		written++;
	}
	free(cpuid);
	part(which);
}

static void write_list(unsigned int nr, const char *which, const struct vm *vm)
{
	struct kvm_msr_list *list = msr_list(nr);
	unsigned int i;
	char name[64];
	uint64_t value;

	for (i = 0; i < list->nmsrs; i++) {
		snprintf(name, sizeof(name), "%s %u", which, i);
		if (vm && msrs_get(vm, list->indices[i], &value))
			tap_fact(name, "0x%x: 0x%llx", list->indices[i], (unsigned long long)value);
		else
			tap_fact(name, "0x%x", list->indices[i]);
		written++;
	}
	free(list);
	part(which);
}

/* The MSRs of CET and their neighbours, XSS, KVM's own number for SSP, nested VMX. */
static const struct {
	uint32_t first, last;
} ranges[] = {
	{ 0x6a0, 0x6a9 },
	{ 0xda0, 0xda0 },
	{ MSR_INTERNAL_SSP, MSR_INTERNAL_SSP },
	{ MSR_OLD_SSP, MSR_OLD_SSP },
	{ 0x480, 0x493 },
	{ MSR_UNKNOWN, MSR_UNKNOWN },
};

/* TSC; Hyper-V's VP runtime, its reference time, and the frequency of the TSC, which is measured. */
static bool is_time(uint32_t msr)
{
	return msr == 0x10 || msr == 0x40000010 || msr == 0x40000020 || msr == 0x40000022;
}

static void write_msr(const struct vm *vm, const char *kind, uint32_t msr)
{
	static const uint64_t values[] = {
		0, 1, 4, 0x40, 0x800, 0x1000, 0x1800, 0x4000, 0x123456789000, 0xffff800000000000, ~0ull, 0,
	};
	char name[64], taken[ARRAY_SIZE(values) + 1] = "";
	uint64_t value = 0;
	unsigned int i;

	snprintf(name, sizeof(name), "%s MSR 0x%x", kind, msr);
	if (!msrs_get(vm, msr, &value))
		tap_fact(name, "fails");
	else if (is_time(msr))
		tap_fact(name, "some time");
	else
		tap_fact(name, "0x%llx", (unsigned long long)value);
	for (i = 0; i < ARRAY_SIZE(values); i++)
		taken[i] = msrs_set(vm, msr, values[i]) ? '+' : '-';
	snprintf(name, sizeof(name), "%s MSR 0x%x written", kind, msr);
	if (msrs_get(vm, msr, &value) && !is_time(msr))
		tap_fact(name, "%s 0x%llx", taken, (unsigned long long)value);
	else
		tap_fact(name, "%s", taken);
	written += 2;
}

static void write_msrs(const char *kind, unsigned int flags)
{
	struct kvm_msr_list *list = msr_list(KVM_GET_MSR_INDEX_LIST);
	unsigned int i;
	uint32_t msr;
	struct vm vm;

	vm_create(&vm, flags);
	for (i = 0; i < list->nmsrs; i++)
		write_msr(&vm, kind, list->indices[i]);
	vm_destroy(&vm);
	vm_create(&vm, flags);
	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		for (msr = ranges[i].first; msr <= ranges[i].last; msr++)
			if (!msr_listed(list, msr))
				write_msr(&vm, kind, msr);
	vm_destroy(&vm);
	free(list);
	part(kind);
}

enum which_register { REG_CR0, REG_CR4, REG_EFER };

static uint64_t accepted_bits(const struct vm *vm, enum which_register which)
{
	struct kvm_sregs before = { 0 }, s;
	uint64_t bits = 0;
	unsigned int i;

	if (xioctl(vm->vcpu, KVM_GET_SREGS, &before).ret)
		tap_bail("KVM_GET_SREGS");
	for (i = 0; i < 64; i++) {
		s = before;
		if (which == REG_CR0)
			s.cr0 ^= 1ull << i;
		else if (which == REG_CR4)
			s.cr4 ^= 1ull << i;
		else
			s.efer ^= 1ull << i;
		if (!xioctl(vm->vcpu, KVM_SET_SREGS, &s).ret)
			bits |= 1ull << i;
		if (xioctl(vm->vcpu, KVM_SET_SREGS, &before).ret)
			tap_bail("KVM_SET_SREGS");
	}
	return bits;
}

static void write_control_registers(const char *kind, unsigned int flags)
{
	static const char * const names[] = { "CR0", "CR4", "EFER" };
	unsigned int i;
	char name[64];
	struct vm vm;

	vm_create(&vm, flags);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "%s %s", kind, names[i]);
		tap_fact(name, "0x%llx", (unsigned long long)accepted_bits(&vm, i));
		written++;
	}
	vm_destroy(&vm);
	part(kind);
}

/* How an access of the guest ends: in the guest, or as an exit with a reason. */
static void write_guest_msr(struct vm *vm, const char *kind, enum guest_code code, uint32_t msr)
{
	static const char * const ends[] = {
		[GUEST_DONE] = "done",
		[GUEST_GOT_GP] = "#GP",
		[GUEST_OTHER_EXIT] = "exit",
	};
	enum guest_end end;
	uint64_t value = 0;
	char name[64];

	guest_load(vm, code, msr, 0);
	end = guest_run(vm, &value);
	snprintf(name, sizeof(name), "%s guest's %s 0x%x", kind, code == GUEST_RDMSR ? "RDMSR" : "WRMSR", msr);
	if (end == GUEST_OTHER_EXIT)
		tap_fact(name, "exit %u, reason 0x%x", vm->run->exit_reason, vm->run->msr.reason);
	else if (end == GUEST_DONE && code == GUEST_RDMSR)
		tap_fact(name, "0x%llx", (unsigned long long)value);
	else
		tap_fact(name, "%s", ends[end]);
	written++;
	if (end == GUEST_OTHER_EXIT) {
		vm->run->msr.error = 1;
		guest_run(vm, NULL);
	}
}

static void write_guest(const char *kind, unsigned int flags, bool exits)
{
	static const struct {
		uint32_t function, index;
	} leaves[] = {
		{ 0, 0 },   { 1, 0 },	 { 7, 0 },    { 7, 1 },		 { 0xd, 0 },	    { 0xd, 1 },
		{ 0xd, 2 }, { 0xd, 11 }, { 0xd, 12 }, { 0x80000001, 0 }, { 0x80000008, 0 },
	};
	struct kvm_enable_cap enable = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args[0] = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN,
	};
	struct kvm_cpuid_entry2 e;
	char name[80];
	unsigned int i;
	struct vm vm;
	uint32_t msr;

	vm_create(&vm, flags | VM_MEMORY);
	if (exits && xioctl(vm.fd, KVM_ENABLE_CAP, &enable).ret)
		tap_bail("KVM_CAP_X86_USER_SPACE_MSR");
	for (i = 0; i < ARRAY_SIZE(leaves) && !exits; i++) {
		snprintf(name, sizeof(name), "%s guest's CPUID 0x%x.%u", kind, leaves[i].function, leaves[i].index);
		if (guest_cpuid(&vm, leaves[i].function, leaves[i].index, &e))
			tap_fact(name, "0x%x 0x%x 0x%x 0x%x", e.eax, e.ebx, e.ecx, e.edx);
		else
			tap_fact(name, "does not run");
		written++;
	}
	snprintf(name, sizeof(name), "%s%s", kind, exits ? ", with exits:" : "");
	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		for (msr = ranges[i].first; msr <= ranges[i].last; msr++) {
			write_guest_msr(&vm, name, GUEST_RDMSR, msr);
			write_guest_msr(&vm, name, GUEST_WRMSR, msr);
		}
	vm_destroy(&vm);
	part(name);
}

int main(int argc, char **argv)
{
	unsigned int i;
	struct vm vm;

	if (argc != 3 || strcmp(argv[1], "--facts")) {
		fprintf(stderr, "usage: visible --facts FILE\n");
		return 2;
	}
	if (tap_open_facts(argv[2])) {
		perror(argv[2]);
		return 1;
	}
	kvm_open("visible");
	write_capabilities();
	write_cpuid(KVM_GET_SUPPORTED_CPUID, "supported");
	write_cpuid(KVM_GET_EMULATED_CPUID, "emulated");
	write_list(KVM_GET_MSR_INDEX_LIST, "listed", NULL);
	vm_create(&vm, 0);
	write_list(KVM_GET_MSR_FEATURE_INDEX_LIST, "feature", &vm);
	vm_destroy(&vm);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		write_msrs(kinds[i].name, kinds[i].flags);
		write_control_registers(kinds[i].name, kinds[i].flags);
		write_guest(kinds[i].name, kinds[i].flags, false);
		write_guest(kinds[i].name, kinds[i].flags, true);
	}
	return tap_done();
}
