// SPDX-License-Identifier: GPL-2.0
#include <string.h>

#include "base/json.h"
#include "base/message.h"
#include "base/text.h"
#include "preflight/grouped.h"

char *joined(struct json_object *array, size_t most)
{
	size_t n = json_object_array_length(array);
	char *text = "";

	for (size_t i = 0; i < n && i < most; i++)
		text = format("%s%s%s", text, i ? ", " : "",
			      json_object_get_string(json_object_array_get_idx(array, i)));
	return n > most ? format("%s and %zu more", text, n - most) : text;
}

static const char *value_as_text(struct json_object *item, const char *key)
{
	struct json_object *value = json_object_object_get(item, key);

	return json_object_is_type(value, json_type_array) ? joined(value, json_object_array_length(value)) :
							     json_object_get_string(value);
}

/* A name that is not broken at the end of a line */
static char *unbroken(const char *name)
{
	char *text = format("%s", name);

	for (char *c = text; *c; c++)
		if (*c == ' ')
			*c = NO_BREAK;
	return text;
}

void print_grouped(struct json_object *items, const char *key, const char *mark, bool single)
{
	size_t n = json_object_array_length(items);

	for (size_t i = 0; i < n; i++) {
		const char *value = value_as_text(json_object_array_get_idx(items, i), key);
		unsigned int same = 0;
		char *names = NULL;

		for (size_t j = 0; j < n; j++) {
			struct json_object *item = json_object_array_get_idx(items, j);
			char *name;

			if (strcmp(value_as_text(item, key), value))
				continue;
			/* Printed with the first of them */
			if (j < i)
				break;
			name = unbroken(json_text_in(item, "name"));
			names = same++ ? format("%s, %s", names, name) : name;
		}
		if (same)
			print_labelled(mark, 4,
				       single && same == 1 ? format("%s: %s", names, value) :
							     format("%s: %s", value, names));
	}
}
