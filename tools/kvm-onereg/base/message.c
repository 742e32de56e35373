// SPDX-License-Identifier: GPL-2.0
/* Messages and colour. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/message.h"

#define FULL_WIDTH 80

const char tools_version[] = VERSION;

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
	static const char * const codes[] = {
		[PLAIN] = "\033[0m",  [BOLD] = "\033[1m",    [RED] = "\033[31m",
		[GREEN] = "\033[32m", [YELLOW] = "\033[33m",
	};
	const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");

	if (!isatty(STDOUT_FILENO) || (no_colour && *no_colour) || !terminal || !strcmp(terminal, "dumb"))
		return "";
	return codes[which];
}

void print_wrapped(int column, int indent, const char *text)
{
	while (*text) {
		int blanks = strspn(text, " "), n = strcspn(text + blanks, "\n ");

		if (column > indent && column + blanks + n > FULL_WIDTH) {
			printf("\n%*s", indent, "");
			column = indent;
			text += blanks;
			blanks = 0;
		}
		column += blanks + n;
		for (n += blanks; n > 0; n--, text++)
			putchar(*text == NO_BREAK ? ' ' : *text);
		if (*text == '\n') {
			putchar(*text++);
			column = 0;
		}
	}
}

void print_labelled(const char *label, int indent, const char *text)
{
	print_wrapped(printf("%-*s", indent, label), indent, text);
	putchar('\n');
}
