/* SPDX-License-Identifier: GPL-2.0 */
/* What a command says to people, and its exit status. */
#ifndef BASE_MESSAGE_H
#define BASE_MESSAGE_H

/* Exit status of every command; the man page documents them. */
enum {
	STATUS_OK,
	STATUS_NO,	    /* the answer is no: a problem was found, a register is missing, a guest cannot go */
	STATUS_USAGE,	    /* wrong use, unreadable input file */
	STATUS_CANNOT,	    /* not possible here: not root, no /dev/kvm, no access to it */
	STATUS_BUSY,	    /* swap: refused, as VMs run or something else holds KVM */
	STATUS_ROLLED_BACK, /* swap: failed, the modules from before are loaded again */
	STATUS_BROKEN,	    /* swap: failed, and so did the way back */
};

extern const char tools_version[]; /* of this package */

/*
 * Messages go to stderr as "kvm-onereg: text"; fix, if not NULL, follows as "  to fix: ...", the way src/prepare
 * and tools/install say it. die() exits with @status.
 */
void complain(const char *fix, const char *format, ...) __attribute__((format(printf, 2, 3)));
void die(int status, const char *fix, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));
/* Wrong use of a command: says so, names the man page, exits with STATUS_USAGE. */
void usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/*
 * print_wrapped - print text in lines of 80 columns; words that are longer stay whole
 * @column: where the first line begins
 * @indent: where the others do, but for those that the text itself begins
 */
void print_wrapped(int column, int indent, const char *text);
/* A space that no line ends at */
#define NO_BREAK '\1'

/* Escape sequences, or "" when stdout is no terminal, NO_COLOR is set or TERM is dumb. */
enum colour { PLAIN, BOLD, RED, GREEN, YELLOW };
const char *colour(enum colour which);

#endif
