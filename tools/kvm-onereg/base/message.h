/* SPDX-License-Identifier: GPL-2.0 */
/* The messages of a command, and its exit status. */
#ifndef BASE_MESSAGE_H
#define BASE_MESSAGE_H

/* Exit status of every command; the man page documents them. */
enum {
	STATUS_OK,
	STATUS_NO,	    /* the answer is no: a problem was found, a register is missing, a guest cannot go */
	STATUS_USAGE,	    /* wrong usage, unreadable input file */
	STATUS_CANNOT,	    /* not possible here: not root, no /dev/kvm, no access to it */
	STATUS_BUSY,	    /* swap: refused, because VMs are running or something else holds KVM */
	STATUS_ROLLED_BACK, /* swap: failed, the previous modules are loaded again */
	STATUS_BROKEN,	    /* swap: failed, and the previous modules could not be loaded again */
};

extern const char tools_version[]; /* of this package */

/*
 * Messages go to stderr as "kvm-onereg: text"; fix, if not NULL, follows as "  to fix: ...", the way src/prepare
 * and tools/install say it. die() exits with @status.
 */
void complain(const char *fix, const char *format, ...) __attribute__((format(printf, 2, 3)));
void die(int status, const char *fix, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));
/* Wrong usage of a command: prints a message that names the man page, and exits with STATUS_USAGE. */
void usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/*
 * print_wrapped - print text in lines of 80 columns; words that are longer stay whole
 * @column: where the first line begins
 * @indent: where the others do, but for those that the text itself begins
 */
void print_wrapped(int column, int indent, const char *text);
/* "LABEL    text", a line, or more, where text goes on below itself */
void print_labelled(const char *label, int indent, const char *text);
/* A space at which lines are not broken */
#define NO_BREAK '\1'

/* Escape sequences, or "" if stdout is not a terminal, NO_COLOR is set, or TERM is dumb. */
enum colour { PLAIN, BOLD, RED, GREEN, YELLOW };
const char *colour(enum colour which);

#endif
