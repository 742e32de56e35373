// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: its output, as text or as JSON. */
#include <stdio.h>

#include "base/json.h"
#include "base/message.h"
#include "swap/report.h"

bool as_json, dry_run;

static struct json_object *steps, *notes, *users, *guests;
static struct swap_end end;

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

void tell_progress(const char *line)
{
	if (!as_json)
		printf("      %s\n", line);
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
	end.status = status;
	end.result = result;
	end.sentence = sentence;
	end.fix = fix;
	return status;
}

struct swap_end swap_end(void)
{
	return end;
}

void report_guests(struct json_object *json)
{
	json_object_put(guests);
	guests = json;
}

int print_swap(void)
{
	if (as_json) {
		struct json_object *json = json_object_new_object();

		json_object_object_add(json, "result", json_object_new_string(end.result));
		json_object_object_add(json, "message", json_object_new_string(end.sentence));
		json_object_object_add(json, "fix", end.fix ? json_object_new_string(end.fix) : NULL);
		json_object_object_add(json, "dry_run", json_object_new_boolean(dry_run));
		json_object_object_add(json, "steps", steps);
		json_object_object_add(json, "notes", notes);
		json_object_object_add(json, "vms", users);
		if (guests)
			json_object_object_add(json, "guests", guests);
		print_json(json);
		return end.status;
	}
	json_object_put(steps);
	json_object_put(notes);
	json_object_put(users);
	json_object_put(guests);
	if (end.status == STATUS_OK)
		printf("%s%s%s\n", colour(GREEN), end.sentence, colour(PLAIN));
	else
		complain(end.fix, "%s", end.sentence);
	return end.status;
}

int refuse_as_busy(const char *sentence, const char *fix)
{
	return finish_swap(STATUS_BUSY, "refused", sentence, fix);
}
