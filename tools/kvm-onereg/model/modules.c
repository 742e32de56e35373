// SPDX-License-Identifier: GPL-2.0
/* KVM's modules, on disk and loaded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/options.h"
#include "base/text.h"
#include "base/unpack.h"
#include "model/elf-file.h"
#include "model/kvm.h"
#include "model/modules.h"
#include "model/series.h"

const char *const whose_names[] = {
	[MISSING] = "missing", [DAMAGED] = "damaged", [BUILTIN] = "built in", [OURS] = "ours", [DISTRO] = "distro",
	[NATIVE] = "native", [FOREIGN] = "foreign", [MIXED] = "mixed",
};
const char *const file_names[] = { "kvm", "kvm-intel", "kvm-amd" };
const char *const loaded_names[] = { "kvm", "kvm_intel", "kvm_amd" };

struct kmod_ctx *context_of(const char *folder, const char *const *config)
{
	struct kmod_ctx *ctx;

	/* libkmod complains of modprobe.d on stderr, in kmod_new() already */
	setenv("KMOD_LOG", "0", 0);
	ctx = kmod_new(folder, config);
	if (!ctx)
		die(STATUS_CANNOT, NULL, "cannot set up libkmod: %m");
	return ctx;
}

struct kmod_ctx *no_modules(void)
{
	static const char *const nothing[] = { NULL };

	return context_of("/nonexistent", nothing);
}

struct kmod_ctx *modules_of(const char *release)
{
	const char *const below_root[] = {
		path("/etc/modprobe.d"), path("/run/modprobe.d"), path("/usr/local/lib/modprobe.d"),
		path("/usr/lib/modprobe.d"), path("/lib/modprobe.d"), NULL
	};

	return context_of(path("/lib/modules/%s", release), *host_root() ? below_root : NULL);
}

/* ---- Files ---- */

/* Files that were read before: unpacking takes most of the time of a command */
static struct seen {
	struct seen *next;
	struct module module;
	unsigned char *packed, *elf;
	size_t packed_size, size;
} *seen;

static struct seen *seen_before(const char *file)
{
	for (struct seen *one = seen; one; one = one->next)
		if (!strcmp(one->module.file, file))
			return one;
	return NULL;
}

const unsigned char *contents(const struct module *module, size_t *size)
{
	struct seen *before = module->file ? seen_before(module->file) : NULL;

	*size = 0;
	if (!before)
		return NULL;
	if (!before->packed) {
		before->packed = read_bytes(before->module.file, &before->packed_size);
		if (before->packed)
			before->elf = unpack(before->packed, before->packed_size, &before->size);
	}
	*size = before->size;
	return before->elf;
}

const unsigned char *packed_contents(const struct module *module, size_t *size)
{
	struct seen *before = module->file ? seen_before(module->file) : NULL;
	size_t unpacked;

	contents(module, &unpacked);
	*size = before ? before->packed_size : 0;
	return before ? before->packed : NULL;
}

const char *build_id(struct module *module)
{
	struct seen *before = module->file ? seen_before(module->file) : NULL;

	if (!before)
		return NULL;
	if (!before->module.build_id_read) {
		size_t size;
		const unsigned char *elf = contents(module, &size);

		before->module.build_id = elf ? elf_build_id(elf, size) : NULL;
	}
	before->module.build_id_read = true;
	module->build_id = before->module.build_id;
	return module->build_id;
}

static bool below(const char *file, const char *folder)
{
	return file && strstr(file, folder);
}

static enum whose whose_file(const struct module *module)
{
	if (module->origin && module->version)
		return OURS;
	if (below(module->file, "/kernel/arch/x86/kvm/") || below(module->file, "/dkms/kvm-onereg/original_module/"))
		return DISTRO;
	return FOREIGN;
}

static void add_parameter(struct module *module, const char *value)
{
	size_t n = 0;
	char **more;

	while (module->parameters[n])
		n++;
	more = kept(calloc(n + 2, sizeof(*more)));
	memcpy(more, module->parameters, n * sizeof(*more));
	more[n] = text("%.*s", (int)strcspn(value, ":"), value);
	module->parameters = more;
}

struct module module_of_file(const char *file)
{
	struct kmod_ctx *ctx = no_modules();
	struct module module = { .whose = MISSING, .parameters = kept(calloc(1, sizeof(char *))) };
	struct { const char *key; char **value; } wanted[] = {
		{ "version", &module.version }, { "origin", &module.origin }, { "srcversion", &module.srcversion },
		{ "vermagic", &module.vermagic }, { "depends", &module.depends }, { "signer", &module.signer },
	};
	struct kmod_list *info = NULL, *entry;
	struct kmod_module *mod;
	struct seen *remember;

	if (file && seen_before(file)) {
		kmod_unref(ctx);
		return seen_before(file)->module;
	}
	if (!file || kmod_module_new_from_path(ctx, file, &mod) < 0) {
		kmod_unref(ctx);
		return module;
	}
	module.file = text("%s", file);
	if (kmod_module_get_info(mod, &info) < 0 || !info) {
		module.whose = DAMAGED;
	} else {
		kmod_list_foreach(entry, info) {
			const char *key = kmod_module_info_get_key(entry), *value = kmod_module_info_get_value(entry);

			/* "parm" is there only with a description */
			if (!strcmp(key, "parmtype"))
				add_parameter(&module, value);
			for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
				if (!strcmp(key, wanted[i].key) && *value)
					*wanted[i].value = text("%s", value);
		}
		kmod_module_info_free_list(info);
		/* One that is cut off may still have its first sections */
		module.whose = module.vermagic ? whose_file(&module) : DAMAGED;
		module.prebuilt = module.whose == OURS && below(module.file, "/updates/kvm-onereg/");
	}
	kmod_module_unref(mod);
	kmod_unref(ctx);
	remember = kept(malloc(sizeof(*remember)));
	*remember = (struct seen){ .next = seen, .module = module };
	seen = remember;
	return module;
}

/* ---- Kernels ---- */

static const struct module *first_foreign(const struct module set[MODULES])
{
	for (int i = 0; i < MODULES; i++)
		if (set[i].whose == FOREIGN)
			return &set[i];
	return NULL;
}

static enum whose whose_set(const struct module set[MODULES])
{
	/* It is the one to take away, whatever the others are */
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
	static const char *const options[] = {
		[KVM] = "CONFIG_KVM=m", [KVM_INTEL] = "CONFIG_KVM_INTEL=m", [KVM_AMD] = "CONFIG_KVM_AMD=m"
	};
	char *config = read_file("/boot/config-%s", release);

	if (!config)
		config = read_file("/lib/modules/%s/build/.config", release);
	return module == KVM || !config || !strstr(config, "CONFIG_KVM=m") || first_line(config, options[module]);
}

static void resolve(struct kernel *kernel)
{
	struct kmod_ctx *ctx = modules_of(kernel->release);
	const char *builtin;

	for (int i = 0; i < MODULES; i++) {
		struct kmod_module *mod;
		const char *file;

		if (kmod_module_new_from_name(ctx, file_names[i], &mod) < 0)
			continue;
		file = kmod_module_get_path(mod);
		if (file)
			kernel->module[i] = module_of_file(file);
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
	static const char *const endings[] = { "", ".xz", ".zst", ".gz" };

	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
		if (exists("%s/%s.ko%s", folder, name, endings[i]))
			return module_of_file(path("%s/%s.ko%s", folder, name, endings[i]));
	return (struct module){ .whose = MISSING };
}

/*
 * A folder of modules. Headers alone make one too, and so does a kernel that was removed and not purged. What is left of
 * ours is to be seen, as the installer has to take it away; what a package of prebuilt modules left goes with that.
 */
static bool is_kernel(const char *release)
{
	bool ours = false;

	for (int i = 0; i < MODULES; i++)
		ours |= find_file(text("/lib/modules/%s/updates/dkms", release), file_names[i]).whose != MISSING;
	return ours || exists("/lib/modules/%s/kernel", release) || exists("/lib/modules/%s/vmlinuz", release);
}

struct kernel *kernels(void)
{
	char **names = list("/lib/modules");
	struct kernel *all;
	size_t n = 0;

	while (names[n])
		n++;
	all = kept(calloc(n + 1, sizeof(*all)));
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

bool read_kernel_options(struct kernel_options *options, const char *command, bool with_check, const char *help,
			 int argc, char **argv)
{
	enum { JSON = LONG_ONLY, CHECK };
	const struct option known[] = {
		{ "json", no_argument, NULL, JSON }, { "kernel", required_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' }, { with_check ? "check" : NULL, no_argument, NULL, CHECK }, { }
	};
	int option;

	*options = (struct kernel_options){ 0 };
	while ((option = next_option(command, known, argc, argv)) != -1) {
		switch (option) {
		case JSON:
			options->json = true;
			break;
		case CHECK:
			options->check = true;
			break;
		case 'k':
			options->release = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return false;
		}
	}
	if (optind < argc)
		usage_error(command, "unexpected argument '%s'", argv[optind]);
	if (options->check && (options->json || options->release))
		usage_error(command, "--check takes no other option");
	options->all = kernels();
	if (!options->release)
		return true;
	options->only = find_kernel(options->all, options->release);
	if (!options->only)
		usage_error(command, "no kernel '%s' is installed: it has no modules in /lib/modules", options->release);
	return true;
}

static char *describe_module(const struct module *module)
{
	if (module->whose == OURS)
		return text("ours %s", module->version);
	return text("%s", whose_names[module->whose]);
}

char *describe(const struct kernel *kernel)
{
	const struct module *module = kernel->module;

	switch (kernel->set) {
	case OURS:
		return text("ours %s,%s from %s", module->version, module->prebuilt ? " prebuilt," : "", module->origin);
	case MIXED:
		return text("mixed: kvm %s, kvm-intel %s, kvm-amd %s", describe_module(&module[KVM]),
			    describe_module(&module[KVM_INTEL]), describe_module(&module[KVM_AMD]));
	case FOREIGN:
		return text("of another package: %s", shown(first_foreign(module)->file));
	case MISSING:
		return text("no KVM modules");
	case BUILTIN:
		return text("built into the kernel");
	default:
		return text("%s", whose_names[kernel->set]);
	}
}

bool find_set(const struct kernel *kernel, enum whose whose, struct module set[MODULES])
{
	struct utsname uts;
	const char *machine = uname(&uts) ? "x86_64" : uts.machine, *release = kernel->release;
	/* Of ours the three are in one folder; of the distro's DKMS may have moved some */
	const char *folders[][2] = {
		{ text("/lib/modules/%s/updates/dkms", release), NULL },
		{ text("/lib/modules/%s/updates/kvm-onereg", release), NULL },
		{ text("/lib/modules/%s/kernel/arch/x86/kvm", release),
		  text("/var/lib/dkms/kvm-onereg/original_module/%s/%s", release, machine) },
	};

	for (int f = whose == OURS ? 0 : 2; f < (whose == OURS ? 2 : 3); f++) {
		/* Without that folder, what the first one lacks is to be told */
		if (f == 1 && !exists("%s", folders[f][0]))
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

/* ---- What is loaded ---- */

bool same_module(const struct loaded *loaded, struct module *file)
{
	if (file->whose == MISSING || file->whose == DAMAGED)
		return false;
	if (loaded->build_id && build_id(file))
		return !strcmp(loaded->build_id, file->build_id);
	/* The distro's have neither: then all that can be said is that both are the distro's */
	if (loaded->version || file->version || loaded->srcversion || file->srcversion)
		return same_text(loaded->version, file->version) && same_text(loaded->srcversion, file->srcversion);
	return file->whose == DISTRO && !loaded->out_of_tree;
}

static void look_at_loaded(struct loaded *loaded, const char *name)
{
	unsigned char *notes;
	char *state, *value;
	size_t size;

	loaded->references = -1;
	loaded->there = exists("/sys/module/%s", name);
	if (!loaded->there)
		return;
	state = read_file("/sys/module/%s/initstate", name);
	if (!state) {
		/* Parameters of built-in code make a folder too */
		loaded->whose = BUILTIN;
		loaded->live = true;
		return;
	}
	loaded->live = !strcmp(state, "live");
	loaded->version = read_file("/sys/module/%s/version", name);
	loaded->srcversion = read_file("/sys/module/%s/srcversion", name);
	value = read_file("/sys/module/%s/taint", name);
	loaded->out_of_tree = value && strchr(value, 'O');
	value = read_file("/sys/module/%s/refcnt", name);
	if (value)
		loaded->references = atoi(value);
	notes = read_bytes(path("/sys/module/%s/notes/.note.gnu.build-id", name), &size);
	if (notes)
		loaded->build_id = notes_build_id(notes, size);
}

struct running what_runs(struct kernel *kernel)
{
	struct running running = { .as_resolved = true, .known = true };
	struct module *sets = kept(calloc(2 * MODULES, sizeof(*sets)));

	if (kernel) {
		find_set(kernel, OURS, sets);
		find_set(kernel, DISTRO, sets + MODULES);
	}
	for (int i = 0; i < MODULES; i++) {
		struct loaded *loaded = &running.module[i];

		look_at_loaded(loaded, loaded_names[i]);
		if (!loaded->there)
			continue;
		if (loaded->whose != BUILTIN) {
			struct module *files[] = { kernel ? &kernel->module[i] : NULL, &sets[i], &sets[MODULES + i] };

			for (size_t f = 0; f < 3 && !loaded->file; f++)
				if (files[f] && same_module(loaded, files[f]))
					loaded->file = files[f];
			if (loaded->file)
				loaded->whose = loaded->file->whose;
			else if (loaded->version)
				/* None of the file is left: of the modules of these names only ours have a version */
				loaded->whose = OURS;
			else
				loaded->whose = loaded->out_of_tree ? FOREIGN : DISTRO;
			running.as_resolved = running.as_resolved && kernel && loaded->file == &kernel->module[i];
			running.known = running.known && kernel && loaded->build_id && build_id(&kernel->module[i]);
		}
		running.vendor = running.vendor || (i != KVM && loaded->live);
		if (running.set == MISSING)
			running.set = loaded->whose;
		else if (running.set != loaded->whose ||
			 (loaded->whose == OURS && !same_text(loaded->version, running.module[KVM].version)))
			running.set = MIXED;
	}
	if (running.set == BUILTIN)
		running.vendor = true;
	if ((running.set == DISTRO || running.set == BUILTIN) && is_native(running_release())) {
		running.set = NATIVE;
		for (int i = 0; i < MODULES; i++)
			running.module[i].whose = NATIVE;
	}
	return running;
}

enum kvm_access probe(const struct running *running)
{
	return running->vendor || !exists("/sys/module") ? kvm_probe(NULL) : KVM_ABSENT;
}
