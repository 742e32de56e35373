// SPDX-License-Identifier: GPL-2.0
/* Module files. */
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/unpack.h"
#include "model/elf-file.h"
#include "model/kmod.h"
#include "model/module-file.h"

const char * const whose_names[] = {
	[MISSING] = "missing", [DAMAGED] = "damaged", [BUILTIN] = "built in", [OURS] = "ours",
	[DISTRO] = "distro",   [NATIVE] = "native",   [FOREIGN] = "foreign",  [MIXED] = "mixed",
};

const char * const file_names[] = { "kvm", "kvm-intel", "kvm-amd" };
const char * const loaded_names[] = { "kvm", "kvm_intel", "kvm_amd" };

/* Files that were read before: decompression takes most of a command's time */
struct seen {
	struct seen *next;
	struct module module;
	unsigned char *packed, *elf;
	size_t packed_size, size;
};

static struct seen *seen;

static struct seen *seen_before(const char *file)
{
	for (struct seen *one = seen; one; one = one->next)
		if (!strcmp(one->module.file, file))
			return one;
	return NULL;
}

const unsigned char *module_contents(const struct module *module, size_t *size)
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

const unsigned char *module_packed_contents(const struct module *module, size_t *size)
{
	struct seen *before = module->file ? seen_before(module->file) : NULL;
	size_t unpacked;

	module_contents(module, &unpacked);
	*size = before ? before->packed_size : 0;
	return before ? before->packed : NULL;
}

const char *build_id_of(struct module *module)
{
	struct seen *before = module->file ? seen_before(module->file) : NULL;

	if (!before)
		return NULL;
	if (!before->module.build_id_read) {
		size_t size;
		const unsigned char *elf = module_contents(module, &size);

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
	more = enlarged(module->parameters, n, 2, sizeof(*more));
	more[n] = format("%.*s", (int)strcspn(value, ":"), value);
	module->parameters = more;
}

struct module read_module(const char *file)
{
	struct kmod_ctx *ctx = kmod_of_no_release();
	struct module module = { .whose = MISSING, .parameters = allocate(1, sizeof(char *)) };
	struct {
		const char *key;
		char **value;
	} wanted[] = {
		{ "version", &module.version },	  { "origin", &module.origin },	  { "srcversion", &module.srcversion },
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
	module.file = format("%s", file);
	if (kmod_module_get_info(mod, &info) < 0 || !info) {
		module.whose = DAMAGED;
	} else {
		kmod_list_foreach(entry, info)
		{
			const char *key = kmod_module_info_get_key(entry), *value = kmod_module_info_get_value(entry);

			/* "parm" is there only with a description */
			if (!strcmp(key, "parmtype"))
				add_parameter(&module, value);
			for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
				if (!strcmp(key, wanted[i].key) && *value)
					*wanted[i].value = format("%s", value);
		}
		kmod_module_info_free_list(info);
		/* A truncated file may still have its first sections */
		module.whose = module.vermagic ? whose_file(&module) : DAMAGED;
		module.prebuilt = module.whose == OURS && below(module.file, "/updates/kvm-onereg/");
	}
	kmod_module_unref(mod);
	kmod_unref(ctx);
	remember = allocate(1, sizeof(*remember));
	*remember = (struct seen) { .next = seen, .module = module };
	seen = remember;
	return module;
}
