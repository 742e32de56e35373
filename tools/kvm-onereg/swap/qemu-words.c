// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: QEMU's command line. */
#include <json-c/json.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "swap/qemu-words.h"

/* Begins JSON, in place of "key=value" */
#define BRACE 0x7b

/* Those that are looked for here, and have no argument; for any other, the next word is its argument */
static const char * const alone[] = { "S",
				      "daemonize",
				      "snapshot",
				      "nographic",
				      "enable-kvm",
				      "no-reboot",
				      "no-shutdown",
				      "nodefaults",
				      "no-user-config",
				      "only-migratable",
				      "usb",
				      "preconfig",
				      "no-acpi",
				      "no-hpet",
				      "no-fd-bootchk",
				      "s",
				      "full-screen",
				      "alt-grab",
				      "ctrl-grab",
				      "no-quit",
				      "win2k-hack",
				      "rtc-td-hack",
				      "singlestep",
				      "one-insn-per-tb",
				      "mem-prealloc",
				      "old-param",
				      "semihosting",
				      "no-kvm-irqchip",
				      "portrait",
				      "enable-sync-profile",
				      "perfmap",
				      "jitdump",
				      "xen-attach",
				      "xen-domid-restrict",
				      "enable-fips" };

static bool takes_none(const char *name)
{
	for (size_t i = 0; i < sizeof(alone) / sizeof(*alone); i++)
		if (!strcmp(alone[i], name))
			return true;
	return false;
}

const char *next_option(char **words, int *at, const char **value)
{
	while (words[*at]) {
		const char *word = words[(*at)++];

		if (*word != '-' || !word[1])
			continue;
		word += 1 + (word[1] == '-');
		*value = "";
		if (!takes_none(word) && words[*at])
			*value = words[(*at)++];
		return word;
	}
	return NULL;
}

bool has_option(char **words, const char *name)
{
	const char *option, *value;
	int at = 1;

	while ((option = next_option(words, &at, &value)))
		if (!strcmp(option, name))
			return true;
	return false;
}

/* The part of "a,b=c,,d" at @at up to its comma; two commas stand for one */
static const char *one_part(const char *at, char **part)
{
	char *to = allocate(strlen(at) + 1, 1);

	*part = to;
	for (; *at; at++) {
		if (*at == ',' && *++at != ',')
			return at;
		*to++ = *at;
	}
	return NULL;
}

static char *in_json(const char *value, const char *key)
{
	struct json_object *object = json_tokener_parse(value);
	const char *text = json_text_in(object, key);
	char *copy = text ? format("%s", text) : NULL;

	json_object_put(object);
	return copy;
}

char *first_part(const char *value, const char *key)
{
	char *part;

	if (*value == BRACE)
		return in_json(value, key);
	one_part(value, &part);
	if (!strncmp(part, key, strlen(key)) && part[strlen(key)] == '=')
		return part + strlen(key) + 1;
	return strchr(part, '=') ? NULL : part;
}

char *part_of(const char *value, const char *key)
{
	size_t n = strlen(key);

	if (*value == BRACE)
		return in_json(value, key);
	while (value) {
		char *part;

		value = one_part(value, &part);
		if (strncmp(part, key, n))
			continue;
		if (part[n] == '=')
			return part + n + 1;
		if (!part[n])
			return format("on");
	}
	return NULL;
}

bool part_is_on(const char *value, const char *key)
{
	char *is = part_of(value, key);

	return is && (!strcmp(is, "on") || !strcmp(is, "yes") || !strcmp(is, "true"));
}

/* The path of a chardev's socket, if QEMU listens on it */
static char *socket_with_id(char **words, const char *id)
{
	const char *option, *value;
	int at = 1;

	while ((option = next_option(words, &at, &value))) {
		char *kind = first_part(value, "backend");

		if (strcmp(option, "chardev") || !same_text(kind, "socket") || !same_text(part_of(value, "id"), id))
			continue;
		if (part_is_on(value, "server") && !part_is_on(value, "abstract"))
			return part_of(value, "path");
	}
	return NULL;
}

char **qmp_sockets_of(char **words)
{
	char **paths = allocate(1, sizeof(*paths));
	const char *option, *value;
	int at = 1, n = 0;

	while ((option = next_option(words, &at, &value))) {
		char *path = NULL, *first;

		if (!strcmp(option, "qmp") || !strcmp(option, "qmp-pretty")) {
			first = first_part(value, "chardev");
			if (first && !strncmp(first, "unix:", 5) && part_is_on(value, "server") &&
			    !part_is_on(value, "abstract"))
				path = first + 5;
			else if (first && !strncmp(first, "chardev:", 8))
				path = socket_with_id(words, first + 8);
		} else if (!strcmp(option, "mon") && same_text(part_of(value, "mode"), "control")) {
			path = socket_with_id(words, first_part(value, "chardev"));
		}
		if (!path)
			continue;
		paths = enlarged(paths, n, 2, sizeof(*paths));
		paths[n++] = path;
	}
	return paths;
}

static bool has_whole(const char *word, const char *text)
{
	size_t n = strlen(text);

	for (const char *at = word; (at = strstr(at, text)); at++)
		if ((at == word || strchr("=:,\"", at[-1])) && (!at[n] || strchr(",\"", at[n])))
			return true;
	return false;
}

bool words_name(char **words, const char *text)
{
	for (int i = 1; words[i]; i++) {
		char *plain;

		if (has_whole(words[i], text))
			return true;
		for (const char *at = strstr(words[i], ",,") ? words[i] : NULL; at;) {
			at = one_part(at, &plain);
			if (has_whole(plain, text))
				return true;
		}
	}
	return false;
}

bool words_have(char **words, const char *text)
{
	for (int i = 1; words[i]; i++) {
		const char *at = words[i];
		char *plain;

		if (strstr(at, text))
			return true;
		/* A comma in a name is doubled */
		if (!strstr(at, ",,"))
			continue;
		while (at) {
			at = one_part(at, &plain);
			if (strstr(plain, text))
				return true;
		}
	}
	return false;
}

/* A socket on which QEMU would wait for a client, so that it does not */
static char *without_wait(const char *option, const char *value)
{
	static const char * const with_sockets[] = { "chardev", "qmp",	    "qmp-pretty", "monitor",
						     "serial",	"parallel", "gdb",	  "debugcon" };
	char *first = first_part(value, "backend"), *result = "";
	bool any = false;

	for (size_t i = 0; i < sizeof(with_sockets) / sizeof(*with_sockets); i++)
		any |= !strcmp(option, with_sockets[i]);
	if (!any || *value == BRACE || !first || !part_is_on(value, "server") ||
	    !(!strcmp(first, "socket") || !strncmp(first, "unix:", 5) || !strncmp(first, "tcp:", 4) ||
	      !strncmp(first, "telnet:", 7) || !strncmp(first, "websocket:", 10) || !strncmp(first, "tn3270:", 7)))
		return (char *)value;
	for (const char *at = value; at && *at;) {
		const char *end = at;

		/* The comma of a pair belongs to the part */
		while (*end && (*end != ',' || end[1] == ','))
			end += *end == ',' ? 2 : 1;
		if (strncmp(at, "wait", 4) && strncmp(at, "nowait", 6))
			result = format("%s%s%.*s", result, *result ? "," : "", (int)(end - at), at);
		at = *end ? end + 1 : NULL;
	}
	return format("%s,wait=off", result);
}

/* A file that a chardev writes, so that it goes on where it was */
static char *appending(const char *option, char *value)
{
	if (strcmp(option, "chardev") || *value == BRACE)
		return value;
	if (same_text(first_part(value, "backend"), "file") && !part_of(value, "append"))
		value = format("%s,append=on", value);
	if (part_of(value, "logfile") && !part_of(value, "logappend"))
		value = format("%s,logappend=on", value);
	return value;
}

char *emptied_file(const char *value)
{
	value = appending("chardev", (char *)value);
	if (same_text(first_part(value, "backend"), "file") && !part_is_on(value, "append"))
		return *value == BRACE ? format("a file") : part_of(value, "path");
	if (part_of(value, "logfile") && !part_is_on(value, "logappend"))
		return part_of(value, "logfile");
	return NULL;
}

char **words_to_restore(char **words)
{
	static const char * const began[] = { "incoming", "loadvm", "S", "daemonize" };
	const char *option, *value;
	int at = 1, n = 0, from;
	char **result;

	while (words[n])
		n++;
	result = allocate(n + 4, sizeof(*result));
	result[0] = words[0];
	n = 1;
	for (from = 1; (option = next_option(words, &at, &value)); from = at) {
		bool has_argument = value == words[at - 1], drop = false;

		/* Words before it that are no options */
		while (from < at - 1 - has_argument)
			result[n++] = words[from++];
		for (size_t i = 0; i < sizeof(began) / sizeof(*began); i++)
			drop |= !strcmp(option, began[i]);
		if (drop)
			continue;
		result[n++] = words[from];
		if (has_argument)
			result[n++] = appending(option, without_wait(option, value));
	}
	for (; words[from]; from++)
		result[n++] = words[from];
	result[n++] = "-S";
	result[n++] = "-incoming";
	result[n++] = "defer";
	return result;
}
