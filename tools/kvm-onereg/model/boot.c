// SPDX-License-Identifier: GPL-2.0
/* Boot loaders. */
#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "model/boot.h"
#include "model/kernel.h"

/* ---- GRUB ---- */

/* A menuentry or a submenu of grub.cfg */
struct entry {
	int parent; /* index of the submenu that it is in, or -1 */
	bool submenu;
	char *title, *id; /* id: NULL if it has none */
	char *image;	  /* of its first line "linux": the path of the kernel */
};

struct menu {
	struct entry *entries;
	int n;
	char *chosen; /* "set default=", or NULL */
};

/* The next word of a line of GRUB's shell, without quotes; NULL at the end */
static char *shell_word(const char **at)
{
	char quote = 0, *word, *end;

	*at += strspn(*at, " \t");
	if (!**at)
		return NULL;
	word = format("%s", *at);
	for (end = word; **at && (quote || (**at != ' ' && **at != '\t')); ++*at) {
		if (quote ? **at == quote : **at == '\'' || **at == '"')
			quote = quote ? 0 : **at;
		else if (**at == '\\' && quote != '\'' && (*at)[1])
			*end++ = *++*at;
		else
			*end++ = **at;
	}
	*end = '\0';
	return word;
}

static void add_entry(struct menu *menu, int parent, bool submenu, const char *rest)
{
	struct entry *more = enlarged(menu->entries, menu->n, 1, sizeof(*more));
	struct entry entry = { .parent = parent, .submenu = submenu, .title = shell_word(&rest) };

	for (char *word = shell_word(&rest); word; word = shell_word(&rest)) {
		if (!strcmp(word, "$menuentry_id_option") || !strcmp(word, "--id"))
			entry.id = shell_word(&rest);
		else if (!strncmp(word, "--id=", 5))
			entry.id = word + 5;
	}
	more[menu->n++] = entry;
	menu->entries = more;
}

static struct menu read_menu(const char *config)
{
	struct menu menu = { .entries = allocate(1, sizeof(*menu.entries)) };
	int open[32], depth = 0; /* of each brace that is open: its entry, or that around it */

	for (const char *line = config; line && *line; line = next_line(line)) {
		int inside = depth ? open[depth - 1] : -1;
		size_t length = strcspn(line, "\n");
		const char *rest;
		char *word;

		while (length && strchr(" \t\r", line[length - 1]))
			length--;
		rest = format("%.*s", (int)length, line);
		word = shell_word(&rest);
		if (!word)
			continue;
		if (!strcmp(word, "}")) {
			depth -= depth > 0;
			continue;
		}
		if (!strcmp(word, "set") && !menu.n) {
			char *value = shell_word(&rest);

			/* That of grub-reboot comes before it, in an if */
			if (value && !strncmp(value, "default=", 8) && !strstr(value, "next_entry"))
				menu.chosen = value + 8;
		} else if (!strncmp(word, "linux", 5) || !strncmp(word, "module", 6)) {
			char *image = shell_word(&rest);

			if (inside >= 0 && image && !menu.entries[inside].image && strstr(image, "vmlinu"))
				menu.entries[inside].image = image;
		}
		if (!*rest || rest[strlen(rest) - 1] != '{' || depth == sizeof(open) / sizeof(*open))
			continue;
		if (!strcmp(word, "menuentry") || !strcmp(word, "submenu")) {
			add_entry(&menu, inside, *word == 's', rest);
			inside = menu.n - 1;
		}
		open[depth++] = inside;
	}
	return menu;
}

/* The entry that "A>B" names below @parent: numbers, ids or titles; the first, as GRUB does, if there is no such one */
static const struct entry *choose_entry(const struct menu *menu, int parent, const char *wanted)
{
	size_t n = wanted ? strcspn(wanted, ">") : 0;
	const struct entry *first = NULL, *found = NULL;
	char *name = format("%.*s", (int)n, n ? wanted : ""), *end;
	unsigned long number = strtoul(name, &end, 10), count = 0;
	bool is_number = *name && !*end;

	for (int i = 0; i < menu->n; i++) {
		const struct entry *entry = &menu->entries[i];

		if (entry->parent != parent)
			continue;
		if (!first)
			first = entry;
		if (!found && (is_number ? count == number :
					   (entry->id && !strcmp(entry->id, name)) ||
						   (entry->title && !strcmp(entry->title, name))))
			found = entry;
		count++;
	}
	if (!found)
		found = first;
	if (found && found->submenu)
		return choose_entry(menu, found - menu->entries, wanted && wanted[n] ? wanted + n + 1 : NULL);
	return found;
}

/* The release that a path of a kernel has in its name, or its link's */
static char *release_of(const char *image)
{
	const char * const folders[] = { "", "/boot" };
	char target[PATH_MAX];

	for (size_t i = 0; image && i < sizeof(folders) / sizeof(*folders); i++) {
		const char *name = strrchr(image, '/') ? strrchr(image, '/') + 1 : image;
		ssize_t size;

		if (!strncmp(name, "vmlinuz-", 8) || !strncmp(name, "vmlinux-", 8))
			return format("%s", name + 8);
		size = readlink(rooted_path("%s%s", folders[i], image), target, sizeof(target) - 1);
		if (size <= 0)
			continue;
		target[size] = '\0';
		name = strrchr(target, '/') ? strrchr(target, '/') + 1 : target;
		if (!strncmp(name, "vmlinuz-", 8))
			return format("%s", name + 8);
	}
	return NULL;
}

static char *by_grub(char **by)
{
	char *config = read_file("/boot/grub/grub.cfg"), *environment = read_file("/boot/grub/grubenv");
	char *once = value_of(environment, "next_entry", "="), *saved = value_of(environment, "saved_entry", "=");
	char *before = value_of(environment, "prev_saved_entry", "=");
	const struct entry *entry;
	struct menu menu;

	if (!config)
		return NULL;
	menu = read_menu(config);
	/* Only a menu that loads its environment has these */
	if (!strstr(config, "load_env")) {
		once = NULL;
		saved = NULL;
		before = NULL;
	}
	if (menu.chosen && strstr(menu.chosen, "saved_entry"))
		menu.chosen = before && *before ? before : saved;
	*by = once && *once ? "GRUB, once" : "GRUB";
	entry = choose_entry(&menu, -1, once && *once ? once : menu.chosen);
	return entry ? release_of(entry->image) : NULL;
}

/* ---- systemd-boot ---- */

/* A variable of the boot loader interface, if it is ASCII; or NULL */
static char *loader_variable(const char *name)
{
	static const char vendor[] = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
	size_t size, n = 0;
	unsigned char *bytes = read_bytes(rooted_path("/sys/firmware/efi/efivars/%s-%s", name, vendor), &size);
	char *value;

	if (!bytes || size < 6)
		return NULL;
	value = allocate(1, size);
	/* Four bytes of attributes, then UTF-16 */
	for (size_t i = 4; i + 1 < size && (bytes[i] || bytes[i + 1]); i += 2)
		value[n++] = bytes[i + 1] ? '?' : bytes[i];
	return value;
}

/* Debian's entries have the release as their version, and in the path of the kernel */
static char *release_of_entry(struct json_object *entry, struct kernel *all)
{
	const char *version = json_text_in(entry, "version"), *image = json_text_in(entry, "linux");

	if (version && find_kernel(all, version))
		return format("%s", version);
	for (; image && all->release; all++)
		if (strstr(image, format("/%s/", all->release)))
			return all->release;
	return version ? format("%s", version) : NULL;
}

static char *by_systemd_boot(struct kernel *all, char **by)
{
	char *once = loader_variable("LoaderEntryOneShot"), *release = NULL;
	struct json_object *entries;
	struct program_result bootctl;
	size_t n = 0;

	bootctl = RUN_PROGRAM("bootctl", "list", "--json=short", "--no-pager");
	if (!bootctl.ended || bootctl.status)
		return NULL;
	entries = json_tokener_parse(bootctl.output);
	if (json_object_is_type(entries, json_type_array))
		n = json_object_array_length(entries);
	for (size_t i = 0; i < n; i++) {
		struct json_object *entry = json_object_array_get_idx(entries, i);
		const char *id = json_text_in(entry, "id");

		if (once && id && !strcmp(id, once)) {
			release = release_of_entry(entry, all);
			*by = "systemd-boot, once";
			break;
		}
		if (json_object_get_boolean(json_object_object_get(entry, "isDefault"))) {
			release = release_of_entry(entry, all);
			*by = "systemd-boot";
		}
	}
	json_object_put(entries);
	return release;
}

/* ---- Which it is ---- */

struct next_boot boots_next(struct kernel *all)
{
	char *loader = loader_variable("LoaderInfo");
	struct next_boot next = { 0 };

	if (loader && !strncmp(loader, "systemd-boot", 12))
		next.release = by_systemd_boot(all, &next.by);
	else
		next.release = by_grub(&next.by);
	if (!next.release) {
		bool images = false;

		next.by = "the newest";
		for (struct kernel *kernel = all; kernel->release; kernel++)
			images = images || path_exists("/boot/vmlinuz-%s", kernel->release);
		/* A kernel that was removed does not boot, even if its folder of modules is left */
		for (struct kernel *kernel = all; kernel->release; kernel++)
			if (!images || path_exists("/boot/vmlinuz-%s", kernel->release))
				next.release = kernel->release;
	}
	if (next.release)
		next.kernel = find_kernel(all, next.release);
	return next;
}
