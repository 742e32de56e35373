/* SPDX-License-Identifier: GPL-2.0 */
/* The output of a swap, as text or as JSON. */
#ifndef SWAP_REPORT_H
#define SWAP_REPORT_H

#include <json-c/json.h>
#include <stdbool.h>

extern bool as_json, dry_run; /* the options */

void start_report(void);
/* What is done, or would be */
void add_step(const char *line);
/* How far a step is that takes long */
void tell_progress(const char *line);
/* What is worth knowing beside the result */
void add_note(const char *line);
/* Who holds KVM, as holders_json() has it; that from before is replaced */
void report_users(struct json_object *json);
/* The guests that are kept; a list from before is replaced */
void report_guests(struct json_object *json);
/* The result, for print_swap(): the last one counts. Returns @status */
int finish_swap(int status, const char *result, const char *sentence, const char *fix);
/* What finish_swap() was told */
struct swap_end {
	int status;
	const char *result, *sentence, *fix;
};

struct swap_end swap_end(void);
/* Print everything that is not printed yet, and return the status */
int print_swap(void);
/* The same for a swap that is refused because KVM is in use */
int refuse_as_busy(const char *sentence, const char *fix);

#endif
