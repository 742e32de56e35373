// SPDX-License-Identifier: GPL-2.0
/* Which parts of CPUID and which MSRs matter, and how. */
#include <strings.h>

#include "base/text.h"
#include "model/names.h"
#include "model/offer-rules.h"

#define BIT(n)	  (1ull << (n))
#define MUST_BE_1 0xffffffffull
#define MAY_BE_1  0xffffffff00000000ull

const struct leaf_rule leaf_rules[] = {
	/* OSXSAVE is the host's own; TSC_DEADLINE_TIMER and HYPERVISOR are listed by Linux 6.14 and later only */
	{ 0x1, 0, ECX, BITS, ~(1u << 24 | 1u << 27 | 1u << 31), NULL },
	{ 0x1, 0, EDX, BITS, ~0u, NULL },
	{ 0x6, 0, EAX, BITS, ~0u, NULL },
	{ 0x6, 0, ECX, BITS, 1, NULL },
	/* FDP_EXCPTN_ONLY and ZERO_FCS_FDS indicate a removed feature */
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
	{}
};

const struct msr_rule msr_rules[] = {
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
	/* RSBA and RRSBA indicate a weakness */
	{ 0x10a, BITS, ~(BIT(2) | BIT(19)), NULL },
	{ 0x10a, ABSENT, BIT(2) | BIT(19), NULL },
	{ 0x345, SAME, 0x3f, "format of LBRs" },
	{ 0x345, SAME, 0xf00, "format of PEBS records" },
	{ 0x345, BITS, ~0xf3full, NULL },
	{ 0xc0011029, BITS, BIT(1), NULL },
	{}
};

/* Leaves that describe one host: its caches, its topology, its clocks, its name, what it holds. */
static const __u32 of_one_host[] = {
	0x0,	    0x2,	0x3,	    0x4,	0x5,	    0xb,	0xd,	    0xf,
	0x10,	    0x15,	0x16,	    0x17,	0x18,	    0x19,	0x1a,	    0x1b,
	0x1f,	    0x40000000, 0x80000000, 0x80000002, 0x80000003, 0x80000004, 0x80000005, 0x80000006,
	0x80000019, 0x8000001d, 0x8000001e, 0x80000026, 0xc0000000,
};

bool is_of_one_host(__u32 leaf)
{
	for (size_t i = 0; i < sizeof(of_one_host) / sizeof(*of_one_host); i++)
		if (of_one_host[i] == leaf)
			return true;
	return false;
}

bool is_feature_leaf(__u32 leaf)
{
	static const __u32 leaves[] = {
		0x1, 0x6, 0x7, 0xd, 0x80000001, 0x80000007, 0x80000008, 0x8000000a, 0x80000021
	};

	for (size_t i = 0; i < sizeof(leaves) / sizeof(*leaves); i++)
		if (leaves[i] == leaf)
			return true;
	return false;
}

__u64 violation(enum relation relation, __u64 from, __u64 to, __u64 mask)
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

__u64 field_value(__u64 value, __u64 mask)
{
	return (value & mask) >> (ffsll(mask) - 1);
}

char *leaf_name(__u32 leaf, __u32 subleaf)
{
	if (subleaf || leaf == 7 || leaf == 0xd || leaf == 0x12 || leaf == 0x14 || leaf == 0x1e || leaf == 0x24)
		return leaf < 10 ? format("CPUID %u.%u", leaf, subleaf) : format("CPUID 0x%x.%u", leaf, subleaf);
	return leaf < 10 ? format("CPUID %u", leaf) : format("CPUID 0x%x", leaf);
}

char *bit_name(__u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit)
{
	static const char * const registers[] = { [EAX] = "EAX", [EBX] = "EBX", [ECX] = "ECX", [EDX] = "EDX" };
	const char *known = cpuid_bit_name(leaf, subleaf, which, bit);
	char *where = leaf_name(leaf, subleaf);

	if (!known && leaf == 7 && !subleaf && which == ECX && bit == 7)
		known = "SHSTK";
	return known ? format("%s (%s:%s[%u])", known, where, registers[which], bit) :
		       format("%s:%s[%u]", where, registers[which], bit);
}

char *name_of_msr(__u32 index)
{
	return msr_name(index) ? format("%s", msr_name(index)) : format("MSR 0x%x", index);
}

bool is_vmx_msr(__u32 index)
{
	return index >= VMX_FIRST && index <= VMX_LAST;
}
