// SPDX-License-Identifier: GPL-2.0
/* What a swap or the next boot changes. */
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "model/boot.h"
#include "model/cet.h"
#include "model/kernel.h"
#include "model/loadable.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "model/outlook.h"
#include "model/packages.h"
#include "model/series.h"

/* Whether the vendor module @module of a kernel has CET */
static bool has_cet(const struct kernel *kernel, int module)
{
	if (kernel->set != OURS)
		return kernel->set == NATIVE;
	for (char **name = kernel->module[module].parameters; name && *name; name++)
		if (!strcmp(*name, "cet"))
			return true;
	return false;
}

/* Another kernel than @next with our KVM, and with CET in @module, unless that is -1; or NULL */
static const struct kernel *another(const struct kernel *all, const struct kernel *next, int module)
{
	const struct kernel *found = NULL;

	for (; all->release; all++)
		if (all != next && all->set == OURS && (module < 0 || has_cet(all, module)) && (!found || all->running))
			found = all;
	return found;
}

static void compare_kernels(struct outlook *outlook, struct kernel *all, const struct running *running,
			    const struct cet *cet)
{
	const struct kernel *next = outlook->next.kernel, *other;
	bool with_cet = wants_cet(cet), has_ours = next && (next->set == OURS || next->set == NATIVE);
	int module = with_cet ? cet->vendor : -1;
	char *has;

	if (!outlook->next.release || (has_ours && (!with_cet || has_cet(next, module))))
		return;
	other = another(all, next, module);
	if (!other && (has_ours || running->set != OURS))
		return;
	has = !next		  ? format("has no modules on disk") :
	      next->set == OURS	  ? format("has an old version of our KVM, without CET") :
	      next->set == DISTRO ? format("has the distro's KVM") :
				    format("has: %s", describe_kernel(next));
	outlook->loses_ours = format("kernel %s boots next (%s) and %s, while %s ours", outlook->next.release,
				     outlook->next.by, has,
				     other ? format("%s has", other->release) : "what is loaded is");
	outlook->loses_cet = with_cet;
}

/* "linux 6.12.117-1" for modinfo's "linux-source-6.12 6.12.117-1"; other origins as they are */
static char *source_of(const char *origin)
{
	const char *version = origin && !strncmp(origin, "linux-source-", 13) ? strchr(origin, ' ') : NULL;

	return version ? format("linux%s", version) : origin ? format("%s", origin) : NULL;
}

static char *source_of_file(const struct module *module, const char *release)
{
	char *version;

	if (module->whose == OURS)
		return source_of(module->origin);
	version = module->whose == DISTRO ? image_version(release) : NULL;
	return version ? format("linux %s", version) : NULL;
}

static void find_source_of_loaded(struct outlook *outlook, const struct running *running)
{
	const struct loaded *loaded = &running->module[KVM];
	char *version = running_version();

	if (loaded->there && loaded->file)
		outlook->loaded_source = source_of_file(loaded->file, running_release());
	else if (loaded->there)
		outlook->loaded_source = source_of(noted_origin(loaded->build_id));
	if (outlook->loaded_source || !version)
		return;
	/* The kernel takes its own modules only, and what the distro had for it under this name was of its version */
	if (running->set == NATIVE || loaded->whose == BUILTIN || loaded->whose == DISTRO) {
		outlook->loaded_source = format("linux %s", version);
		outlook->source_inferred = loaded->whose == DISTRO;
	}
}

static char *why_unloadable(const struct kernel *kernel)
{
	struct obstacle it = kernel ? find_obstacle(kernel) : (struct obstacle) { 0 };

	return it.code && !it.later ? format("%s %s", without_root(it.module->file), it.sentence) : NULL;
}

struct outlook look_ahead(struct kernel *all, struct kernel *running_kernel, const struct running *running,
			  const struct cet *cet)
{
	char *image = image_version(running_release()), *version = running_version();
	struct outlook outlook = { .next = boots_next(all) };
	const struct kernel *next = outlook.next.kernel;

	compare_kernels(&outlook, all, running, cet);
	find_source_of_loaded(&outlook, running);
	if (running_kernel)
		outlook.disk_source = running_kernel->set == NATIVE && image ?
					      format("linux %s", image) :
					      source_of_file(&running_kernel->module[KVM], running_release());
	outlook.unloadable = why_unloadable(running_kernel);
	outlook.next_unloadable = next == running_kernel ? outlook.unloadable : why_unloadable(next);
	/* Where no kernel is on disk, as in a container, there is nothing to swap to */
	outlook.swap_pending = running->set != MISSING && running_kernel && !running->as_resolved;
	if (image && strchr(image, ':'))
		image = strchr(image, ':') + 1;
	if (running_kernel && image && version && strcmp(image, version))
		outlook.upgraded = format("%s runs, %s is installed", version, image);
	/* find_kernels() has them in the order of their versions */
	outlook.reboot_pending = outlook.upgraded ||
				 (next && !next->running && (!running_kernel || next > running_kernel));
	return outlook;
}
