// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg doctor: packages and DKMS. */
#include <string.h>

#include "base/file.h"
#include "base/message.h"
#include "base/text.h"
#include "doctor/check-packages.h"
#include "doctor/facts.h"
#include "doctor/report.h"
#include "model/kernel.h"
#include "model/module-file.h"
#include "model/packages.h"
#include "model/series.h"

void check_packages(void)
{
	begin_check("packages");
	if (!known_packages()->found || !known_packages()->ended) {
		skip_check(known_packages()->found ? "dpkg-query does not respond" : "there is no dpkg-query");
		return;
	}
	for (const char *line = known_packages()->output; *line; line += !!*line) {
		size_t n = strcspn(line, "\n");
		char *name = format("%.*s", (int)strcspn(line, "\t\n"), line), *version, *status;

		line += n;
		find_package(name, &version, &status);
		if (!*status || !strcmp(status, "installed") || !strcmp(status, "not-installed") ||
		    !strcmp(status, "config-files"))
			continue;
		report_problem("package-state",
			       !strcmp(status, "half-installed") ? format("apt-get install --reinstall %s", name) :
								   "dpkg --configure -a",
			       format("package %s %s is %s", name, version, status));
	}
}

void check_dkms(void)
{
	bool needed = false, mixed = false;
	char **versions = list_folder(DKMS_TREE);
	int known = 0;

	begin_check("DKMS");
	for (char **name = versions; *name; name++)
		known += strncmp(*name, "kernel-", 7) && strcmp(*name, "original_module");
	check_is_good(format("%d version%s of " PACKAGE, known, known == 1 ? "" : "s"));
	for (struct kernel *kernel = host.kernels; kernel->release; kernel++) {
		needed |= is_supported(kernel->release);
		mixed |= kernel->set == MIXED;
	}
	if (!needed) {
		check_is_good("no kernel here needs it");
		return;
	}
	if (!host.dkms.found) {
		report_problem("dkms-missing", "apt-get install dkms",
			       format("DKMS, which builds our modules, is not installed"));
		return;
	}
	if (!host.dkms.ended) {
		skip_check("dkms status does not respond");
		return;
	}
	for (char **name = versions; *name; name++) {
		if (!strncmp(*name, "kernel-", 7) || !strcmp(*name, "original_module"))
			continue;
		if (!path_exists(DKMS_TREE "/%s/source/dkms.conf", *name))
			report_problem("dkms-broken", format("rm -r " DKMS_TREE "/%s && %s", *name, rebuild_command()),
				       format("DKMS knows version %s, whose source is gone from /usr/src", *name));
		else if (strcmp(*name, tools_version) && path_exists("/usr/src/" PACKAGE "-%s", tools_version))
			report_problem("dkms-other-version",
				       format("dkms remove -m " PACKAGE " -v %s --all; %s", *name, rebuild_command()),
				       format("DKMS has version %s, but this is version %s", *name, tools_version));
	}
	if (!known && path_exists("/usr/src/" PACKAGE "-%s/dkms.conf", tools_version))
		report_problem("dkms-not-added", rebuild_command(),
			       format("DKMS does not know " PACKAGE ", although its source is in /usr/src"));
	/* It also says this about a mixed set, which is reported already */
	if (!mixed && (strcasestr(host.dkms.output, "diff between built") ||
		       strcasestr(host.dkms.output, "differences between built")))
		report_problem("dkms-differs", rebuild_command(),
			       format("DKMS says that the installed modules are not those that it built"));
}
