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
	begin("packages");
	if (!packages()->found || !packages()->ended) {
		skipped(packages()->found ? "dpkg-query does not answer" : "there is no dpkg-query");
		return;
	}
	for (const char *line = packages()->output; *line; line += !!*line) {
		size_t n = strcspn(line, "\n");
		char *name = format("%.*s", (int)strcspn(line, "\t\n"), line), *version, *status;

		line += n;
		package(name, &version, &status);
		if (!*status || !strcmp(status, "installed") || !strcmp(status, "not-installed") ||
		    !strcmp(status, "config-files"))
			continue;
		problem("package-state",
			!strcmp(status, "half-installed") ? format("apt-get install --reinstall %s", name) :
							    "dpkg --configure -a",
			format("package %s %s is %s", name, version, status));
	}
}

void check_dkms(void)
{
	bool needed = false, mixed = false;
	char **versions = list(DKMS_TREE);
	int known = 0;

	begin("DKMS");
	for (char **name = versions; *name; name++)
		known += strncmp(*name, "kernel-", 7) && strcmp(*name, "original_module");
	good(format("%d version%s of " PACKAGE, known, known == 1 ? "" : "s"));
	for (struct kernel *kernel = host.kernels; kernel->release; kernel++) {
		needed |= is_supported(kernel->release);
		mixed |= kernel->set == MIXED;
	}
	if (!needed) {
		good("no kernel here needs it");
		return;
	}
	if (!host.dkms.found) {
		problem("dkms-missing", "apt-get install dkms",
			format("DKMS, which builds our modules, is not installed"));
		return;
	}
	if (!host.dkms.ended) {
		skipped("dkms status does not answer");
		return;
	}
	for (char **name = versions; *name; name++) {
		if (!strncmp(*name, "kernel-", 7) || !strcmp(*name, "original_module"))
			continue;
		if (!exists(DKMS_TREE "/%s/source/dkms.conf", *name))
			problem("dkms-broken", format("rm -r " DKMS_TREE "/%s && %s", *name, rebuild()),
				format("DKMS knows version %s, whose source is gone from /usr/src", *name));
		else if (strcmp(*name, tools_version) && exists("/usr/src/" PACKAGE "-%s", tools_version))
			problem("dkms-other-version",
				format("dkms remove -m " PACKAGE " -v %s --all; %s", *name, rebuild()),
				format("DKMS has version %s, and this is %s", *name, tools_version));
	}
	if (!known && exists("/usr/src/" PACKAGE "-%s/dkms.conf", tools_version))
		problem("dkms-not-added", rebuild(),
			format("DKMS does not know " PACKAGE ", although its source is in /usr/src"));
	/* Of a mixed set it says this too, and that is told already */
	if (!mixed && (strcasestr(host.dkms.output, "diff between built") ||
		       strcasestr(host.dkms.output, "differences between built")))
		problem("dkms-differs", rebuild(), format("DKMS says that what it built is not what is installed"));
}
