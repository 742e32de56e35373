// SPDX-License-Identifier: GPL-2.0
/*
 * names - check the tables of names in the command, and the functions that look names up in them
 *
 * Prints TAP. Exit status: 0 or 1.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ioctl/tap.h"
#include "base/text.h"
#include "model/names.h"

static bool finds(const char *name, __u32 want)
{
	__u32 index = 0;

	if (msr_find(name, &index) && index == want)
		return true;
	tap_diag("%s: 0x%x, expected 0x%x", name, index, want);
	return false;
}

/* The ranges of MSRs: Intel's, AMD's, Transmeta's, Hyper-V's, KVM's */
static bool plausible(__u32 index)
{
	return index < 0x2000 || (index >= 0xc0000000 && index < 0xc0002100) ||
	       (index >= 0xc0010000 && index < 0xc0020000) || (index >= 0x80868000 && index < 0x80869000) ||
	       (index >= 0x40000000 && index < 0x40002000) || (index >= 0x4b564d00 && index < 0x4b564e00);
}

static void check_every_name(void)
{
	bool good = true, printed = true, prefixed = true, any_case = true;
	char *list = NULL, *line, *rest, text[128];
	size_t size = 0, msrs = 0;
	FILE *file = open_memstream(&list, &size);

	names_print(file);
	fclose(file);
	for (line = strtok_r(list, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		__u32 index, other;

		if (!strncmp(line, "kvm:", 4)) {
			good &= kvm_register_find(line + 4, &index);
			continue;
		}
		msrs++;
		if (!msr_find(line, &index) || !plausible(index)) {
			tap_diag("%s", line);
			good = false;
			continue;
		}
		printed &= msr_name(index) && finds(msr_name(index), index);
		snprintf(text, sizeof(text), "MSR_%s", line);
		prefixed &= finds(text, index);
		for (char *c = text; *c; c++)
			*c = tolower(*c);
		any_case &= finds(text, index);
		/* Without IA32_, it may also be the whole name of another MSR */
		if (!strncmp(line, "IA32_", 5) && msr_find(line + 5, &other) && other != index)
			printed &= !strcasecmp(msr_name(other), line + 5);
	}
	free(list);
	tap_diag("%zu names of MSRs", msrs);
	tap_ok(msrs > 400, "the tables have names");
	tap_ok(good, "each name is found, at an index that an MSR may have");
	tap_ok(printed, "the name that is printed for an index is found, with that index");
	tap_ok(prefixed, "... also with the prefix MSR_");
	tap_ok(any_case, "... and in lower case");
}

/* SDM volume 4, APM volume 2, Documentation/virt/kvm/x86/msr.rst, TLFS */
static const struct {
	const char *name;
	__u32 index;
} spots[] = {
	{ "IA32_LSTAR", 0xc0000082 },
	{ "LSTAR", 0xc0000082 },
	{ "MSR_LSTAR", 0xc0000082 },
	{ "msr_ia32_lstar", 0xc0000082 },
	{ "IA32_U_CET", 0x6a0 },
	{ "U_CET", 0x6a0 },
	{ "IA32_S_CET", 0x6a2 },
	{ "PL0_SSP", 0x6a4 },
	{ "IA32_PL3_SSP", 0x6a7 },
	{ "INT_SSP_TAB", 0x6a8 },
	{ "IA32_XSS", 0xda0 },
	{ "TSC", 0x10 },
	{ "IA32_TSC", 0x10 },
	{ "EFER", 0xc0000080 },
	{ "IA32_EFER", 0xc0000080 },
	{ "STAR", 0xc0000081 },
	{ "KERNEL_GS_BASE", 0xc0000102 },
	{ "TSC_AUX", 0xc0000103 },
	{ "IA32_SPEC_CTRL", 0x48 },
	{ "IA32_ARCH_CAPABILITIES", 0x10a },
	{ "IA32_SYSENTER_EIP", 0x176 },
	{ "IA32_VMX_BASIC", 0x480 },
	{ "IA32_VMX_VMFUNC", 0x491 },
	{ "IA32_TSC_DEADLINE", 0x6e0 },
	{ "IA32_MISC_ENABLE", 0x1a0 },
	{ "VM_HSAVE_PA", 0xc0010117 },
	{ "F15H_PERF_CTL5", 0xc001020a },
	{ "F15H_PERF_CTR5", 0xc001020b },
	{ "KVM_WALL_CLOCK_NEW", 0x4b564d00 },
	{ "KVM_STEAL_TIME", 0x4b564d03 },
	{ "HV_X64_MSR_GUEST_OS_ID", 0x40000000 },
};

/* Names that are defined next to MSRs, but are bit numbers, masks or counts */
static const char * const none[] = {
	"IA32_BNDCFGS_RSVD",
	"PLATFORM_INFO_CPUID_FAULT_BIT",
	"IA32_UMWAIT_CONTROL_TIME_MASK",
	"IA32_APICBASE_ENABLE",
	"IA32_MISC_ENABLE_TM1_BIT",
	"AMD64_IBS_REG_COUNT_MAX",
	"IA32_POWER_CTL_BIT_EE",
	"EFER_NX",
	"",
	"IA32_",
	"MSR_",
};

static void check_spots(void)
{
	bool good = true;
	__u32 index;

	for (size_t i = 0; i < sizeof(spots) / sizeof(*spots); i++)
		good &= finds(spots[i].name, spots[i].index);
	tap_ok(good, "MSRs have the indices in the manuals");
	good = true;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		if (msr_find(none[i], &index)) {
			tap_diag("%s: 0x%x", none[i], index);
			good = false;
		}
	}
	tap_ok(good, "names of bits and masks are not taken for MSRs");
	tap_ok(!strcmp(msr_name(0xc0000082), "LSTAR") && !strcmp(msr_name(0x10a), "IA32_ARCH_CAPABILITIES") &&
		       !strcmp(msr_name(0x8b), "IA32_UCODE_REV") && !msr_name(0xdeadbeef),
	       "if an MSR has several names, the one for all CPUs is printed");
	tap_ok(kvm_register_find("guest_ssp", &index) && index == 0 && kvm_register_find("KVM_REG_GUEST_SSP", &index) &&
		       !kvm_register_find("SSP", &index) && !strcmp(kvm_register_name(0), "GUEST_SSP") &&
		       !kvm_register_name(1),
	       "KVM-defined registers are found by name, and have names");
}

static bool bit_is(__u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit, const char *want)
{
	const char *name = cpuid_bit_name(leaf, subleaf, which, bit);

	if (!strcmp(name ?: "", want))
		return true;
	tap_diag("CPUID 0x%x.%u %d %u: %s, expected %s", leaf, subleaf, which, bit, name, want);
	return false;
}

static void check_bits(void)
{
	tap_ok(bit_is(1, 0, EDX, 0, "FPU") & bit_is(1, 0, ECX, 5, "VMX") & bit_is(1, 0, ECX, 31, "HYPERVISOR") &
		       bit_is(7, 0, EBX, 5, "AVX2") & bit_is(7, 0, EDX, 20, "IBT") & bit_is(7, 1, EAX, 4, "AVX_VNNI") &
		       bit_is(0xd, 1, EAX, 3, "XSAVES") & bit_is(6, 0, EAX, 2, "ARAT") &
		       bit_is(0x80000001, 0, ECX, 2, "SVM") & bit_is(0x80000001, 0, EDX, 29, "LM") &
		       bit_is(0x80000008, 0, EBX, 0, "CLZERO") & bit_is(0x8000000a, 0, EDX, 0, "NPT") &
		       bit_is(0x40000001, 0, EAX, 5, "KVM_FEATURE_STEAL_TIME"),
	       "bits of CPUID have the names in SDM and APM");
	/* REP_GOOD is in a word that only Linux defines; and word 3 is not 1.EDX */
	tap_ok(bit_is(3, 0, EDX, 16, "") & bit_is(1, 0, EDX, 3, "PSE") & bit_is(7, 0, EAX, 0, "") &
		       bit_is(7, 2, EDX, 0, ""),
	       "bits that CPUID does not have get no name");
	tap_ok(!strcmp(xfeature_name(2), "YMM") && !strcmp(xfeature_name(9), "PKRU") &&
		       !strcmp(xfeature_name(18), "XTILE_DATA") && !xfeature_name(14) && !xfeature_name(63),
	       "components of XSAVE have names");
	tap_ok(!strcmp(msr_bit_name(PROCBASED2, 1), "EPT") && !strcmp(msr_bit_name(PROCBASED, 31), "SEC_CONTROLS") &&
		       !strcmp(msr_bit_name(PINBASED, 0), "INTR_EXITING") && !msr_bit_name(PINBASED, 16) &&
		       !strcmp(msr_bit_name(EXIT, 9), "EXIT_HOST_ADDR_SPACE_SIZE") &&
		       !strcmp(msr_bit_name(ENTRY, 2), "ENTRY_LOAD_DEBUG_CONTROLS") &&
		       !strcmp(msr_bit_name(ARCH_CAPABILITIES, 0), "RDCL_NO"),
	       "bits of MSRs have names");
}

static void check_suggestion(const char *name, const char *want)
{
	char *like = names_like(name), *text;

	if (strcmp(like ?: "", want))
		tap_diag("%s: %s", name, like);
	text = *want ? format("'%s': the nearest is %s", name, want) : format("no name is like '%.20s'", name);
	tap_ok(!strcmp(like ?: "", want), "%s", text);
}

int main(void)
{
	check_every_name();
	check_spots();
	check_bits();
	check_suggestion("guest_sp", "kvm:GUEST_SSP");
	check_suggestion("IA32_INT_SSP_TABLE", "IA32_INT_SSP_TAB");
	check_suggestion("KVM_STEAL_TMIE", "KVM_STEAL_TIME");
	check_suggestion("quite_another_thing", "");
	check_suggestion("", "");
	check_suggestion("a_name_that_is_longer_than_any_register_that_there_is_or_is_likely_to_be_one_day", "");
	return tap_done();
}
