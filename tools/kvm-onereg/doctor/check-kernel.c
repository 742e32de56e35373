// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg doctor: what each kernel has on disk. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/message.h"
#include "base/process.h"
#include "base/text.h"
#include "doctor/check-kernel.h"
#include "doctor/facts.h"
#include "doctor/found.h"
#include "doctor/report.h"
#include "model/kernel.h"
#include "model/loadable.h"
#include "model/module-file.h"
#include "model/packages.h"
#include "model/series.h"

static bool newer(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec > b->st_mtim.tv_sec ||
	       (a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec > b->st_mtim.tv_nsec);
}

/* The newest log of a build for this kernel, or NULL; *file is where it is */
static char *build_log(const char *release, char **file)
{
	struct stat newest = { 0 }, one;
	char *log = NULL, **names = list_folder(DKMS_TREE);

	*file = format(STATE "/log/%s", release);
	if (!stat(rooted_path("%s", *file), &newest))
		log = read_file("%s", *file);
	for (; *names; names++) {
		char *other = format(DKMS_TREE "/%s/build/make.log", *names), *content;

		if (stat(rooted_path("%s", other), &one) || (log && !newer(&one, &newest)))
			continue;
		content = read_file("%s", other);
		/* Its head names the kernel */
		if (!content || !strstr(content, release))
			continue;
		newest = one;
		log = content;
		*file = other;
	}
	return log;
}

/* The lines that say why a build failed, at most four, or NULL; *fix is its "to fix:", if there is one */
static char *decisive(const char *log, char **fix)
{
	static const char * const words[] = {
		PACKAGE ": ", ": error:", ": fatal error:", "ERROR:", "***", "No space left on device", "Error! "
	};
	bool failed = strstr(log, ": error:") || strstr(log, "fatal error:") || strstr(log, "***") ||
		      strstr(log, "Error! ") || strstr(log, "No space left") || strstr(log, "  to fix: ");
	char *lines = NULL;
	int n = 0;

	*fix = NULL;
	if (!failed)
		return NULL;
	for (const char *line = log; line && *line && n < 4; line = next_line(line)) {
		char *one = format("%.*s", (int)strcspn(line, "\n"), line);

		if (!strncmp(one, "  to fix: ", 10)) {
			*fix = one + 10;
			continue;
		}
		for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
			if (!strstr(one, words[i]) || strstr(one, PACKAGE ": extracting") ||
			    strstr(one, PACKAGE ": exports"))
				continue;
			lines = format("%s\n    %s", lines ? lines : "", one);
			n++;
			break;
		}
	}
	return lines;
}

static const char *fetch_source(const char *name, const char *version)
{
	return fetches_source() ? rebuild_command() :
				  format("apt-get install %s=%s && %s", name, version, rebuild_command());
}

/* Headers and source: false if something is missing, which is reported */
static bool check_material(const struct kernel *kernel, const char *only)
{
	char *release = kernel->release, *series = series_of(release), *from = built_from(release), *source = NULL;
	char *name = format("linux-source-%s", series), *tarball = NULL, *newest;
	static const char * const endings[] = { "xz", "zst", "gz", "bz2" };
	struct wanted needs = wanted_source(release);

	if (!from && path_exists("/lib/modules/%s/build/Makefile", release)) {
		check_is_good(format("%s; not a Debian kernel: make modules KVM_SOURCE=TREE KDIR=BUILD builds for it",
				     describe_kernel(kernel)));
		return false;
	}
	if (!path_exists("/lib/modules/%s/build/include/generated/package.h", release)) {
		report_on_kernel(kernel, only, "headers-missing",
				 format("apt-get install linux-headers-%s && %s", release, rebuild_command()),
				 format("kernel %s: its headers are not installed%s", release,
					path_exists("/lib/modules/%s/build/Makefile", release) ?
						" completely, or are not Debian's" :
						""));
		return false;
	}
	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings) && !tarball; i++)
		if (path_exists("/usr/src/%s.tar.%s", name, endings[i]))
			tarball = format("/usr/src/%s.tar.%s", name, endings[i]);
	/* Source that was extracted once is kept */
	if (!from || path_exists(STATE "/source/%s/SHA256SUMS", from))
		return true;
	if (needs.version) {
		report_on_kernel(kernel, only, "source-missing",
				 !strcmp(needs.result ? needs.result : "", "unavailable") ?
					 "apt-get install linux-image-amd64 linux-headers-amd64 && reboot" :
					 rebuild_command(),
				 format("kernel %s waits for the source of linux %s: %s", release, needs.version,
					wanted_state(&needs)));
		return false;
	}
	if (!tarball) {
		report_on_kernel(kernel, only, "source-missing", fetch_source(name, from),
				 format("kernel %s: its source is not installed (no /usr/src/%s.tar.xz)", release,
					name));
		return false;
	}
	find_package(name, &source, NULL);
	if (*source && strcmp(source, from)) {
		/* Archives do not keep old versions for long: the other solution is a newer kernel */
		newest = format("apt-get install linux-image-amd64 linux-headers-amd64 %s && reboot", name);
		report_on_kernel(kernel, only, "source-version",
				 format("%s     # or: %s", fetch_source(name, from), newest),
				 format("kernel %s was built from linux %s, but %s has version %s", release, from, name,
					source));
		return false;
	}
	return true;
}

/* Why our modules are missing where they could be */
static void check_absent(const struct kernel *kernel, const char *only)
{
	char *file, *fix, *log, *lines;

	if (!check_material(kernel, only))
		return;
	log = build_log(kernel->release, &file);
	lines = log ? decisive(log, &fix) : NULL;
	if (lines)
		report_on_kernel(kernel, only, "build-failed",
				 fix ? format("%s && %s", fix, rebuild_command()) : format("less %s", file),
				 format("kernel %s: the last build failed (%s):%s", kernel->release, file, lines));
	else if (path_exists(DKMS_TREE "/%s/%s", tools_version, kernel->release))
		report_on_kernel(kernel, only, "not-installed", rebuild_command(),
				 format("kernel %s: our modules are built, but not installed", kernel->release));
	else
		report_on_kernel(kernel, only, "not-built", rebuild_command(),
				 format("kernel %s has the distro's KVM: ours is not built for it", kernel->release));
}

/* The command that removes a file, depending on who put it there */
static char *remove_file(const struct kernel *kernel, const struct module *module)
{
	const char *file = without_root(module->file), *name = strrchr(file, '/');
	struct program_result owner = RUN_PROGRAM("dpkg-query", "-S", file);

	if (owner.ended && !owner.status && strchr(owner.output, ':'))
		return format("apt-get remove %.*s", (int)strcspn(owner.output, ":"), owner.output);
	for (char **other = list_folder("/var/lib/dkms"); *other; other++) {
		char *link = rooted_path("/var/lib/dkms/%s/kernel-%s-x86_64", *other, kernel->release), target[256];
		ssize_t n = readlink(link, target, sizeof(target) - 1);

		if (n <= 0 || !strcmp(*other, PACKAGE))
			continue;
		target[n] = '\0';
		if (path_exists("/var/lib/dkms/%s/%s/module%s", *other, target, name))
			return format("dkms remove -m %s -v %.*s -k %s", *other, (int)strcspn(target, "/"), target,
				      kernel->release);
	}
	return format("rm %s && depmod %s", file, kernel->release);
}

/* Modules that are on disk, but that the kernel will not load; @fix rebuilds them */
static void check_loadable(const struct kernel *kernel, const char *only, const char *fix)
{
	struct obstacle it = find_obstacle(kernel);
	char *sentence;

	if (!it.code)
		return;
	sentence = format("kernel %s: %s %s", kernel->release, without_root(it.module->file), it.sentence);
	if (it.later)
		report_remark(sentence, fix);
	else
		report_on_kernel(kernel, only, it.code, fix, sentence);
}

static void check_ours(const struct kernel *kernel, const char *only)
{
	const struct module *module = &kernel->module[KVM];
	char *from = built_from(kernel->release), *source = NULL;
	const char *fix = rebuild_command();

	/* Modules from a tree that somebody named have no version to compare */
	if (from && !strncmp(module->origin, "linux-source-", 13))
		source = format("linux-source-%s %s", series_of(kernel->release), from);
	if (module->prebuilt)
		fix = format("apt-get install --reinstall kvm-onereg-modules-%s     # a version built from linux %s",
			     kernel->release, from ? from : "of this kernel");
	check_is_good(describe_kernel(kernel));
	for (int i = 0; i < MODULES; i++) {
		if (!kernel->module[i].file || kernel->module[i].prebuilt ||
		    strstr(kernel->module[i].file, "/updates/dkms/"))
			continue;
		report_on_kernel(
			kernel, only, "stale",
			format("rm %s && depmod %s && %s", without_root(kernel->module[i].file), kernel->release,
			       rebuild_command()),
			format("kernel %s: an old copy of our module takes precedence over what DKMS installs: %s",
			       kernel->release, without_root(kernel->module[i].file)));
		return;
	}
	if (source && strcmp(source, module->origin))
		report_on_kernel(kernel, only, "stale-build", fix,
				 format("kernel %s was built from %s, but our modules from %s", kernel->release, source,
					module->origin));
	else if (strcmp(module->version, tools_version))
		report_on_kernel(kernel, only, "other-version", fix,
				 format("kernel %s has version %s of our modules, but this is version %s",
					kernel->release, module->version, tools_version));
	else
		check_loadable(kernel, only, fix);
}

void check_kernel(struct kernel *kernel, const char *only)
{
	bool supported = is_supported(kernel->release);
	struct module distro[MODULES], *bad = NULL;

	begin_check(format("kernel %s", kernel->release));
	check_is_good(format("%s%s", describe_kernel(kernel),
			     supported || kernel->native ? "" : "; its series is left alone"));
	for (int i = MODULES - 1; i >= 0; i--)
		if (kernel->module[i].whose == FOREIGN || kernel->module[i].whose == DAMAGED)
			bad = &kernel->module[i];
	if (kernel->set == BUILTIN || kernel->set == NATIVE || (!supported && !bad))
		return;
	if (bad && bad->whose == FOREIGN) {
		report_on_kernel(kernel, only, "foreign", remove_file(kernel, bad),
				 format("kernel %s: a module of another package, or an old one, takes precedence: %s",
					kernel->release, without_root(bad->file)));
		return;
	}
	if (bad) {
		report_on_kernel(kernel, only, "damaged",
				 strstr(bad->file, "/updates/kvm-onereg/") ?
					 format("apt-get install --reinstall kvm-onereg-modules-%s", kernel->release) :
				 strstr(bad->file, "/updates/") ?
					 format("rm %s && %s", without_root(bad->file), rebuild_command()) :
					 format("apt-get install --reinstall linux-image-%s", kernel->release),
				 format("kernel %s: this module is truncated or damaged: %s", kernel->release,
					without_root(bad->file)));
		return;
	}
	switch (kernel->set) {
	case OURS:
		check_ours(kernel, only);
		return;
	case DISTRO:
		check_loadable(kernel, only, format("apt-get install --reinstall linux-image-%s", kernel->release));
		check_absent(kernel, only);
		return;
	case MIXED:
		report_on_kernel(kernel, only, "disk-mixed", rebuild_command(),
				 format("kernel %s: the three modules on disk do not belong together: %s",
					kernel->release, describe_kernel(kernel)));
		check_material(kernel, only);
		return;
	default:
		break;
	}
	if (find_set(kernel, DISTRO, distro) || find_set(kernel, OURS, distro))
		report_on_kernel(kernel, only, "depmod", format("depmod %s", kernel->release),
				 format("kernel %s: its modules exist, but modules.dep does not list them",
					kernel->release));
	else if (path_exists("/lib/modules/%s/kernel/arch/x86", kernel->release))
		report_on_kernel(kernel, only, "modules-missing",
				 format("apt-get install --reinstall linux-image-%s", kernel->release),
				 format("kernel %s has no KVM modules", kernel->release));
}
