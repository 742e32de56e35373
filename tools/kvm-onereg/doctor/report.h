/* SPDX-License-Identifier: GPL-2.0 */
/* What checks report. A check begins, then reports; without a report it is good. */
#ifndef DOCTOR_REPORT_H
#define DOCTOR_REPORT_H

#include <json-c/json.h>
#include <stddef.h>

void start_checks(void);
void begin_check(const char *name);
/* The state, if it is as it should be */
void check_is_good(const char *detail);
/* The check could not be made, and why */
void skip_check(const char *why);
/* A problem, with a code for scripts, a sentence, and the command that fixes it */
void report_problem(const char *code, const char *fix, char *sentence);
/* Something that is not a problem as long as nobody boots that kernel; @fix may be NULL */
void report_remark(char *sentence, const char *fix);

size_t problems_found(void);
const char *problem_code(size_t n);
/* All of it, with the block for a bug report; either takes the report apart */
void print_report(const char *for_report);
struct json_object *report_json(const char *for_report);

#endif
