/* SPDX-License-Identifier: GPL-2.0 */
/* QEMU's command line. */
#ifndef SWAP_QEMU_WORDS_H
#define SWAP_QEMU_WORDS_H

#include <stdbool.h>

/*
 * next_option - the next option of @words, which NULL ends
 * @at: where to go on; begins as 1
 * @value: the option's argument, or "": of an option that takes none, this is not an argument of it
 *
 * Its name without '-', or NULL at the end. Words that are no options are skipped.
 */
const char *next_option(char **words, int *at, const char **value);
/* Whether there is an option of this name */
bool has_option(char **words, const char *name);

/* The first word of "virtio-net-pci,id=x", or "driver" of JSON; NULL if that is "key=value" */
char *first_part(const char *value, const char *key);
/* The value of a key: "x" of "id=x", "on" of "share" without a value; NULL if it is not there. JSON, too */
char *part_of(const char *value, const char *key);
/* Whether the value of a key means yes */
bool part_is_on(const char *value, const char *key);

/* The paths of Unix sockets on which QEMU listens with QMP, as they are on the command line, ended by NULL */
char **qmp_sockets_of(char **words);
/* Whether this text, such as the name of a file, is part of a word */
bool words_have(char **words, const char *text);
/* The same, but as a whole name: not as the beginning of another one */
bool words_name(char **words, const char *text);
/*
 * The words to start the same machine again, and have it wait for a migration: without what says how it began, without
 * -daemonize, and with no socket that waits for a client
 */
char **words_to_restore(char **words);

/* The file of a -chardev that a new process empties, or NULL */
char *emptied_file(const char *value);

#endif
