// SPDX-License-Identifier: GPL-2.0
/* The options of all commands. */
#include <stdio.h>
#include <string.h>

#include "base/message.h"
#include "base/options.h"

/* Of an option without a short form, by its place in the list */
#define LONG_ONLY 256
#define MOST	  16

/* getopt_long(), with the same errors for every command */
static int next_option(const char *command, const struct option *known, int argc, char **argv)
{
	char letters[64] = ":", *end = letters + 1;
	bool is_known = false;
	const char *word;
	int option;

	for (const struct option *one = known; one->name && end < letters + sizeof(letters) - 2; one++) {
		if (one->val >= LONG_ONLY)
			continue;
		*end++ = one->val;
		if (one->has_arg)
			*end++ = ':';
	}
	*end = '\0';
	opterr = 0;
	option = getopt_long(argc, argv, letters, known, NULL);
	if (option != ':' && option != '?')
		return option;

	/*
	 * Within a cluster of options, optind may belong to the cluster or to the word before it: only optopt is
	 * reliable
	 */
	word = argv[optind - 1];
	for (const struct option *one = known; one->name; one++)
		is_known = is_known || one->val == optopt;
	if (option == ':' && !strncmp(word, "--", 2))
		usage_error(command, "option '%s' needs an argument", word);
	if (option == ':')
		usage_error(command, "option '-%c' needs an argument", optopt);
	if (!optopt)
		usage_error(command, "unknown option '%s'", word);
	if (is_known)
		usage_error(command, "option '%.*s' takes no argument", (int)strcspn(word, "="), word);
	usage_error(command, "unknown option '-%c'", optopt);
}

bool read_options(const char *command, const char *help, const struct known_option *known, int argc, char **argv)
{
	struct option options[MOST + 2] = { { "help", no_argument, NULL, 'h' } };
	int option, n;

	for (n = 0; known[n].name && n < MOST; n++)
		options[n + 1] = (struct option) { known[n].name, known[n].flag ? no_argument : required_argument, NULL,
						   known[n].letter ? known[n].letter : LONG_ONLY + n };
	while ((option = next_option(command, options, argc, argv)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return false;
		}
		for (n = 0; options[n + 1].val != option; n++)
			;
		if (known[n].flag)
			*known[n].flag = true;
		else if (known[n].take)
			known[n].take(optarg);
		else
			*known[n].argument = optarg;
	}
	return true;
}
