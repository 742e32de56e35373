/* SPDX-License-Identifier: GPL-2.0 */
/* How a process was started, so that another one can be started in the same way. */
#ifndef SWAP_STARTED_H
#define SWAP_STARTED_H

#include <json-c/json.h>
#include <stdbool.h>
#include <sys/types.h>

/* Of struct rlimit */
#define LIMITS 16

struct started {
	char *program; /* the file that it runs */
	char **words, **environment;
	char *folder; /* where it was started */
	char *cgroup; /* its path below /sys/fs/cgroup, or NULL */
	uid_t user;
	gid_t group, *groups;
	int n_groups, nice, oom, policy, priority;
	unsigned int mask;	   /* umask */
	unsigned long long bounds; /* the capabilities that it and its children could ever have */
	bool no_new_privileges;
	char *cpus; /* as taskset -c writes it */
	unsigned long long limits[LIMITS][2];
	char *stdio[3]; /* what its first files are: a path, or NULL */
	int files[3];	/* the same files, open; -1: not any more. Not part of the JSON */
};

/* When a process was started, in ticks after boot: tells it from a later one with its pid. 0: there is none */
unsigned long long start_time(int pid);
/* Whether this process still exists, and has not ended; both 0: there was none */
bool is_alive(int pid, unsigned long long time);

/* Look at a process; NULL, or what prevents that another one is started in the same way */
char *look_at_started(int pid, struct started *started);
/* Get hold of the first files of a process, a pidfd, while it is there */
void take_files(int pid, struct started *started);

struct json_object *started_json(const struct started *started);
/* False if the JSON is damaged */
bool read_started(struct json_object *json, struct started *started);

/*
 * hold_new - make a process that waits, and then runs a program in the same way
 * @words: its words
 * @log: where its messages go if they went nowhere: a file
 * @go: write one byte to it to let the process go on; when it is closed, the process ends. At most one is -1
 * @note: what could not be made the same, or NULL
 *
 * Its pid, or -1 with errno.
 */
int hold_new(const struct started *started, char **words, const char *log, int *go, char **note);
/* A process that does nothing but to keep the same control group, until the command ends; its pid or -1 */
int hold_cgroup(const struct started *started);

#endif
