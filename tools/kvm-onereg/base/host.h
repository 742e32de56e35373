/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the host says of itself: files, programs, the kernel log.
 *
 * Paths are below $KVM_ONEREG_ROOT, if that is set: for tests, over a tree that stands for a host. Memory that these
 * functions hand out is kept until the command ends.
 */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stddef.h>

/* "", or what stands before every path. */
const char *host_root(void);

/* As format(), kept. */
char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Keep memory that was allocated elsewhere; NULL exits, as then there was none. */
void *kept(void *memory);

/* A path below the root. */
char *path(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool exists(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* @file as a person wants to read it: without the root that path() put before it. */
const char *shown(const char *file);
/* What a file holds, without the newlines at its end, or NULL (errno tells why). At most 64 MiB. */
char *read_file(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with its size, for bytes; @file is taken as it is. */
unsigned char *read_bytes(const char *file, size_t *size);
/* Names in a folder, sorted as versions, ended by NULL; never NULL itself. */
char **list(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Value of "key" in lines of "key<separator>value", or NULL. */
char *value_of(const char *lines, const char *key, const char *separator);
/* The first or last line of @lines that holds @word, ignoring case; NULL if there is none. */
char *first_line(const char *lines, const char *word);
char *last_line(const char *lines, const char *word);
/* Whether @word is one of the words of @words, which blanks and commas separate. */
bool has_word(const char *words, const char *word);

struct run {
	bool found;		/* there is such a program */
	bool ended;		/* it ended by itself, in time */
	int status;		/* its exit status */
	char *output;		/* stdout and stderr, NUL-terminated; never NULL */
	size_t size;
};

/*
 * run - run a program, without a shell, for at most 20 seconds
 * @argument: its name, which is searched in the system's folders alone, and its arguments, ended by NULL
 */
struct run run(const char *const argument[]);
#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

/* The running kernel's release. */
const char *running_release(void);
/* The kernel's log since boot, or NULL when it is not for this user to read. */
const char *kernel_log(void);

#endif
