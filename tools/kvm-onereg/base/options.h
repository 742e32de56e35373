/* SPDX-License-Identifier: GPL-2.0 */
/* The options of all commands, read in one way. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

/* An option and its effect: one of the last three is set. */
struct known_option {
	const char *name;		    /* of the long form, without "--" */
	char letter;			    /* of the short form, or 0 */
	bool *flag;			    /* it takes no argument, and sets this */
	const char **argument;		    /* its argument goes here; the last one counts */
	void (*take)(const char *argument); /* or this is called with each */
};

/*
 * read_options - set what the options before the first other argument, and behind it, say; optind is that argument
 * @help: what --help and -h print
 * @known: the others, ended by one without a name
 *
 * False after --help. Wrong use ends the program, with a message that names the option as it was written: of "-xh" it
 * is "-x".
 */
bool read_options(const char *command, const char *help, const struct known_option *known, int argc, char **argv);

#endif
