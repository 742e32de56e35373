// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg doctor: what a kernel's initramfs holds. */
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "doctor/check-initramfs.h"
#include "doctor/found.h"
#include "doctor/report.h"
#include "model/initramfs.h"
#include "model/kernel.h"
#include "model/module-file.h"
#include "model/packages.h"

/* The lines that are not empty and not comments */
static char *settings(const char *lines)
{
	char *all = "";

	for (const char *line = lines; line && *line; line = next_line(line)) {
		const char *start = line + strspn(line, " \t");

		if (*start && *start != '#' && *start != '\n')
			all = format("%s%.*s\n", all, (int)strcspn(start, "\n"), start);
	}
	return all;
}

static char *describe_packed(const struct packed_module *module)
{
	if (module->version && module->origin)
		return format("ours %s, from %s", module->version, module->origin);
	return format("%s", module->version ? "another package's" : "the distro's, or of another build");
}

void check_initramfs(struct kernel *kernel, const char *only)
{
	static const char conf[] = "/etc/modprobe.d/" PACKAGE ".conf";
	struct initramfs image;
	char *fix, *why, *holds = "";
	bool unknown = false;

	if (kernel->native)
		return;
	image = read_initramfs(kernel->release);
	if (!image.file)
		return;
	begin_check(format("initramfs of kernel %s", kernel->release));
	if (image.why_unread) {
		skip_check(image.why_unread);
		return;
	}
	fix = image.dracut ? format("dracut --force %s %s", image.file, kernel->release) :
			     format("update-initramfs -u -k %s", kernel->release);
	for (int i = 0; i < MODULES; i++) {
		const struct packed_module *packed = &image.module[i];
		const char *id;

		if (!packed->there)
			continue;
		holds = format("%s%s%s", holds, *holds ? ", " : "", file_names[i]);
		id = build_id_of(&kernel->module[i]);
		unknown |= !packed->build_id || (kernel->module[i].whose != MISSING && !id);
		if (!packed->build_id || (id && !strcmp(id, packed->build_id)) ||
		    (!id && kernel->module[i].whose != MISSING))
			continue;
		why = format(
			"kernel %s: %s contains a %s that differs from the disk's, and the boot may load it: %s; on disk: %s",
			kernel->release, image.file, file_names[i], describe_packed(packed), describe_kernel(kernel));
		report_on_kernel(kernel, only, "initramfs-stale", fix, why);
		return;
	}
	check_is_good(*holds ? format("contains %s, as on disk", holds) : "contains none of the modules");
	if (*holds && strcmp(settings(image.modprobe_d), settings(read_file("%s", conf)))) {
		why = format(
			"kernel %s: %s contains %s, and a %s that differs from the disk's, so the boot loads it with other options",
			kernel->release, image.file, holds, conf);
		report_on_kernel(kernel, only, "initramfs-stale", fix, why);
	} else if (unknown) {
		skip_check(format("%s contains %s; they cannot be compared with the disk, because one has no build-id",
				  image.file, holds));
	}
}
