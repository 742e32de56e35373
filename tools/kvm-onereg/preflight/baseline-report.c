// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg preflight: a baseline, as text. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/message.h"
#include "base/text.h"
#include "preflight/baseline-report.h"
#include "preflight/verdict.h"

#define MOST_NAMES 6

/* The items of an array of strings, or the first @most of them, as one */
static char *joined(struct json_object *array, size_t most)
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

/* "VALUE: name, name" for all that have the same value */
static void print_grouped(struct json_object *items, const char *key, const char *mark)
{
	size_t n = json_object_array_length(items);

	for (size_t i = 0; i < n; i++) {
		const char *value = value_as_text(json_object_array_get_idx(items, i), key);
		bool before = false;
		char *names = "";

		for (size_t j = 0; j < n && !before; j++) {
			struct json_object *item = json_object_array_get_idx(items, j);

			if (strcmp(value_as_text(item, key), value))
				continue;
			before = j < i;
			names = format("%s%s%s", names, *names ? ", " : "", json_text_in(item, "name"));
		}
		if (!before)
			print_labelled(mark, 4, format("%s: %s", value, names));
	}
}

static void print_needs(struct json_object *baseline, const char *key, const char *program)
{
	struct json_object *needs = json_object_object_get(baseline, key);

	print_labelled("  .", 4,
		       format("%s %d or later: %s", program,
			      json_object_get_int(json_object_object_get(needs, "version")),
			      joined(json_object_object_get(needs, "names"), MOST_NAMES)));
}

void print_baseline(struct json_object *baseline, const struct offer *offers, char **files, size_t n)
{
	struct json_object *taken = json_object_object_get(baseline, "taken"),
			   *left_out = json_object_object_get(baseline, "left_out"),
			   *warnings = json_object_object_get(baseline, "warnings");

	for (size_t i = 0; i < n; i++)
		print_host(" ", &offers[i], files[i]);
	printf("\n%sQEMU%s\n\n-cpu %s\n\n", colour(BOLD), colour(PLAIN), json_text_in(baseline, "qemu_cpu"));
	printf("%slibvirt%s\n\n%s\n\n", colour(BOLD), colour(PLAIN), json_text_in(baseline, "libvirt_cpu"));
	printf("A guest with this CPU starts on %s. It needs\n",
	       n == 1 ? "this host" : "each of these hosts, and can move between them");
	print_needs(baseline, "needs_qemu", "QEMU");
	print_needs(baseline, "needs_libvirt", "libvirt");
	if (json_object_array_length(taken))
		printf("\nNot in it, because these hosts lack it:\n");
	print_grouped(taken, "lacking", "  -");
	if (json_object_array_length(left_out))
		printf("\nNot in it, although each host offers it:\n");
	print_grouped(left_out, "why", "  .");
	if (json_object_array_length(warnings))
		printf("\nDifferences that no CPU model hides:\n");
	for (size_t i = 0; i < json_object_array_length(warnings); i++)
		print_labelled("  !", 4, json_object_get_string(json_object_array_get_idx(warnings, i)));
	print_not_compared();
}
