// SPDX-License-Identifier: GPL-2.0
/* Messages, colour and JSON. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvm-onereg.h"

static void say(const char *fix, const char *text, va_list arguments)
{
	fflush(stdout);
	fputs("kvm-onereg: ", stderr);
	vfprintf(stderr, text, arguments);
	fputc('\n', stderr);
	if (fix)
		fprintf(stderr, "  to fix: %s\n", fix);
}

void complain(const char *fix, const char *text, ...)
{
	va_list arguments;

	va_start(arguments, text);
	say(fix, text, arguments);
	va_end(arguments);
}

void die(int status, const char *fix, const char *text, ...)
{
	va_list arguments;

	va_start(arguments, text);
	say(fix, text, arguments);
	va_end(arguments);
	exit(status);
}

void usage_error(const char *command, const char *text, ...)
{
	va_list arguments;

	va_start(arguments, text);
	say(NULL, text, arguments);
	va_end(arguments);
	fprintf(stderr, "See \"kvm-onereg %s --help\", or kvm-onereg(8).\n", command);
	exit(STATUS_USAGE);
}

const char *colour(enum colour which)
{
	static const char *const codes[] = {
		[PLAIN] = "\033[0m", [BOLD] = "\033[1m", [RED] = "\033[31m", [GREEN] = "\033[32m", [YELLOW] = "\033[33m",
	};
	const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");

	if (!isatty(STDOUT_FILENO) || (no_colour && *no_colour) || !terminal || !strcmp(terminal, "dumb"))
		return "";
	return codes[which];
}

void print_json(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
	if (fflush(stdout))
		die(STATUS_CANNOT, NULL, "cannot write to standard output: %m");
}

char *vformat(const char *text, va_list arguments)
{
	char *string;

	if (vasprintf(&string, text, arguments) < 0)
		die(STATUS_CANNOT, NULL, "no memory");
	return string;
}

char *format(const char *text, ...)
{
	va_list arguments;
	char *string;

	va_start(arguments, text);
	string = vformat(text, arguments);
	va_end(arguments);
	return string;
}
