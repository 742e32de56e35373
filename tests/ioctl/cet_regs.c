// SPDX-License-Identifier: GPL-2.0
/* The registers: which vCPU has which, the values that they accept, the list, ignore_msrs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cet.h"

#define CANARY 0xa5a5a5a5a5a5a5a5ull

#define CPUID_7_ECX_SHSTK (1u << 7)
#define CPUID_7_ECX_LA57  (1u << 16)
#define CPUID_7_EDX_IBT	  (1u << 20)

/*
 * The width for which addresses must be canonical. KVM takes the host's, whatever the
 * guest's paging mode is: otherwise it would matter in which order state is restored.
 */
static unsigned int address_width(void)
{
	static unsigned int width;
	struct kvm_cpuid2 *cpuid;
	struct kvm_cpuid_entry2 *e;

	if (!width) {
		cpuid = kvm_cpuid(KVM_GET_SUPPORTED_CPUID);
		e = cpuid_entry(cpuid, 7, 0);
		width = e && (e->ecx & CPUID_7_ECX_LA57) ? 57 : 48;
		free(cpuid);
	}
	return width;
}

static bool canonical(uint64_t value)
{
	uint64_t upper = value >> (address_width() - 1);

	return !upper || upper == ~0ull >> (address_width() - 1);
}

static bool control_valid(const struct kind *k, uint64_t value)
{
	/* Bits 9:6 are reserved, 1:0 are for shadow stacks, the others for IBT. */
	if (value & 0x3c0)
		return false;
	if (!k->shstk && (value & 0x3))
		return false;
	if (!k->ibt && (value & ~0x3c3ull))
		return false;
	/* The legacy bitmap's base, and two states of the tracker at once */
	return !(value & 0x3000) && (value & 0xc00) != 0xc00;
}

static bool value_valid(const struct kind *k, const struct cet_reg *r, uint64_t value)
{
	switch (r->rule) {
	case RULE_CONTROL:
		return control_valid(k, value);
	case RULE_SSP:
		return canonical(value) && !(value & 3);
	default:
		return canonical(value);
	}
}

/* Besides each single bit */
static const uint64_t values[] = { 0,
				   3,
				   5,
				   6,
				   7,
				   8,
				   0xc,
				   0x10,
				   0x3f,
				   0x40,
				   0x400,
				   0x800,
				   0xc00,
				   0xc04,
				   0xc3f,
				   0x43f,
				   0x83f,
				   0x1000,
				   0x2000,
				   0x3000,
				   0x4000,
				   0x7000,
				   0x4004,
				   0x3fff,
				   0x123456789000,
				   0x123456789001,
				   0x123456789002,
				   0x123456789003,
				   0x123456789004,
				   0x123456789008,
				   0x7ffffffffffc,
				   0x7fffffffffff,
				   0x7fffffffc03f,
				   0x7ffffffff000,
				   0x800000000000,
				   0xffff7ffffffff000,
				   0xffff800000000000,
				   0xffff800000000001,
				   0xffff80000000c000,
				   0xfffffffffffff004,
				   0xfffffffffffffffc,
				   0xffffffffffffffff,
				   0xffffffffffffc000,
				   0xffffffffffffc43f,
				   0xffffffffffffc83f,
				   0xfffffffffffc000,
				   0xff000000000000,
				   0x100000000000000,
				   0xfeffffffffffc000,
				   0xff00000000000000,
				   0x8000000000000000,
				   0x8000000000000004,
				   0x4000000000000000,
				   0xffff0000ffff0000 };

#define SINGLE_BITS 64
#define ALL_VALUES  (SINGLE_BITS + ARRAY_SIZE(values))

/*
 * A bitmap base that is not canonical: native KVM takes it and WRMSR of U_CET faults in
 * the host. See test_bitmap().
 */
static bool not_for_native(const struct cet_reg *r, uint64_t value)
{
	return r->rule == RULE_CONTROL && !canonical(value & ~0xfffull);
}

static uint64_t nth_value(unsigned int i)
{
	return i < SINGLE_BITS ? 1ull << i : values[i - SINGLE_BITS];
}

enum path { BY_MSRS, BY_ONE_REG, PATHS };

static const char * const path_names[PATHS] = { "KVM_SET_MSRS", "ONE_REG" };

static bool set_by(enum path path, const struct vm *vm, const struct cet_reg *r, uint64_t value)
{
	struct outcome o;

	if (path == BY_MSRS)
		return msrs_set(vm, r->msr, value);
	o = reg_set(vm, r, value);
	if (o.ret && o.err != EINVAL)
		tap_bail("%s: SET: %s", r->name, errno_name(o.err));
	return !o.ret;
}

/* By every path that exists. A register that does not exist leaves the value alone. */
static bool reads_as(const struct vm *vm, const struct cet_reg *r, bool readable, uint64_t want)
{
	uint64_t value = CANARY;
	struct outcome o = reg_get(vm, r, &value);

	if (readable ? o.ret || value != want : o.ret != -1 || o.err != EINVAL || value != CANARY)
		return false;
	if (!r->msr)
		return true;
	value = CANARY;
	return msrs_get(vm, r->msr, &value) == readable && (!readable || value == want);
}

/*
 * One register of one vCPU with all values. If the vCPU does not have the register, it
 * reads as zero if KVM lists it, for VMMs that save all that is listed; otherwise it is an error.
 */
static void check_reg(const struct vm *vm, const struct kind *k, const struct cet_reg *r, enum path path,
		      const char *when)
{
	const bool listed = r->listed && (host_shstk || host_ibt);
	const bool exists = reg_exists(k, r), readable = exists || listed;
	uint64_t value, state = 0, bits = 0;
	char taken[ARRAY_SIZE(values) + 1] = "", name[96];
	bool ok, want, good = true;
	unsigned int i;

	snprintf(name, sizeof(name), "%s%s: %s by %s", k->name, when, r->name, path_names[path]);
	for (i = 0; i < ALL_VALUES && good; i++) {
		value = nth_value(i);
		if (not_for_native(r, value)) {
			if (i >= SINGLE_BITS)
				taken[i - SINGLE_BITS] = '.';
			continue;
		}
		want = exists ? value_valid(k, r, value) : listed && !value;
		ok = set_by(path, vm, r, value);
		if (i < SINGLE_BITS)
			bits |= (uint64_t)ok << i;
		else
			taken[i - SINGLE_BITS] = ok ? '+' : '-';
		if (ok)
			state = value;
		good = ok == want && reads_as(vm, r, readable, state);
		if (!good)
			tap_diag("0x%llx is %s, and then:", (unsigned long long)value, ok ? "taken" : "refused");
	}
	if (!good) {
		struct outcome o = reg_get(vm, r, &value);

		tap_diag("GET: %d %s 0x%llx", o.ret, errno_name(o.err), (unsigned long long)value);
	}
	tap_ok(good, "%s: %zu values", name, ALL_VALUES);
	tap_fact(name, "bits 0x%016llx, values %s, then %s", (unsigned long long)bits, taken,
		 readable ? "readable" : "not readable");
	/* Leave nothing behind for the next register. */
	if (readable && !set_by(path, vm, r, 0))
		tap_ok(false, "%s: 0 at the end", name);
}

static void check_regs(const struct vm *vm, const struct kind *k, const char *when)
{
	unsigned int i, path;

	for (i = 0; i < CET_REGS; i++)
		for (path = 0; path < PATHS; path++)
			if (path == BY_ONE_REG || cet_regs[i].msr)
				check_reg(vm, k, &cet_regs[i], path, when);
}

/*
 * For our modules only: they refuse what hardware would refuse. Without IBT, a vCPU refuses
 * any base, natively too.
 */
void test_bitmap(void)
{
	uint64_t value;
	struct outcome o;
	unsigned int i;
	struct vm vm;

	vm_create(&vm, kinds[0].flags);
	check_errno(reg_set(&vm, &cet_regs[0], 0x4004), 0, "U_CET: SET 0x4004");
	for (i = 0; i < ALL_VALUES; i++) {
		value = nth_value(i);
		if (!not_for_native(&cet_regs[0], value))
			continue;
		check_errno(reg_set(&vm, &cet_regs[0], value), EINVAL,
			    "U_CET: SET 0x%llx, a base that is not canonical", (unsigned long long)value);
		o = reg_get(&vm, &cet_regs[0], &value);
		check_value(o, value, 0x4004, "U_CET: value kept");
	}
	vm_destroy(&vm);
}

/* Setting one changes none of the others. */
static void check_apart(const struct vm *vm, const struct kind *k)
{
	const struct cet_reg *r;
	unsigned int i, j;
	bool good = true;

	for (i = 0; i < CET_REGS; i++) {
		r = &cet_regs[i];
		if (!reg_exists(k, r))
			continue;
		good &= !reg_set(vm, r, r->rule == RULE_CONTROL ? 0 : 0x1000 * (i + 1)).ret;
	}
	for (j = 0; j < 2; j++) {
		/* GUEST_SSP and the MSR behind it are the same. */
		for (i = 0; i < CET_REGS - 1; i++) {
			r = &cet_regs[i];
			if (reg_exists(k, r))
				good &= reads_as(vm, r, true,
						 r->rule == RULE_CONTROL ? (j ? 0x4000 * k->ibt : 0) :
									   0x1000 * (i + 1 + (!r->msr && k->shstk)));
		}
		for (i = 0; i < CET_REGS; i++)
			if (reg_exists(k, &cet_regs[i]) && cet_regs[i].rule == RULE_CONTROL)
				good &= !reg_set(vm, &cet_regs[i], 0x4000 * k->ibt).ret;
	}
	tap_ok(good, "%s: each register has a value of its own", k->name);
	for (i = 0; i < CET_REGS; i++)
		if (reg_exists(k, &cet_regs[i]))
			reg_set(vm, &cet_regs[i], 0);
}

void test_matrix(void)
{
	unsigned int i;
	struct vm vm;

	for (i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];

		vm_create(&vm, k->flags | VM_MEMORY);
		check_regs(&vm, k, "");
		check_apart(&vm, k);
		guest_load(&vm, GUEST_HLT, 0, 0);
		tap_ok(guest_run(&vm, NULL) == GUEST_DONE, "%s: runs", k->name);
		check_regs(&vm, k, " after a run");
		vm_destroy(&vm);
	}
}

/* CPUID and the list of MSRs; and the parameter of our modules. */
void test_advertised(void)
{
	struct kvm_cpuid2 *cpuid = kvm_cpuid(KVM_GET_SUPPORTED_CPUID);
	struct kvm_msr_list *list = msr_list(KVM_GET_MSR_INDEX_LIST);
	const bool any = host_shstk || host_ibt;
	struct kvm_cpuid_entry2 *e, none = { 0 };
	unsigned int i;
	const char *module = host_is("kvm_intel") ? "kvm_intel" : "kvm_amd";
	char version[32], value;

	/* The native modules have no version; nor does their parameter tell whether guests get CET. */
	snprintf(version, sizeof(version), "%s/version", module);
	if (host_is(version))
		tap_ok(module_param_get(module, "cet", &value) && value == (any ? 'Y' : 'N'),
		       "the parameter cet of %s is %c", module, any ? 'Y' : 'N');
	e = cpuid_entry(cpuid, 7, 0) ?: &none;
	tap_ok(!(e->ecx & CPUID_7_ECX_SHSTK) == !host_shstk, "SHSTK is %ssupported", host_shstk ? "" : "not ");
	tap_ok(!(e->edx & CPUID_7_EDX_IBT) == !host_ibt, "IBT is %ssupported", host_ibt ? "" : "not ");
	e = cpuid_entry(cpuid, 0xd, 1) ?: &none;
	tap_ok((e->ecx & XSS_CET) == (any ? XSS_CET : 0), "XSS bits 11 and 12 are %ssupported", any ? "" : "not ");
	for (i = 0; i < cpuid->nent; i++) {
		e = &cpuid->entries[i];
		if (e->function == 0xd) {
			char name[32];

			snprintf(name, sizeof(name), "CPUID 0xd.%u", e->index);
			tap_fact(name, "0x%x 0x%x 0x%x 0x%x", e->eax, e->ebx, e->ecx, e->edx);
		}
	}
	e = cpuid_entry(cpuid, 0xd, 11) ?: &none;
	tap_ok(any ? e->eax == 16 && (e->ecx & 1) : !e->eax && !e->ecx, "state component 11 is %s",
	       any ? "16 bytes of XSS" : "not there");
	e = cpuid_entry(cpuid, 0xd, 12) ?: &none;
	tap_ok(any ? e->eax == 24 && (e->ecx & 1) : !e->eax && !e->ecx, "state component 12 is %s",
	       any ? "24 bytes of XSS" : "not there");
	for (i = 0; i < CET_REGS; i++)
		if (cet_regs[i].msr)
			tap_ok(msr_listed(list, cet_regs[i].msr) == (any && cet_regs[i].listed), "%s is %slisted",
			       cet_regs[i].name, any && cet_regs[i].listed ? "" : "not ");
	tap_ok(msr_listed(list, MSR_XSS) == any, "XSS is %slisted", any ? "" : "not ");
	free(list);
	free(cpuid);
}

/* ---- GUEST_SSP */

static void check_faults(const struct vm *vm)
{
	struct pages p;
	uint64_t value;

	pages_create(&p);
	check_errno(set_reg(vm, ID_GUEST_SSP, 0x1000), 0, "GUEST_SSP: SET");
	check_errno(one_reg(vm->vcpu, GET_ONE_REG, ID_GUEST_SSP, 0), EFAULT, "GUEST_SSP: GET: addr NULL");
	check_errno(one_reg(vm->vcpu, SET_ONE_REG, ID_GUEST_SSP, 0), EFAULT, "GUEST_SSP: SET: addr NULL");
	check_errno(one_reg(vm->vcpu, GET_ONE_REG, ID_GUEST_SSP, user_addr(p.ro_end - 8)), EFAULT,
		    "GUEST_SSP: GET: addr read-only");
	check_errno(one_reg(vm->vcpu, SET_ONE_REG, ID_GUEST_SSP, user_addr(p.rw_end - 7)), EFAULT,
		    "GUEST_SSP: SET: addr across the end of memory");
	check_errno(one_reg(vm->vcpu, GET_ONE_REG, ID_GUEST_SSP, user_addr(p.rw_end - 8)), 0,
		    "GUEST_SSP: GET: addr up to the end of memory");
	memcpy(&value, p.rw_end - 8, 8);
	tap_ok(value == 0x1000, "GUEST_SSP: no fault has changed it");
}

static void check_bad_ids(const struct vm *vm)
{
	static const struct {
		uint64_t id;
		const char *name;
	} bad[] = {
		{ 0x2020000300000000ull, "32 bits" },
		{ 0x2000000300000000ull, "8 bits" },
		{ 0x2040000300000000ull, "128 bits" },
		{ 0x2030010300000000ull, "rsvd1" },
		{ 0x2031000300000000ull, "rsvd2" },
		{ 0x6030000300000000ull, "ARM64" },
		{ 0x2030000300000001ull, "index 1" },
		{ 0x2030000380000000ull, "index 0x80000000" },
		{ 0x203000034b564dffull, "index 0x4b564dff" },
		{ 0x20300003000006a0ull, "index of U_CET" },
		{ 0x2030000200000000ull | MSR_OLD_SSP, "MSR 0x4b564d09" },
		{ 0x2030000400000000ull, "type 4" },
		{ 0x0000000800000000ull, "2024" },
	};
	uint64_t value = CANARY;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		check_errno(get_reg(vm, bad[i].id, &value), EINVAL, "GUEST_SSP and %s: GET", bad[i].name);
		check_errno(set_reg(vm, bad[i].id, 0), EINVAL, "GUEST_SSP and %s: SET", bad[i].name);
	}
	tap_ok(value == CANARY, "no GET of a bad id stored a value");
}

/* The VMM reads and writes it like any other register; for guests it does not exist. */
static void check_guest_msr(struct vm *vm)
{
	uint64_t value = 0;

	tap_ok(guest_rdmsr(vm, MSR_INTERNAL_SSP, &value) == GUEST_GOT_GP, "a guest with SHSTK reads 0x4b564dff: #GP");
	tap_ok(guest_wrmsr(vm, MSR_INTERNAL_SSP, 0) == GUEST_GOT_GP, "a guest with SHSTK writes 0x4b564dff: #GP");
}

void test_ssp(void)
{
	static const uint64_t bad[] = {
		0x123456789001, 0x123456789002, 0x8000000000000000, 1ull << 57, 0xfeffffffffffff00,
	};
	const uint64_t good = 0x123456789000;
	uint64_t value = 0;
	struct outcome o;
	unsigned int i;
	struct vm vm;

	vm_create(&vm, kinds[0].flags | VM_MEMORY);
	if (!kinds[0].shstk) {
		check_errno(get_reg(&vm, ID_GUEST_SSP, &value), EINVAL, "GUEST_SSP: GET");
		check_errno(set_reg(&vm, ID_GUEST_SSP, 0), EINVAL, "GUEST_SSP: SET");
		check_bad_ids(&vm);
		vm_destroy(&vm);
		return;
	}
	o = get_reg(&vm, ID_GUEST_SSP, &value);
	check_value(o, value, 0, "GUEST_SSP of a new vCPU: GET");
	check_errno(set_reg(&vm, ID_GUEST_SSP, good), 0, "GUEST_SSP: SET 0x123456789000");
	o = get_reg(&vm, ID_GUEST_SSP, &value);
	check_value(o, value, good, "GUEST_SSP: GET");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		check_errno(set_reg(&vm, ID_GUEST_SSP, bad[i]), EINVAL, "GUEST_SSP: SET 0x%llx",
			    (unsigned long long)bad[i]);
		o = get_reg(&vm, ID_GUEST_SSP, &value);
		check_value(o, value, good, "GUEST_SSP: SET 0x%llx: value kept", (unsigned long long)bad[i]);
	}
	tap_ok(msrs_get(&vm, MSR_INTERNAL_SSP, &value) && value == good, "GUEST_SSP is MSR 0x4b564dff for the host");
	check_faults(&vm);
	check_bad_ids(&vm);
	check_guest_msr(&vm);
	o = get_reg(&vm, ID_GUEST_SSP, &value);
	check_value(o, value, 0x1000, "GUEST_SSP after a run: GET");
	check_errno(set_reg(&vm, ID_GUEST_SSP, good), 0, "GUEST_SSP after a run: SET");
	o = get_reg(&vm, ID_GUEST_SSP, &value);
	check_value(o, value, good, "GUEST_SSP after a run: GET again");
	vm_destroy(&vm);
}

/* ---- KVM_GET_REG_LIST */

#define ROOM 1000

static void check_room(const struct vm *vm, const struct kind *k, uint64_t n, const char *name)
{
	const uint64_t count = k->shstk;
	uint64_t list[1 + ROOM];
	bool untouched = true;
	struct outcome o;
	unsigned int i;

	for (i = 0; i <= ROOM; i++)
		list[i] = CANARY;
	list[0] = n;
	o = xioctl(vm->vcpu, GET_REG_LIST, list);
	check_errno(o, n < count ? E2BIG : 0, "%s: list: n=%s", k->name, name);
	tap_ok(list[0] == count, "%s: list: n=%s: n becomes %llu", k->name, name, (unsigned long long)count);
	for (i = 1 + (n >= count ? count : 0); i <= ROOM; i++)
		if (list[i] != CANARY)
			untouched = false;
	tap_ok(untouched, "%s: list: n=%s: the rest untouched", k->name, name);
	if (count && n)
		tap_ok(list[1] == ID_GUEST_SSP, "%s: list: n=%s: GUEST_SSP", k->name, name);
}

static void check_list_memory(const struct vm *vm, const struct kind *k)
{
	uint8_t unaligned[3 * sizeof(uint64_t)];
	uint64_t n = 1, id;
	struct pages p;

	pages_create(&p);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, NULL), EFAULT, "%s: list: NULL", k->name);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, p.none), EFAULT, "%s: list: inaccessible", k->name);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, p.ro_end - 64), EFAULT, "%s: list: read-only", k->name);
	/* n can be read and written, the entry behind it cannot. */
	memcpy(p.rw_end - 8, &n, 8);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, p.rw_end - 8), EFAULT, "%s: list: n=1 at the end of memory",
		    k->name);
	memcpy(&n, p.rw_end - 8, 8);
	tap_ok(n == 1, "%s: list: n=1 at the end of memory: n stays 1", k->name);
	n = 0;
	memcpy(p.rw_end - 8, &n, 8);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, p.rw_end - 8), E2BIG, "%s: list: n=0 at the end of memory", k->name);
	memcpy(&n, p.rw_end - 8, 8);
	tap_ok(n == 1, "%s: list: n=0 at the end of memory: n becomes 1", k->name);
	n = 7;
	memcpy(p.rw_end - 15, &n, 8);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, p.rw_end - 15), EFAULT, "%s: list: the entry is one byte short",
		    k->name);
	memcpy(&n, p.rw_end - 15, 8);
	tap_ok(n == 1, "%s: list: the entry is one byte short: n becomes 1", k->name);

	memset(unaligned, 0xa5, sizeof(unaligned));
	n = 1;
	memcpy(unaligned + 3, &n, 8);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, unaligned + 3), 0, "%s: list: unaligned", k->name);
	memcpy(&n, unaligned + 3, 8);
	memcpy(&id, unaligned + 11, 8);
	tap_ok(n == 1 && id == ID_GUEST_SSP && unaligned[2] == 0xa5 && unaligned[19] == 0xa5,
	       "%s: list: unaligned: n, GUEST_SSP, and nothing else", k->name);
}

void test_list(void)
{
	unsigned int i;
	struct vm vm;

	for (i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];

		vm_create(&vm, k->flags);
		check_room(&vm, k, 0, "0");
		check_room(&vm, k, 1, "1");
		check_room(&vm, k, 5, "5");
		check_room(&vm, k, 1000, "1000");
		/* n times 8 overflows to something small. */
		check_room(&vm, k, 1ull << 61, "2^61");
		check_room(&vm, k, 0x8000000000000000ull, "2^63");
		check_room(&vm, k, 0xffffffffffffffffull, "2^64-1");
		if (k->shstk)
			check_list_memory(&vm, k);
		vm_destroy(&vm);
	}
}

/* ---- kvm.ignore_msrs, which hides that an MSR does not exist, but not a register */

static void check_ignored(const struct kind *k)
{
	uint64_t list[1 + ROOM] = { ROOM };
	uint64_t value = CANARY;
	struct outcome o;
	unsigned int i;
	struct vm vm;

	vm_create(&vm, k->flags);
	for (i = 0; i < CET_REGS; i++) {
		const struct cet_reg *r = &cet_regs[i];
		const bool exists = reg_exists(k, r);
		const int want = exists || r->msr ? 0 : EINVAL;
		char name[64];

		snprintf(name, sizeof(name), "%s with ignore_msrs: %s", k->name, r->name);
		value = CANARY;
		o = reg_get(&vm, r, &value);
		if (want)
			check_errno(o, want, "%s: GET", name);
		else
			check_value(o, value, 0, "%s: GET", name);
		check_errno(reg_set(&vm, r, 0), want, "%s: SET 0", name);
		/* Whether a register exists is still reported if a value is invalid. */
		check_errno(reg_set(&vm, r, 0x80), exists && r->rule == RULE_CONTROL ? EINVAL : want, "%s: SET 0x80",
			    name);
		check_errno(reg_set(&vm, r, 1ull << 63 | 0x41), exists ? EINVAL : want, "%s: SET 0x8000000000000041",
			    name);
		value = CANARY;
		o = reg_get(&vm, r, &value);
		if (!want)
			check_value(o, value, exists && r->rule != RULE_CONTROL ? 0x80 : 0, "%s: GET after that", name);
		if (exists)
			reg_set(&vm, r, 0);
	}
	o = xioctl(vm.vcpu, GET_REG_LIST, list);
	check_value(o, list[0], k->shstk, "%s with ignore_msrs: list", k->name);
	vm_destroy(&vm);
}

void test_ignored(void)
{
	unsigned int i;
	char before;

	if (!kvm_param_get("ignore_msrs", &before) || !kvm_param_set("ignore_msrs", 'Y')) {
		tap_ok(false, "kvm.ignore_msrs can be written");
		return;
	}
	for (i = 0; i < KINDS; i++)
		check_ignored(&kinds[i]);
	tap_ok(kvm_param_set("ignore_msrs", before), "ignore_msrs restored");
}
