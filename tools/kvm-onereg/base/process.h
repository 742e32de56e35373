/* SPDX-License-Identifier: GPL-2.0 */
/* Programs that are run. */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

struct program_result {
	bool found;   /* there is such a program */
	bool ended;   /* it ended by itself, in time */
	int status;   /* its exit status */
	char *output; /* stdout and stderr, NUL-terminated; never NULL */
	size_t size;
};

/*
 * run - run a program, without a shell, for at most 20 seconds
 * @argument: its name, which is searched in the system's folders alone, and its arguments, ended by NULL
 */
struct program_result run_program(const char * const argument[]);
/* The same for at most @seconds */
struct program_result run_program_for(int seconds, const char * const argument[]);
/* The same for as long as it takes; @wait is called each second with the seconds since it was started, and @data */
struct program_result run_program_to_end(void (*wait)(int seconds, void *data), void *data,
					 const char * const argument[]);
#define RUN_PROGRAM(...) run_program((const char * const[]) { __VA_ARGS__, NULL })

/* Whether Ctrl-C or the like, which are blocked, are pending */
bool interrupted(void);

/* The time since some point in the past, for time limits */
long milliseconds(void);
/* The time since 1970 */
long long real_milliseconds(void);

#endif
