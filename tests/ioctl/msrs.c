// SPDX-License-Identifier: GPL-2.0
/*
 * Hardware MSRs: ONE_REG does what KVM_GET_MSRS and KVM_SET_MSRS of the same kernel do:
 * same result, same value, same effect.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "kvm.h"
#include "onereg.h"

#define CANARY 0xa5a5a5a5a5a5a5a5ull

/* More than a few differences add no information. */
#define MAX_DIAG 10

static unsigned int diags;

static void differs(const char *what, uint32_t msr, struct outcome o, uint64_t got, bool want_ok, uint64_t want)
{
	if (diags++ < MAX_DIAG)
		tap_diag("%s of MSR 0x%x: %d %s 0x%llx, but MSR ioctl: %s 0x%llx", what, msr, o.ret, errno_name(o.err),
			 (unsigned long long)got, want_ok ? "ok" : "failed", (unsigned long long)want);
}

/*
 * GET against KVM_GET_MSRS. A value that moves, like the TSC, must lie between
 * what the MSR ioctl says before and after.
 */
static bool same_get(const struct vm *vm, uint32_t msr)
{
	uint64_t before, after, value = CANARY;
	bool want_ok, same;
	struct outcome o;

	want_ok = msrs_get(vm, msr, &before);
	o = get_reg(vm, ID_MSR_BASE | msr, &value);
	if (!want_ok) {
		same = o.ret == -1 && o.err == EINVAL && value == CANARY;
	} else {
		same = o.ret == 0 && value == before;
		if (!same && o.ret == 0 && msrs_get(vm, msr, &after))
			same = value == after || (before <= value && value <= after) ||
			       (before >= value && value >= after);
	}
	if (!same)
		differs("GET", msr, o, value, want_ok, before);
	return same;
}

/*
 * Two equal VMs, one driven by the MSR ioctls, one by ONE_REG: they must stay equal
 * whatever a write does.
 */
struct twins {
	struct vm msrs;
	struct vm regs;
};

static void twins_create(struct twins *t, unsigned int flags)
{
	vm_create(&t->msrs, flags);
	vm_create(&t->regs, flags);
}

static void twins_destroy(struct twins *t)
{
	vm_destroy(&t->msrs);
	vm_destroy(&t->regs);
}

static bool same_set(const struct twins *t, uint32_t msr, uint64_t value)
{
	bool want_ok = msrs_set(&t->msrs, msr, value);
	struct outcome o = set_reg(&t->regs, ID_MSR_BASE | msr, value);
	bool same = want_ok ? o.ret == 0 : o.ret == -1 && o.err == EINVAL;

	if (!same)
		differs("SET", msr, o, value, want_ok, value);
	return same;
}

/* Both read back the same, unless the value changes by itself. */
static bool same_state(const struct twins *t, uint32_t msr)
{
	uint64_t a, b = 0, again;
	bool ok = msrs_get(&t->msrs, msr, &a);
	bool same = msrs_get(&t->regs, msr, &b) == ok && a == b;

	if (!same && ok) {
		sleep_ms(1);
		same = msrs_get(&t->msrs, msr, &again) && again != a;
	}
	if (!same)
		differs("result", msr, (struct outcome) { 0, 0 }, b, ok, a);
	return same;
}

static bool same_writes(const struct twins *t, uint32_t msr)
{
	uint64_t value;
	bool same = true;

	if (msrs_get(&t->msrs, msr, &value)) {
		same &= same_set(t, msr, value);
		same &= same_state(t, msr);
	}
	same &= same_set(t, msr, 0);
	same &= same_state(t, msr);
	same &= same_set(t, msr, 1);
	same &= same_state(t, msr);
	same &= same_set(t, msr, ~0ull);
	same &= same_state(t, msr);
	return same;
}

static void check_list(const struct kvm_msr_list *list, unsigned int flags, const char *name)
{
	bool get = true, set = true;
	struct twins t;
	unsigned int i;

	diags = 0;
	twins_create(&t, flags);
	for (i = 0; i < list->nmsrs; i++)
		get &= same_get(&t.regs, list->indices[i]);
	tap_ok(get, "%s: GET like KVM_GET_MSRS", name);
	for (i = 0; i < list->nmsrs; i++)
		set &= same_writes(&t, list->indices[i]);
	tap_ok(set, "%s: SET like KVM_SET_MSRS", name);
	twins_destroy(&t);
}

static void check_lists(void)
{
	struct kvm_msr_list *list = msr_list(KVM_GET_MSR_INDEX_LIST);
	struct kvm_msr_list *features = msr_list(KVM_GET_MSR_FEATURE_INDEX_LIST);

	tap_ok(list->nmsrs > 0, "there are listed MSRs");
	check_list(list, 0, "listed MSRs without CPUID");
	check_list(list, VM_CPUID, "listed MSRs with CPUID");
	check_list(list, VM_CPUID | VM_IRQCHIP, "listed MSRs with CPUID and APIC");
	check_list(features, 0, "feature MSRs without CPUID");
	check_list(features, VM_CPUID, "feature MSRs with CPUID");
	free(features);
	free(list);
}

/* MSRs that KVM_GET_MSR_INDEX_LIST does not list, or not on every host. */
static void check_unlisted(void)
{
	/* clang-format off */
	static const uint32_t unlisted[] = {
		0xc0000100, 0xc0000101, 0xc0000102,	/* FS, GS, KERNEL_GS */
		0x1b, 0x17, 0x8b, 0x9b, 0x9e, 0xce, 0xcd, 0xe7, 0xe8, 0xfe,
		0x10a, 0x10b, 0x122, 0x140, 0x179, 0x17a, 0x17b, 0x198, 0x1a0,
		0x1d9, 0x200, 0x201, 0x20f, 0x250, 0x259, 0x26f, 0x277, 0x2ff,
		0x345, 0x38d, 0x38f, 0x3b, 0x3f1, 0x400, 0x47f, 0x480, 0x491,
		0x6e0, 0x800, 0x802, 0x808, 0x830, 0xda0,
		0x40000000, 0x40000001, 0x40000002, 0x40000003, 0x40000020,
		0x40000021, 0x40000073, 0x40000080, 0x40000100, 0x40000118,
		0x11, 0x12,				/* old KVM clock */
		0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0x4b564d04,
		0x4b564d05, 0x4b564d06, 0x4b564d07, 0x4b564d08, 0x4b564d09,
		0x4b564dfe, 0x4b564dff, 0x4b564e00,
		0xc0000103, 0xc0000104, 0xc0010015, 0xc0010055, 0xc0010114,
		0xc0010117, 0xc001011f, 0xc0011029, 0xc0010000, 0xc0010200,
		0xdeadbeef, 0xffffffff,
	};
	/* clang-format on */
	struct twins t;
	unsigned int i;

	diags = 0;
	twins_create(&t, VM_CPUID);
	for (i = 0; i < ARRAY_SIZE(unlisted); i++) {
		tap_ok(same_get(&t.regs, unlisted[i]), "MSR 0x%x: GET like KVM_GET_MSRS", unlisted[i]);
		tap_ok(same_writes(&t, unlisted[i]), "MSR 0x%x: SET like KVM_SET_MSRS", unlisted[i]);
	}
	twins_destroy(&t);
}

#define X2APIC_FIRST 0x800u
#define X2APIC_LAST  0x8ffu
#define X2APIC_TPR   0x808u

static bool same_x2apic_range(const struct vm *vm)
{
	bool same = true;
	uint32_t msr;

	diags = 0;
	for (msr = X2APIC_FIRST; msr <= X2APIC_LAST; msr++)
		same &= same_get(vm, msr);
	return same;
}

static void check_x2apic(void)
{
	const uint64_t tpr_id = ID_MSR_BASE | X2APIC_TPR;
	uint64_t value = 0;
	struct outcome o;
	struct vm vm;

	vm_create(&vm, VM_CPUID);
	tap_ok(same_x2apic_range(&vm), "x2APIC MSRs without APIC");
	check_errno(get_reg(&vm, tpr_id, &value), EINVAL, "x2APIC TPR without APIC: GET");
	vm_destroy(&vm);

	vm_create(&vm, VM_CPUID | VM_IRQCHIP);
	tap_ok(same_x2apic_range(&vm), "x2APIC MSRs in xAPIC mode");
	check_errno(get_reg(&vm, tpr_id, &value), EINVAL, "x2APIC TPR in xAPIC mode: GET");
	check_errno(set_reg(&vm, tpr_id, 0), EINVAL, "x2APIC TPR in xAPIC mode: SET");
	tap_ok(vm_enable_x2apic(&vm), "x2APIC mode can be entered");
	tap_ok(same_x2apic_range(&vm), "x2APIC MSRs in x2APIC mode");
	check_errno(set_reg(&vm, tpr_id, 0x20), 0, "x2APIC TPR in x2APIC mode: SET");
	o = get_reg(&vm, tpr_id, &value);
	check_value(o, value, 0x20, "x2APIC TPR in x2APIC mode: GET");
	vm_destroy(&vm);
}

static uint32_t random_state;

static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

/* Half of them anywhere, half where MSRs are. */
static uint32_t random_msr(void)
{
	static const struct {
		uint32_t base, count;
	} dense[] = {
		{ 0, 0x1000 },	       { 0xc0000000, 0x200 }, { 0xc0010000, 0x2000 },
		{ 0x40000000, 0x200 }, { 0x4b564d00, 0x100 },
	};
	uint32_t r = next_random();
	unsigned int i = r % (2 * ARRAY_SIZE(dense));

	if (i < ARRAY_SIZE(dense))
		return dense[i].base + next_random() % dense[i].count;
	return next_random();
}

static void check_random(void)
{
	bool same = true;
	unsigned int i;
	struct vm vm;

	diags = 0;
	random_state = 0x6b766d31;
	vm_create(&vm, VM_CPUID);
	for (i = 0; i < random_msrs; i++)
		same &= same_get(&vm, random_msr());
	tap_ok(same, "random MSRs: GET like KVM_GET_MSRS");
	vm_destroy(&vm);
}

/* A register that can be written freely: each path sees what the other wrote. */
static void check_both_paths(const struct vm *vm, uint32_t msr, uint64_t value, const char *name)
{
	const uint64_t id = ID_MSR_BASE | msr;
	uint64_t got = CANARY;
	struct outcome o;

	check_errno(set_reg(vm, id, value), 0, "%s: SET", name);
	tap_ok(msrs_get(vm, msr, &got) && got == value, "%s: SET, then KVM_GET_MSRS", name);
	tap_ok(msrs_set(vm, msr, 0), "%s: KVM_SET_MSRS 0", name);
	o = get_reg(vm, id, &got);
	check_value(o, got, 0, "%s: KVM_SET_MSRS 0, then GET", name);
	tap_ok(msrs_set(vm, msr, value), "%s: KVM_SET_MSRS", name);
	o = get_reg(vm, id, &got);
	check_value(o, got, value, "%s: KVM_SET_MSRS, then GET", name);
}

static void check_refused_value(const struct vm *vm, uint32_t msr, uint64_t bad, uint64_t kept, const char *name,
				const char *why)
{
	const uint64_t id = ID_MSR_BASE | msr;
	uint64_t got = CANARY;
	struct outcome o;

	check_errno(set_reg(vm, id, bad), EINVAL, "%s: SET %s", name, why);
	o = get_reg(vm, id, &got);
	check_value(o, got, kept, "%s: SET %s: value kept", name, why);
}

static void check_values(void)
{
	static const struct {
		uint32_t msr;
		const char *name;
	} canonical[] = {
		{ 0xc0000082, "LSTAR" },   { 0xc0000083, "CSTAR" },	     { 0xc0000100, "FS_BASE" },
		{ 0xc0000101, "GS_BASE" }, { 0xc0000102, "KERNEL_GS_BASE" },
	};
	const uint64_t kernel = 0xffff888000001000ull;
	uint64_t got = 0;
	unsigned int i;
	struct vm vm;

	vm_create(&vm, VM_CPUID);
	for (i = 0; i < ARRAY_SIZE(canonical); i++) {
		uint32_t msr = canonical[i].msr;
		const char *name = canonical[i].name;
		char half[32];

		snprintf(half, sizeof(half), "%s lower half", name);
		check_both_paths(&vm, msr, 0x00007ffffffff001ull, half);
		snprintf(half, sizeof(half), "%s upper half", name);
		check_both_paths(&vm, msr, kernel, half);
		/* Neither canonical with 48 nor with 57 bits. */
		check_refused_value(&vm, msr, 1ull << 63, kernel, name, "with bit 63 alone");
		check_refused_value(&vm, msr, 1ull << 56, kernel, name, "with bit 56 alone");
	}
	/* SCE, LME and NXE; then the reserved bit 2. */
	check_both_paths(&vm, 0xc0000080, 0x901, "EFER");
	check_refused_value(&vm, 0xc0000080, 0x904, 0x901, "EFER", "with a reserved bit");
	check_both_paths(&vm, 0xc0000081, 0x0123456789abcdefull, "STAR");
	check_both_paths(&vm, 0x174, 0x10, "SYSENTER_CS");
	check_refused_value(&vm, 0x277, 0x0007040600070402ull, 0x0007040600070406ull, "PAT", "with a reserved type");

	check_errno(set_reg(&vm, ID_TSC, 1ull << 40), 0, "TSC: SET");
	get_reg(&vm, ID_TSC, &got);
	tap_ok(got >= 1ull << 40 && got < 1ull << 41, "TSC: SET, then GET: runs on from there");
	vm_destroy(&vm);
}

/*
 * A listed MSR that the vCPU does not have reads as zero and takes zero only. What is
 * listed depends on the host; CET MSRs are listed by hosts with CET.
 */
static void check_advertised_zero(void)
{
	struct kvm_msr_list *list = msr_list(KVM_GET_MSR_INDEX_LIST);
	static const uint32_t cet[] = {
		0x6a0, 0x6a2, 0x6a4, 0x6a5, 0x6a6, 0x6a7, 0x6a8,
	};
	unsigned int i, flags;
	uint64_t value;
	struct vm vm;

	for (flags = 0; flags <= VM_CPUID; flags += VM_CPUID) {
		const char *when = flags ? "with" : "without";

		vm_create(&vm, flags);
		for (i = 0; i < ARRAY_SIZE(cet); i++) {
			uint64_t id = ID_MSR_BASE | cet[i];
			bool listed = msr_listed(list, cet[i]);
			int want = listed ? 0 : EINVAL;
			struct outcome o;

			value = CANARY;
			o = get_reg(&vm, id, &value);
			tap_ok(o.err == want && value == (listed ? 0 : CANARY), "MSR 0x%x %s CPUID: GET is 0 if listed",
			       cet[i], when);
			tap_ok(set_reg(&vm, id, 0).err == want, "MSR 0x%x %s CPUID: SET 0 if listed", cet[i], when);
			check_errno(set_reg(&vm, id, 4), EINVAL, "MSR 0x%x %s CPUID: SET 4", cet[i], when);
		}
		vm_destroy(&vm);
	}
	free(list);
}

void test_msrs(void)
{
	check_values();
	check_advertised_zero();
	check_unlisted();
	check_lists();
	check_x2apic();
	check_random();
}
