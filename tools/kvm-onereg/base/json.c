// SPDX-License-Identifier: GPL-2.0
/* JSON. */
#include <stdio.h>

#include "base/json.h"
#include "base/message.h"
#include "base/text.h"

void print_json(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
	if (fflush(stdout))
		die(STATUS_CANNOT, NULL, "cannot write to standard output: %m");
}

struct json_object *json_string(const char *value)
{
	return value ? json_object_new_string(value) : NULL;
}

struct json_object *json_hexadecimal(unsigned long long number)
{
	return json_string(format("0x%llx", number));
}

const char *json_text_in(struct json_object *object, const char *key)
{
	return json_object_get_string(json_object_object_get(object, key));
}

char *json_copy_in(struct json_object *object, const char *key)
{
	const char *text = json_text_in(object, key);

	return text ? format("%s", text) : NULL;
}
