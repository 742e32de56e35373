/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Files and folders.
 *
 * Paths are below $KVM_ONEREG_ROOT, if that is set: for tests, over a tree that stands for a host.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* The prefix of every path, or "". */
const char *host_root(void);
/* A path below the root. */
char *rooted_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool path_exists(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* @file for display: without the root that rooted_path() put before it. */
const char *without_root(const char *file);
/* The content of a file, without the newlines at its end, or NULL (errno says why). At most 64 MiB. */
char *read_file(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for binary content, with its size; @file is used as it is. */
unsigned char *read_bytes(const char *file, size_t *size);
/*
 * The text that begins with @begin in a binary file, such as a program: up to its NUL, at most 200 bytes; or NULL.
 * @file is used as it is.
 */
char *find_text(const char *file, const char *begin);
/* Names in a folder, sorted as versions, ended by NULL; never NULL itself. */
char **list_folder(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
