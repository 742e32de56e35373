// SPDX-License-Identifier: GPL-2.0
/* modprobe.d and the kernel's command line. */
#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/configuration.h"
#include "model/kmod.h"
#include "model/series.h"

static const char on_command_line[] = "the kernel's command line";

/* ---- Parameters in a line, as the kernel reads them ---- */

/* Take the next word from *@at. Quotes keep blanks together, and are removed */
static char *next_word(const char **at)
{
	char *word = format("%s", *at), *end = word;
	bool quoted = false;

	while (isspace((unsigned char)**at))
		++*at;
	for (; **at && (quoted || !isspace((unsigned char)**at)); ++*at) {
		if (**at == '"')
			quoted = !quoted;
		else
			*end++ = **at;
	}
	*end = '\0';
	return word;
}

/* The kernel treats '-' and '_' in names as equal. Returns what follows the name, or NULL */
static const char *after_name(const char *word, const char *name)
{
	for (; *name; word++, name++)
		if (*word != *name && !(*word == '-' && *name == '_'))
			return NULL;
	return word;
}

/* The last value of @parameter in a line; of "MODULE.PARAMETER", if @module is not NULL. Or NULL */
static char *last_value(const char *line, const char *module, const char *parameter)
{
	char *value = NULL;

	while (line && *line) {
		char *word = next_word(&line);
		const char *end = word;

		if (module) {
			end = after_name(word, module);
			end = end && *end == '.' ? end + 1 : NULL;
		}
		end = end ? after_name(end, parameter) : NULL;
		if (end && (!*end || *end == '='))
			value = format("%s", *end ? end + 1 : "");
	}
	return value;
}

/* ---- modprobe.d, read by libkmod ---- */

static struct kmod_config_iter *(* const statements[])(const struct kmod_ctx *ctx) = {
	[OPTIONS] = kmod_config_get_options,
	[BLACKLIST] = kmod_config_get_blacklists,
	[INSTALL] = kmod_config_get_install_commands,
};

/*
 * What the context says of @module, as setting.value. libkmod adds the running kernel's command line to each context,
 * after the files: the last @ignored statements are its.
 */
static char *said(struct kmod_ctx *ctx, enum statement kind, const char *module, const char *parameter, int ignored)
{
	struct kmod_config_iter *at = statements[kind](ctx);
	char *value = NULL;
	int n = -ignored;

	while (at && kmod_config_iter_next(at))
		n++;
	kmod_config_iter_free_iter(at);
	for (at = statements[kind](ctx); at && n > 0 && kmod_config_iter_next(at); n--) {
		const char *name = kmod_config_iter_get_key(at), *rest = kmod_config_iter_get_value(at);
		char *last;

		if (kind == OPTIONS) {
			last = strcmp(name, module) ? NULL : last_value(rest, NULL, parameter);
			value = last ? last : value;
		} else if (!fnmatch(name, module, 0) && !value) {
			/* modprobe takes the first command */
			value = format("%s", rest ? rest : "");
		}
	}
	kmod_config_iter_free_iter(at);
	return value;
}

static int by_file_name(const void *a, const void *b)
{
	return strcmp(strrchr(*(char * const *)a, '/'), strrchr(*(char * const *)b, '/'));
}

/* The files of modprobe.d in libkmod's order: by name, whatever the folder; the first folder's hides others' */
static char **files(void)
{
	static const char * const folders[] = { "/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d",
						"/usr/lib/modprobe.d", "/lib/modprobe.d" };
	char **all = allocate(1, sizeof(*all));
	size_t n = 0;

	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		for (char **name = list_folder("%s", folders[i]); *name; name++) {
			const char *ending = strrchr(*name, '.');
			bool hidden = !ending || strcmp(ending, ".conf");
			char **more;

			for (size_t before = 0; before < n && !hidden; before++)
				hidden = !strcmp(strrchr(all[before], '/') + 1, *name);
			if (hidden)
				continue;
			more = enlarged(all, n, 2, sizeof(*more));
			more[n++] = format("%s/%s", folders[i], *name);
			all = more;
		}
	}
	qsort(all, n, sizeof(*all), by_file_name);
	return all;
}

/* Where the setting in force is, and its value */
static struct setting in_files(enum statement kind, const char *module, const char *parameter)
{
	const char * const none[] = { NULL };
	struct kmod_ctx *ctx = new_kmod_context("/nonexistent", none);
	struct kmod_config_iter *at = statements[kind](ctx);
	struct setting setting = { 0 };
	int of_command_line = 0;

	while (at && kmod_config_iter_next(at))
		of_command_line++;
	kmod_config_iter_free_iter(at);
	kmod_unref(ctx);
	for (char **file = files(); *file; file++) {
		const char * const one[] = { rooted_path("%s", *file), NULL };
		char *value;

		if (setting.value && kind != OPTIONS)
			break;
		ctx = new_kmod_context("/nonexistent", one);
		value = said(ctx, kind, module, parameter, of_command_line);
		kmod_unref(ctx);
		if (value)
			setting = (struct setting) { value, format("%s", *file) };
	}
	return setting;
}

struct setting find_setting(enum statement kind, const char *module, const char *parameter)
{
	struct setting setting = in_files(kind, module, parameter);
	struct kmod_module *mod;
	struct kmod_ctx *ctx;
	char *value;

	if (kind != OPTIONS)
		return setting;
	/* libkmod decides what is in force, because that is what modprobe passes */
	ctx = kmod_of_release(running_release());
	if (kmod_module_new_from_name(ctx, module, &mod) >= 0) {
		value = last_value(kmod_module_get_options(mod), NULL, parameter);
		if (value && setting.where)
			setting.value = value;
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	value = last_value(read_file("/proc/cmdline"), module, parameter);
	return value ? (struct setting) { value, format("%s", on_command_line) } : setting;
}
