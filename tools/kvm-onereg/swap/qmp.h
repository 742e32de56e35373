/* SPDX-License-Identifier: GPL-2.0 */
/* A client of QEMU's monitor protocol, QMP, over a Unix socket. */
#ifndef SWAP_QMP_H
#define SWAP_QMP_H

#include <json-c/json.h>
#include <stdbool.h>

struct qmp {
	int fd; /* -1: not connected */
	char *path;
	char *bytes; /* that were received, and not used yet */
	size_t size;
};

/*
 * qmp_open - connect to the monitor at @path, and leave its capabilities mode
 * @pid: the process that must listen there
 * @why: if it fails: why, as the end of a sentence about the socket
 */
bool qmp_open(struct qmp *qmp, const char *path, int pid, char **why);
void qmp_close(struct qmp *qmp);

/*
 * qmp_ask - run a command
 * @arguments: an object, which this releases; or NULL
 * @why: if it fails: QEMU's message, or what is wrong with the connection
 *
 * Returns what QEMU returns, valid until the command kvm-onereg ends; NULL if it fails.
 */
struct json_object *qmp_ask(struct qmp *qmp, const char *command, struct json_object *arguments, char **why);
/* The same with a file that QEMU gets under the name @name */
struct json_object *qmp_give_file(struct qmp *qmp, const char *name, int file, char **why);
/* {"key": "text"}, for commands with one argument */
struct json_object *qmp_argument(const char *key, const char *text);

#endif
