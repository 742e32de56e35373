// SPDX-License-Identifier: GPL-2.0
/* Who holds KVM: the references that the kernel counts, and what processes have. holders-tracing.c has the rest. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/text.h"
#include "model/holders.h"
#include "model/modules.h"

/* /dev/kvm, whatever a node of it is called */
#define MISC_MAJOR	10
#define KVM_MINOR	232

/* Looking into /proc or /sys takes references for a moment: what cannot be explained is counted again */
#define COUNTS		5
#define COUNT_PAUSE_US	20000

#define ANON		"anon_inode:"

/* Whoever runs a process names it: no escape sequences for the reader's terminal, nothing that JSON does not take */
static char *printable(char *name)
{
	for (char *c = name; c && *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return name;
}

static char *command_of(int pid)
{
	char *command = printable(read_file("/proc/%d/comm", pid));

	return command ? command : "?";
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

static bool starts(const char *string, const char *with)
{
	return !strncmp(string, with, strlen(with));
}

/* ---- References ---- */

/* References to a module beyond those of the modules that use it; 0 if it is not loaded */
static int references(const char *name)
{
	char *value = read_file("/sys/module/%s/refcnt", name);
	int count = value ? atoi(value) : 0;

	for (char **user = list("/sys/module/%s/holders", name); *user; user++)
		count--;
	return count > 0 ? count : 0;
}

static void count_references(struct holders *holders)
{
	holders->kvm_references = references(loaded_names[KVM]);
	holders->vendor_references = references(loaded_names[KVM_INTEL]) + references(loaded_names[KVM_AMD]);
}

static char **using_modules(void)
{
	char **modules = NULL;
	size_t n = 0;

	for (int i = 0; i < MODULES; i++) {
		for (char **name = list("/sys/module/%s/holders", loaded_names[i]); *name; name++) {
			if (!strcmp(*name, loaded_names[KVM_INTEL]) || !strcmp(*name, loaded_names[KVM_AMD]))
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

/* ---- Processes ---- */

/* An open file of a process, or of a thread that has files of its own */
struct file {
	int folder;		/* /proc/PID/fd, or that of a thread */
	const char *number;
	const char *info;	/* /proc/PID/fdinfo/NUMBER, for read_file() */
	const char *target;	/* what the link says, "" if it is none */
};

/* Whether two threads have the same files; not known means no */
static bool same_files(int pid, int tid)
{
	return pid == tid || (!*host_root() && !syscall(SYS_kcmp, pid, tid, KCMP_FILES, 0, 0));
}

/* Call @see for each file of a process. False if it could not be looked at */
static bool each_file(int pid, void (*see)(void *context, const struct file *file),
		      void (*next_table)(void *context), void *context)
{
	char **tasks = list("/proc/%d/task", pid), *self[] = { text("%d", pid), NULL };
	bool complete = true;

	for (char **task = *tasks ? tasks : self; *task; task++) {
		int tid = atoi(*task);
		const char *under = tid == pid ? text("/proc/%d", pid) : text("/proc/%d/task/%d", pid, tid);
		struct dirent *entry;
		DIR *files;

		if (tid != pid && same_files(pid, tid))
			continue;
		files = opendir(path("%s/fd", under));
		if (!files) {
			complete = complete && errno != EACCES && errno != EPERM;
			continue;
		}
		while ((entry = readdir(files))) {
			char target[256], info[128];
			struct file file = {
				.folder = dirfd(files), .number = entry->d_name, .target = target, .info = info
			};
			ssize_t n;

			if (!isdigit(*entry->d_name))
				continue;
			n = readlinkat(file.folder, file.number, target, sizeof(target) - 1);
			target[n > 0 ? n : 0] = '\0';
			snprintf(info, sizeof(info), "%s/fdinfo/%s", under, file.number);
			see(context, &file);
		}
		closedir(files);
		if (next_table)
			next_table(context);
	}
	return complete;
}

/* /dev/kvm by its number: a node may have any name, or be gone. O_PATH opens no device */
static bool is_device(const struct file *file)
{
	struct statx status;
	char *flags;

	/* Without asking a server that may not answer */
	if (starts(file->target, ANON) || starts(file->target, "socket:") || starts(file->target, "pipe:") ||
	    statx(file->folder, file->number, AT_STATX_DONT_SYNC, STATX_TYPE, &status))
		return false;
	if (!S_ISCHR(status.stx_mode) || status.stx_rdev_major != MISC_MAJOR || status.stx_rdev_minor != KVM_MINOR)
		return false;
	flags = value_of(read_file("%s", file->info), "flags", ":");
	return !flags || !(strtol(flags, NULL, 8) & O_PATH);
}

struct look {
	struct holder *holder;
	struct holder table;	/* of the files of one table */
};

static void see_kvm(void *context, const struct file *file)
{
	struct look *look = context;
	const char *what = starts(file->target, ANON) ? file->target + strlen(ANON) : "";

	if (!strcmp(what, "kvm-vm")) {
		look->table.vms++;
	} else if (starts(what, "kvm-vcpu:")) {
		look->table.vcpus++;
	} else if (starts(what, "kvm-") || starts(what, "[kvm-")) {
		look->table.part = text("%s", what);
		look->table.kvm_files++;
	} else if (starts(file->target, "/sys/kernel/debug/kvm/")) {
		look->table.part = text("%s", file->target);
		look->table.kvm_files++;
	} else if (is_device(file)) {
		look->table.device = true;
	}
}

/* A thread that has files of its own may have some of the same */
static void merge_table(void *context)
{
	struct look *look = context;
	struct holder *holder = look->holder, *table = &look->table;

	holder->vms = table->vms > holder->vms ? table->vms : holder->vms;
	holder->vcpus = table->vcpus > holder->vcpus ? table->vcpus : holder->vcpus;
	holder->device |= table->device;
	holder->part = holder->part ? holder->part : table->part;
	holder->kvm_files += table->kvm_files;
	look->table = (struct holder){ 0 };
}

/* A mapping in one file; *empty if it has no line. Not by read_file(), as there may be much of it */
static char *mapping_in(const char *file, const char *const names[], bool *empty)
{
	FILE *maps = fopen(file, "re");
	char *line = NULL, *found = NULL;
	size_t size = 0;

	*empty = true;
	while (maps && !found && getline(&line, &size, maps) > 0) {
		*empty = false;
		for (const char *const *name = names; *name && !found; name++)
			found = strstr(line, *name);
		if (found)
			found = text("%.*s", (int)strcspn(found, "\n"), found);
	}
	free(line);
	if (maps)
		fclose(maps);
	return found;
}

/* The first mapping of a file that one of these names, or NULL: it holds the file without a descriptor */
static char *mapping(int pid, const char *const names[])
{
	bool empty;
	char *found = mapping_in(path("/proc/%d/maps", pid), names, &empty);

	/* The first thread may have ended before the others */
	for (char **task = empty ? list("/proc/%d/task", pid) : NULL; task && *task && empty; task++)
		found = mapping_in(path("/proc/%d/task/%s/maps", pid, *task), names, &empty);
	return found;
}

static bool is_holder(const struct holder *holder)
{
	return holder->vms || holder->vcpus || holder->device || holder->part;
}

static void look_at_processes(struct holders *holders, bool mappings)
{
	static const char *const mapped[] = { ANON "kvm-", ANON "[kvm-", NULL };
	char **names = list("/proc");
	size_t n = 0;

	while (names[n])
		n++;
	holders->process = kept(calloc(n + 1, sizeof(*holders->process)));
	for (; *names; names++) {
		struct holder *holder = &holders->process[holders->processes];
		struct look look = { .holder = holder };
		char *end;

		*holder = (struct holder){ .pid = strtol(*names, &end, 10) };
		if (*end)
			continue;
		if (!each_file(holder->pid, see_kvm, merge_table, &look))
			holders->complete = false;
		if (mappings && !is_holder(holder)) {
			holder->part = mapping(holder->pid, mapped);
			if (holder->part)
				holder->part = text("%s, mapped", holder->part + strlen(ANON));
		}
		if (!is_holder(holder))
			continue;
		holder->command = command_of(holder->pid);
		holder->name = printable(guest_name(holder->pid));
		holders->vms += holder->vms;
		holders->processes++;
	}
	/* Without /proc nothing was looked at */
	if (!exists("/proc/1"))
		holders->complete = false;
}

/* ---- Those that may hold it ---- */

struct suspect {
	struct holders *holders;
	int pid;
	bool kvm;		/* kvm itself has references that nothing explains */
	int perf, vfio, scm;
	bool tracing;
};

static void add_process(struct suspect *one, int how, unsigned int link, const char *what)
{
	add_hold(one->holders, (struct hold){
		.pid = one->pid, .how = how, .link = link, .fix = text("end process %d", one->pid),
		.what = text("%d %s: %s", one->pid, command_of(one->pid), what)
	});
}

static void see_uring(struct suspect *one, const struct file *file)
{
	char *info = read_file("%s", file->info), *files = value_of(info, "UserFiles", ":");
	char *name = info ? strstr(info, ": kvm") : NULL;

	if (!files || !atoi(files))
		return;
	if (name)
		name = text("%.*s", (int)strcspn(name + 2, "\n"), name + 2);
	add_process(one, name ? HOLDS_VENDOR : MAYBE, 0, name ?
		    text("has %s as a registered file of io_uring", printable(name)) :
		    text("has %s registered file%s of io_uring", files, atoi(files) == 1 ? "" : "s"));
}

static void see_bpf(struct suspect *one, const struct file *file)
{
	char *info = read_file("%s", file->info), *tracepoint = value_of(info, "tp_name", ":");
	char *link = value_of(info, "link_type", ":"), *id = value_of(info, "link_id", ":");
	char *program = value_of(info, "prog_type", ":");

	if (tracepoint && kvm_tracepoint(tracepoint))
		add_process(one, HOLDS_KVM, id ? atoi(id) : 0,
			    text("has a BPF program on the tracepoint %s", printable(tracepoint)));
	else if (link)
		one->tracing |= !strcmp(link, "tracing") || !strcmp(link, "kprobe_multi");
	else if (program)
		one->tracing |= atoi(program) == BPF_PROG_TYPE_TRACING;
}

static void see_suspect(void *context, const struct file *file)
{
	const char *what = starts(file->target, ANON) ? file->target + strlen(ANON) : "";
	struct suspect *one = context;
	char *passed;

	if (one->kvm && !strcmp(what, "[perf_event]")) {
		one->perf++;
	} else if (one->kvm && starts(what, "bpf")) {
		see_bpf(one, file);
	} else if (!strcmp(what, "[io_uring]")) {
		see_uring(one, file);
	} else if (starts(what, "[vfio-") || starts(file->target, "/dev/vfio/")) {
		one->vfio++;
	} else if (starts(file->target, "socket:")) {
		passed = value_of(read_file("%s", file->info), "scm_fds", ":");
		one->scm += passed ? atoi(passed) : 0;
	}
}

static void look_at_suspects(struct holders *holders, bool kvm)
{
	static const char *const perf[] = { ANON "[perf_event]", NULL }, *const ring[] = { ANON "[io_uring]", NULL };

	for (char **name = list("/proc"); *name; name++) {
		struct suspect one = { .holders = holders, .pid = atoi(*name), .kvm = kvm };
		int before = holders->holds;

		if (!one.pid)
			continue;
		each_file(one.pid, see_suspect, NULL, &one);
		if (kvm && !one.perf && mapping(one.pid, perf))
			one.perf = 1;
		if (one.perf)
			add_process(&one, MAYBE, 0, one.perf == 1 ? "has a perf event open" :
				    text("has %d perf events open", one.perf));
		if (one.tracing)
			add_process(&one, MAYBE, 0, "has a BPF program on functions of the kernel");
		if (one.vfio)
			add_process(&one, MAYBE, 0, "has a VFIO device open");
		if (one.scm)
			add_process(&one, MAYBE, 0, text("has a socket with %d file%s that nobody has received yet",
							 one.scm, one.scm == 1 ? "" : "s"));
		if (holders->holds == before && mapping(one.pid, ring))
			add_process(&one, MAYBE, 0, "has an io_uring mapped, maybe with registered files");
	}
}

/* Whether all references to the vendor module, and to kvm, are explained */
static void explain(const struct holders *holders, bool *vendor, bool *kvm)
{
	bool holds_vendor = holders->processes;
	int of_kvm = 0;

	for (int i = 0; i < holders->processes; i++)
		of_kvm += holders->process[i].kvm_files;
	for (int i = 0; i < holders->holds; i++) {
		holds_vendor |= holders->hold[i].how == HOLDS_VENDOR;
		of_kvm += holders->hold[i].how == HOLDS_KVM;
	}
	*vendor = !holders->vendor_references || holds_vendor;
	*kvm = holders->kvm_references <= of_kvm;
}

struct holders who_holds_kvm(void)
{
	struct holders holders = { .complete = true, .module = using_modules() };
	bool vendor, kvm;

	count_references(&holders);
	look_at_processes(&holders, holders.kvm_references || holders.vendor_references);
	look_at_tracefs(&holders);
	explain(&holders, &vendor, &kvm);
	for (int i = 0; i < COUNTS && !(vendor && kvm); i++) {
		usleep(COUNT_PAUSE_US);
		count_references(&holders);
		explain(&holders, &vendor, &kvm);
	}
	if (vendor && kvm)
		return holders;
	look_at_suspects(&holders, !kvm);
	if (!kvm) {
		look_at_triggers(&holders);
		look_at_bpf(&holders);
	}
	explain(&holders, &vendor, &kvm);
	holders.unnamed = !vendor || !kvm;
	return holders;
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
	char *name = holder->name ? text(" (%s)", holder->name) : "", *what;

	if (holder->vms || holder->vcpus)
		what = text("%d VM%s, %d vCPU%s", holder->vms, holder->vms == 1 ? "" : "s", holder->vcpus,
			    holder->vcpus == 1 ? "" : "s");
	else if (holder->device)
		what = "no VM, has /dev/kvm open";
	else
		what = text("no VM, has %s", holder->part);
	return text("%d %s%s: %s", holder->pid, holder->command, name, what);
}

char *describe_unnamed(const struct holders *holders)
{
	int vendor = holders->vendor_references, kvm = holders->kvm_references;

	if (!holders->unnamed)
		return NULL;
	if (vendor && !holders->processes)
		return text("KVM is in use %d time%s, by what cannot be seen from here", vendor,
			    vendor == 1 ? "" : "s");
	return text("module kvm is held %d time%s by something other than VMs", kvm, kvm == 1 ? "" : "s");
}

struct json_object *holders_json(const struct holders *holders)
{
	struct json_object *all = json_object_new_object(), *processes = json_object_new_array();
	struct json_object *modules = json_object_new_array(), *others = json_object_new_array();

	for (int i = 0; i < holders->processes; i++) {
		const struct holder *holder = &holders->process[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "pid", json_object_new_int(holder->pid));
		json_object_object_add(one, "command", string(holder->command));
		json_object_object_add(one, "name", string(holder->name));
		json_object_object_add(one, "vms", json_object_new_int(holder->vms));
		json_object_object_add(one, "vcpus", json_object_new_int(holder->vcpus));
		json_object_object_add(one, "device", json_object_new_boolean(holder->device));
		json_object_object_add(one, "part", string(holder->part));
		json_object_array_add(processes, one);
	}
	for (char **module = holders->module; *module; module++)
		json_object_array_add(modules, string(*module));
	for (int i = 0; i < holders->holds; i++) {
		const struct hold *hold = &holders->hold[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "pid", hold->pid ? json_object_new_int(hold->pid) : NULL);
		json_object_object_add(one, "what", string(hold->what));
		json_object_object_add(one, "sure", json_object_new_boolean(hold->how != MAYBE));
		json_object_object_add(one, "fix", string(hold->fix));
		json_object_array_add(others, one);
	}
	json_object_object_add(all, "count", json_object_new_int(holders->vms));
	json_object_object_add(all, "complete", json_object_new_boolean(holders->complete));
	json_object_object_add(all, "held", json_object_new_boolean(is_held(holders)));
	json_object_object_add(all, "processes", processes);
	json_object_object_add(all, "modules", modules);
	json_object_object_add(all, "others", others);
	json_object_object_add(all, "unnamed", string(describe_unnamed(holders)));
	return all;
}
