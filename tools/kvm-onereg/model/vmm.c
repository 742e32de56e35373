// SPDX-License-Identifier: GPL-2.0
/*
 * VMMs that lose the state of CET.
 *
 * The table here and the one in docs/cet-migration.md say the same; the latter has the sources.
 *
 * A version is read from the file that the process runs, /proc/PID/exe: that also works if the package was upgraded
 * since, or if the program is of no package. The program is not started, as it may be anybody's.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "model/vmm.h"

#define QEMU_VERSION "QEMU emulator version "
/* The first that saves SSP */
#define QEMU_SAVES 11

struct known_vmm {
	const char *program; /* its file, or the beginning of its name if it ends in "-" */
	const char *name;
	const char *loses; /* in all versions that were looked at; NULL: depends on the version */
};

static const struct known_vmm known_vmms[] = {
	{ "qemu-system-", "QEMU", NULL },
	{ "qemu-kvm", "QEMU", NULL },
	{ "kvm", "QEMU", NULL },
	{ "cloud-hypervisor", "Cloud Hypervisor", "the shadow stack pointer (SSP)" },
	{ "firecracker", "Firecracker", "the shadow stack pointer (SSP) and the MSRs of CET" },
	{}
};

/* The name of the program that a process runs, or NULL */
static char *program_of(int pid)
{
	char target[PATH_MAX];
	ssize_t n = readlink(rooted_path("/proc/%d/exe", pid), target, sizeof(target) - 1);
	char *name, *end;

	if (n <= 0)
		return NULL;
	target[n] = '\0';
	name = strrchr(target, '/');
	name = format("%s", name ? name + 1 : target);
	end = strstr(name, " (deleted)");
	if (end && !strcmp(end, " (deleted)"))
		*end = '\0';
	return printable(name);
}

static const struct known_vmm *find_vmm(const char *program)
{
	for (const struct known_vmm *one = known_vmms; program && one->program; one++) {
		size_t n = strlen(one->program);

		if (one->program[n - 1] == '-' ? !strncmp(program, one->program, n) : !strcmp(program, one->program))
			return one;
	}
	return NULL;
}

/* "11.1.3" of "QEMU emulator version 11.1.3 (Debian ...)" */
static char *qemu_version(int pid)
{
	char *text = find_text(rooted_path("/proc/%d/exe", pid), QEMU_VERSION);
	const char *version = text ? text + strlen(QEMU_VERSION) : "";
	size_t n = strspn(version, "0123456789.");

	return n ? format("%.*s", (int)n, version) : NULL;
}

/* With this, older QEMUs give guests features that they do not know */
static bool passes_all(int pid)
{
	size_t size;
	const char *words = (char *)read_bytes(rooted_path("/proc/%d/cmdline", pid), &size), *end = words + size;

	for (const char *word = words; word && word < end; word += strlen(word) + 1)
		if (strstr(word, "migratable=off") || strstr(word, "migratable=no") || strstr(word, "-migratable"))
			return true;
	return false;
}

struct vmm look_at_vmm(const struct holder *holder)
{
	char *program = program_of(holder->pid);
	const struct known_vmm *known = find_vmm(program);
	struct vmm vmm = { .saves = UNKNOWN, .has_cet = UNKNOWN, .what = "the state of CET" };

	if (!known) {
		vmm.name = program ?: holder->command;
		return vmm;
	}
	vmm.name = known->name;
	if (known->loses) {
		vmm.saves = NO;
		vmm.has_cet = YES;
		vmm.what = known->loses;
		return vmm;
	}
	vmm.version = qemu_version(holder->pid);
	if (!vmm.version)
		return vmm;
	if (atoi(vmm.version) >= QEMU_SAVES) {
		vmm.saves = YES;
		vmm.what = NULL;
		return vmm;
	}
	vmm.saves = NO;
	vmm.has_cet = passes_all(holder->pid) ? YES : NO;
	vmm.what = "the shadow stack pointer (SSP) and the MSRs of CET";
	return vmm;
}

bool loses_cet(const struct vmm *vmm)
{
	return vmm->saves == NO && vmm->has_cet == YES;
}

char *describe_vmm(const struct vmm *vmm)
{
	const char *name = vmm->version ? format("%s %s", vmm->name, vmm->version) : vmm->name;

	if (vmm->saves == YES)
		return NULL;
	if (vmm->saves == UNKNOWN)
		return format("%s: not known whether it saves %s", name, vmm->what);
	return format("%s does not save %s%s", name, vmm->what,
		      vmm->has_cet == YES ? "" : "; its guest has no CET, as this QEMU does not know it");
}

struct json_object *vmms_json(const struct holders *holders)
{
	struct json_object *all = json_object_new_array();

	for (int i = 0; i < holders->processes; i++) {
		struct json_object *one;
		struct vmm vmm;

		if (!holders->process[i].vms)
			continue;
		vmm = look_at_vmm(&holders->process[i]);
		one = json_object_new_object();
		json_object_object_add(one, "pid", json_object_new_int(holders->process[i].pid));
		json_object_object_add(one, "vmm", json_string(vmm.name));
		json_object_object_add(one, "version", json_string(vmm.version));
		json_object_object_add(one, "saves_cet",
				       vmm.saves == UNKNOWN ? NULL : json_object_new_boolean(vmm.saves == YES));
		json_object_object_add(one, "loses_cet", json_object_new_boolean(loses_cet(&vmm)));
		json_object_object_add(one, "what", json_string(describe_vmm(&vmm)));
		json_object_array_add(all, one);
	}
	return all;
}
