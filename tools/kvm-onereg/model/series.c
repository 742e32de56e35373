// SPDX-License-Identifier: GPL-2.0
/* Which kernels kvm-onereg is for */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "base/text.h"
#include "model/series.h"

char *series_of(const char *release)
{
	size_t n = strcspn(release, ".");

	if (release[n])
		n += 1 + strspn(release + n + 1, "0123456789");
	return format("%.*s", (int)n, release);
}

bool is_supported(const char *release)
{
	static const char * const supported[] = { SUPPORTED_SERIES };
	const char *series = series_of(release);

	for (size_t i = 0; i < sizeof(supported) / sizeof(supported[0]); i++)
		if (!strcmp(series, supported[i]))
			return true;
	return false;
}

bool is_native(const char *release)
{
	unsigned int major, minor;

	return sscanf(release, "%u.%u", &major, &minor) == 2 && strverscmp(series_of(release), NATIVE_SINCE) >= 0;
}

const char *running_release(void)
{
	static const char *release;
	struct utsname uts;

	if (!release)
		release = read_file("/proc/sys/kernel/osrelease");
	if (!release && !uname(&uts))
		release = format("%s", uts.release);
	return release ? release : "";
}
