// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg preflight: differences between two hosts that do not matter for guests. */
#include <string.h>

#include "base/text.h"
#include "model/names.h"
#include "model/offer-quirks.h"
#include "model/offer-rules.h"
#include "model/offer.h"
#include "preflight/differences.h"

static void note(struct json_object *notes, char *text)
{
	json_object_array_add(notes, json_object_new_string(text));
}

static void note_text(struct json_object *notes, const char *what, const char *a, const char *b)
{
	if (strcmp(a ?: "none", b ?: "none"))
		note(notes, format("%s: %s, %s", what, a ?: "none", b ?: "none"));
}

static bool is_compared(__u32 leaf, __u32 subleaf, enum cpuid_register which)
{
	for (const struct leaf_rule *rule = leaf_rules; rule->mask; rule++)
		if (rule->leaf == leaf && rule->subleaf == subleaf && rule->which == which)
			return true;
	return is_of_one_host(leaf);
}

/* Registers of leaves that nothing above is about */
static void note_leaves(const struct offer *a, const struct offer *b, struct json_object *notes, bool only_a)
{
	static const char * const registers[] = { [EAX] = "EAX", [EBX] = "EBX", [ECX] = "ECX", [EDX] = "EDX" };

	for (size_t i = 0; i < a->n_cpuid; i++) {
		struct leaf there = offer_leaf(b, a->cpuid[i].leaf, a->cpuid[i].subleaf);

		for (int which = EAX; which <= EDX; which++) {
			__u32 x = a->cpuid[i].reg[which], y = there.reg[which];

			/* The second time round: what a has and b has not was there the first time */
			if (x == y || (only_a && y) || is_compared(there.leaf, there.subleaf, which) ||
			    ((there.leaf == 1 || there.leaf == 0x80000001) && (which == EAX || which == EBX)))
				continue;
			note(notes, only_a ? format("CPUID 0x%x.%u %s: 0, 0x%x", there.leaf, there.subleaf,
						    registers[which], x) :
					     format("CPUID 0x%x.%u %s: 0x%x, 0x%x", there.leaf, there.subleaf,
						    registers[which], x, y));
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

static void note_quirks(struct json_object *notes, const struct offer *a, const struct offer *b)
{
	bool amd = !strcmp(a->vendor, AMD);
	__u64 on_a = quirks_on(a->quirks, amd), on_b = quirks_on(b->quirks, amd), known = a->quirks & b->quirks;

	if (a->quirks & ~b->quirks)
		note(notes, format("quirks that only the KVM of A knows: %s", quirk_names(a->quirks & ~b->quirks)));
	if (b->quirks & ~a->quirks)
		note(notes, format("quirks that only the KVM of B knows: %s", quirk_names(b->quirks & ~a->quirks)));
	if ((on_a ^ on_b) & known)
		note(notes, format("quirks that both know, and are on by default: of A %s; of B %s",
				   quirk_names(on_a & ~on_b & known), quirk_names(on_b & ~on_a & known)));
}

void offer_differences(const struct offer *a, const struct offer *b, struct json_object *notes)
{
	note_text(notes, "kernel", a->kernel, b->kernel);
	note_text(notes, "kvm-onereg's modules", a->kvm_version, b->kvm_version);
	note_text(notes, "CPU", a->cpu, b->cpu);
	if (a->family != b->family || a->model != b->model || a->stepping != b->stepping)
		note(notes, format("family, model, stepping: %d %d %d, %d %d %d", a->family, a->model, a->stepping,
				   b->family, b->model, b->stepping));
	if (strcmp(a->vendor, b->vendor))
		return;
	if (a->version >= 2 && b->version >= 2) {
		note_text(notes, "parameter nested", a->nested, b->nested);
		note_quirks(notes, a, b);
	}
	if (!same_speed(a, b))
		note(notes, format("TSC: %d kHz, %d kHz", a->tsc_khz, b->tsc_khz));
	note_leaves(a, b, notes, false);
	note_leaves(b, a, notes, true);
	if (!same_leaves(a->emulated, a->n_emulated, b->emulated, b->n_emulated))
		note(notes, format("what KVM emulates (KVM_GET_EMULATED_CPUID) is not the same"));
	for (size_t i = 0; i < a->n_features; i++) {
		const struct msr_value *there = offer_feature(b, a->features[i].index);
		bool known = false;

		for (const struct msr_rule *rule = msr_rules; rule->mask; rule++)
			known |= rule->index == a->features[i].index;
		if (there && !known && there->value != a->features[i].value)
			note(notes, format("%s: 0x%llx, 0x%llx", name_of_msr(there->index), a->features[i].value,
					   there->value));
	}
}
