/* SPDX-License-Identifier: GPL-2.0 */
/* JSON, as the commands write it. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <json-c/json.h>

/* @value, or null for NULL */
struct json_object *string(const char *value);
/* Print @object, indented, to stdout and release it. Exits with STATUS_CANNOT if stdout cannot take it. */
void print_json(struct json_object *object);

#endif
