/* SPDX-License-Identifier: GPL-2.0 */
/* What processes have open or mapped. */
#ifndef MODEL_OPEN_FILES_H
#define MODEL_OPEN_FILES_H

#include <stdbool.h>

/* An open file of a process, or of a thread that has files of its own */
struct file {
	int folder; /* /proc/PID/fd, or that of a thread */
	const char *number;
	const char *info;   /* /proc/PID/fdinfo/NUMBER, for read_file() */
	const char *target; /* what the link says, "" if it is none */
};

/*
 * Call @see for each file of a process, and @next_table after each table of files. False if it could not be looked at
 */
bool each_file(int pid, void (*see)(void *context, const struct file *file), void (*next_table)(void *context),
	       void *context);
/* The first mapping of a file that one of these names, or NULL: it holds the file without a descriptor */
char *find_mapping(int pid, const char * const names[]);

#define ANON "anon_inode:"
bool starts_with(const char *string, const char *with);

#endif
