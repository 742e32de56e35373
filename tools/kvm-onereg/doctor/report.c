// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg doctor: what checks report, as text or as JSON. */
#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "base/message.h"
#include "base/text.h"
#include "doctor/report.h"
#include "model/series.h"

static struct json_object *checks, *problems, *remarks, *check;

void start_checks(void)
{
	checks = json_object_new_array();
	problems = json_object_new_array();
	remarks = json_object_new_array();
}

void begin_check(const char *name)
{
	check = json_object_new_object();
	json_object_object_add(check, "check", json_string(name));
	json_object_object_add(check, "result", json_string("ok"));
	json_object_object_add(check, "detail", NULL);
	json_object_array_add(checks, check);
}

void check_is_good(const char *detail)
{
	json_object_object_add(check, "detail", json_string(detail));
}

void skip_check(const char *why)
{
	json_object_object_add(check, "result", json_string("skipped"));
	json_object_object_add(check, "detail", json_string(why));
}

void report_problem(const char *code, const char *fix, char *sentence)
{
	struct json_object *one = json_object_new_object();

	json_object_object_add(check, "result", json_string("problem"));
	json_object_object_add(check, "detail", NULL);
	json_object_object_add(one, "code", json_string(code));
	json_object_object_add(one, "problem", json_string(sentence));
	json_object_object_add(one, "fix", json_string(fix));
	json_object_array_add(problems, one);
}

void report_remark(char *sentence, const char *fix)
{
	json_object_array_add(remarks, json_string(fix ? format("%s (%s)", sentence, fix) : sentence));
}

static const char *text_of(struct json_object *object, const char *name)
{
	const char *value = json_text_in(object, name);

	return value ? value : "";
}

void print_report(const char *for_report)
{
	size_t n = json_object_array_length(problems);

	for (size_t i = 0; i < json_object_array_length(checks); i++) {
		struct json_object *one = json_object_array_get_idx(checks, i);
		const char *result = text_of(one, "result");
		enum colour shade = *result == 'o' ? GREEN : *result == 'p' ? RED : YELLOW;

		printf("%s%-8s%s %s%s%s\n", colour(shade), result, colour(PLAIN), text_of(one, "check"),
		       *text_of(one, "detail") ? ": " : "", text_of(one, "detail"));
	}
	putchar('\n');
	for (size_t i = 0; i < n; i++) {
		struct json_object *one = json_object_array_get_idx(problems, i);

		printf("%s%zu. ", colour(BOLD), i + 1);
		print_wrapped(3, 3, text_of(one, "problem"));
		printf("%s\n   to fix: %s\n\n", colour(PLAIN), text_of(one, "fix"));
	}
	for (size_t i = 0; i < json_object_array_length(remarks); i++)
		printf("remark: %s\n%s", json_object_get_string(json_object_array_get_idx(remarks, i)),
		       i + 1 == json_object_array_length(remarks) ? "\n" : "");
	if (n)
		printf("%s%zu problem%s found.%s\n", colour(RED), n, n == 1 ? "" : "s", colour(PLAIN));
	else
		printf("%sNo problem found.%s\n", colour(GREEN), colour(PLAIN));
	if (geteuid())
		puts("Some things are visible to root only: run this as root for all checks.");
	printf("\n---- for a bug report: versions and states, no secrets ----\n%s---- end ----\n", for_report);
	json_object_put(checks);
	json_object_put(problems);
	json_object_put(remarks);
}

size_t problems_found(void)
{
	return json_object_array_length(problems);
}

const char *problem_code(size_t n)
{
	return text_of(json_object_array_get_idx(problems, n), "code");
}

struct json_object *report_json(const char *for_report)
{
	struct json_object *json = json_object_new_object();

	json_object_object_add(json, "tools_version", json_string(tools_version));
	json_object_object_add(json, "running", json_string(running_release()));
	json_object_object_add(json, "checks", checks);
	json_object_object_add(json, "problems", problems);
	json_object_object_add(json, "remarks", remarks);
	json_object_object_add(json, "report", json_string(for_report));
	return json;
}
