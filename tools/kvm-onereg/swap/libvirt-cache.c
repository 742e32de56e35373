// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: libvirt's knowledge of KVM. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/text.h"
#include "swap/libvirt-cache.h"
#include "swap/report.h"

bool has_libvirt(void)
{
	return path_exists("/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so");
}

void renew_libvirt(void)
{
	struct timespec times[] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = time(NULL) } };
	char *folder = rooted_path(QEMU_MODULES);
	struct stat now;

	if (!has_libvirt())
		return;
	if (!stat(folder, &now)) {
		/* libvirt compares seconds */
		if (times[1].tv_sec <= now.st_mtime)
			times[1].tv_sec = now.st_mtime + 1;
		if (!utimensat(AT_FDCWD, folder, times, 0))
			return;
	}
	add_note(format("libvirt may still report what the previous KVM offered (%s: %s): %s", QEMU_MODULES,
			strerror(errno), "restart libvirtd (or virtqemud); domains go on"));
}
