// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg doctor: the block for a bug report. */
#include <string.h>

#include "base/file.h"
#include "base/kernel-log.h"
#include "base/message.h"
#include "base/text.h"
#include "doctor/bug-report.h"
#include "doctor/facts.h"
#include "doctor/report.h"
#include "model/hold.h"
#include "model/holders.h"
#include "model/kernel.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "model/packages.h"
#include "model/series.h"

/* The last lines of the kernel's log about KVM as a host */
static char *last_of_kvm(const char *log)
{
	char *lines[12] = { NULL }, *all = "";
	int n = 0;

	for (const char *line = log; line && *line; line = next_line(line)) {
		char *one = format("%.*s", (int)strcspn(line, "\n"), line);

		if (strcasestr(one, "kvm") && !strcasestr(one, "kvm-clock") && !strcasestr(one, "kvm-guest") &&
		    !strstr(one, "guest rIP") && !strcasestr(one, "command line"))
			lines[n++ % 12] = one;
	}
	for (int i = n > 12 ? n - 12 : 0; i < n; i++)
		all = format("%slog: %s\n", all, lines[i % 12]);
	return all;
}

char *bug_report(void)
{
	char *release = value_of(read_file("/etc/os-release"), "PRETTY_NAME", "="), *cpu = read_file("/proc/cpuinfo");
	char *lines = format(PACKAGE " %s; %s; kernel %s\n", tools_version, release ? release : "no os-release",
			     running_release());
	static const char * const parameters[] = { "kvm_intel/parameters/cet",	"kvm_intel/parameters/nested",
						   "kvm_intel/parameters/ept",	"kvm_amd/parameters/cet",
						   "kvm_amd/parameters/nested", "kvm_amd/parameters/npt",
						   "kvm/parameters/ignore_msrs" };
	struct holders holders = who_holds_kvm();

	for (struct kernel *kernel = host.kernels; kernel->release; kernel++)
		lines = format("%sdisk %s: %s; built from %s\n", lines, kernel->release, describe_kernel(kernel),
			       built_from(kernel->release) ? built_from(kernel->release) : "?");
	for (int i = 0; i < MODULES; i++) {
		const struct loaded *loaded = &host.running.module[i];

		if (loaded->there)
			lines = format("%sloaded %s: %s %s, build-id %s, %s\n", lines, loaded_names[i],
				       whose_names[loaded->whose], loaded->version ? loaded->version : "",
				       loaded->build_id ? loaded->build_id : "?",
				       loaded->file ? without_root(loaded->file->file) :
						      "its file is no longer on disk");
	}
	lines = format("%sloaded source: %s; next boot: %s (%s)\n", lines,
		       host.outlook.loaded_source ? host.outlook.loaded_source : "?",
		       host.outlook.next.release ? host.outlook.next.release : "?", host.outlook.next.by);
	for (size_t i = 0; i < sizeof(parameters) / sizeof(*parameters); i++) {
		char *value = read_file("/sys/module/%s", parameters[i]);

		if (value)
			lines = format("%s%s=%s\n", lines, parameters[i], value);
	}
	lines = format("%scpu: %s, %s; VMs: %d\n", lines,
		       value_of(cpu, "model name", ":") ? value_of(cpu, "model name", ":") : "?",
		       has_word(host.flags, "svm") ? "svm" :
		       has_word(host.flags, "vmx") ? "vmx" :
						     "no virtualization",
		       holders.vms);
	lines = format("%sSecure Boot: %s; lockdown: %s\n", lines,
		       host.secure_boot	      ? "on" :
		       host.secure_boot_known ? "off" :
						"?",
		       host.lockdown ? host.lockdown : "?");
	for (const char *line = known_packages()->ended ? known_packages()->output : ""; *line; line += !!*line) {
		size_t n = strcspn(line, "\n");
		char *one = format("%.*s", (int)n, line);

		line += n;
		if (strncmp(one, "dpkg-query:", 11) && !strstr(one, "\tnot-installed\t"))
			lines = format("%s%s\n", lines, one);
	}
	if (host.dkms.ended)
		lines = format("%sdkms: %s%s", lines, host.dkms.output, *host.dkms.output ? "" : "nothing\n");
	lines = format("%s%s", lines, last_of_kvm(kernel_log()));
	for (size_t i = 0; i < problems_found(); i++)
		lines = format("%sfound: %s\n", lines, problem_code(i));
	return lines;
}
