/* SPDX-License-Identifier: GPL-2.0 */
/* Text: made, and searched. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>

/* A formatted string. */
char *format(const char *form, ...) __attribute__((format(printf, 1, 2)));
char *vformat(const char *form, va_list arguments) __attribute__((format(printf, 1, 0)));

/* Both are not NULL, and equal */
bool same_text(const char *a, const char *b);

/* The line behind that at @line, "" if there is none. */
const char *next_line(const char *line);
/* Value of "key" in lines of "key<separator>value", or NULL. */
char *value_of(const char *lines, const char *key, const char *separator);
/* The first or last line of @lines that holds @word, ignoring case; NULL if there is none. */
char *first_line(const char *lines, const char *word);
char *last_line(const char *lines, const char *word);
/* Whether @word is one of the words of @words, which blanks and commas separate. */
bool has_word(const char *words, const char *word);

#endif
