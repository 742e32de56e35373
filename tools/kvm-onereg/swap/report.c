// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: its output, as text or as JSON. */
#include <stdio.h>

#include "base/json.h"
#include "base/message.h"
#include "swap/report.h"

bool as_json, dry_run;

static struct json_object *steps, *notes, *users;

void start_report(void)
{
	steps = json_object_new_array();
	notes = json_object_new_array();
}

void report_users(struct json_object *json)
{
	json_object_put(users);
	users = json;
}

static void add_line(struct json_object *array, const char *line)
{
	json_object_array_add(array, json_object_new_string(line));
}

void add_step(const char *line)
{
	add_line(steps, line);
	if (!as_json)
		printf("  %s\n", line);
	fflush(stdout);
}

void add_note(const char *line)
{
	add_line(notes, line);
	if (!as_json)
		printf("  %snote%s: %s\n", colour(YELLOW), colour(PLAIN), line);
	fflush(stdout);
}

int finish_swap(int status, const char *result, const char *sentence, const char *fix)
{
	if (as_json) {
		struct json_object *json = json_object_new_object();

		json_object_object_add(json, "result", json_object_new_string(result));
		json_object_object_add(json, "message", json_object_new_string(sentence));
		json_object_object_add(json, "fix", fix ? json_object_new_string(fix) : NULL);
		json_object_object_add(json, "dry_run", json_object_new_boolean(dry_run));
		json_object_object_add(json, "steps", steps);
		json_object_object_add(json, "notes", notes);
		json_object_object_add(json, "vms", users);
		print_json(json);
		return status;
	}
	json_object_put(steps);
	json_object_put(notes);
	json_object_put(users);
	if (status == STATUS_OK)
		printf("%s%s%s\n", colour(GREEN), sentence, colour(PLAIN));
	else
		complain(fix, "%s", sentence);
	return status;
}

int refuse_as_busy(const char *sentence, const char *fix)
{
	return finish_swap(STATUS_BUSY, "refused", sentence, fix);
}
