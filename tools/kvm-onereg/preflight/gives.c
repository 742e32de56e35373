// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg preflight: what QEMU can give a guest on a host.
 *
 * That is what KVM offers, with QEMU's own rules, which are in kvm_arch_get_supported_cpuid() and
 * kvm_arch_get_supported_msr_feature() of its target/i386/kvm/kvm.c.
 */
#include <linux/kvm.h>
#include <asm/kvm_onereg.h>
#include <string.h>

#include "base/text.h"
#include "preflight/gives.h"

#define MSR_CORE_CAPABILITIES 0xcf
#define MSR_ARCH_CAPABILITIES 0x10a
#define MSR_VMX_FIRST	      0x480
#define MSR_VMX_LAST	      0x492
#define SVM_LEAF	      0x8000000a

const struct feature *find_feature(const char *name)
{
	for (const struct feature *feature = features; feature->name; feature++)
		if (!strcmp(feature->name, name))
			return feature;
	return NULL;
}

const struct feature *next_name(const struct feature *feature)
{
	feature = feature ? feature + 1 : features;
	while (feature->name && find_feature(feature->name) != feature)
		feature++;
	return feature->name ? feature : NULL;
}

const char *belongs_to(const struct feature *feature)
{
	if (feature->where != IN_MSR)
		return feature->leaf == SVM_LEAF ? "svm" : NULL;
	if (feature->leaf == MSR_ARCH_CAPABILITIES)
		return "arch-capabilities";
	if (feature->leaf == MSR_CORE_CAPABILITIES)
		return "core-capability";
	return feature->leaf >= MSR_VMX_FIRST && feature->leaf <= MSR_VMX_LAST ? "vmx" : NULL;
}

const char *unfit(const char *name)
{
	static const struct {
		const char *names, *why;
	} reasons[] = {
		{ "pdcm arch-lbr ds ds-cpl dtes64 perfmon-v2 full-width-write", "needs a PMU (QEMU: pmu=on)" },
		{ "intel-pt intel-pt-lip", "Intel PT has fixed properties that hosts need not share" },
		{ "avx10 avx10-128 avx10-256 avx10-512 avx10-vnni-int", "needs a version (QEMU: avx10-version)" },
		{ "invtsc", "a guest with it cannot migrate" },
		{ "kvm-hint-dedicated", "a promise of the VMM, not a feature of the host" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (has_word(reasons[i].names, name))
			return reasons[i].why;
	return strncmp(name, "sgx", 3) ? NULL : "needs memory for enclaves (QEMU: memory-backend-epc)";
}

/* Haswell CPUs whose TSX does not work: QEMU gives it to no guest there. */
static bool tsx_is_broken(const struct offer *offer)
{
	if (strcmp(offer->vendor, INTEL) || offer->family != 6)
		return false;
	return (offer->model == 63 && offer->stepping < 4) || offer->model == 60 || offer->model == 69 ||
	       offer->model == 70;
}

static bool gives_bit(const struct offer *offer, const struct feature *feature)
{
	const struct msr_value *msr;
	__u64 value;

	if (feature->where != IN_MSR)
		return offer_bit(offer, feature->leaf, feature->subleaf, feature->where, feature->bit);
	msr = offer_feature(offer, feature->leaf);
	value = msr ? msr->value : 0;
	/* Controls may be 1, and need not */
	if (feature->leaf == 0x48b || (feature->leaf >= 0x48d && feature->leaf <= 0x490))
		value &= ~(value << 32);
	return value >> feature->bit & 1;
}

bool gives(const struct offer *offer, const char *name)
{
	const struct feature *first = find_feature(name);

	/* QEMU's own, or KVM's that old kernels do not list */
	if (has_word("hypervisor arat mtrr pat mce mca", name))
		return true;
	if (!strcmp(name, "tsc-deadline") && offer_capability(offer, "KVM_CAP_TSC_DEADLINE_TIMER") > 0)
		return true;
	if (!first || (belongs_to(first) && !gives(offer, belongs_to(first))))
		return false;
	if (has_word("hle rtm", name) && tsx_is_broken(offer))
		return false;
	/* QEMU 11 leaves this to Intel's CPUs */
	if (!strcmp(name, "arch-capabilities") &&
	    (strcmp(offer->vendor, INTEL) || !offer_lists_msr(offer, MSR_ARCH_CAPABILITIES)))
		return false;
	/* What a guest has must be saved, too */
	if (!strcmp(name, "cet-ss") && !offer_has_register(offer, KVM_X86_REG_KVM(KVM_REG_GUEST_SSP)))
		return false;
	if (has_word("vmx svm", name) && offer_capability(offer, "KVM_CAP_NESTED_STATE") <= 0)
		return false;
	for (const struct feature *feature = first; feature->name; feature++)
		if (!strcmp(feature->name, name) && !gives_bit(offer, feature))
			return false;
	return true;
}
