// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg doctor: the facts that all checks use. */
#include <string.h>

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "doctor/facts.h"
#include "model/cet.h"
#include "model/kernel.h"
#include "model/kvm.h"
#include "model/loaded.h"
#include "model/outlook.h"
#include "model/packages.h"
#include "model/series.h"

struct facts host;

static void look_at_boot_security(void)
{
	static const char global[] = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
	size_t size;
	unsigned char *bytes = read_bytes(rooted_path("/sys/firmware/efi/efivars/SecureBoot-%s", global), &size);
	char *line = read_file("/sys/kernel/security/lockdown"), *start = line ? strchr(line, '[') : NULL;

	/* Four bytes of attributes, then the value */
	host.secure_boot_known = bytes || path_exists("/sys/firmware") || path_exists("/sys/kernel");
	host.secure_boot = bytes && size == 5 && bytes[4] == 1;
	if (start)
		host.lockdown = format("%.*s", (int)strcspn(start + 1, "]"), start + 1);
}

void look_at_host(struct kernel *kernels)
{
	host.kernels = kernels;
	host.kernel = find_kernel(host.kernels, running_release());
	host.running = what_runs(host.kernel);
	host.access = *host_root() ? KVM_ABSENT : probe_loaded_kvm(&host.running);
	host.cet = look_at_cet();
	host.outlook = look_ahead(host.kernels, host.kernel, &host.running, &host.cet);
	host.flags = value_of(read_file("/proc/cpuinfo"), "flags", ":");
	host.command_line = read_file("/proc/cmdline");
	host.dkms = RUN_PROGRAM("dkms", "status", "-m", PACKAGE);
	look_at_boot_security();
}
