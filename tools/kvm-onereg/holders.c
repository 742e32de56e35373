// SPDX-License-Identifier: GPL-2.0
/* Who holds KVM. */
#include <ctype.h>
#include <errno.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "holders.h"
#include "host.h"
#include "kvm-onereg.h"

/* Whoever runs a process names it: no escape sequences for the reader's terminal, nothing that JSON does not take */
static char *printable(char *name)
{
	for (char *c = name; c && *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return name;
}

/* What "-name guest=web1,debug-threads=on" or "-name web1" says */
static char *guest_name(int pid)
{
	size_t size;
	const char *words = (char *)read_bytes(path("/proc/%d/cmdline", pid), &size), *end = words + size;

	for (const char *word = words; word && word < end; word += strlen(word) + 1) {
		const char *value = word + strlen(word) + 1;

		if ((strcmp(word, "-name") && strcmp(word, "--name")) || value >= end)
			continue;
		if (!strncmp(value, "guest=", 6))
			value += 6;
		return text("%.*s", (int)strcspn(value, ","), value);
	}
	return NULL;
}

/* Whether the process could be looked at */
static bool look_at(struct holder *holder)
{
	char *folder = path("/proc/%d/fd", holder->pid);
	DIR *files = opendir(folder);
	struct dirent *entry;

	if (!files)
		return errno != EACCES && errno != EPERM;
	while ((entry = readdir(files))) {
		char target[64];
		ssize_t n = readlinkat(dirfd(files), entry->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = '\0';
		holder->vms += !strcmp(target, "anon_inode:kvm-vm");
		holder->vcpus += !strncmp(target, "anon_inode:kvm-vcpu", 19);
		holder->device |= !strcmp(target, "/dev/kvm");
	}
	closedir(files);
	return true;
}

static char **using_modules(void)
{
	static const char *const of[] = { "kvm", "kvm_intel", "kvm_amd" };
	char **modules = NULL;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(of) / sizeof(*of); i++) {
		for (char **name = list("/sys/module/%s/holders", of[i]); *name; name++) {
			if (!strcmp(*name, "kvm_intel") || !strcmp(*name, "kvm_amd"))
				continue;
			modules = realloc(modules, (n + 2) * sizeof(*modules));
			if (!modules)
				die(STATUS_CANNOT, NULL, "no memory");
			modules[n++] = *name;
			modules[n] = NULL;
		}
	}
	return kept(modules ? modules : calloc(1, sizeof(*modules)));
}

struct holders who_holds_kvm(void)
{
	struct holders holders = { .complete = true, .module = using_modules() };
	char **names = list("/proc");
	size_t n = 0;

	while (names[n])
		n++;
	holders.process = kept(calloc(n + 1, sizeof(*holders.process)));
	for (; *names; names++) {
		struct holder *holder = &holders.process[holders.processes];
		char *end, *command;

		*holder = (struct holder){ .pid = strtol(*names, &end, 10) };
		if (*end)
			continue;
		if (!look_at(holder))
			holders.complete = false;
		if (!holder->vms && !holder->vcpus && !holder->device)
			continue;
		command = printable(read_file("/proc/%d/comm", holder->pid));
		holder->command = command ? command : text("%s", "?");
		holder->name = printable(guest_name(holder->pid));
		holders.vms += holder->vms;
		holders.processes++;
	}
	/* Without /proc nothing was looked at */
	if (!exists("/proc/1"))
		holders.complete = false;
	return holders;
}

char *describe_holder(const struct holder *holder)
{
	char *name = holder->name ? text(" (%s)", holder->name) : text("%s", "");

	if (!holder->vms && !holder->vcpus)
		return text("%d %s%s: no VM, has /dev/kvm open", holder->pid, holder->command, name);
	return text("%d %s%s: %d VM%s, %d vCPU%s", holder->pid, holder->command, name, holder->vms,
		    holder->vms == 1 ? "" : "s", holder->vcpus, holder->vcpus == 1 ? "" : "s");
}

struct json_object *holders_json(const struct holders *holders)
{
	struct json_object *all = json_object_new_object(), *processes = json_object_new_array();
	struct json_object *modules = json_object_new_array();

	for (int i = 0; i < holders->processes; i++) {
		const struct holder *holder = &holders->process[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "pid", json_object_new_int(holder->pid));
		json_object_object_add(one, "command", json_object_new_string(holder->command));
		json_object_object_add(one, "name", holder->name ? json_object_new_string(holder->name) : NULL);
		json_object_object_add(one, "vms", json_object_new_int(holder->vms));
		json_object_object_add(one, "vcpus", json_object_new_int(holder->vcpus));
		json_object_array_add(processes, one);
	}
	for (char **module = holders->module; *module; module++)
		json_object_array_add(modules, json_object_new_string(*module));
	json_object_object_add(all, "count", json_object_new_int(holders->vms));
	json_object_object_add(all, "complete", json_object_new_boolean(holders->complete));
	json_object_object_add(all, "processes", processes);
	json_object_object_add(all, "modules", modules);
	return all;
}
