// SPDX-License-Identifier: GPL-2.0
/* JSON. */
#include <stdio.h>

#include "base/json.h"
#include "base/message.h"

void print_json(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
	if (fflush(stdout))
		die(STATUS_CANNOT, NULL, "cannot write to standard output: %m");
}

struct json_object *string(const char *value)
{
	return value ? json_object_new_string(value) : NULL;
}
