/* SPDX-License-Identifier: GPL-2.0 */
/* Whether a guest can move from one host to another, and back. */
#ifndef VERDICT_H
#define VERDICT_H

#include <json-c/json.h>
#include <stdbool.h>

#include "model/offer.h"

/*
 * compare - print what is in the way of a guest that goes from @a to @b, and back
 * @file_a, @file_b: where the offers come from; NULL: this host
 * @without: guests without CET, NESTED, or both
 * @json: print JSON
 *
 * Returns STATUS_OK or STATUS_NO.
 */
int compare(const struct offer *a, const char *file_a, const struct offer *b, const char *file_b, unsigned int without,
	    bool json);
/* A host in the output: "A  a.json: ...", and its JSON */
void print_host(const char *letter, const struct offer *offer, const char *file);
struct json_object *describe_host(const struct offer *offer, const char *file);

/* What no file has, and the way to look */
void print_not_compared(void);
struct json_object *not_compared(void);

#endif
