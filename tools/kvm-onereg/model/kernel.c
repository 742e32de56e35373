// SPDX-License-Identifier: GPL-2.0
/* Kernels on disk. */
#include <string.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/kernel.h"
#include "model/kmod.h"
#include "model/module-file.h"
#include "model/series.h"

static const struct module *first_foreign(const struct module set[MODULES])
{
	for (int i = 0; i < MODULES; i++)
		if (set[i].whose == FOREIGN)
			return &set[i];
	return NULL;
}

static enum whose whose_set(const struct module set[MODULES])
{
	/* It is the one to remove, whatever the others are */
	if (first_foreign(set))
		return FOREIGN;
	if (set[KVM_INTEL].not_configured && set[KVM_AMD].not_configured)
		return set[KVM].whose == MISSING ? MISSING : MIXED;
	for (int i = 1; i < MODULES; i++) {
		if (set[i].not_configured)
			continue;
		if (set[i].whose != set[0].whose)
			return MIXED;
		if (set[i].whose == OURS &&
		    (!same_text(set[i].version, set[0].version) || !same_text(set[i].origin, set[0].origin) ||
		     set[i].prebuilt != set[0].prebuilt))
			return MIXED;
	}
	return set[0].whose;
}

/* A kernel of one's own may be configured without one of the vendors: that module is not missing */
static bool is_configured(const char *release, int module)
{
	static const char * const options[] = {
		[KVM] = "CONFIG_KVM=m", [KVM_INTEL] = "CONFIG_KVM_INTEL=m", [KVM_AMD] = "CONFIG_KVM_AMD=m"
	};
	char *config = read_file("/boot/config-%s", release);

	if (!config)
		config = read_file("/lib/modules/%s/build/.config", release);
	return module == KVM || !config || !strstr(config, "CONFIG_KVM=m") || first_line(config, options[module]);
}

static void resolve(struct kernel *kernel)
{
	struct kmod_ctx *ctx = kmod_of_release(kernel->release);
	const char *builtin;

	for (int i = 0; i < MODULES; i++) {
		struct kmod_module *mod;
		const char *file;

		if (kmod_module_new_from_name(ctx, file_names[i], &mod) < 0)
			continue;
		file = kmod_module_get_path(mod);
		if (file)
			kernel->module[i] = read_module(file);
		else
			kernel->module[i].not_configured = !is_configured(kernel->release, i);
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	kernel->set = whose_set(kernel->module);
	builtin = read_file("/lib/modules/%s/modules.builtin", kernel->release);
	if (kernel->set == MISSING && builtin && strstr(builtin, "/kvm/kvm.ko"))
		kernel->set = BUILTIN;
	if ((kernel->set == DISTRO || kernel->set == BUILTIN) && kernel->native)
		kernel->set = NATIVE;
}

static struct module find_file(const char *folder, const char *name)
{
	static const char * const endings[] = { "", ".xz", ".zst", ".gz" };

	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
		if (path_exists("%s/%s.ko%s", folder, name, endings[i]))
			return read_module(rooted_path("%s/%s.ko%s", folder, name, endings[i]));
	return (struct module) { .whose = MISSING };
}

/*
 * A folder of modules. Headers alone make one too, and so does a kernel that was removed and not purged. What is left
 * of ours is to be seen, as the installer has to take it away; what a package of prebuilt modules left goes with that.
 */
static bool is_kernel(const char *release)
{
	bool ours = false;

	for (int i = 0; i < MODULES; i++)
		ours |= find_file(format("/lib/modules/%s/updates/dkms", release), file_names[i]).whose != MISSING;
	return ours || path_exists("/lib/modules/%s/kernel", release) ||
	       path_exists("/lib/modules/%s/vmlinuz", release);
}

struct kernel *find_kernels(void)
{
	char **names = list_folder("/lib/modules");
	struct kernel *all;
	size_t n = 0;

	while (names[n])
		n++;
	all = allocate(n + 1, sizeof(*all));
	n = 0;
	for (char **name = names; *name; name++) {
		if (!is_kernel(*name))
			continue;
		all[n].release = *name;
		all[n].running = !strcmp(*name, running_release());
		all[n].native = is_native(*name);
		resolve(&all[n++]);
	}
	return all;
}

struct kernel *find_kernel(struct kernel *all, const char *release)
{
	for (; all->release; all++)
		if (!strcmp(all->release, release))
			return all;
	return NULL;
}

static char *describe_module(const struct module *module)
{
	if (module->whose == OURS)
		return format("ours %s", module->version);
	return format("%s", whose_names[module->whose]);
}

char *describe_kernel(const struct kernel *kernel)
{
	const struct module *module = kernel->module;

	switch (kernel->set) {
	case OURS:
		return format("ours %s,%s from %s", module->version, module->prebuilt ? " prebuilt," : "",
			      module->origin);
	case MIXED:
		return format("mixed: kvm %s, kvm-intel %s, kvm-amd %s", describe_module(&module[KVM]),
			      describe_module(&module[KVM_INTEL]), describe_module(&module[KVM_AMD]));
	case FOREIGN:
		return format("of another package: %s", without_root(first_foreign(module)->file));
	case MISSING:
		return format("no KVM modules");
	case BUILTIN:
		return format("built into the kernel");
	default:
		return format("%s", whose_names[kernel->set]);
	}
}

bool find_set(const struct kernel *kernel, enum whose whose, struct module set[MODULES])
{
	struct utsname uts;
	const char *machine = uname(&uts) ? "x86_64" : uts.machine, *release = kernel->release;
	/* Our three are in one folder; DKMS may have moved some of the distro's */
	const char *folders[][2] = {
		{ format("/lib/modules/%s/updates/dkms", release), NULL },
		{ format("/lib/modules/%s/updates/kvm-onereg", release), NULL },
		{ format("/lib/modules/%s/kernel/arch/x86/kvm", release),
		  format("/var/lib/dkms/kvm-onereg/original_module/%s/%s", release, machine) },
	};

	for (int f = whose == OURS ? 0 : 2; f < (whose == OURS ? 2 : 3); f++) {
		/* Without that folder, report what the first one lacks */
		if (f == 1 && !path_exists("%s", folders[f][0]))
			break;
		for (int i = 0; i < MODULES; i++) {
			set[i] = kernel->module[i];
			for (int n = 0; n < 2 && folders[f][n] && set[i].whose != whose && !set[i].not_configured; n++)
				if (!n || set[i].whose == MISSING)
					set[i] = find_file(folders[f][n], file_names[i]);
		}
		if (whose_set(set) == whose)
			return true;
	}
	return false;
}
