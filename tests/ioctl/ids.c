// SPDX-License-Identifier: GPL-2.0
/* Register ids, bit by bit. */
#include <errno.h>
#include <stdio.h>

#include <asm/kvm_onereg.h>

#include "kvm.h"
#include "onereg.h"

/* The header for VMMs builds the same ids as the tests use. */
_Static_assert(KVM_X86_REG_MSR(0x10) == ID_TSC, "TSC");
_Static_assert(KVM_X86_REG_MSR(0xc0000080) == ID_EFER, "EFER");
_Static_assert(KVM_X86_REG_KVM(KVM_REG_GUEST_SSP) == ID_GUEST_SSP, "SSP");
_Static_assert(KVM_GET_ONE_REG == GET_ONE_REG, "GET");
_Static_assert(KVM_SET_ONE_REG == SET_ONE_REG, "SET");
_Static_assert(KVM_GET_REG_LIST == GET_REG_LIST, "list");
_Static_assert(KVM_CAP_ONE_REG == CAP_ONE_REG, "capability");

#define CANARY 0xa5a5a5a5a5a5a5a5ull

static bool failed_get_stored;

/* GET and SET where only the id is wrong. */
static void check_bad_id(const struct vm *vm, uint64_t id, const char *name, const char *detail)
{
	uint64_t value = CANARY;

	check_errno(get_reg(vm, id, &value), EINVAL, "%s %s: GET", name, detail);
	if (value != CANARY)
		failed_get_stored = true;
	check_errno(set_reg(vm, id, 0), EINVAL, "%s %s: SET", name, detail);
}

static void check_golden_bad_ids(const struct vm *vm)
{
	static const struct {
		uint64_t id;
		const char *name;
	} bad[] = {
		{ 0x2020000200000010ull, "32-bit TSC" },
		{ 0x2030000400000000ull, "type 4" },
		{ 0x2030010200000010ull, "rsvd1" },
		{ 0x2031000200000010ull, "rsvd2" },
		{ 0x6030000200000010ull, "ARM64" },
		{ 0x6030000000000000ull, "ARM64 core register" },
		{ 0x0000000000000000ull, "zero" },
		{ 0x0000000000000010ull, "bare TSC index" },
		{ 0xffffffffffffffffull, "all ones" },
		/* The 2024 discussion: types 4 and 8, no size, no arch. */
		{ 0x0000000400000010ull, "2024 TSC" },
		{ 0x00000004c0000080ull, "2024 EFER" },
		{ 0x0000000800000000ull, "2024 synthetic SSP" },
		{ 0x2030000400000010ull, "2024 TSC with size and arch" },
		{ 0x20300004c0000080ull, "2024 EFER with size and arch" },
		{ 0x2030000800000000ull, "2024 synthetic with size and arch" },
		/* The result of sign extension of an int index. */
		{ 0xffffffffc0000080ull, "sign-extended EFER" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		check_bad_id(vm, bad[i].id, "bad id:", bad[i].name);
}

static void check_bad_field(const struct vm *vm, uint64_t id, const char *name, unsigned int n)
{
	char detail[8];

	snprintf(detail, sizeof(detail), "%u", n);
	check_bad_id(vm, id, name, detail);
}

static void check_fields(const struct vm *vm)
{
	unsigned int i;
	uint64_t value;

	for (i = 0; i < 256; i++) {
		uint64_t id = 0x2030000000000010ull | (uint64_t)i << 32;

		if (i != 2)
			check_bad_field(vm, id, "type", i);
	}
	for (i = 0; i < 16; i++) {
		uint64_t id = 0x2000000200000010ull | (uint64_t)i << 52;

		if (i != 3)
			check_bad_field(vm, id, "size", i);
	}
	for (i = 40; i < 52; i++)
		check_bad_field(vm, ID_TSC ^ 1ull << i, "reserved bit", i);
	for (i = 56; i < 64; i++)
		check_bad_field(vm, ID_TSC ^ 1ull << i, "architecture bit", i);
	/* The valid id next to all of these. */
	check_errno(get_reg(vm, ID_TSC, &value), 0, "TSC: GET");
}

static void check_kvm_defined(const struct vm *vm, const char *when)
{
	static const struct {
		uint64_t id;
		const char *name;
	} ids[] = {
		{ 0x2030000300000000ull, "GUEST_SSP" },
		{ 0x2030000300000001ull, "KVM-defined 1" },
		{ 0x203000037fffffffull, "KVM-defined 0x7fffffff" },
		{ 0x2030000380000000ull, "KVM-defined 0x80000000" },
		{ 0x20300003ff000000ull, "KVM-defined 0xff000000" },
		{ 0x20300003ffffffffull, "KVM-defined 0xffffffff" },
		/* MSR numbers mean nothing here. */
		{ 0x2030000300000010ull, "KVM-defined TSC" },
		{ 0x20300003c0000080ull, "KVM-defined EFER" },
		{ 0x203000034b564dffull, "KVM-defined 0x4b564dff" },
		/* Field errors in an otherwise good id. */
		{ 0x2020000300000000ull, "32-bit GUEST_SSP" },
		{ 0x2000000300000000ull, "8-bit GUEST_SSP" },
		{ 0x2030010300000000ull, "GUEST_SSP with rsvd1" },
		{ 0x2031000300000000ull, "GUEST_SSP with rsvd2" },
		{ 0x6030000300000000ull, "ARM64 GUEST_SSP" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ids); i++)
		check_bad_id(vm, ids[i].id, ids[i].name, when);
	/* SSP, under the MSR numbers that KVM has used for it. */
	check_bad_id(vm, ID_MSR_BASE | MSR_INTERNAL_SSP, "MSR 0x4b564dff", when);
	check_bad_id(vm, ID_MSR_BASE | MSR_OLD_SSP, "MSR 0x4b564d09", when);
}

static void check_good_ids(const struct vm *vm, const char *when)
{
	static const struct {
		uint64_t id;
		const char *name;
		bool constant;
	} good[] = {
		{ 0x2030000200000010ull, "TSC", false },
		{ 0x20300002c0000080ull, "EFER", true },
		{ 0x2030000200000da0ull, "XSS", true },
		{ 0x203000024b564d00ull, "WALL_CLOCK_NEW", true },
		{ 0x203000024b564d01ull, "SYSTEM_TIME_NEW", true },
		{ 0x20300002c0000081ull, "STAR", true },
		{ 0x20300002c0000082ull, "LSTAR", true },
		{ 0x20300002c0000083ull, "CSTAR", true },
		{ 0x20300002c0000084ull, "SYSCALL_MASK", true },
		{ 0x20300002c0000100ull, "FS_BASE", true },
		{ 0x20300002c0000101ull, "GS_BASE", true },
		{ 0x20300002c0000102ull, "KERNEL_GS_BASE", true },
		{ 0x2030000200000174ull, "SYSENTER_CS", true },
		{ 0x2030000200000175ull, "SYSENTER_ESP", true },
		{ 0x2030000200000176ull, "SYSENTER_EIP", true },
	};
	struct outcome o;
	uint64_t value;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		o = get_reg(vm, good[i].id, &value);
		if (good[i].constant)
			check_value(o, value, 0, "%s %s: GET", good[i].name, when);
		else
			check_errno(o, 0, "%s %s: GET", good[i].name, when);
	}
	o = get_reg(vm, 0x2030000200000277ull, &value);
	check_value(o, value, 0x0007040600070406ull, "PAT %s: GET", when);
}

void test_ids(void)
{
	struct vm vm;

	vm_create(&vm, 0);
	check_good_ids(&vm, "without CPUID");
	check_golden_bad_ids(&vm);
	check_fields(&vm);
	check_kvm_defined(&vm, "without CPUID");
	vm_destroy(&vm);

	vm_create(&vm, VM_CPUID);
	check_good_ids(&vm, "with CPUID");
	check_kvm_defined(&vm, "with CPUID");
	vm_destroy(&vm);
	tap_ok(!failed_get_stored, "no GET of a bad id stored a value");
}
