// SPDX-License-Identifier: GPL-2.0
/* Versions of packages and kernels, and the records of our installer. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/message.h"
#include "base/process.h"
#include "base/text.h"
#include "model/packages.h"

/* ---- dpkg ---- */

const struct program_result *known_packages(void)
{
	static struct program_result answer;
	static bool asked;

	if (!asked)
		answer = RUN_PROGRAM("dpkg-query", "-W", "-f",
				     "${Package}\t${Version}\t${db:Status-Status}\t${db:Status-Eflag}\n", "kvm-onereg*",
				     "libkvm-onereg*", "dkms", "linux-image-*", "linux-headers-*", "linux-source*");
	asked = true;
	return &answer;
}

bool find_package(const char *name, char **version, char **status)
{
	const char *line = known_packages()->ended ? known_packages()->output : "";
	size_t length = strlen(name);
	char *fields;

	while (*line && (strncmp(line, name, length) || line[length] != '\t'))
		line = next_line(line);
	line += *line ? length + 1 : 0;
	fields = format("%.*s", (int)strcspn(line, "\n"), line);
	if (version)
		*version = format("%.*s", (int)strcspn(fields, "\t"), fields);
	fields += strcspn(fields, "\t");
	fields += !!*fields;
	fields[strcspn(fields, "\t")] = '\0';
	if (status)
		*status = fields;
	return !strcmp(fields, "installed");
}

bool fetches_source(void)
{
	return path_exists("/usr/sbin/" PACKAGE "-install");
}

const char *rebuild_command(void)
{
	if (fetches_source())
		return "/usr/sbin/" PACKAGE "-install";
	if (path_exists("/usr/lib/" PACKAGE "/install"))
		return "/usr/lib/" PACKAGE "/install";
	if (find_package(PACKAGE "-dkms", NULL, NULL))
		return "dpkg-reconfigure " PACKAGE "-dkms";
	if (path_exists("/usr/src/" PACKAGE "-%s", tools_version))
		return "make install     # in the folder of kvm-onereg's source";
	return "apt-get install " PACKAGE "-dkms     # or, in a clone of kvm-onereg: make install";
}

/* ---- Kernels ---- */

/* Of an installed package, whose files are not about to change */
static char *version_of_files(const char *name)
{
	char *version, *status;
	bool installed = find_package(name, &version, &status);

	return installed || !strcmp(status, "unpacked") || !strcmp(status, "half-configured") ||
			       !strncmp(status, "triggers-", 9) ?
		       version :
		       NULL;
}

char *image_version(const char *release)
{
	char *version = version_of_files(format("linux-image-%s", release));

	return version ? version : version_of_files(format("linux-image-%s-unsigned", release));
}

char *built_from(const char *release)
{
	char *line = first_line(read_file("/lib/modules/%s/build/include/generated/package.h", release),
				"LINUX_PACKAGE_ID");
	char *start = line ? strstr(line, " Debian ") : NULL;

	if (start)
		return format("%.*s", (int)strcspn(start + 8, "\""), start + 8);
	return image_version(release);
}

char *running_version(void)
{
	/* "... Debian 6.1.192-2 (2026-...)" */
	const char *at = read_file("/proc/version"), *last = NULL;

	while (at && (at = strstr(at, " Debian "))) {
		at += 8;
		last = at;
	}
	return last && isdigit((unsigned char)*last) ? format("%.*s", (int)strcspn(last, " )"), last) : NULL;
}

/* ---- The installer's notes ---- */

char *noted_origin(const char *id)
{
	char *line = id ? first_line(read_file(STATE "/build-ids"), id) : NULL;
	char *origin, *last;

	if (!line || strncmp(line, id, strlen(id)) || line[strlen(id)] != ' ')
		return NULL;
	/* "BUILD-ID MODULE ORIGIN VERSION", where the origin has blanks; or "BUILD-ID ORIGIN" */
	origin = line + strlen(id) + 1;
	if (strncmp(origin, "kvm ", 4) && strncmp(origin, "kvm-", 4))
		return origin;
	origin += strcspn(origin, " ");
	origin += !!*origin;
	last = strrchr(origin, ' ');
	if (last)
		*last = '\0';
	return origin;
}

static time_t seconds(const char *value)
{
	long long number = value ? strtoll(value, NULL, 10) : 0;

	return number > 0 ? number : 0;
}

struct wanted wanted_source(const char *release)
{
	char *lines = read_file(STATE "/wanted/%s", release);

	return (struct wanted) {
		.version = value_of(lines, "version", "="),
		.result = value_of(lines, "result", "="),
		.message = value_of(lines, "message", "="),
		.tried = seconds(value_of(lines, "tried", "=")),
		.next = seconds(value_of(lines, "next", "=")),
	};
}

static char *date(time_t when)
{
	struct tm local;
	char string[32];

	if (!localtime_r(&when, &local) || !strftime(string, sizeof(string), "%Y-%m-%d %H:%M", &local))
		return format("?");
	return format("%s", string);
}

char *wanted_state(const struct wanted *wanted)
{
	const char *result = wanted->result ? wanted->result : "untried";
	char *state = !strcmp(result, "untried")     ? format("not downloaded yet") :
		      !strcmp(result, "offline")     ? format("no network") :
		      !strcmp(result, "unavailable") ? format("not available") :
		      !strcmp(result, "failed")	     ? format("the download failed") :
						       format("%s", result);

	if (wanted->message && *wanted->message)
		state = format("%s: %s", state, wanted->message);
	if (wanted->tried)
		state = format("%s; tried %s", state, date(wanted->tried));
	return format("%s; %s", state,
		      wanted->next ? format("next attempt %s", date(wanted->next)) : "no automatic attempt is planned");
}
