// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg doctor: the running kernel, the one that boots next, and whether it accepts our modules. */
#include <string.h>

#include "base/file.h"
#include "base/kernel-log.h"
#include "base/process.h"
#include "base/text.h"
#include "doctor/check-boot.h"
#include "doctor/facts.h"
#include "doctor/report.h"
#include "model/boot.h"
#include "model/kernel.h"
#include "model/module-file.h"
#include "model/packages.h"
#include "model/series.h"

void check_boot(void)
{
	const struct kernel *newest = host.kernels, *next = host.outlook.next.kernel;

	begin_check("running kernel");
	if (!path_exists("/proc/version") ||
	    (!host.kernels->release && host.running.set != NATIVE && host.running.set != BUILTIN)) {
		skip_check(path_exists("/proc/version") ? "no kernel has modules here; is this a container?" :
							  "there is no /proc");
		return;
	}
	if (!host.kernel) {
		/* A kernel with everything built in needs no modules */
		if (host.running.set != NATIVE && host.running.set != BUILTIN && *running_release())
			report_problem("kernel-gone", "reboot",
				       format("the running kernel, %s, has no modules on disk any more",
					      running_release()));
		return;
	}
	check_is_good(format("%s", running_release()));
	while (newest[1].release)
		newest++;
	if (newest != host.kernel && newest == next)
		report_problem("newer-kernel", "reboot",
			       format("a newer kernel than the running one is installed: %s", newest->release));
	else if (newest != host.kernel)
		report_remark(format("a newer kernel than the running one is installed, %s, but %s boots next (%s)",
				     newest->release, host.outlook.next.release, host.outlook.next.by),
			      NULL);
	if (host.outlook.upgraded)
		report_problem("same-name-upgrade", "reboot",
			       format("kernel %s was upgraded on disk under the same name: %s", running_release(),
				      host.outlook.upgraded));
}

void check_next_boot(void)
{
	const struct next_boot *next = &host.outlook.next;
	const char *fix;

	begin_check("next boot");
	if (!next->release) {
		skip_check("no kernel is installed here");
		return;
	}
	check_is_good(format("%s (%s): %s", next->release, next->by,
			     next->kernel ? describe_kernel(next->kernel) : "no modules"));
	if (!host.outlook.loses_ours)
		return;
	if (next->kernel && is_supported(next->release))
		fix = format("%s     # see below for what kernel %s lacks", rebuild_command(), next->release);
	else
		fix = format(
			"apt-get remove linux-image-%s     # or make the boot loader select a kernel that has ours",
			next->release);
	if (host.outlook.loses_cet)
		report_problem("next-boot-no-cet", fix,
			       format("%s: guests with CET cannot run after the next reboot", host.outlook.loses_ours));
	else
		report_remark(format("%s", host.outlook.loses_ours), NULL);
}

/* The first of our modules without a signature, or NULL: one is enough to keep KVM from loading */
static const struct module *unsigned_module(const struct kernel *kernel)
{
	for (int i = 0; kernel && kernel->set == OURS && i < MODULES; i++)
		if (kernel->module[i].file && !kernel->module[i].signer)
			return &kernel->module[i];
	return NULL;
}

static void report_unsigned(const struct kernel *kernel, const struct module *module, const char *state)
{
	char *what = format(PACKAGE "/%s -k %s", module->version, kernel->release);

	report_problem("unsigned",
		       module->prebuilt ?
			       format("dpkg -i kvm-onereg-modules-%s_*.deb     # a version that was signed",
				      kernel->release) :
			       format("apt-get install openssl && dkms build --force %s && dkms install --force %s",
				      what, what),
		       format("%s, and %s is not signed%s: it cannot load", state, without_root(module->file),
			      module->prebuilt ? "" : " (DKMS had no openssl)"));
}

/* Whether the firmware knows the key of @ours, which is not loaded; @refused is what the kernel has said about a key */
static void check_key(const struct module *ours, const char *state, const char *refused)
{
	struct program_result mokutil = RUN_PROGRAM("mokutil", "--test-key", "/var/lib/dkms/mok.pub");
	char *keys;

	if (mokutil.ended && strstr(mokutil.output, "already enrolled"))
		return;
	if (mokutil.ended && strstr(mokutil.output, "enrollment request")) {
		report_problem(
			"key-pending", "reboot     # and choose \"Enroll MOK\" on the console",
			format("%s, and DKMS's key is waiting to be enrolled: until then, our modules cannot be loaded",
			       state));
		return;
	}
	keys = mokutil.ended && strstr(mokutil.output, "is not enrolled") ? NULL : read_file("/proc/keys");
	if (keys && strstr(keys, ours->signer))
		return;
	if (keys && !refused) {
		skip_check(mokutil.found ? format("mokutil says: %s", mokutil.output) :
					   "mokutil is not installed, and /proc/keys does not show the key");
		return;
	}
	report_problem("key-not-enrolled",
		       "mokutil --import /var/lib/dkms/mok.pub     # then reboot, and enroll it on the console",
		       format("%s, and the firmware does not know the key of our modules (%s): they cannot load%s%s",
			      state, ours->signer, refused ? ". The kernel says: " : "", refused ? refused : ""));
}

void check_secure_boot(void)
{
	char *enforced = read_file("/sys/module/module/parameters/sig_enforce"), *refused;
	const char *state = host.secure_boot ? "Secure Boot is on" :
			    host.lockdown && strcmp(host.lockdown, "none") ?
					       format("the kernel is locked down (%s)", host.lockdown) :
			    enforced && *enforced == 'Y' ? "the kernel accepts only signed modules" :
							   NULL;
	const struct kernel *next = host.outlook.next.kernel;
	const struct module *ours = NULL;

	begin_check("Secure Boot");
	if (!host.secure_boot_known) {
		skip_check("there is no /sys");
		return;
	}
	refused = last_line(kernel_log(), "module with unavailable key is rejected");
	if (!refused)
		refused = last_line(kernel_log(), "unsigned module");
	if (!refused)
		refused = last_line(kernel_log(), "key was rejected by service");
	if (!state) {
		check_is_good("off, and the kernel accepts modules with any key");
		return;
	}
	check_is_good(state);
	if (next != host.kernel && unsigned_module(next))
		report_unsigned(next, unsigned_module(next), state);
	if (host.kernel && host.kernel->set == OURS)
		ours = &host.kernel->module[KVM];
	if (!ours || (host.running.set == OURS && host.running.as_resolved)) {
		if (ours && !(next != host.kernel && unsigned_module(next)))
			check_is_good(format("%s, and our modules are loaded: their key is known", state));
		return;
	}
	if (unsigned_module(host.kernel)) {
		report_unsigned(host.kernel, unsigned_module(host.kernel), state);
		return;
	}
	check_key(ours, state, refused);
}
