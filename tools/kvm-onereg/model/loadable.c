// SPDX-License-Identifier: GPL-2.0
/* What keeps a module file from loading. For the signature, see check_secure_boot(). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "model/elf-file.h"
#include "model/kernel.h"
#include "model/kmod.h"
#include "model/loadable.h"
#include "model/module-file.h"
#include "model/packages.h"

/* ---- Packing ---- */

/* xz's check types that the kernel's decompressor supports. xz itself uses CRC64 by default */
enum { CHECK_NONE, CHECK_CRC32 };

static bool has_line(const char *lines, const char *wanted)
{
	const char *line = first_line(lines, wanted);

	return line && !strcmp(line, wanted);
}

/* The kernel decompresses .ko.xz itself, if kmod lets it */
static bool kernel_unpacks_xz(const struct kernel *kernel)
{
	char *config = read_file("/boot/config-%s", kernel->release), *format;

	if (!config)
		config = read_file("/lib/modules/%s/config", kernel->release);
	if (config)
		return has_line(config, "CONFIG_MODULE_DECOMPRESS=y") &&
		       has_line(config, "CONFIG_MODULE_COMPRESS_XZ=y");
	format = kernel->running ? read_file("/sys/module/compression") : NULL;
	return format && !strcmp(format, "xz");
}

/*
 * Since version 31, kmod passes compressed files to a kernel that decompresses them; before, it decompressed all itself
 */
static bool kmod_lets_kernel_unpack(void)
{
	static int version = -1;

	if (version < 0) {
		struct program_result kmod = RUN_PROGRAM("kmod", "--version");
		const char *number = kmod.ended ? strstr(kmod.output, "kmod version ") : NULL;

		version = number ? atoi(number + strlen("kmod version ")) : 0;
	}
	return version >= 31;
}

static struct obstacle packing(const struct kernel *kernel, const struct module *module)
{
	size_t size;
	const unsigned char *bytes = module_packed_contents(module, &size);
	unsigned int check = bytes && size > 7 ? bytes[7] & 0x0f : 0;
	struct obstacle found = { .module = module };

	if (!bytes || size < 8 || memcmp(bytes, "\xfd\x37zXZ", 6) || check == CHECK_NONE || check == CHECK_CRC32 ||
	    !kernel_unpacks_xz(kernel))
		return found;
	found.code = "xz-check";
	found.later = !kmod_lets_kernel_unpack();
	found.sentence = format("is compressed with xz's check %s, but the kernel supports only CRC32 or none%s",
				check == 4  ? "CRC64" :
				check == 10 ? "SHA-256" :
					      format("%u", check),
				found.later ? ": kmod here still decompresses it, but Debian 13's will not" :
					      " (EINVAL)");
	return found;
}

/* ---- vermagic ---- */

static struct obstacle vermagic(const struct kernel *kernel, const struct module *module)
{
	struct obstacle found = { .module = module };
	size_t length = strlen(kernel->release);
	struct module distro[MODULES];

	if (!module->vermagic)
		return found;
	if (strncmp(module->vermagic, kernel->release, length) || module->vermagic[length] != ' ') {
		found.code = "vermagic";
		found.sentence = format("belongs to another kernel (%s)", module->vermagic);
	} else if (find_set(kernel, DISTRO, distro) && distro[KVM].vermagic &&
		   strcmp(distro[KVM].vermagic, module->vermagic)) {
		found.code = "vermagic";
		found.sentence = format("was built for \"%s\", and the kernel's own modules for \"%s\"",
					module->vermagic, distro[KVM].vermagic);
	}
	return found;
}

/* ---- Symbols ---- */

struct symbol {
	const char *name;
	uint64_t crc; /* 0: it has none */
};

struct symbols {
	struct symbol *all;
	size_t n;
};

static int by_symbol_name(const void *a, const void *b)
{
	return strcmp(((const struct symbol *)a)->name, ((const struct symbol *)b)->name);
}

static const struct symbol *find_symbol(const struct symbols *symbols, const char *name)
{
	const struct symbol wanted = { .name = name };

	return symbols->n ? bsearch(&wanted, symbols->all, symbols->n, sizeof(wanted), by_symbol_name) : NULL;
}

/* Module.symvers of the kernel's headers: "0xCRC<tab>NAME<tab>..."; empty if they are of another build */
static struct symbols of_kernel(const struct kernel *kernel)
{
	char *lines = read_file("/lib/modules/%s/build/Module.symvers", kernel->release), *end;
	char *image = image_version(kernel->release), *headers = built_from(kernel->release);
	struct symbols symbols = { 0 };
	size_t room = 0;

	if (!lines || (image && headers && strcmp(image, headers)))
		return symbols;
	for (char *line = lines; line; line = end ? end + 1 : NULL) {
		char *name = line + strcspn(line, "\t\n");

		end = strchr(line, '\n');
		room += *name == '\t';
	}
	symbols.all = allocate(room + 1, sizeof(*symbols.all));
	for (char *line = lines; line; line = end ? end + 1 : NULL) {
		char *name = line + strcspn(line, "\t\n");

		end = strchr(line, '\n');
		if (*name != '\t' || symbols.n == room)
			continue;
		name++;
		symbols.all[symbols.n++] = (struct symbol) { name, strtoull(line, NULL, 16) };
		name[strcspn(name, "\t\n")] = '\0';
	}
	qsort(symbols.all, symbols.n, sizeof(*symbols.all), by_symbol_name);
	return symbols;
}

static struct symbols exported(struct kmod_module *mod)
{
	struct kmod_list *list = NULL, *at;
	struct symbols symbols = { 0 };
	size_t room = 0;

	if (kmod_module_get_symbols(mod, &list) < 0)
		return symbols;
	kmod_list_foreach(at, list) room++;
	symbols.all = allocate(room + 1, sizeof(*symbols.all));
	kmod_list_foreach(at, list)
		symbols.all[symbols.n++] = (struct symbol) { format("%s", kmod_module_symbol_get_symbol(at)),
							     kmod_module_symbol_get_crc(at) };
	kmod_module_symbols_free_list(list);
	qsort(symbols.all, symbols.n, sizeof(*symbols.all), by_symbol_name);
	return symbols;
}

/* What keeps @mod from being linked with kvm.ko and the kernel, whose symbols are @kvm and @kernel; or NULL */
static char *unresolved(struct kmod_module *mod, const struct symbols *kvm, const struct symbols *kernel, bool versions)
{
	struct kmod_list *list = NULL, *at;
	char *sentence = NULL;

	if (kmod_module_get_dependency_symbols(mod, &list) < 0)
		return NULL;
	kmod_list_foreach(at, list)
	{
		const char *name = kmod_module_dependency_symbol_get_symbol(at);
		const struct symbol *symbol = find_symbol(kvm, name);
		uint64_t crc = kmod_module_dependency_symbol_get_crc(at);
		bool of_kvm = symbol;

		if (!symbol)
			symbol = find_symbol(kernel, name);
		/* The linker may do without a weak one. Without Module.symvers, the kernel's own are not known */
		if (!symbol && (kmod_module_dependency_symbol_get_bind(at) == KMOD_SYMBOL_WEAK || !kernel->n))
			continue;
		if (!symbol)
			sentence = format("needs the symbol %s, which neither the kernel nor kvm.ko has", name);
		else if (versions && !crc)
			sentence = format("has no CRC for the symbol %s", name);
		else if (versions && symbol->crc && symbol->crc != crc)
			sentence = format("needs the symbol %s with CRC 0x%08" PRIx64 ", and %s has 0x%08" PRIx64, name,
					  crc, of_kvm ? "kvm.ko" : "the kernel", symbol->crc);
		if (sentence)
			break;
	}
	kmod_module_dependency_symbols_free_list(list);
	return sentence;
}

/* Only for our own modules: nobody rebuilds the distro's */
static struct obstacle symbols(const struct kernel *kernel)
{
	struct symbols of_the_kernel = of_kernel(kernel), of_kvm = { 0 };
	struct obstacle found = { 0 };
	struct kmod_ctx *ctx = kmod_of_no_release();

	for (int i = 0; i < MODULES && !found.code; i++) {
		const struct module *module = &kernel->module[i];
		struct kmod_module *mod;

		if (!module->file || kmod_module_new_from_path(ctx, module->file, &mod) < 0)
			continue;
		found.module = module;
		found.sentence = unresolved(mod, &of_kvm, &of_the_kernel,
					    module->vermagic && strstr(module->vermagic, " modversions"));
		if (found.sentence)
			found.code = "symbols";
		if (i == KVM)
			of_kvm = exported(mod);
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	return found;
}

struct obstacle find_obstacle(const struct kernel *kernel)
{
	struct obstacle later = { 0 }, found;

	for (int i = 0; i < MODULES; i++) {
		const struct module *module = &kernel->module[i];
		const unsigned char *elf;
		size_t size;

		if (module->whose == MISSING)
			continue;
		elf = module_contents(module, &size);
		/* If the program that decompresses is missing, libkmod has decompressed the file all the same */
		if (module->whose == DAMAGED || (elf && !elf_complete(elf, size)))
			return (struct obstacle) { "damaged", module, format("is truncated or damaged"), false };
		found = vermagic(kernel, module);
		if (!found.code)
			found = packing(kernel, module);
		if (found.code && !found.later)
			return found;
		if (found.code)
			later = found;
	}
	found = (struct obstacle) { 0 };
	if (kernel->set == OURS)
		found = symbols(kernel);
	return found.code ? found : later;
}
