// SPDX-License-Identifier: GPL-2.0
/* KVM's quirks. */
#include <stddef.h>

#include "base/text.h"
#include "model/offer-quirks.h"

#define QUIRK_CD_NW_CLEARED    0x002ull
#define QUIRK_IGNORE_GUEST_PAT 0x200ull

/* As in <asm/kvm.h> of Linux 7.3: the headers that this is compiled with may be older than the KVM that runs */
static const char * const names[] = {
	"LINT0_REENABLED",
	"CD_NW_CLEARED",
	"LAPIC_MMIO_HOLE",
	"OUT_7E_INC_RIP",
	"MISC_ENABLE_NO_MWAIT",
	"FIX_HYPERCALL_INSN",
	"MWAIT_NEVER_UD_FAULTS",
	"SLOT_ZAP_ALL",
	"STUFF_FEATURE_MSRS",
	"IGNORE_GUEST_PAT",
	"VMCS12_ALLOW_FREEZE_IN_SMM",
	"NESTED_SVM_SHARED_PAT",
};

char *quirk_name(unsigned int bit)
{
	return bit < sizeof(names) / sizeof(*names) ? format("KVM_X86_QUIRK_%s", names[bit]) : format("quirk %u", bit);
}

__u64 quirks_on(__u64 quirks, bool amd)
{
	/* Two concern the CPUs of one vendor. KVM tells them apart since it knows the second. */
	if (amd)
		return quirks & ~QUIRK_IGNORE_GUEST_PAT;
	return quirks & QUIRK_IGNORE_GUEST_PAT ? quirks & ~QUIRK_CD_NW_CLEARED : quirks;
}

char *quirk_names(__u64 quirks)
{
	char *text = NULL;

	for (unsigned int bit = 0; bit < 64; bit++)
		if (quirks >> bit & 1)
			text = text ? format("%s, %s", text, quirk_name(bit)) : quirk_name(bit);
	return text ?: format("none");
}
