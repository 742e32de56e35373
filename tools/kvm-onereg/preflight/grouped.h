/* SPDX-License-Identifier: GPL-2.0 */
/* Lists of JSON, as text. */
#ifndef GROUPED_H
#define GROUPED_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

/* The strings of an array, or the first @most of them, as one */
char *joined(struct json_object *array, size_t most);
/*
 * print_grouped - print objects that have a "name" and something else, by what they have in common
 * @key: of the other: a string, or an array of strings
 * @mark: begins each item
 * @single: "NAME: VALUE" if nothing else has that value
 *
 * An item is "VALUE: NAME, NAME, ..." for all that have the same value.
 */
void print_grouped(struct json_object *items, const char *key, const char *mark, bool single);

#endif
