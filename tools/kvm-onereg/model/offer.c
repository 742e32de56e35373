// SPDX-License-Identifier: GPL-2.0
/* What a host offers. */
#include <stdlib.h>
#include <string.h>

#include "model/names.h"
#include "model/offer.h"

void offer_free(struct offer *offer)
{
	json_object_put(offer->json);
}

struct leaf offer_leaf(const struct offer *offer, __u32 leaf, __u32 subleaf)
{
	for (size_t i = 0; i < offer->n_cpuid; i++)
		if (offer->cpuid[i].leaf == leaf && offer->cpuid[i].subleaf == subleaf)
			return offer->cpuid[i];
	return (struct leaf) { .leaf = leaf, .subleaf = subleaf };
}

bool offer_bit(const struct offer *offer, __u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit)
{
	return offer_leaf(offer, leaf, subleaf).reg[which] >> bit & 1;
}

__u64 offer_xcr0(const struct offer *offer)
{
	struct leaf leaf = offer_leaf(offer, 0xd, 0);

	return leaf.reg[EAX] | (__u64)leaf.reg[EDX] << 32;
}

__u64 offer_xss(const struct offer *offer)
{
	struct leaf leaf = offer_leaf(offer, 0xd, 1);

	return leaf.reg[ECX] | (__u64)leaf.reg[EDX] << 32;
}

const struct msr_value *offer_feature(const struct offer *offer, __u32 index)
{
	for (size_t i = 0; i < offer->n_features; i++)
		if (offer->features[i].index == index)
			return &offer->features[i];
	return NULL;
}

int offer_capability(const struct offer *offer, const char *name)
{
	for (size_t i = 0; i < offer->n_capabilities; i++)
		if (!strcmp(offer->capabilities[i].name, name))
			return offer->capabilities[i].value;
	return 0;
}

bool offer_lists_msr(const struct offer *offer, __u32 index)
{
	for (size_t i = 0; i < offer->n_msrs; i++)
		if (offer->msrs[i] == index)
			return true;
	return false;
}

bool offer_has_register(const struct offer *offer, __u64 id)
{
	for (size_t i = 0; i < offer->n_registers; i++)
		if (offer->registers[i] == id)
			return true;
	return false;
}

/* KVM scales no difference that is within this, as its tsc_tolerance_ppm has it */
#define TOLERANCE_PPM 250

bool same_speed(const struct offer *a, const struct offer *b)
{
	long long difference = (long long)a->tsc_khz - b->tsc_khz;

	return a->tsc_khz <= 0 || b->tsc_khz <= 0 ||
	       llabs(difference) * 1000000 <= (long long)a->tsc_khz * TOLERANCE_PPM;
}
