// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg preflight: a baseline, as text. */
#include <stdio.h>

#include "base/json.h"
#include "base/message.h"
#include "base/text.h"
#include "preflight/baseline-report.h"
#include "preflight/grouped.h"
#include "preflight/verdict.h"

#define MOST_NAMES 6

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
	print_grouped(taken, "lacking", "  -", false);
	if (json_object_array_length(left_out))
		printf("\nNot in it, although each host offers it:\n");
	print_grouped(left_out, "why", "  .", false);
	if (json_object_array_length(warnings))
		printf("\nDifferences that no CPU model hides:\n");
	for (size_t i = 0; i < json_object_array_length(warnings); i++)
		print_labelled("  !", 4, json_object_get_string(json_object_array_get_idx(warnings, i)));
	print_not_compared();
}
