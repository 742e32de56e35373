// SPDX-License-Identifier: GPL-2.0
/* What holds KVM, and how to say it. */
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/hold.h"

void add_hold(struct holders *holders, struct hold hold)
{
	holders->hold = enlarged(holders->hold, holders->holds, 1, sizeof(*holders->hold));
	holders->hold[holders->holds++] = hold;
}

bool is_held(const struct holders *holders)
{
	bool held = holders->processes || *holders->module || holders->kvm_references || holders->vendor_references;

	for (int i = 0; i < holders->holds; i++)
		held |= holders->hold[i].how != MAYBE;
	return held;
}

char *describe_holder(const struct holder *holder)
{
	char *name = holder->name ? format(" (%s)", holder->name) : "", *what;

	if (holder->vms || holder->vcpus)
		what = format("%d VM%s, %d vCPU%s", holder->vms, holder->vms == 1 ? "" : "s", holder->vcpus,
			      holder->vcpus == 1 ? "" : "s");
	else if (holder->device)
		what = "no VM, has /dev/kvm open";
	else
		what = format("no VM, has %s", holder->part);
	return format("%d %s%s: %s", holder->pid, holder->command, name, what);
}

char *describe_unnamed(const struct holders *holders)
{
	int vendor = holders->vendor_references, kvm = holders->kvm_references;

	if (!holders->unnamed)
		return NULL;
	if (vendor && !holders->processes)
		return format("KVM is in use %d time%s, by something that is not visible from here", vendor,
			      vendor == 1 ? "" : "s");
	return format("module kvm is held %d time%s by something other than VMs", kvm, kvm == 1 ? "" : "s");
}

struct json_object *holders_json(const struct holders *holders)
{
	struct json_object *all = json_object_new_object(), *processes = json_object_new_array();
	struct json_object *modules = json_object_new_array(), *others = json_object_new_array();

	for (int i = 0; i < holders->processes; i++) {
		const struct holder *holder = &holders->process[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "pid", json_object_new_int(holder->pid));
		json_object_object_add(one, "command", json_string(holder->command));
		json_object_object_add(one, "name", json_string(holder->name));
		json_object_object_add(one, "vms", json_object_new_int(holder->vms));
		json_object_object_add(one, "vcpus", json_object_new_int(holder->vcpus));
		json_object_object_add(one, "device", json_object_new_boolean(holder->device));
		json_object_object_add(one, "part", json_string(holder->part));
		json_object_array_add(processes, one);
	}
	for (char **module = holders->module; *module; module++)
		json_object_array_add(modules, json_string(*module));
	for (int i = 0; i < holders->holds; i++) {
		const struct hold *hold = &holders->hold[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "pid", hold->pid ? json_object_new_int(hold->pid) : NULL);
		json_object_object_add(one, "what", json_string(hold->what));
		json_object_object_add(one, "sure", json_object_new_boolean(hold->how != MAYBE));
		json_object_object_add(one, "fix", json_string(hold->fix));
		json_object_array_add(others, one);
	}
	json_object_object_add(all, "count", json_object_new_int(holders->vms));
	json_object_object_add(all, "complete", json_object_new_boolean(holders->complete));
	json_object_object_add(all, "held", json_object_new_boolean(is_held(holders)));
	json_object_object_add(all, "processes", processes);
	json_object_object_add(all, "modules", modules);
	json_object_object_add(all, "others", others);
	json_object_object_add(all, "unnamed", json_string(describe_unnamed(holders)));
	return all;
}

/* Users choose the names of processes: no escape sequences for the terminal, and nothing that is invalid in JSON */
char *printable(char *name)
{
	for (char *c = name; c && *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return name;
}

char *command_of(int pid)
{
	char *command = printable(read_file("/proc/%d/comm", pid));

	return command ? command : "?";
}
