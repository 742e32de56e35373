// SPDX-License-Identifier: GPL-2.0
/* Processes with VMs, or with files of KVM. */
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/hold-processes.h"
#include "model/hold.h"
#include "model/open-files.h"

/* /dev/kvm, whatever a node of it is called */
#define MISC_MAJOR 10
#define KVM_MINOR  232

/* What "-name guest=web1,debug-threads=on" or "-name web1" says */
static char *guest_name(int pid)
{
	size_t size;
	const char *words = (char *)read_bytes(rooted_path("/proc/%d/cmdline", pid), &size), *end = words + size;

	for (const char *word = words; word && word < end; word += strlen(word) + 1) {
		const char *value = word + strlen(word) + 1;

		if ((strcmp(word, "-name") && strcmp(word, "--name")) || value >= end)
			continue;
		if (!strncmp(value, "guest=", 6))
			value += 6;
		return format("%.*s", (int)strcspn(value, ","), value);
	}
	return NULL;
}

/* /dev/kvm by its number: its node may have any name, or be deleted. O_PATH does not open the device */
static bool is_device(const struct file *file)
{
	struct statx status;
	char *flags;

	/* Without asking a server that may not respond */
	if (starts_with(file->target, ANON) || starts_with(file->target, "socket:") ||
	    starts_with(file->target, "pipe:") ||
	    statx(file->folder, file->number, AT_STATX_DONT_SYNC, STATX_TYPE, &status))
		return false;
	if (!S_ISCHR(status.stx_mode) || status.stx_rdev_major != MISC_MAJOR || status.stx_rdev_minor != KVM_MINOR)
		return false;
	flags = value_of(read_file("%s", file->info), "flags", ":");
	return !flags || !(strtol(flags, NULL, 8) & O_PATH);
}

struct look {
	struct holder *holder;
	struct holder table; /* of the files of one table */
};

static void see_kvm(void *context, const struct file *file)
{
	struct look *look = context;
	const char *what = starts_with(file->target, ANON) ? file->target + strlen(ANON) : "";

	if (!strcmp(what, "kvm-vm")) {
		look->table.vms++;
	} else if (starts_with(what, "kvm-vcpu:")) {
		look->table.vcpus++;
	} else if (starts_with(what, "kvm-") || starts_with(what, "[kvm-")) {
		look->table.part = format("%s", what);
		look->table.kvm_files++;
	} else if (starts_with(file->target, "/sys/kernel/debug/kvm/")) {
		look->table.part = format("%s", file->target);
		look->table.kvm_files++;
	} else if (is_device(file)) {
		look->table.device = true;
	}
}

/* A thread with files of its own may have some of the same files */
static void merge_table(void *context)
{
	struct look *look = context;
	struct holder *holder = look->holder, *table = &look->table;

	holder->vms = table->vms > holder->vms ? table->vms : holder->vms;
	holder->vcpus = table->vcpus > holder->vcpus ? table->vcpus : holder->vcpus;
	holder->device |= table->device;
	holder->part = holder->part ? holder->part : table->part;
	holder->kvm_files += table->kvm_files;
	look->table = (struct holder) { 0 };
}

static bool is_holder(const struct holder *holder)
{
	return holder->vms || holder->vcpus || holder->device || holder->part;
}

void look_at_processes(struct holders *holders, bool mappings)
{
	static const char * const mapped[] = { ANON "kvm-", ANON "[kvm-", NULL };
	char **names = list_folder("/proc");
	size_t n = 0;

	while (names[n])
		n++;
	holders->process = allocate(n + 1, sizeof(*holders->process));
	for (; *names; names++) {
		struct holder *holder = &holders->process[holders->processes];
		struct look look = { .holder = holder };
		char *end;

		*holder = (struct holder) { .pid = strtol(*names, &end, 10) };
		if (*end)
			continue;
		if (!each_file(holder->pid, see_kvm, merge_table, &look))
			holders->complete = false;
		if (mappings && !is_holder(holder)) {
			holder->part = find_mapping(holder->pid, mapped);
			if (holder->part)
				holder->part = format("%s, mapped", holder->part + strlen(ANON));
		}
		if (!is_holder(holder))
			continue;
		holder->command = command_of(holder->pid);
		holder->name = printable(guest_name(holder->pid));
		holders->vms += holder->vms;
		holders->processes++;
	}
	/* Without /proc, nothing was examined */
	if (!path_exists("/proc/1"))
		holders->complete = false;
}
