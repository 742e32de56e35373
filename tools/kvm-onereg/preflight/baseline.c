// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg preflight: what all of several hosts offer, as a CPU for QEMU and for libvirt. */
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/text.h"
#include "model/offer-format.h"
#include "model/offer-rules.h"
#include "preflight/baseline.h"
#include "preflight/cpu-models.h"
#include "preflight/gives.h"
#include "preflight/verdict.h"

#define MSR_ARCH_CAPABILITIES 0x10a

struct hosts {
	const struct offer *offers;
	char **files;
	size_t n;
	unsigned int without, qemu;
};

/* The features that all have, in the order of features[]: the first line of each name */
struct common {
	const struct feature **features;
	size_t n;
};

static bool has(const struct common *common, const char *name)
{
	for (size_t i = 0; i < common->n; i++)
		if (!strcmp(common->features[i]->name, name))
			return true;
	return false;
}

/* A feature that does nothing in such a guest, because it belongs to one that the guest lacks */
static bool is_idle(const struct common *common, const char *name)
{
	const struct feature *feature = find_feature(name);

	return feature && belongs_to(feature) && !has(common, belongs_to(feature));
}

/* ---- What may not be compared ---- */

static bool is_one_host(const struct offer *a, const struct offer *b)
{
	if (a->id && b->id)
		return !strcmp(a->id, b->id);
	return !strcmp(a->host, b->host) && !strcmp(a->kernel, b->kernel) &&
	       !strcmp(a->kernel_version, b->kernel_version) && same_text(a->cpu, b->cpu) && a->tsc_khz == b->tsc_khz &&
	       a->n_cpuid == b->n_cpuid;
}

static void refuse_hosts(const struct hosts *hosts)
{
	for (size_t i = 0; i < hosts->n; i++) {
		const struct offer *one = &hosts->offers[i];

		for (size_t j = 0; j < i; j++) {
			const struct offer *other = &hosts->offers[j];

			if (strcmp(one->vendor, other->vendor))
				die(STATUS_NO, "make a baseline for the hosts of each vendor",
				    "no guest can move between CPUs of %s (%s) and %s (%s)", other->vendor,
				    hosts->files[j], one->vendor, hosts->files[i]);
			if (is_one_host(one, other))
				die(STATUS_USAGE,
				    "name one of the two, or save the other on the host that it is meant for",
				    "%s (%s) and %s (%s) are both of the host %s", hosts->files[j], other->date,
				    hosts->files[i], one->date, one->host);
		}
	}
}

/* ---- What they have in common ---- */

/* An XSAVE state that is not in the same place everywhere, of these features; NULL: of the one of this name */
static const char *misplaced(const struct hosts *hosts, const char *name)
{
	static const struct {
		unsigned int first, last;
		const char *feature, *prefix;
	} states[] = {
		{ 3, 4, "mpx", "mpx" },		{ 5, 7, "avx512f", "avx512" }, { 9, 9, "pku", "pku" },
		{ 17, 18, "amx-tile", "amx-" }, { 19, 19, "apxf", "apx" },
	};

	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		if (strncmp(name, states[i].prefix, strlen(states[i].prefix)))
			continue;
		for (unsigned int bit = states[i].first; bit <= states[i].last; bit++) {
			struct leaf first = offer_leaf(&hosts->offers[0], 0xd, bit);

			for (size_t j = 1; j < hosts->n; j++) {
				struct leaf other = offer_leaf(&hosts->offers[j], 0xd, bit);

				if (gives(&hosts->offers[j], states[i].feature) &&
				    (first.reg[EAX] != other.reg[EAX] || first.reg[EBX] != other.reg[EBX]))
					return format("its XSAVE state is in another place on %s than on %s",
						      hosts->files[j], hosts->files[0]);
			}
		}
	}
	return NULL;
}

static bool is_excluded(const struct hosts *hosts, const struct feature *feature)
{
	static const char of_cet[] = "cet-ss cet-ibt vmx-exit-save-cet vmx-entry-load-cet vmx-any-errcode";
	const char *owner = belongs_to(feature);

	if (hosts->without & CET && has_word(of_cet, feature->name))
		return true;
	return hosts->without & NESTED && (has_word("vmx svm", feature->name) || (owner && has_word("vmx svm", owner)));
}

static void add_pair(struct json_object *list, const char *name, const char *key, struct json_object *value)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "name", json_string(name));
	json_object_object_add(object, key, value);
	json_object_array_add(list, object);
}

static struct common find_common(const struct hosts *hosts, struct json_object *taken, struct json_object *left_out)
{
	struct common common = {};
	size_t n = 0;

	while (features[n].name)
		n++;
	common.features = allocate(n, sizeof(*common.features));
	for (const struct feature *feature = next_name(NULL); feature; feature = next_name(feature)) {
		struct json_object *lacking;
		const char *why;
		size_t without = 0;

		if (is_excluded(hosts, feature))
			continue;
		lacking = json_object_new_array();
		for (size_t i = 0; i < hosts->n; i++) {
			if (gives(&hosts->offers[i], feature->name))
				continue;
			json_object_array_add(lacking, json_string(hosts->files[i]));
			without++;
		}
		why = unfit(feature->name) ?: misplaced(hosts, feature->name);
		if (!why && hosts->qemu && feature->qemu_since > hosts->qemu)
			why = format("QEMU %u does not know it", hosts->qemu);
		if (without && without < hosts->n && !unfit(feature->name))
			add_pair(taken, feature->name, "lacking", json_object_get(lacking));
		else if (!without && why)
			add_pair(left_out, feature->name, "why", json_string(why));
		else if (!without)
			common.features[common.n++] = feature;
		json_object_put(lacking);
	}
	return common;
}

/* Bits that all hosts offer, and QEMU has no name for: -cpu host has them, no other model can. */
static void add_nameless(const struct hosts *hosts, struct json_object *left_out)
{
	/* Those that repeat leaf 1, on AMD's CPUs */
	const __u32 repeated = 0x183f3ff;

	for (const struct leaf_rule *rule = leaf_rules; rule->mask; rule++) {
		__u32 bits = rule->leaf == 0x80000001 && rule->which == EDX ? ~repeated : ~0u;

		if (rule->relation != BITS || !is_feature_leaf(rule->leaf) ||
		    (rule->leaf == 0x8000000a && !gives(&hosts->offers[0], "svm")))
			continue;
		for (size_t i = 0; i < hosts->n; i++)
			bits &= offer_leaf(&hosts->offers[i], rule->leaf, rule->subleaf).reg[rule->which];
		for (const struct feature *feature = features; feature->name; feature++)
			if (feature->leaf == rule->leaf && feature->subleaf == rule->subleaf &&
			    feature->where == rule->which)
				bits &= ~(1u << feature->bit);
		for (unsigned int bit = 0; bit < 32; bit++)
			if ((bits & rule->mask) >> bit & 1)
				add_pair(left_out, bit_name(rule->leaf, rule->subleaf, rule->which, bit), "why",
					 json_string("QEMU has no name for it"));
	}
}

/* ---- The CPU ---- */

/* How many names a CPU of this model needs to be this one */
static unsigned int model_distance(const struct cpu_model *model, const struct common *common)
{
	unsigned int n = 0;

	for (const struct feature *feature = next_name(NULL); feature; feature = next_name(feature)) {
		/* Those of KVM's own are in no model */
		if (feature->leaf == 0x40000001 || is_idle(common, feature->name))
			continue;
		n += has(common, feature->name) != has_word(model->features, feature->name);
	}
	return n;
}

static const struct cpu_model *choose_model(const struct hosts *hosts, const struct common *common)
{
	const struct cpu_model *best = NULL;
	unsigned int shortest = 0;

	for (const struct cpu_model *model = cpu_models; model->name; model++) {
		unsigned int n;

		if ((*model->vendor && strcmp(model->vendor, hosts->offers[0].vendor)) ||
		    (hosts->qemu && model->qemu_since > hosts->qemu))
			continue;
		n = model_distance(model, common);
		if (best && n >= shortest)
			continue;
		best = model;
		shortest = n;
	}
	return best;
}

static unsigned int address_bits(const struct hosts *hosts, bool largest)
{
	unsigned int result = 0;

	for (size_t i = 0; i < hosts->n; i++) {
		unsigned int bits = offer_leaf(&hosts->offers[i], 0x80000008, 0).reg[EAX] & 0xff;

		if (!i || (largest ? bits > result : bits < result))
			result = bits;
	}
	return result;
}

static char *qemu_cpu(const struct hosts *hosts, const struct cpu_model *model, const struct common *common)
{
	char *text = format("%s", model->name);

	for (const struct feature *feature = next_name(NULL); feature; feature = next_name(feature)) {
		bool wanted = has(common, feature->name), there = has_word(model->features, feature->name);

		if (wanted != there && !is_idle(common, feature->name))
			text = format("%s,%c%s", text, wanted ? '+' : '-', feature->name);
	}
	return format("%s,phys-bits=%u,enforce", text, address_bits(hosts, false));
}

static const char *libvirt_vendor(const char *vendor)
{
	return !strcmp(vendor, INTEL) ? "Intel" : !strcmp(vendor, AMD) ? "AMD" : NULL;
}

/*
 * With check='partial', libvirt starts a domain without features that it requires, if KVM does not offer them: its
 * guest would silently be without CET. With 'full', all that the guest has must be named, which only a libvirt that
 * knows CET can be expected to have names for.
 */
static char *libvirt_cpu(const struct hosts *hosts, const struct cpu_model *model, const struct common *common)
{
	const char *vendor = libvirt_vendor(hosts->offers[0].vendor);
	bool full = has(common, "cet-ss") || has(common, "cet-ibt");
	char *text = format("<cpu mode='custom' match='exact' check='%s'>\n  <model fallback='forbid'>%s</model>\n",
			    full ? "full" : "partial", model->name);

	if (vendor)
		text = format("%s  <vendor>%s</vendor>\n", text, vendor);
	text = format("%s  <maxphysaddr mode='emulate' bits='%u'/>\n", text, address_bits(hosts, false));
	for (const struct feature *feature = next_name(NULL); feature; feature = next_name(feature)) {
		bool wanted = has(common, feature->name), there = has_word(model->features, feature->name),
		     assumed = has_word(model->libvirt, feature->name);

		if (!feature->libvirt || is_idle(common, feature->name) ||
		    (wanted ? there && !full : !there && !assumed))
			continue;
		text = format("%s  <feature policy='%s' name='%s'/>\n", text, wanted ? "require" : "disable",
			      feature->libvirt);
	}
	return format("%s</cpu>", text);
}

/* The newest of the versions that the names need, and the names that need it, if it is not the oldest one */
static struct json_object *needs(const struct cpu_model *model, const struct common *common, bool libvirt)
{
	unsigned int newest = libvirt ? model->libvirt_since : model->qemu_since;
	struct json_object *object = json_object_new_object(), *names = json_object_new_array();

	for (size_t i = 0; i < common->n; i++) {
		const struct feature *one = common->features[i];
		unsigned int since = libvirt ? one->libvirt_since : one->qemu_since;

		if (!has_word(model->features, one->name) && since > newest)
			newest = since;
	}
	if ((libvirt ? model->libvirt_since : model->qemu_since) == newest)
		json_object_array_add(names, json_string(model->name));
	for (size_t i = 0; i < common->n; i++) {
		const struct feature *one = common->features[i];

		if (!has_word(model->features, one->name) && (libvirt ? one->libvirt_since : one->qemu_since) == newest)
			json_object_array_add(names, json_string(one->name));
	}
	json_object_object_add(object, "version", json_object_new_int(newest));
	json_object_object_add(object, "names", names);
	return object;
}

/* ---- What else the hosts do not share ---- */

static void add_text(struct json_object *list, char *text)
{
	json_object_array_add(list, json_string(text));
}

static void warn_capabilities(const struct hosts *hosts, struct json_object *warnings)
{
	/* Told by features, or of no matter here */
	static const char * const others[] = { "KVM_CAP_ONE_REG",     "KVM_CAP_XSAVE2",
					       "KVM_CAP_TSC_CONTROL", "KVM_CAP_TSC_DEADLINE_TIMER",
					       "KVM_CAP_MAX_VCPUS",   "KVM_CAP_NESTED_STATE" };

	for (const struct known_capability *one = known_capabilities; one->name; one++) {
		char *without = NULL;
		bool somewhere = false, other = false;

		for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
			other |= !strcmp(one->name, others[i]);
		for (size_t i = 0; i < hosts->n; i++) {
			if (offer_capability(&hosts->offers[i], one->name) > 0)
				somewhere = true;
			else
				without = without ? format("%s, %s", without, hosts->files[i]) : hosts->files[i];
		}
		if (!other && somewhere && without)
			add_text(warnings, format("%s: not on %s, which a guest's state may need", one->name, without));
	}
}

static void warn_speed(const struct offer *a, const char *file_a, const struct offer *b, const char *file_b,
		       struct json_object *warnings)
{
	if (!same_speed(a, b) && !(a->tsc_scaling && b->tsc_scaling))
		add_text(warnings, format("TSC: %d kHz on %s, %d kHz on %s, and not both can scale it", a->tsc_khz,
					  file_a, b->tsc_khz, file_b));
}

static void warn(const struct hosts *hosts, const struct common *common, struct json_object *warnings)
{
	static const struct {
		unsigned int bit;
		const char *name;
	} weaknesses[] = { { 2, "rsba" }, { 19, "rrsba" } };
	unsigned int least = address_bits(hosts, false), most = address_bits(hosts, true);

	if (least != most)
		add_text(warnings, format("physical addresses: guests get %u bits, hosts have up to %u", least, most));
	for (size_t i = 0; i < hosts->n; i++)
		for (size_t j = 0; j < i; j++)
			warn_speed(&hosts->offers[j], hosts->files[j], &hosts->offers[i], hosts->files[i], warnings);
	for (size_t w = 0; w < sizeof(weaknesses) / sizeof(*weaknesses); w++)
		for (size_t i = 0; i < hosts->n && has(common, "arch-capabilities"); i++) {
			const struct msr_value *msr = offer_feature(&hosts->offers[i], MSR_ARCH_CAPABILITIES);

			if (msr && msr->value >> weaknesses[w].bit & 1 && !has(common, weaknesses[w].name))
				add_text(warnings, format("%s: a weakness of %s that guests are not told about",
							  weaknesses[w].name, hosts->files[i]));
		}
	warn_capabilities(hosts, warnings);
}

struct json_object *baseline_make(const struct offer *offers, char **files, size_t n, unsigned int without,
				  unsigned int qemu)
{
	const struct hosts hosts = { offers, files, n, without, qemu };
	struct json_object *result = json_object_new_object(), *array = json_object_new_array(),
			   *taken = json_object_new_array(), *left_out = json_object_new_array(),
			   *warnings = json_object_new_array();
	const struct cpu_model *model;
	struct common common;

	refuse_hosts(&hosts);
	for (size_t i = 0; i < n; i++)
		json_object_array_add(array, describe_host(&offers[i], files[i]));
	json_object_object_add(result, "hosts", array);

	common = find_common(&hosts, taken, left_out);
	add_nameless(&hosts, left_out);
	model = choose_model(&hosts, &common);
	warn(&hosts, &common, warnings);
	json_object_object_add(result, "qemu_cpu", json_string(qemu_cpu(&hosts, model, &common)));
	json_object_object_add(result, "libvirt_cpu", json_string(libvirt_cpu(&hosts, model, &common)));
	json_object_object_add(result, "needs_qemu", needs(model, &common, false));
	json_object_object_add(result, "needs_libvirt", needs(model, &common, true));
	array = json_object_new_array();
	for (size_t i = 0; i < common.n; i++)
		json_object_array_add(array, json_string(common.features[i]->name));
	json_object_object_add(result, "features", array);
	json_object_object_add(result, "taken", taken);
	json_object_object_add(result, "left_out", left_out);
	json_object_object_add(result, "warnings", warnings);
	json_object_object_add(result, "not_compared", not_compared());
	return result;
}
