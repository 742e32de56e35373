// SPDX-License-Identifier: GPL-2.0
/* Names of registers and feature bits. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "model/names.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

struct name {
	__u32 index; /* of a bit of an MSR: which << 8 | bit */
	const char *name;
};

struct cpuid_bit {
	__u32 leaf, subleaf;
	enum cpuid_register which;
	unsigned int bit;
	const char *name;
};

/* msrs, kvm_registers, xfeatures, msr_bits, cpuid_bits */
#include "names.inc"

static const char *name_in(const struct name *names, size_t n, __u32 index)
{
	for (size_t i = 0; i < n; i++)
		if (names[i].index == index)
			return names[i].name;
	return NULL;
}

const char *msr_name(__u32 index)
{
	return name_in(msrs, ARRAY_SIZE(msrs), index);
}

const char *kvm_register_name(__u32 index)
{
	return name_in(kvm_registers, ARRAY_SIZE(kvm_registers), index);
}

const char *xfeature_name(unsigned int bit)
{
	return name_in(xfeatures, ARRAY_SIZE(xfeatures), bit);
}

const char *msr_bit_name(enum msr_bits which, unsigned int bit)
{
	return name_in(msr_bits, ARRAY_SIZE(msr_bits), which << 8 | bit);
}

const char *cpuid_bit_name(__u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit)
{
	for (size_t i = 0; i < ARRAY_SIZE(cpuid_bits); i++)
		if (cpuid_bits[i].leaf == leaf && cpuid_bits[i].subleaf == subleaf && cpuid_bits[i].which == which &&
		    cpuid_bits[i].bit == bit)
			return cpuid_bits[i].name;
	return NULL;
}

static const char *without(const char *prefix, const char *name)
{
	size_t n = strlen(prefix);

	return strncasecmp(name, prefix, n) || !name[n] ? name : name + n;
}

/* The rest of a name without the prefixes on which manuals and the kernel do not agree. */
static const char *stem(const char *name)
{
	return without("IA32_", without("MSR_", name));
}

bool msr_find(const char *name, __u32 *index)
{
	unsigned int found = 0;

	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (!strcasecmp(msrs[i].name, without("MSR_", name))) {
			*index = msrs[i].index;
			return true;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (strcasecmp(stem(msrs[i].name), stem(name)))
			continue;
		if (!found || msrs[i].index != *index)
			found++;
		*index = msrs[i].index;
	}
	return found == 1;
}

bool kvm_register_find(const char *name, __u32 *index)
{
	for (size_t i = 0; i < ARRAY_SIZE(kvm_registers); i++) {
		if (strcasecmp(kvm_registers[i].name, without("KVM_REG_", without("KVM_ONEREG_REG_", name))))
			continue;
		*index = kvm_registers[i].index;
		return true;
	}
	return false;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

/* The number of characters to add, drop or change to turn @a into @b. */
static unsigned int edits_between(const char *a, const char *b)
{
	unsigned int row[64], n = strlen(b);

	if (n >= ARRAY_SIZE(row) || strlen(a) >= ARRAY_SIZE(row))
		return ARRAY_SIZE(row);
	for (unsigned int j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned int i = 0; a[i]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i + 1;
		for (unsigned int j = 1; j <= n; j++) {
			unsigned int best = diagonal + (lower(a[i]) != lower(b[j - 1]));

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

char *names_like(const char *name)
{
	struct {
		unsigned int distance;
		const char *prefix, *name;
	} best[3];
	unsigned int n = 0, most = 1 + strlen(stem(name)) / 4;
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(msrs) + ARRAY_SIZE(kvm_registers); i++) {
		bool msr = i < ARRAY_SIZE(msrs);
		const char *candidate = msr ? msrs[i].name : kvm_registers[i - ARRAY_SIZE(msrs)].name;
		unsigned int d = edits_between(stem(name), stem(candidate)), at;

		if (d > most)
			continue;
		for (at = n; at && best[at - 1].distance > d; at--)
			if (at < ARRAY_SIZE(best))
				best[at] = best[at - 1];
		if (at == ARRAY_SIZE(best))
			continue;
		best[at].distance = d;
		best[at].prefix = msr ? "" : "kvm:";
		best[at].name = candidate;
		if (n < ARRAY_SIZE(best))
			n++;
	}
	if (!n)
		return NULL;
	text = format("%s%s", best[0].prefix, best[0].name);
	for (unsigned int i = 1; i < n; i++)
		text = format("%s%s%s%s", text, i + 1 < n ? ", " : " or ", best[i].prefix, best[i].name);
	return text;
}

void names_print(FILE *to)
{
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++)
		fprintf(to, "%s\n", msrs[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(kvm_registers); i++)
		fprintf(to, "kvm:%s\n", kvm_registers[i].name);
}
