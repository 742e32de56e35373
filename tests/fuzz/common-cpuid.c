// SPDX-License-Identifier: GPL-2.0
/* CPUID and MSRs that all kernels can offer: what a newer kernel adds would make guests see different CPUs. */
#include "fuzz.h"

static const struct {
	uint32_t function, index, eax, ebx, ecx, edx;
} kept[] = {
	{ 0x0, 0, ~0u, ~0u, ~0u, ~0u },
	/* Without the bits that a VMM sets itself: hypervisor, TSC deadline. */
	{ 0x1, 0, ~0u, 0x00ffffff, ~(1u << 31 | 1u << 24), ~0u },
	{ 0x7, 0, 0, 0x3fffffff, 0x1e435fde | 1u << 7, 0xec194400 | 1u << 20 },
	{ 0xd, 0, 0x2e7, ~0u, ~0u, 0 },
	{ 0xd, 1, 0xf, 0, 3u << 11, 0 },
	{ 0xd, 2, ~0u, ~0u, ~0u, 0 },
	{ 0xd, 9, ~0u, ~0u, ~0u, 0 },
	{ 0xd, 11, ~0u, ~0u, ~0u, 0 },
	{ 0xd, 12, ~0u, ~0u, ~0u, 0 },
	{ 0x80000000, 0, ~0u, ~0u, ~0u, ~0u },
	{ 0x80000001, 0, ~0u, 0, 0x7f7, ~0u },
	{ 0x80000008, 0, 0xffff, 0, 0, 0 },
	/* SVM: nested paging, NRIPS, and what the emulated CPUs have of the rest. */
	{ 0x8000000a, 0, ~0u, ~0u, 0, 0x9 },
	{ 0x40000000, 0, 0x40000001, ~0u, ~0u, ~0u },
	{ 0x40000001, 0, 0x01007efb, 0, 0, 0 },
};

void fuzz_cpuid(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	unsigned int i, j, n = 0;

	(void)cpu;
	for (i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 e = cpuid->entries[i];

		for (j = 0; j < ARRAY_SIZE(kept); j++)
			if (e.function == kept[j].function && e.index == kept[j].index)
				break;
		if (j == ARRAY_SIZE(kept))
			continue;
		e.eax &= kept[j].eax;
		e.ebx &= kept[j].ebx;
		e.ecx &= kept[j].ecx;
		e.edx &= kept[j].edx;
		switch (e.function) {
		case 0: /* the highest leaves */
			e.eax = 0xd;
			break;
		case 0x80000000:
			e.eax = 0x8000000a;
			break;
		case 0x40000000:
			e.eax = 0x40000001;
			break;
		}
		cpuid->entries[n++] = e;
	}
	cpuid->nent = n;
}

static const struct {
	uint32_t msr;
	uint64_t newer;
} capabilities[] = {
	{ 0x48b, 1ull << 54 }, /* VMX: mode-based execute control for EPT */
	{ 0x48c, 1ull << 22 }, /* VMX: advanced information on EPT violations */
};

void fuzz_capabilities(struct cpu *c)
{
	unsigned int i;
	uint64_t value;

	for (i = 0; i < ARRAY_SIZE(capabilities); i++)
		if (msrs_get(&c->io, capabilities[i].msr, &value) && value & capabilities[i].newer &&
		    !msrs_set(&c->io, capabilities[i].msr, value & ~capabilities[i].newer))
			tap_bail("MSR 0x%x is not set", capabilities[i].msr);
}
