// SPDX-License-Identifier: GPL-2.0
/* Two offers: what keeps a guest that has all features of one host from continuing on the other. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "model/lists.h"
#include "model/names.h"
#include "model/offer-compare.h"
#include "model/offer-quirks.h"
#include "model/offer-rules.h"
#include "model/offer.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static void add_difference(struct json_object *list, unsigned int of, char *name, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

static void add_difference(struct json_object *list, unsigned int of, char *name, const char *what, ...)
{
	struct json_object *object = json_object_new_object();
	va_list arguments;
	char text[200];

	va_start(arguments, what);
	vsnprintf(text, sizeof(text), what, arguments);
	va_end(arguments);
	json_object_object_add(object, "name", json_object_new_string(name));
	json_object_object_add(object, "what", json_object_new_string(text));
	json_object_object_add(object, "cet", json_object_new_boolean(of & CET));
	json_object_object_add(object, "nested", json_object_new_boolean(of & NESTED));
	json_object_array_add(list, object);
}

static unsigned int concerns_leaf(__u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit)
{
	if (leaf == 7 && !subleaf && ((which == ECX && bit == 7) || (which == EDX && bit == 20)))
		return CET;
	if ((leaf == 1 && which == ECX && bit == 5) || (leaf == 0x80000001 && which == ECX && bit == 2) ||
	    leaf == 0x8000000a)
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
	for (const struct leaf_rule *rule = leaf_rules; rule->mask; rule++) {
		struct leaf source = offer_leaf(from, rule->leaf, rule->subleaf);
		struct leaf destination = offer_leaf(to, rule->leaf, rule->subleaf);
		__u32 a = source.reg[rule->which], b = destination.reg[rule->which];
		__u32 wrong = violation(rule->relation, a, b, rule->mask);
		char *where;

		/* No PMU, nothing to miss; no SVM, nothing more to say */
		if (!wrong || (rule->leaf == 0xa && !(source.reg[EAX] & 0xff)) ||
		    (rule->leaf == 0x8000000a && !(has_svm(from) && has_svm(to))))
			continue;
		if (rule->relation == AT_LEAST || rule->relation == SAME) {
			where = leaf_name(rule->leaf, rule->subleaf);
			add_difference(obstacles, concerns_leaf(rule->leaf, 0, EAX, 0),
				       format("%s (%s)", rule->name, where), "%llu, at the destination %llu",
				       field_value(a, rule->mask), field_value(b, rule->mask));
			continue;
		}
		for (unsigned int bit = 0; bit < 32; bit++)
			if (wrong >> bit & 1)
				add_difference(obstacles, concerns_leaf(rule->leaf, rule->subleaf, rule->which, bit),
					       bit_name(rule->leaf, rule->subleaf, rule->which, bit), "%s",
					       rule->relation == BITS ? "not offered by the destination" :
									"an event that the destination lacks");
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
			add_difference(obstacles, of, component(bit), "not in %s of the destination",
				       xcr0 >> bit & 1 ? "XCR0" : "IA32_XSS");
		else if (bit > 1 && (a.reg[EAX] != b.reg[EAX] || a.reg[EBX] != b.reg[EBX]))
			add_difference(obstacles, of, component(bit), "%u bytes at %u, at the destination %u at %u",
				       a.reg[EAX], a.reg[EBX], b.reg[EAX], b.reg[EBX]);
	}
}

/* "EXIT_LOAD_CET_STATE (IA32_VMX_EXIT_CTLS)"; may-be-1 bits are named by their number in the control. */
static char *feature_bit_name(__u32 index, unsigned int bit)
{
	static const struct {
		__u32 index, true_index;
		enum msr_bits which;
	} controls[] = {
		{ 0x481, 0x48d, PINBASED }, { 0x482, 0x48e, PROCBASED },  { 0x483, 0x48f, EXIT },
		{ 0x484, 0x490, ENTRY },    { 0x48b, 0x48b, PROCBASED2 },
	};
	const char *known = NULL;
	char *msr = name_of_msr(index);

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
	return known ? format("%s (%s[%u])", known, msr, bit) : format("%s[%u]", msr, bit);
}

static unsigned int concerns_feature(__u32 index, unsigned int bit)
{
	if (!is_vmx_msr(index))
		return 0;
	/* #CP without an error code, CR4.CET, and loading of CET's state at VM exit and entry */
	if ((index == 0x480 && bit == 56) || (index == 0x489 && bit == 23) ||
	    ((index == 0x483 || index == 0x48f) && bit % 32 == 28) ||
	    ((index == 0x484 || index == 0x490) && bit % 32 == 20))
		return CET | NESTED;
	return NESTED;
}

static void compare_features(const struct offer *from, const struct offer *to, struct json_object *obstacles)
{
	bool vmx = has_vmx(from) && has_vmx(to), true_controls = offer_feature(from, 0x48d) && offer_feature(to, 0x48d);

	for (const struct msr_rule *rule = msr_rules; rule->mask; rule++) {
		__u32 index = rule->index;
		const struct msr_value *a = offer_feature(from, index), *b = offer_feature(to, index);
		__u64 wrong;

		/* Four others repeat what the "true" MSRs say */
		if (is_vmx_msr(index) && (!vmx || (true_controls && index >= 0x481 && index <= 0x484)))
			continue;
		/* Which of them are told depends on the version of KVM. Of VMX's all are, if they are there. */
		if (!a || (!b && !is_vmx_msr(index)))
			continue;
		wrong = violation(rule->relation, a->value, b ? b->value : 0, rule->mask);
		if (wrong && (rule->relation == AT_LEAST || rule->relation == SAME)) {
			char *msr = name_of_msr(index);

			add_difference(obstacles, concerns_feature(index, 0), format("%s (%s)", rule->name, msr),
				       "%llu, at the destination %llu", field_value(a->value, wrong),
				       field_value(b ? b->value : 0, wrong));
			continue;
		}
		for (unsigned int bit = 0; bit < 64; bit++)
			if (wrong >> bit & 1)
				add_difference(obstacles, concerns_feature(index, bit), feature_bit_name(index, bit),
					       "%s",
					       rule->relation == BITS ? "not offered by the destination" :
					       is_vmx_msr(index)      ? "required by the destination" :
									"a weakness that only the destination has");
	}
}

#define MSR_XSS	     0xda0
#define HYPERV_FIRST 0x40000000
#define HYPERV_LAST  0x40001fff

/* Leaf 0xa and others tell how many there are; some kernels list them all, some as many as the host has. */
static bool is_pmu_msr(__u32 index)
{
	static const struct {
		__u32 first, last;
	} ranges[] = {
		{ 0xc1, 0xc8 },
		{ 0x186, 0x18d },
		{ 0x309, 0x318 },
		{ 0x38d, 0x390 },
		{ 0x3f1, 0x3f2 },
		{ 0x4c1, 0x4c8 },
		{ 0x600, 0x600 },
		{ 0xc0000300, 0xc0000303 },
		{ 0xc0010000, 0xc0010007 },
		{ 0xc0010200, 0xc001020b },
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

		if (offer_lists_msr(to, index) || is_vmx_msr(index) || is_pmu_msr(index))
			continue;
		/* U_CET, S_CET, PL0_SSP to PL3_SSP, INT_SSP_TAB; XSS if there is nothing else in it */
		if ((index >= 0x6a0 && index <= 0x6a8) || (index == MSR_XSS && !(offer_xss(from) & ~XSS_CET)))
			add_difference(obstacles, CET, name_of_msr(index),
				       "not an MSR of the destination, so its value would be lost");
		else if (index >= HYPERV_FIRST && index <= HYPERV_LAST)
			add_difference(warnings, 0, name_of_msr(index),
				       "not saved at the destination (matters to guests with hv-... flags)");
		else
			add_difference(warnings, 0, name_of_msr(index),
				       "not saved at the destination (matters to guests that use it)");
	}
}

static void compare_registers(const struct offer *from, const struct offer *to, struct json_object *obstacles)
{
	const __u64 guest_ssp = KVM_X86_REG_KVM(KVM_REG_GUEST_SSP);

	if (offer_bit(from, 7, 0, ECX, 7) && !from->one_reg)
		add_difference(obstacles, CET, format("KVM_CAP_ONE_REG"),
			       "the source does not have it, so the shadow stack pointer cannot be saved");
	if (offer_bit(from, 7, 0, ECX, 7) && !to->one_reg)
		add_difference(obstacles, CET, format("KVM_CAP_ONE_REG"),
			       "the destination does not have it, so the shadow stack pointer would be lost");
	for (size_t i = 0; i < from->n_registers; i++) {
		const char *known = kvm_register_name(from->registers[i]);

		if (!offer_has_register(to, from->registers[i]))
			add_difference(obstacles, from->registers[i] == guest_ssp ? CET : 0,
				       known && from->registers[i] == KVM_X86_REG_KVM((__u32)from->registers[i]) ?
					       format("kvm:%s", known) :
					       format("register 0x%llx", from->registers[i]),
				       "not a register of the destination, so its value would be lost");
	}
}

static void compare_capabilities(const struct offer *from, const struct offer *to, struct json_object *obstacles,
				 struct json_object *warnings)
{
	/* Told in another place, and what only some guests use */
	static const char * const elsewhere[] = { "KVM_CAP_ONE_REG", "KVM_CAP_XSAVE2", "KVM_CAP_TSC_CONTROL" };
	static const char * const on_demand[] = { "KVM_CAP_HYPERV", "KVM_CAP_HYPERV_SYNIC2", "KVM_CAP_MAX_VCPUS" };

	for (size_t i = 0; i < from->n_capabilities; i++) {
		const char *name = from->capabilities[i].name;
		int a = from->capabilities[i].value, b = offer_capability(to, name);
		bool skip = false, optional = false, nested = !strcmp(name, "KVM_CAP_NESTED_STATE");

		for (size_t j = 0; j < COUNT(elsewhere); j++)
			skip |= !strcmp(name, elsewhere[j]);
		for (size_t j = 0; j < COUNT(on_demand); j++)
			optional |= !strcmp(name, on_demand[j]);
		/* The size of what KVM_GET_NESTED_STATE returns, and the destination must take */
		if (nested && b > 0 && b < a)
			add_difference(obstacles, NESTED, format("%s", name), "%d bytes, at the destination %d", a, b);
		else if (!strcmp(name, "KVM_CAP_MAX_VCPUS") && b < a)
			add_difference(warnings, 0, format("%s", name), "%d, at the destination %d", a, b);
		else if (!skip && a > 0 && b <= 0)
			add_difference(optional ? warnings : obstacles, nested ? NESTED : 0, format("%s", name),
				       "the destination does not have it");
	}
}

/*
 * Each quirk that a kernel knows is on, unless the VMM disables it. A kernel that does not know one behaves as if it
 * were on: so it matters only to a guest whose VMM disables it.
 */
static void compare_quirks(const struct offer *from, const struct offer *to, struct json_object *warnings)
{
	__u64 missing = from->quirks & ~to->quirks;

	if (from->version < 2 || to->version < 2)
		return;
	for (unsigned int bit = 0; bit < 64; bit++) {
		if (!(missing >> bit & 1))
			continue;
		if (bit != QUIRK_NESTED_SVM_SHARED_PAT)
			add_difference(
				warnings, 0, quirk_name(bit),
				"cannot be disabled at the destination (matters to guests whose VMM disables it)");
		else if (has_svm(from) && has_svm(to))
			add_difference(
				warnings, NESTED, quirk_name(bit),
				"cannot be disabled at the destination: a VMM that does loses the PAT of nested guests");
	}
}

void offer_compare(const struct offer *from, const struct offer *to, struct json_object *obstacles,
		   struct json_object *warnings)
{
	if (strcmp(from->vendor, to->vendor)) {
		/* Everything else would follow from it */
		add_difference(obstacles, 0, format("CPU vendor"), "%s, at the destination %s", from->vendor,
			       to->vendor);
		return;
	}
	compare_leaves(from, to, obstacles);
	compare_xsave(from, to, obstacles);
	compare_msrs(from, to, obstacles, warnings);
	compare_features(from, to, obstacles);
	compare_registers(from, to, obstacles);
	compare_capabilities(from, to, obstacles, warnings);
	compare_quirks(from, to, warnings);
	if (!same_speed(from, to) && !to->tsc_scaling)
		add_difference(
			warnings, 0, format("TSC"),
			"%d kHz, at the destination %d kHz, which cannot scale it, so clocks of the guest go wrong",
			from->tsc_khz, to->tsc_khz);
}
