// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg swap: what a new process will not have.
 *
 * None of this prevents that a guest is kept: it runs on, elsewhere or slower, until somebody sets it again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "swap/guest.h"
#include "swap/left-behind.h"
#include "swap/qemu-words.h"

/* Threads that may run on other CPUs than the first one, whose CPUs all of the new process get */
static void note_cpus(struct guest *guest)
{
	char *first = value_of(read_file("/proc/%d/status", guest->pid), "Cpus_allowed_list", ":");
	int n = 0, others = 0;

	for (char **task = list_folder("/proc/%d/task", guest->pid); *task; task++) {
		char *status = read_file("/proc/%d/task/%s/status", guest->pid, *task);
		char *cpus = value_of(status, "Cpus_allowed_list", ":");

		n += !!cpus;
		others += cpus && !same_text(cpus, first);
	}
	if (others)
		add_guest_note(guest,
			       format("not carried over: the CPUs of %d of its %d threads (taskset)", others, n));
}

/* The first policy other than the default in its memory. QEMU sets those that are on its command line again */
static void note_numa(struct guest *guest)
{
	char *maps = read_file("/proc/%d/numa_maps", guest->pid);

	if (words_have(guest->started.words, "host-nodes"))
		return;
	for (const char *line = maps; line && *line; line = next_line(line)) {
		const char *policy = line + strcspn(line, "\n ");
		size_t n;

		policy += *policy == ' ';
		n = strcspn(policy, "\n ");
		if (!n || !strncmp(policy, "default", 7) || !strncmp(policy, "local", 5))
			continue;
		add_guest_note(guest, format("not carried over: the NUMA policy of its memory (%.*s)", (int)n, policy));
		return;
	}
}

/* Whoever waits for its end may start it again, beside the new process */
static void note_parent(struct guest *guest)
{
	static const char * const harmless[] = { "systemd", "init", "bash",   "sh",    "dash", "zsh", "fish",
						 "ksh",	    "sshd", "screen", "tmux:", "sudo", "su",  "kvm-onereg" };
	char *parent = value_of(read_file("/proc/%d/status", guest->pid), "PPid", ":"), *name;
	int pid = parent ? atoi(parent) : 0;

	/* An orphan belongs to process 1, or to the manager of its user */
	if (pid <= 1)
		return;
	name = read_file("/proc/%d/comm", pid);
	for (size_t i = 0; name && i < sizeof(harmless) / sizeof(*harmless); i++) {
		size_t n = strlen(harmless[i]);

		if (!strncmp(name, harmless[i], n) && strchr(" ", name[n]))
			return;
	}
	if (name)
		add_guest_note(guest, format("not carried over: its parent %s (%d): it must not start another one now",
					     name, pid));
}

/* Files that QEMU empties when it starts */
static void note_files(struct guest *guest)
{
	static const char * const streams[] = { "serial", "parallel", "monitor", "debugcon" };
	const char *option, *value;
	int at = 1;

	while ((option = next_option(guest->started.words, &at, &value))) {
		const char *file = !strcmp(option, "D") ? value : NULL;

		for (size_t i = 0; i < sizeof(streams) / sizeof(*streams); i++)
			if (!strcmp(option, streams[i]) && !strncmp(value, "file:", 5))
				file = value + 5;
		if (!strcmp(option, "chardev"))
			file = emptied_file(value);
		if (file)
			add_guest_note(guest, format("not carried over: what %s has so far (-%s): QEMU starts it over",
						     file, option));
	}
}

void note_left_behind(struct guest *guest)
{
	note_cpus(guest);
	note_numa(guest);
	note_parent(guest);
	note_files(guest);
}
