// SPDX-License-Identifier: GPL-2.0
/* Text. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

char *vformat(const char *form, va_list arguments)
{
	char *string;

	return keep_memory(vasprintf(&string, form, arguments) < 0 ? NULL : string);
}

char *format(const char *form, ...)
{
	va_list arguments;
	char *string;

	va_start(arguments, form);
	string = vformat(form, arguments);
	va_end(arguments);
	return string;
}

bool same_text(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static char *line_at(const char *lines, const char *at)
{
	const char *start = at;

	while (start > lines && start[-1] != '\n')
		start--;
	return format("%.*s", (int)strcspn(start, "\n"), start);
}

const char *next_line(const char *line)
{
	line += strcspn(line, "\n");
	return line + !!*line;
}

char *value_of(const char *lines, const char *key, const char *separator)
{
	size_t length = strlen(key);

	for (const char *at = lines; at && *at; at = next_line(at)) {
		const char *value = at + length;

		if (strncmp(at, key, length))
			continue;
		/* "vendor_id	: x" has white space before the separator */
		value += strspn(value, " \t");
		if (strncmp(value, separator, strlen(separator)))
			continue;
		value += strlen(separator);
		value += strspn(value, " \t");
		return format("%.*s", (int)strcspn(value, "\n"), value);
	}
	return NULL;
}

char *first_line(const char *lines, const char *word)
{
	const char *at = lines ? strcasestr(lines, word) : NULL;

	return at ? line_at(lines, at) : NULL;
}

char *last_line(const char *lines, const char *word)
{
	const char *last = NULL;

	for (const char *at = lines; at && (at = strcasestr(at, word)); at++)
		last = at;
	return last ? line_at(lines, last) : NULL;
}

bool has_word(const char *words, const char *word)
{
	size_t length = strlen(word);

	while (words && *words) {
		size_t n = strcspn(words, " ,\t\n");

		if (n == length && !memcmp(words, word, n))
			return true;
		words += n + !!words[n];
	}
	return false;
}
