// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg doctor: finds what keeps this host from running our KVM, and names the command that helps.
 *
 * A check reports problems, or says that it could not look, or is good. What a kernel lacks that neither runs nor
 * boots next is told as a remark: it harms nobody until that kernel is booted.
 */
#include <stddef.h>
#include <string.h>

#include "base/json.h"
#include "base/message.h"
#include "doctor/bug-report.h"
#include "doctor/check-boot.h"
#include "doctor/check-host.h"
#include "doctor/check-initramfs.h"
#include "doctor/check-kernel.h"
#include "doctor/check-packages.h"
#include "doctor/doctor.h"
#include "doctor/facts.h"
#include "doctor/report.h"
#include "kernel-options.h"
#include "model/kernel.h"

/* In the order in which they are reported */
static void (* const host_checks[])(void) = {
	check_cpu,  check_device,	 check_loaded,	    check_cet,	check_vmms,
	check_swap, check_configuration, check_secure_boot, check_boot, check_next_boot,
};

static void (* const kernel_checks[])(struct kernel *kernel, const char *only) = { check_kernel, check_initramfs };
static void (* const other_checks[])(void) = { check_packages, check_dkms, check_disk };
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void check_all(const char *only)
{
	for (size_t i = 0; i < COUNT(host_checks); i++)
		host_checks[i]();
	for (struct kernel *kernel = host.kernels; kernel->release; kernel++)
		for (size_t i = 0; i < COUNT(kernel_checks) && (!only || !strcmp(only, kernel->release)); i++)
			kernel_checks[i](kernel, only);
	for (size_t i = 0; i < COUNT(other_checks); i++)
		other_checks[i]();
}

static const char help[] = "usage: kvm-onereg doctor [--json] [-k KERNEL]\n"
			   "\n"
			   "  Find what keeps this host from running our KVM, and the command that helps.\n"
			   "  Ends with a block for a bug report. Changes nothing.\n"
			   "\n"
			   "  -k, --kernel=KERNEL  examine this kernel only; without it, all kernels. Problems\n"
			   "                       of one that neither runs nor boots next are remarks\n"
			   "      --json           print JSON\n"
			   "\n"
			   "Exit status: 0 no problem found, 1 problems found, 2 wrong usage.\n";

int cmd_doctor(int argc, char **argv)
{
	struct kernel_options options;
	size_t found;

	if (!read_kernel_options(&options, "doctor", false, help, argc, argv))
		return STATUS_OK;
	look_at_host(options.all);
	start_checks();
	check_all(options.release);
	found = problems_found();
	if (options.json)
		print_json(report_json(bug_report()));
	else
		print_report(bug_report());
	return found ? STATUS_NO : STATUS_OK;
}
