// SPDX-License-Identifier: GPL-2.0
/* Two offers: what keeps a guest that was given all of the one from going on at the other. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "model/lists.h"
#include "model/names.h"
#include "preflight/offer.h"

#define COUNT(a)	(sizeof(a) / sizeof(*(a)))
#define BIT(n)		(1ull << (n))

/* Who is not concerned by a difference. */
#define CET		1		/* guests without CET */
#define NESTED		2		/* guests that cannot run VMs of their own */

/* What the destination's value of a register, or of a field of it, has to be to the source's. */
enum relation {
	BITS,			/* has each bit that is set there */
	ABSENT,			/* has no other bits: they tell what is missing, or demanded */
	AT_LEAST,		/* is as large */
	SAME,			/* is equal, if that is not 0 */
};

static const struct {
	__u32 leaf, subleaf;
	enum cpuid_register which;
	enum relation relation;
	__u32 mask;
	const char *name;	/* of a field */
} leaves[] = {
	/* OSXSAVE is the host's own; TSC_DEADLINE_TIMER and HYPERVISOR are listed by Linux 6.14 and later only */
	{ 0x1, 0, ECX, BITS, ~(1u << 24 | 1u << 27 | 1u << 31), NULL },
	{ 0x1, 0, EDX, BITS, ~0u, NULL },
	{ 0x6, 0, EAX, BITS, ~0u, NULL },
	{ 0x6, 0, ECX, BITS, 1, NULL },
	/* FDP_EXCPTN_ONLY and ZERO_FCS_FDS tell of something that is gone */
	{ 0x7, 0, EBX, BITS, ~(1u << 6 | 1u << 13), NULL },
	{ 0x7, 0, ECX, BITS, ~(0x1fu << 17), NULL },
	{ 0x7, 0, EDX, BITS, ~0u, NULL },
	{ 0x7, 1, EAX, BITS, ~0u, NULL },
	{ 0x7, 1, EBX, BITS, ~0u, NULL },
	{ 0x7, 1, ECX, BITS, ~0u, NULL },
	{ 0x7, 1, EDX, BITS, ~0u, NULL },
	{ 0x7, 2, EDX, BITS, ~0u, NULL },
	{ 0xa, 0, EAX, AT_LEAST, 0xff, "version of the PMU" },
	{ 0xa, 0, EAX, AT_LEAST, 0xff00, "performance counters" },
	{ 0xa, 0, EAX, AT_LEAST, 0xff0000, "bits of performance counters" },
	{ 0xa, 0, EBX, ABSENT, ~0u, NULL },
	{ 0xa, 0, ECX, BITS, ~0u, NULL },
	{ 0xa, 0, EDX, AT_LEAST, 0x1f, "fixed performance counters" },
	{ 0xa, 0, EDX, AT_LEAST, 0x1fe0, "bits of fixed performance counters" },
	{ 0xd, 1, EAX, BITS, ~0u, NULL },
	{ 0x12, 0, EAX, BITS, ~0u, NULL },
	{ 0x12, 0, EBX, BITS, ~0u, NULL },
	{ 0x12, 0, EDX, AT_LEAST, 0xff, "size of a 32-bit enclave" },
	{ 0x12, 0, EDX, AT_LEAST, 0xff00, "size of an enclave" },
	{ 0x12, 1, EAX, BITS, ~0u, NULL },
	{ 0x12, 1, EBX, BITS, ~0u, NULL },
	{ 0x12, 1, ECX, BITS, ~0u, NULL },
	{ 0x12, 1, EDX, BITS, ~0u, NULL },
	{ 0x14, 0, EBX, BITS, ~0u, NULL },
	{ 0x14, 0, ECX, BITS, ~0u, NULL },
	{ 0x14, 1, EAX, AT_LEAST, 0x7, "address ranges of Intel PT" },
	{ 0x14, 1, EAX, BITS, 0xffff0000, NULL },
	{ 0x14, 1, EBX, BITS, ~0u, NULL },
	{ 0x1c, 0, EAX, BITS, ~0u, NULL },
	{ 0x1c, 0, EBX, BITS, ~0u, NULL },
	{ 0x1c, 0, ECX, BITS, ~0u, NULL },
	{ 0x1d, 1, EAX, SAME, ~0u, "tiles" },
	{ 0x1d, 1, EBX, SAME, ~0u, "tiles" },
	{ 0x1d, 1, ECX, SAME, ~0u, "tiles" },
	{ 0x1e, 0, EBX, SAME, ~0u, "tile multiplication" },
	{ 0x1e, 1, EAX, BITS, ~0u, NULL },
	{ 0x24, 0, EBX, AT_LEAST, 0xff, "version of AVX10" },
	{ 0x24, 0, EBX, BITS, 0x70000, NULL },
	{ 0x24, 1, ECX, BITS, ~0u, NULL },
	{ 0x40000001, 0, EAX, BITS, ~0u, NULL },
	{ 0x80000001, 0, ECX, BITS, ~0u, NULL },
	{ 0x80000001, 0, EDX, BITS, ~0u, NULL },
	{ 0x80000007, 0, EBX, BITS, ~0u, NULL },
	{ 0x80000008, 0, EAX, AT_LEAST, 0xff, "MAXPHYADDR" },
	{ 0x80000008, 0, EBX, BITS, ~0u, NULL },
	{ 0x8000000a, 0, EAX, AT_LEAST, 0xff, "revision of SVM" },
	{ 0x8000000a, 0, EBX, AT_LEAST, ~0u, "ASIDs" },
	{ 0x8000000a, 0, EDX, BITS, ~0u, NULL },
	{ 0x8000001b, 0, EAX, BITS, ~0u, NULL },
	{ 0x80000021, 0, EAX, BITS, ~0u, NULL },
	{ 0x80000021, 0, ECX, BITS, ~0u, NULL },
	{ 0x80000022, 0, EAX, BITS, ~0u, NULL },
	{ 0x80000022, 0, EBX, AT_LEAST, 0xf, "performance counters" },
	{ 0xc0000001, 0, EDX, BITS, ~0u, NULL },
};

/* The capability MSRs of VMX, from 0x480 on, are of guests that run VMs. */
#define VMX_FIRST	0x480
#define VMX_LAST	0x49f
#define MUST_BE_1	0xffffffffull
#define MAY_BE_1	0xffffffff00000000ull

static const struct {
	__u32 index;
	enum relation relation;
	__u64 mask;
	const char *name;
} feature_msrs[] = {
	{ 0x480, SAME, 0x7fffffff, "VMCS revision" },
	{ 0x480, SAME, 0xfull << 50, "memory type of the VMCS" },
	{ 0x480, BITS, BIT(49) | BIT(54) | BIT(55) | BIT(56), NULL },
	{ 0x480, ABSENT, BIT(48), NULL },
	{ 0x481, ABSENT, MUST_BE_1, NULL },
	{ 0x481, BITS, MAY_BE_1, NULL },
	{ 0x482, ABSENT, MUST_BE_1, NULL },
	{ 0x482, BITS, MAY_BE_1, NULL },
	{ 0x483, ABSENT, MUST_BE_1, NULL },
	{ 0x483, BITS, MAY_BE_1, NULL },
	{ 0x484, ABSENT, MUST_BE_1, NULL },
	{ 0x484, BITS, MAY_BE_1, NULL },
	{ 0x485, SAME, 0x1f, "rate of the VMX preemption timer" },
	{ 0x485, BITS, BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(14) | BIT(15) | BIT(28) | BIT(29) | BIT(30), NULL },
	{ 0x485, AT_LEAST, 0x1ff0000, "CR3-target values" },
	{ 0x485, AT_LEAST, 0xe000000, "MSRs in an MSR list" },
	{ 0x485, SAME, MAY_BE_1, "MSEG revision" },
	{ 0x486, ABSENT, ~0ull, NULL },
	{ 0x487, BITS, ~0ull, NULL },
	{ 0x488, ABSENT, ~0ull, NULL },
	{ 0x489, BITS, ~0ull, NULL },
	{ 0x48a, AT_LEAST, 0x3fe, "highest index of a VMCS field" },
	{ 0x48b, ABSENT, MUST_BE_1, NULL },
	{ 0x48b, BITS, MAY_BE_1, NULL },
	{ 0x48c, BITS, ~0ull, NULL },
	{ 0x48d, ABSENT, MUST_BE_1, NULL },
	{ 0x48d, BITS, MAY_BE_1, NULL },
	{ 0x48e, ABSENT, MUST_BE_1, NULL },
	{ 0x48e, BITS, MAY_BE_1, NULL },
	{ 0x48f, ABSENT, MUST_BE_1, NULL },
	{ 0x48f, BITS, MAY_BE_1, NULL },
	{ 0x490, ABSENT, MUST_BE_1, NULL },
	{ 0x490, BITS, MAY_BE_1, NULL },
	{ 0x491, BITS, ~0ull, NULL },
	{ 0x492, BITS, ~0ull, NULL },
	{ 0xce, BITS, BIT(31), NULL },
	{ 0xcf, BITS, ~0ull, NULL },
	/* RSBA and RRSBA tell of a weakness */
	{ 0x10a, BITS, ~(BIT(2) | BIT(19)), NULL },
	{ 0x10a, ABSENT, BIT(2) | BIT(19), NULL },
	{ 0x345, SAME, 0x3f, "format of LBRs" },
	{ 0x345, SAME, 0xf00, "format of PEBS records" },
	{ 0x345, BITS, ~0xf3full, NULL },
	{ 0xc0011029, BITS, BIT(1), NULL },
};

/* Leaves that describe one host: its caches, its topology, its clocks, its name, what it holds. */
static const __u32 of_one_host[] = {
	0x0, 0x2, 0x3, 0x4, 0x5, 0xb, 0xd, 0xf, 0x10, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1f, 0x40000000, 0x80000000,
	0x80000002, 0x80000003, 0x80000004, 0x80000005, 0x80000006, 0x80000019, 0x8000001d, 0x8000001e, 0x80000026, 0xc0000000,
};

static void add(struct json_object *list, unsigned int of, char *name, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

static void add(struct json_object *list, unsigned int of, char *name, const char *what, ...)
{
	struct json_object *object = json_object_new_object();
	va_list arguments;
	char text[160];

	va_start(arguments, what);
	vsnprintf(text, sizeof(text), what, arguments);
	va_end(arguments);
	json_object_object_add(object, "name", json_object_new_string(name));
	json_object_object_add(object, "what", json_object_new_string(text));
	json_object_object_add(object, "cet", json_object_new_boolean(of & CET));
	json_object_object_add(object, "nested", json_object_new_boolean(of & NESTED));
	json_object_array_add(list, object);
	free(name);
}

/* The bits that are in the way; for a field, all of it. */
static __u64 violation(enum relation relation, __u64 from, __u64 to, __u64 mask)
{
	from &= mask;
	to &= mask;
	switch (relation) {
	case BITS:
		return from & ~to;
	case ABSENT:
		return to & ~from;
	case AT_LEAST:
		return to < from ? mask : 0;
	case SAME:
		return from && from != to ? mask : 0;
	}
	return 0;
}

static __u64 field(__u64 value, __u64 mask)
{
	return (value & mask) >> (ffsll(mask) - 1);
}

static char *leaf_name(__u32 leaf, __u32 subleaf)
{
	if (subleaf || leaf == 7 || leaf == 0xd || leaf == 0x12 || leaf == 0x14 || leaf == 0x1e || leaf == 0x24)
		return leaf < 10 ? format("CPUID %u.%u", leaf, subleaf) : format("CPUID 0x%x.%u", leaf, subleaf);
	return leaf < 10 ? format("CPUID %u", leaf) : format("CPUID 0x%x", leaf);
}

/* "SHSTK (CPUID 7.0:ECX[7])"; the two that this package is about have a name with any headers. */
static char *bit_name(__u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit)
{
	static const char *const registers[] = { [EAX] = "EAX", [EBX] = "EBX", [ECX] = "ECX", [EDX] = "EDX" };
	const char *known = cpuid_bit_name(leaf, subleaf, which, bit);
	char *where = leaf_name(leaf, subleaf), *name;

	if (!known && leaf == 7 && !subleaf && which == ECX && bit == 7)
		known = "SHSTK";
	name = known ? format("%s (%s:%s[%u])", known, where, registers[which], bit) :
		       format("%s:%s[%u]", where, registers[which], bit);
	free(where);
	return name;
}

static unsigned int concerns_leaf(__u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit)
{
	if (leaf == 7 && !subleaf && ((which == ECX && bit == 7) || (which == EDX && bit == 20)))
		return CET;
	if ((leaf == 1 && which == ECX && bit == 5) || (leaf == 0x80000001 && which == ECX && bit == 2) || leaf == 0x8000000a)
		return NESTED;
	return 0;
}

static bool has_vmx(const struct offer *offer)
{
	return offer_bit(offer, 1, 0, ECX, 5);
}

static bool has_svm(const struct offer *offer)
{
	return offer_bit(offer, 0x80000001, 0, ECX, 2);
}

static void compare_leaves(const struct offer *from, const struct offer *to, struct json_object *obstacles)
{
	for (size_t i = 0; i < COUNT(leaves); i++) {
		struct leaf source = offer_leaf(from, leaves[i].leaf, leaves[i].subleaf);
		struct leaf destination = offer_leaf(to, leaves[i].leaf, leaves[i].subleaf);
		__u32 a = source.reg[leaves[i].which], b = destination.reg[leaves[i].which];
		__u32 wrong = violation(leaves[i].relation, a, b, leaves[i].mask);
		char *where;

		/* No PMU, nothing to miss; no SVM, nothing more to say */
		if (!wrong || (leaves[i].leaf == 0xa && !(source.reg[EAX] & 0xff)) ||
		    (leaves[i].leaf == 0x8000000a && !(has_svm(from) && has_svm(to))))
			continue;
		if (leaves[i].relation == AT_LEAST || leaves[i].relation == SAME) {
			where = leaf_name(leaves[i].leaf, leaves[i].subleaf);
			add(obstacles, concerns_leaf(leaves[i].leaf, 0, EAX, 0), format("%s (%s)", leaves[i].name, where),
			    "%llu, at the destination %llu", field(a, leaves[i].mask), field(b, leaves[i].mask));
			free(where);
			continue;
		}
		for (unsigned int bit = 0; bit < 32; bit++)
			if (wrong >> bit & 1)
				add(obstacles, concerns_leaf(leaves[i].leaf, leaves[i].subleaf, leaves[i].which, bit),
				    bit_name(leaves[i].leaf, leaves[i].subleaf, leaves[i].which, bit), "%s",
				    leaves[i].relation == BITS ? "not offered by the destination" : "an event that the destination lacks");
	}
}

static char *component(unsigned int bit)
{
	return xfeature_name(bit) ? format("XSAVE state %s", xfeature_name(bit)) : format("XSAVE state %u", bit);
}

static void compare_xsave(const struct offer *from, const struct offer *to, struct json_object *obstacles)
{
	__u64 xcr0 = offer_xcr0(from), xss = offer_xss(from), missing;

	missing = (xcr0 & ~offer_xcr0(to)) | (xss & ~offer_xss(to));
	for (unsigned int bit = 0; bit < 64; bit++) {
		unsigned int of = XSS_CET >> bit & 1 ? CET : 0;
		struct leaf a = offer_leaf(from, 0xd, bit), b = offer_leaf(to, 0xd, bit);

		if (!((xcr0 | xss) >> bit & 1))
			continue;
		if (missing >> bit & 1)
			add(obstacles, of, component(bit), "not in %s of the destination", xcr0 >> bit & 1 ? "XCR0" : "IA32_XSS");
		else if (bit > 1 && (a.reg[EAX] != b.reg[EAX] || a.reg[EBX] != b.reg[EBX]))
			add(obstacles, of, component(bit), "%u bytes at %u, at the destination %u at %u", a.reg[EAX], a.reg[EBX],
			    b.reg[EAX], b.reg[EBX]);
	}
}

static const struct msr_value *feature(const struct offer *offer, __u32 index)
{
	for (size_t i = 0; i < offer->n_features; i++)
		if (offer->features[i].index == index)
			return &offer->features[i];
	return NULL;
}

static char *name_of_msr(__u32 index)
{
	return msr_name(index) ? format("%s", msr_name(index)) : format("MSR 0x%x", index);
}

static bool is_vmx_msr(__u32 index)
{
	return index >= VMX_FIRST && index <= VMX_LAST;
}

/* "EXIT_LOAD_CET_STATE (IA32_VMX_EXIT_CTLS)"; may-be-1 bits are named by their number in the control. */
static char *feature_bit_name(__u32 index, unsigned int bit)
{
	static const struct {
		__u32 index, true_index;
		enum msr_bits which;
	} controls[] = {
		{ 0x481, 0x48d, PINBASED }, { 0x482, 0x48e, PROCBASED }, { 0x483, 0x48f, EXIT }, { 0x484, 0x490, ENTRY },
		{ 0x48b, 0x48b, PROCBASED2 },
	};
	const char *known = NULL;
	char *msr = name_of_msr(index), *name;

	for (size_t i = 0; i < COUNT(controls); i++) {
		if (index != controls[i].index && index != controls[i].true_index)
			continue;
		bit %= 32;
		known = msr_bit_name(controls[i].which, bit);
	}
	if (index == 0x492)
		known = msr_bit_name(PROCBASED3, bit);
	if (index == 0x10a)
		known = msr_bit_name(ARCH_CAPABILITIES, bit);
	name = known ? format("%s (%s[%u])", known, msr, bit) : format("%s[%u]", msr, bit);
	free(msr);
	return name;
}

static unsigned int concerns_feature(__u32 index, unsigned int bit)
{
	if (!is_vmx_msr(index))
		return 0;
	/* #CP without an error code, CR4.CET, and loading of CET's state at VM exit and entry */
	if ((index == 0x480 && bit == 56) || (index == 0x489 && bit == 23) ||
	    ((index == 0x483 || index == 0x48f) && bit % 32 == 28) || ((index == 0x484 || index == 0x490) && bit % 32 == 20))
		return CET | NESTED;
	return NESTED;
}

static void compare_features(const struct offer *from, const struct offer *to, struct json_object *obstacles)
{
	bool vmx = has_vmx(from) && has_vmx(to), true_controls = feature(from, 0x48d) && feature(to, 0x48d);

	for (size_t i = 0; i < COUNT(feature_msrs); i++) {
		__u32 index = feature_msrs[i].index;
		const struct msr_value *a = feature(from, index), *b = feature(to, index);
		__u64 wrong;

		/* What the "true" MSRs say, four others say again */
		if (is_vmx_msr(index) && (!vmx || (true_controls && index >= 0x481 && index <= 0x484)))
			continue;
		/* Which of them are told depends on the version of KVM. Of VMX's all are, if they are there. */
		if (!a || (!b && !is_vmx_msr(index)))
			continue;
		wrong = violation(feature_msrs[i].relation, a->value, b ? b->value : 0, feature_msrs[i].mask);
		if (wrong && (feature_msrs[i].relation == AT_LEAST || feature_msrs[i].relation == SAME)) {
			char *msr = name_of_msr(index);

			add(obstacles, concerns_feature(index, 0), format("%s (%s)", feature_msrs[i].name, msr),
			    "%llu, at the destination %llu", field(a->value, wrong), field(b ? b->value : 0, wrong));
			free(msr);
			continue;
		}
		for (unsigned int bit = 0; bit < 64; bit++)
			if (wrong >> bit & 1)
				add(obstacles, concerns_feature(index, bit), feature_bit_name(index, bit), "%s",
				    feature_msrs[i].relation == BITS ? "not offered by the destination" :
				    is_vmx_msr(index) ? "the destination demands it" : "a weakness that only the destination has");
	}
}

static bool lists_msr(const struct offer *offer, __u32 index)
{
	for (size_t i = 0; i < offer->n_msrs; i++)
		if (offer->msrs[i] == index)
			return true;
	return false;
}

#define MSR_XSS		0xda0
#define HYPERV_FIRST	0x40000000
#define HYPERV_LAST	0x40001fff

/* Leaf 0xa and others tell how many there are; some kernels list them all, some as many as the host has. */
static bool is_pmu_msr(__u32 index)
{
	static const struct {
		__u32 first, last;
	} ranges[] = {
		{ 0xc1, 0xc8 }, { 0x186, 0x18d }, { 0x309, 0x318 }, { 0x38d, 0x390 }, { 0x3f1, 0x3f2 }, { 0x4c1, 0x4c8 },
		{ 0x600, 0x600 }, { 0xc0000300, 0xc0000303 }, { 0xc0010000, 0xc0010007 }, { 0xc0010200, 0xc001020b },
	};

	for (size_t i = 0; i < COUNT(ranges); i++)
		if (index >= ranges[i].first && index <= ranges[i].last)
			return true;
	return false;
}

/*
 * MSRs that KVM lists to be saved. What comes with a feature is an obstacle by that, and that a kernel does not list an
 * MSR does not tell that it has not got it: a warning, but for the state of CET.
 */
static void compare_msrs(const struct offer *from, const struct offer *to, struct json_object *obstacles,
			 struct json_object *warnings)
{
	for (size_t i = 0; i < from->n_msrs; i++) {
		__u32 index = from->msrs[i];

		if (lists_msr(to, index) || is_vmx_msr(index) || is_pmu_msr(index))
			continue;
		/* U_CET, S_CET, PL0_SSP to PL3_SSP, INT_SSP_TAB; XSS if there is nothing else in it */
		if ((index >= 0x6a0 && index <= 0x6a8) || (index == MSR_XSS && !(offer_xss(from) & ~XSS_CET)))
			add(obstacles, CET, name_of_msr(index), "no MSR of the destination, so its value would be lost");
		else if (index >= HYPERV_FIRST && index <= HYPERV_LAST)
			add(warnings, 0, name_of_msr(index), "not saved at the destination (matters to guests with hv-... flags)");
		else
			add(warnings, 0, name_of_msr(index), "not saved at the destination (matters to guests that use it)");
	}
}

static void compare_registers(const struct offer *from, const struct offer *to, struct json_object *obstacles)
{
	const __u64 guest_ssp = KVM_X86_REG_KVM(KVM_REG_GUEST_SSP);

	if (offer_bit(from, 7, 0, ECX, 7) && !from->one_reg)
		add(obstacles, CET, format("KVM_CAP_ONE_REG"), "the source has none, so the shadow stack pointer cannot be saved");
	if (offer_bit(from, 7, 0, ECX, 7) && !to->one_reg)
		add(obstacles, CET, format("KVM_CAP_ONE_REG"), "the destination has none, so the shadow stack pointer would be lost");
	for (size_t i = 0; i < from->n_registers; i++) {
		const char *known = kvm_register_name(from->registers[i]);
		bool there = false;

		for (size_t j = 0; j < to->n_registers; j++)
			there |= to->registers[j] == from->registers[i];
		if (!there)
			add(obstacles, from->registers[i] == guest_ssp ? CET : 0,
			    known && from->registers[i] == KVM_X86_REG_KVM((__u32)from->registers[i]) ? format("kvm:%s", known) :
			    format("register 0x%llx", from->registers[i]), "no register of the destination, so its value would be lost");
	}
}

static int capability(const struct offer *offer, const char *name)
{
	for (size_t i = 0; i < offer->n_capabilities; i++)
		if (!strcmp(offer->capabilities[i].name, name))
			return offer->capabilities[i].value;
	return 0;
}

static void compare_capabilities(const struct offer *from, const struct offer *to, struct json_object *obstacles,
				 struct json_object *warnings)
{
	/* Told in another place, and what only some guests use */
	static const char *const elsewhere[] = { "KVM_CAP_ONE_REG", "KVM_CAP_XSAVE2", "KVM_CAP_TSC_CONTROL" };
	static const char *const on_demand[] = { "KVM_CAP_HYPERV", "KVM_CAP_HYPERV_SYNIC2", "KVM_CAP_MAX_VCPUS" };

	for (size_t i = 0; i < from->n_capabilities; i++) {
		const char *name = from->capabilities[i].name;
		int a = from->capabilities[i].value, b = capability(to, name);
		bool skip = false, optional = false, nested = !strcmp(name, "KVM_CAP_NESTED_STATE");

		for (size_t j = 0; j < COUNT(elsewhere); j++)
			skip |= !strcmp(name, elsewhere[j]);
		for (size_t j = 0; j < COUNT(on_demand); j++)
			optional |= !strcmp(name, on_demand[j]);
		if (!strcmp(name, "KVM_CAP_MAX_VCPUS") && b < a)
			add(warnings, 0, format("%s", name), "%d, at the destination %d", a, b);
		else if (!skip && a > 0 && b <= 0)
			add(optional ? warnings : obstacles, nested ? NESTED : 0, format("%s", name), "the destination has none");
	}
}

/* KVM scales no difference that is within this, as its tsc_tolerance_ppm has it */
#define TOLERANCE_PPM	250

static bool same_speed(const struct offer *a, const struct offer *b)
{
	long long difference = (long long)a->tsc_khz - b->tsc_khz;

	return a->tsc_khz <= 0 || b->tsc_khz <= 0 || llabs(difference) * 1000000 <= (long long)a->tsc_khz * TOLERANCE_PPM;
}

void offer_compare(const struct offer *from, const struct offer *to, struct json_object *obstacles,
		   struct json_object *warnings)
{
	if (strcmp(from->vendor, to->vendor)) {
		/* All else would follow from it */
		add(obstacles, 0, format("CPU vendor"), "%s, at the destination %s", from->vendor, to->vendor);
		return;
	}
	compare_leaves(from, to, obstacles);
	compare_xsave(from, to, obstacles);
	compare_msrs(from, to, obstacles, warnings);
	compare_features(from, to, obstacles);
	compare_registers(from, to, obstacles);
	compare_capabilities(from, to, obstacles, warnings);
	if (!same_speed(from, to) && !to->tsc_scaling)
		add(warnings, 0, format("TSC"), "%d kHz, at the destination %d kHz, which cannot scale it, so clocks of the guest go wrong",
		    from->tsc_khz, to->tsc_khz);
}

static void note(struct json_object *notes, char *text)
{
	json_object_array_add(notes, json_object_new_string(text));
	free(text);
}

static void note_text(struct json_object *notes, const char *what, const char *a, const char *b)
{
	if (strcmp(a ?: "none", b ?: "none"))
		note(notes, format("%s: %s, %s", what, a ?: "none", b ?: "none"));
}

static bool is_compared(__u32 leaf, __u32 subleaf, enum cpuid_register which)
{
	for (size_t i = 0; i < COUNT(of_one_host); i++)
		if (of_one_host[i] == leaf)
			return true;
	for (size_t i = 0; i < COUNT(leaves); i++)
		if (leaves[i].leaf == leaf && leaves[i].subleaf == subleaf && leaves[i].which == which)
			return true;
	return false;
}

/* Registers of leaves that nothing above is about */
static void note_leaves(const struct offer *a, const struct offer *b, struct json_object *notes, bool only_a)
{
	static const char *const registers[] = { [EAX] = "EAX", [EBX] = "EBX", [ECX] = "ECX", [EDX] = "EDX" };

	for (size_t i = 0; i < a->n_cpuid; i++) {
		struct leaf there = offer_leaf(b, a->cpuid[i].leaf, a->cpuid[i].subleaf);

		for (int which = EAX; which <= EDX; which++) {
			__u32 x = a->cpuid[i].reg[which], y = there.reg[which];

			/* The second time round: what a has and b has not was there the first time */
			if (x == y || (only_a && y) || is_compared(there.leaf, there.subleaf, which) ||
			    ((there.leaf == 1 || there.leaf == 0x80000001) && (which == EAX || which == EBX)))
				continue;
			note(notes, only_a ? format("CPUID 0x%x.%u %s: 0, 0x%x", there.leaf, there.subleaf, registers[which], x) :
				    format("CPUID 0x%x.%u %s: 0x%x, 0x%x", there.leaf, there.subleaf, registers[which], x, y));
		}
	}
}

static bool same_leaves(const struct leaf *a, size_t n, const struct leaf *b, size_t m)
{
	if (n != m)
		return false;
	for (size_t i = 0; i < n; i++)
		if (memcmp(&a[i], &b[i], sizeof(*a)))
			return false;
	return true;
}

void offer_differences(const struct offer *a, const struct offer *b, struct json_object *notes)
{
	note_text(notes, "kernel", a->kernel, b->kernel);
	note_text(notes, "kvm-onereg's modules", a->kvm_version, b->kvm_version);
	note_text(notes, "CPU", a->cpu, b->cpu);
	if (a->family != b->family || a->model != b->model || a->stepping != b->stepping)
		note(notes, format("family, model, stepping: %d %d %d, %d %d %d", a->family, a->model, a->stepping, b->family, b->model,
				   b->stepping));
	if (strcmp(a->vendor, b->vendor))
		return;
	if (!same_speed(a, b))
		note(notes, format("TSC: %d kHz, %d kHz", a->tsc_khz, b->tsc_khz));
	note_leaves(a, b, notes, false);
	note_leaves(b, a, notes, true);
	if (!same_leaves(a->emulated, a->n_emulated, b->emulated, b->n_emulated))
		note(notes, format("what KVM emulates (KVM_GET_EMULATED_CPUID) is not the same"));
	for (size_t i = 0; i < a->n_features; i++) {
		const struct msr_value *there = feature(b, a->features[i].index);
		bool known = false;

		for (size_t j = 0; j < COUNT(feature_msrs); j++)
			known |= feature_msrs[j].index == a->features[i].index;
		if (there && !known && there->value != a->features[i].value) {
			char *name = name_of_msr(there->index);

			note(notes, format("%s: 0x%llx, 0x%llx", name, a->features[i].value, there->value));
			free(name);
		}
	}
}
