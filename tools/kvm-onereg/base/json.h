/* SPDX-License-Identifier: GPL-2.0 */
/* JSON, as the commands write it. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <json-c/json.h>

/* A string, or null for NULL */
struct json_object *json_string(const char *value);
/* "0x..." */
struct json_object *json_hexadecimal(unsigned long long number);
/* The string with the key @key in @object, or NULL */
const char *json_text_in(struct json_object *object, const char *key);
/* A copy of it, which does not end with @object */
char *json_copy_in(struct json_object *object, const char *key);
/* Print @object, indented, to stdout and release it. Exits with STATUS_CANNOT if stdout cannot take it. */
void print_json(struct json_object *object);

#endif
