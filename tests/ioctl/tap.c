// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tap.h"

static unsigned int points, failed;
static FILE *facts;

const char *errno_name(int err)
{
	static const struct {
		int err;
		const char *name;
	} names[] = {
		{ 0, "0" },	      { E2BIG, "E2BIG" },   { EBUSY, "EBUSY" }, { EFAULT, "EFAULT" },
		{ EINTR, "EINTR" },   { EINVAL, "EINVAL" }, { EIO, "EIO" },	{ ENOMEM, "ENOMEM" },
		{ ENOTTY, "ENOTTY" }, { ENXIO, "ENXIO" },   { EPERM, "EPERM" },
	};
	static char number[16];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].err == err)
			return names[i].name;
	snprintf(number, sizeof(number), "%d", err);
	return number;
}

int tap_open_facts(const char *path)
{
	facts = fopen(path, "w");
	return facts ? 0 : -1;
}

/* Returns the exit status. */
int tap_done(void)
{
	printf("1..%u\n", points);
	fflush(stdout);
	if (facts && fclose(facts)) {
		fprintf(stderr, "facts: %s\n", strerror(errno));
		return 1;
	}
	return failed ? 1 : 0;
}

void tap_diag(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static void point(bool ok, const char *name)
{
	points++;
	if (!ok)
		failed++;
	printf("%sok %u - %s\n", ok ? "" : "not ", points, name);
}

#define FORMAT_NAME(name, fmt)                          \
	do {                                            \
		va_list ap;                             \
		va_start(ap, fmt);                      \
		vsnprintf(name, sizeof(name), fmt, ap); \
		va_end(ap);                             \
	} while (0)

void tap_ok(bool ok, const char *fmt, ...)
{
	char name[256];

	FORMAT_NAME(name, fmt);
	point(ok, name);
}

void tap_skip(const char *reason, const char *fmt, ...)
{
	char name[256];

	FORMAT_NAME(name, fmt);
	printf("ok %u - %s # SKIP %s\n", ++points, name, reason);
}

void tap_bail(const char *fmt, ...)
{
	char why[256];

	FORMAT_NAME(why, fmt);
	printf("Bail out! %s (%s)\n", why, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static void fact_name(const char *name)
{
	for (; *name; name++)
		fputc(*name == ' ' ? '_' : *name, facts);
	fputc(' ', facts);
}

static void fact(const char *name, struct outcome o, const uint64_t *value)
{
	if (!facts)
		return;
	fact_name(name);
	fprintf(facts, "%d %s", o.ret, errno_name(o.err));
	if (value)
		fprintf(facts, " 0x%016llx", (unsigned long long)*value);
	fputc('\n', facts);
}

void tap_fact(const char *name, const char *fmt, ...)
{
	va_list ap;

	if (!facts)
		return;
	fact_name(name);
	va_start(ap, fmt);
	vfprintf(facts, fmt, ap);
	va_end(ap);
	fputc('\n', facts);
}

void check_errno(struct outcome o, int want, const char *fmt, ...)
{
	bool ok = want ? o.ret == -1 && o.err == want : o.ret == 0;
	char name[256];

	FORMAT_NAME(name, fmt);
	point(ok, name);
	if (!ok) {
		tap_diag("wanted: %s", errno_name(want));
		tap_diag("got: %d %s", o.ret, errno_name(o.err));
	}
	fact(name, o, NULL);
}

void check_value(struct outcome o, uint64_t got, uint64_t want, const char *fmt, ...)
{
	bool ok = o.ret == 0 && got == want;
	char name[256];

	FORMAT_NAME(name, fmt);
	point(ok, name);
	if (!ok) {
		tap_diag("wanted: 0 with 0x%llx", (unsigned long long)want);
		tap_diag("got: %d %s with 0x%llx", o.ret, errno_name(o.err), (unsigned long long)got);
	}
	fact(name, o, o.ret == 0 ? &got : NULL);
}
