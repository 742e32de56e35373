/* SPDX-License-Identifier: GPL-2.0 */
/* The options of all commands, read in one way. */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <getopt.h>

/*
 * next_option - getopt_long(), with the same errors for every command
 * @known: the options, ended by an empty one; .val is the letter of the short form, or LONG_ONLY + n if there is none
 *
 * Returns .val, or -1 after the last option; optarg and optind are set. Wrong use ends the program, with a message
 * that names the option as it was written: of "-xh" it is "-x".
 */
int next_option(const char *command, const struct option *known, int argc, char **argv);
#define LONG_ONLY 256

#endif
