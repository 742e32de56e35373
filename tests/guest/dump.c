// SPDX-License-Identifier: GPL-2.0
/*
 * What KVM logs about a VMCS or VMCB that the CPU refuses contains the CET state, unless it is a VMCS without it.
 *
 *   dump [--without-cet]
 *
 * It needs the host's module msr.
 *
 * --without-cet: for a KVM that is expected not to offer CET.
 */
#include <stdio.h>
#include <string.h>

#include "host.h"
#include "vmm.h"

static GUEST uint64_t halt(uint64_t unused)
{
	(void)unused;
	asm volatile("hlt");
	return 0;
}

static void check_has(const char *dump, const char *prefix, uint64_t value, const char *what)
{
	char text[48];

	snprintf(text, sizeof(text), "%s%016llx", prefix, (unsigned long long)value);
	tap_ok(strstr(dump, text), "the dump contains %s: %s", what, text);
}

int main(int argc, char **argv)
{
	const bool with_cet = argc < 2;
	struct kvm_sregs sregs;
	struct machine *m;
	struct cpu *c;
	const char *dump;

	if (!with_cet && (argc > 2 || strcmp(argv[1], "--without-cet"))) {
		fprintf(stderr, "usage: dump [--without-cet]\n");
		return 2;
	}
	kvm_open("dump");
	tap_ok(kvm_has_shstk() == with_cet, "KVM %s shadow stacks", with_cet ? "offers" : "does not offer");
	m = machine_create(NULL);
	c = m->cpus[0];
	cpu_start(c, halt, 0);
	if (with_cet)
		cpu_cet(c, GUEST_ALL);
	cpu_get_sregs(c, &sregs);
	/* CS of 32 and of 64 bits at once */
	sregs.cs.db = 1;
	cpu_set_sregs(c, &sregs);
	dump = host_dump(c);
	check_stop(c, "fail entry", "the CPU refuses it");
	tap_ok(strstr(dump, kvm_is_svm() ? "VMCB State Save Area" : "*** Guest State ***"), "KVM logs a dump");
	if (!with_cet) {
		/* The fields of a VMCB always exist. */
		tap_ok(kvm_is_svm() || !strstr(dump, "S_CET"), "the dump of a VMCS does not contain S_CET");
	} else if (kvm_is_svm()) {
		check_has(dump, "s_cet:          ", cpu_rdmsr(c, MSR_S_CET), "the guest's S_CET");
		check_has(dump, "ssp:          ", cpu_ssp(c), "the guest's SSP");
		check_has(dump, "isst_addr:      ", cpu_rdmsr(c, MSR_INT_SSP_TAB), "the guest's INT_SSP_TAB");
	} else {
		check_has(dump, "S_CET = 0x", cpu_rdmsr(c, MSR_S_CET), "the guest's S_CET");
		check_has(dump, "S_CET = 0x", host_rdmsr(MSR_S_CET), "the host's S_CET");
		check_has(dump, "SSP = 0x", cpu_ssp(c), "the guest's SSP");
		check_has(dump, " = 0x", cpu_rdmsr(c, MSR_INT_SSP_TAB), "the guest's INT_SSP_TAB");
	}
	machine_destroy(m);
	return tap_done();
}
