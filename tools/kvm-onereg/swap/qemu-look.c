// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg swap: look at a QEMU of its own.
 *
 * Another QEMU with the same command line must be the same machine, with the same disks. What was changed since the
 * start is on no command line, so it is looked for: devices, disk images, jobs.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/vmm.h"
#include "swap/guest.h"
#include "swap/left-behind.h"
#include "swap/qemu-look.h"
#include "swap/qemu-move.h"
#include "swap/qemu-words.h"
#include "swap/qmp.h"
#include "swap/started.h"

#define TMPFS	  0x01021994
#define HUGETLBFS 0x958458f6

/* Of device state, video memory and firmware, besides the memory of the guest */
#define MARGIN (64ll << 20)

struct given {
	struct given *next;
	int pid; /* 0: not given */
	const char *path;
};

static struct given *given_sockets;

void add_given_socket(const char *argument)
{
	struct given *given = allocate(1, sizeof(*given));
	char *end;

	given->pid = strtol(argument, &end, 10);
	given->path = argument;
	if (end > argument && *end == '=')
		given->path = end + 1;
	else
		given->pid = 0;
	given->next = given_sockets;
	given_sockets = given;
}

bool is_qemu(const struct holder *holder)
{
	struct vmm vmm = look_at_vmm(holder);

	/* Whatever its file is called */
	return !strcmp(vmm.name, "QEMU") ||
	       find_text(rooted_path("/proc/%d/exe", holder->pid), "QEMU emulator version ");
}

static size_t length(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

static struct json_object *item(struct json_object *array, size_t i)
{
	return json_object_array_get_idx(array, i);
}

static struct json_object *in(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

/* What a command returns; NULL, and the guest is refused, if that is not known */
static struct json_object *must_ask(struct guest *guest, const char *command, struct json_object *arguments)
{
	char *why;
	struct json_object *answer = qmp_ask(&guest->qmp, command, arguments, &why);

	if (!answer)
		refuse_guest(guest, format("%s: %s", command, why), "shut this guest down, or migrate it");
	return answer;
}

static struct json_object *ask(struct guest *guest, const char *command, struct json_object *arguments)
{
	char *why;

	return qmp_ask(&guest->qmp, command, arguments, &why);
}

static struct json_object *qom(const char *path, const char *property)
{
	struct json_object *arguments = qmp_argument("path", path);

	if (property)
		json_object_object_add(arguments, "property", json_object_new_string(property));
	return arguments;
}

/* ---- the monitor */

static char *in_its_folder(const struct guest *guest, const char *path)
{
	return *path == '/' ? format("%s", path) : format("%s/%s", guest->started.folder, path);
}

static void connect_monitor(struct guest *guest)
{
	char **own = qmp_sockets_of(guest->started.words), *why = NULL, *path = NULL;
	static const char give[] =
		"start it with -qmp unix:PATH,server=on,wait=off, or name another socket: --qmp PID=PATH";

	for (struct given *one = given_sockets; one; one = one->next) {
		if (one->pid && one->pid != guest->pid)
			continue;
		if (qmp_open(&guest->qmp, one->path, guest->pid, &why)) {
			guest->socket = format("%s", one->path);
			return;
		}
		if (!one->pid)
			continue;
		refuse_guest(guest, format("its QMP socket %s: %s", one->path, why), give);
		return;
	}
	for (; *own; own++) {
		path = in_its_folder(guest, *own);
		if (qmp_open(&guest->qmp, path, guest->pid, &why)) {
			guest->socket = path;
			return;
		}
	}
	if (path)
		refuse_guest(guest, format("its QMP socket %s: %s", path, why),
			     "end what is connected to it, or name another QMP socket of it: --qmp PID=PATH");
	else
		refuse_guest(guest, "it has no QMP socket on its command line", give);
}

/* ---- the command line */

static bool begins(const char *text, const char *with)
{
	return text && !strncmp(text, with, strlen(with));
}

/* "vfio-pci" and the like: a device whose state is not QEMU's alone */
static const char *foreign_device(const char *driver)
{
	static const struct {
		const char *begin, *what;
	} known[] = {
		{ "vfio-", "a passed-through device" },
		{ "usb-host", "a passed-through USB device" },
		{ "usb-redir", "a redirected USB device" },
		{ "scsi-generic", "a passed-through SCSI device" },
		{ "scsi-block", "a passed-through SCSI device" },
		{ "vhost-user-", "a device of another process (vhost-user)" },
		{ "vhost-vsock-", "a socket to the host (vhost-vsock)" },
		{ "vhost-scsi", "a device of the host's kernel (vhost-scsi)" },
		{ "vhost-vdpa-", "a passed-through device (vDPA)" },
		{ "ivshmem", "memory that other guests share (ivshmem)" },
		{ "ccid-card-passthru", "a passed-through smart card" },
		{ "x-pci-proxy-dev", "a device of another process" },
		{ "vfio-user-", "a device of another process (vfio-user)" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (begins(driver, known[i].begin))
			return known[i].what;
	return NULL;
}

static void check_option(struct guest *guest, const char *option, const char *value)
{
	static const char * const inherited[] = { "fd", "fds", "vhostfd", "vhostfds", "sock_fd", "passfd" };
	static const char anew[] = "shut this guest down, or migrate it; or start it again without that";
	const char *kind = first_part(value, "driver") ?: "", *what = foreign_device(kind);

	if (strcmp(option, "append") && strcmp(option, "name") &&
	    (strstr(value, "/dev/fd/") || strstr(value, "/proc/self/") || strstr(value, "addr.type=fd"))) {
		refuse_guest(guest, format("it has a file of its own process: -%s %s", option, value), anew);
		return;
	}
	if ((!strcmp(option, "kernel") || !strcmp(option, "dtb") ||
	     (!strcmp(option, "initrd") && !strchr(value, ','))) &&
	    access(in_its_folder(guest, value), F_OK))
		refuse_guest(guest, format("a file that it was started with is gone: -%s %s", option, value), anew);
	/* Their text is not QEMU's to read */
	if (!strcmp(option, "append") || !strcmp(option, "name") || !strcmp(option, "kernel") ||
	    !strcmp(option, "initrd") || !strcmp(option, "fw_cfg"))
		return;
	for (size_t i = 0; i < sizeof(inherited) / sizeof(*inherited); i++)
		if (part_of(value, inherited[i]))
			refuse_guest(guest, format("it has a file from its parent process: -%s %s", option, value),
				     anew);
	if (!strcmp(option, "add-fd") || strstr(value, "/dev/fdset/"))
		refuse_guest(guest, format("it has a file from its parent process: -%s %s", option, value), anew);
	else if (!strcmp(option, "snapshot") || (!strcmp(option, "drive") && part_is_on(value, "snapshot")))
		refuse_guest(guest,
			     "the changes to its disk are in a temporary file, and end with its process (snapshot)",
			     anew);
	else if (!strcmp(option, "device") && what)
		refuse_guest(guest, format("it has %s: -device %s", what, value), anew);
	else if (!strcmp(option, "netdev") && (!strcmp(kind, "vhost-user") || !strcmp(kind, "vhost-vdpa")))
		refuse_guest(guest, format("it has a network of another process: -netdev %s", value), anew);
	else if (!strcmp(option, "tpmdev") && (!strcmp(kind, "emulator") || !strcmp(kind, "passthrough")))
		refuse_guest(guest, format("it has a TPM whose state is elsewhere: -tpmdev %s", value), anew);
	else if (!strcmp(option, "chroot") || !strcmp(option, "runas") ||
		 (!strcmp(option, "run-with") && (part_of(value, "user") || part_of(value, "chroot"))))
		refuse_guest(guest, format("it gave up rights at its start: -%s %s", option, value), anew);
	else if (!strcmp(option, "readconfig") || !strcmp(option, "preconfig"))
		refuse_guest(guest, format("not all that it has is on its command line: -%s %s", option, value), anew);
}

static void check_options(struct guest *guest)
{
	char **words = guest->started.words;
	const char *option, *value;
	int at = 1;

	while ((option = next_option(words, &at, &value)))
		check_option(guest, option, value);
}

/* ---- what has changed since the start */

static bool named_by_device(char **words, const char *id)
{
	const char *option, *value;
	int at = 1;

	while ((option = next_option(words, &at, &value)))
		if (!strcmp(option, "device") && same_text(part_of(value, "id"), id))
			return true;
	return false;
}

/* Options that make a device without an id */
static int unnamed_devices(char **words)
{
	const char *option, *value;
	int at = 1, n = 0;

	while ((option = next_option(words, &at, &value))) {
		n += !strcmp(option, "device") && !part_of(value, "id");
		n += !strcmp(option, "drive") && same_text(part_of(value, "if"), "virtio");
		n += !strcmp(option, "virtfs");
	}
	return n;
}

static int children(struct json_object *list)
{
	int n = 0;

	for (size_t i = 0; i < length(list); i++)
		n += begins(json_text_in(item(list, i), "type"), "child<");
	return n;
}

static void check_devices(struct guest *guest)
{
	static const char anew[] = "shut this guest down, or migrate it: its command line is another machine now";
	struct json_object *named = must_ask(guest, "qom-list", qom("/machine/peripheral", NULL));
	struct json_object *unnamed = must_ask(guest, "qom-list", qom("/machine/peripheral-anon", NULL));
	struct json_object *objects = must_ask(guest, "qom-list", qom("/objects", NULL));
	char **words = guest->started.words;
	const char *option, *value;
	int at = 1;

	if (!named || !unnamed || !objects)
		return;
	for (size_t i = 0; i < length(named); i++) {
		const char *id = json_text_in(item(named, i), "name");

		if (begins(json_text_in(item(named, i), "type"), "child<") && id && !named_by_device(words, id))
			refuse_guest(guest, format("device %s was plugged in since it was started", id), anew);
	}
	while ((option = next_option(words, &at, &value))) {
		char *id = strcmp(option, "device") ? NULL : part_of(value, "id");
		bool there = false;

		for (size_t i = 0; id && i < length(named); i++)
			there |= same_text(json_text_in(item(named, i), "name"), id);
		if (id && !there)
			refuse_guest(guest, format("device %s was unplugged since it was started", id), anew);
	}
	if (children(unnamed) != unnamed_devices(words))
		refuse_guest(guest,
			     format("it has %d devices without an id, but %d when it was started", children(unnamed),
				    unnamed_devices(words)),
			     anew);
	for (size_t i = 0; i < length(objects); i++) {
		const char *id = json_text_in(item(objects, i), "name");

		/* QEMU's own: "pc.ram", and the monitors of -qmp and -monitor */
		if (begins(id, "compat_monitor"))
			continue;
		if (begins(json_text_in(item(objects, i), "type"), "child<") && id && !strchr(id, '.') &&
		    !words_have(words, id))
			refuse_guest(guest, format("object %s was added since it was started", id), anew);
	}
}

/* The file of a disk image, of "json:{...}" too; NULL: it has none */
static const char *file_name(const char *name)
{
	struct json_object *json, *at;
	const char *found = NULL;

	if (!begins(name, "json:"))
		return name;
	for (json = at = json_tokener_parse(name + 5); at && !found; at = in(at, "file"))
		found = json_text_in(at, "filename");
	found = found ? format("%s", found) : NULL;
	json_object_put(json);
	return found;
}

/* A driver of disk images that are no file here: nothing tells whether somebody has written to them */
static bool is_remote(const char *driver)
{
	static const char * const known[] = { "nbd", "rbd", "iscsi", "nfs", "ssh", "gluster", "blkio", "nvme" };

	for (size_t i = 0; driver && i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(driver, known[i]))
			return true;
	return false;
}

static void note_elsewhere(struct guest *guest, const char *image)
{
	static const char not_seen[] = "writes to it in the meantime cannot be detected";

	add_guest_note(guest, format("its disk image %s is elsewhere: %s", image, not_seen));
}

static void check_disks(struct guest *guest)
{
	static const char anew[] = "shut this guest down, or migrate it: its command line has another disk";
	struct json_object *disks = must_ask(guest, "query-block", NULL), *nodes;
	struct json_object *jobs = must_ask(guest, "query-block-jobs", NULL), *exports;

	for (size_t i = 0; i < length(disks); i++) {
		struct json_object *inserted = in(item(disks, i), "inserted"), *bitmaps = in(inserted, "dirty-bitmaps");
		const char *name = json_text_in(in(inserted, "image"), "filename"), *file = file_name(name ?: "");
		const char *disk = json_text_in(item(disks, i), "qdev") ?: json_text_in(item(disks, i), "device");

		if (!inserted)
			continue;
		if (!file || (*file && !words_name(guest->started.words, file)))
			refuse_guest(guest,
				     format("its disk %s is in %s now, which its command line does not name", disk,
					    name),
				     anew);
		for (size_t j = 0; j < length(bitmaps); j++)
			if (!json_object_get_boolean(in(item(bitmaps, j), "persistent")))
				refuse_guest(guest,
					     format("the bitmap %s of its disk, for backups, would be lost",
						    json_text_in(item(bitmaps, j), "name") ?: "without a name"),
					     "end the backup that uses it");
	}
	if (length(jobs))
		refuse_guest(guest, format("a job works on its disk: %s", json_text_in(item(jobs, 0), "type")),
			     "wait for its end, or cancel it");
	exports = ask(guest, "query-block-exports", NULL);
	if (length(exports))
		refuse_guest(guest, "it exports a disk to others", "end the export");

	nodes = must_ask(guest, "query-named-block-nodes", NULL);
	guest->image = allocate(length(nodes) + 1, sizeof(*guest->image));
	for (size_t i = 0; i < length(nodes); i++) {
		const char *driver = json_text_in(item(nodes, i), "drv"), *file = json_text_in(item(nodes, i), "file");
		bool known = false;
		struct stat status;
		char *path;

		if (is_remote(driver) && !json_object_get_boolean(in(item(nodes, i), "ro")))
			note_elsewhere(guest, file_name(file ?: driver) ?: driver);
		if ((!same_text(driver, "file") && !same_text(driver, "host_device")) || !file)
			continue;
		path = in_its_folder(guest, file);
		if (stat(path, &status)) {
			refuse_guest(guest, format("its disk image %s is not there", path),
				     "start this guest with whole paths");
			continue;
		}
		for (int j = 0; j < guest->images; j++)
			known |= !strcmp(guest->image[j].file, path);
		if (!known && !json_object_get_boolean(in(item(nodes, i), "ro")) &&
		    (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)))
			guest->image[guest->images++].file = path;
	}
}

/* ---- its state */

static void check_state(struct guest *guest)
{
	struct json_object *status = must_ask(guest, "query-status", NULL);
	struct json_object *migration = must_ask(guest, "query-migrate", NULL), *reasons;
	const char *state = json_text_in(status, "status") ?: "not known";
	const char *moves = json_text_in(migration, "status");
	static const char * const at_rest[] = { "none", "completed", "failed", "cancelled" };
	bool rests = !moves;

	guest->ran = !strcmp(state, "running");
	/* Started with -S, and never run */
	if (status && !guest->ran && strcmp(state, "paused") && strcmp(state, "prelaunch"))
		refuse_guest(guest, format("its state is %s, neither running nor paused", state),
			     "resume this guest, or shut it down");
	for (size_t i = 0; moves && i < sizeof(at_rest) / sizeof(*at_rest); i++)
		rests |= !strcmp(moves, at_rest[i]);
	if (!rests)
		refuse_guest(guest, format("it is being migrated (%s)", moves), "wait for its end, or cancel it");
	reasons = in(migration, "blocked-reasons");
	for (size_t i = 0; i < length(reasons); i++)
		refuse_guest(guest, format("QEMU cannot save it: %s", json_object_get_string(item(reasons, i))),
			     "shut this guest down");
}

static bool feature(struct json_object *words, int leaf, int subleaf, const char *name, int bit)
{
	for (size_t i = 0; i < length(words); i++) {
		struct json_object *word = item(words, i), *index = in(word, "cpuid-input-ecx");

		if (json_object_get_int64(in(word, "cpuid-input-eax")) == (unsigned int)leaf &&
		    (!index || json_object_get_int(index) == subleaf) &&
		    same_text(json_text_in(word, "cpuid-register"), name) &&
		    json_object_get_int64(in(word, "features")) >> bit & 1)
			return true;
	}
	return false;
}

static void check_cpu(const struct holder *holder, bool with_cet, struct guest *guest)
{
	struct json_object *cpus = must_ask(guest, "query-cpus-fast", NULL), *words = NULL;
	const char *path = length(cpus) ? json_text_in(item(cpus, 0), "qom-path") : NULL;
	struct vmm vmm = look_at_vmm(holder);

	if (path)
		words = must_ask(guest, "qom-get", qom(path, "feature-words"));
	if (!words)
		return;
	guest->cet = feature(words, 7, 0, "ECX", 7) || feature(words, 7, 0, "EDX", 20);
	guest->nested = feature(words, 1, 0, "ECX", 5) || feature(words, 0x80000001, 0, "ECX", 2);
	if (guest->cet && vmm.saves != YES)
		refuse_guest(guest, format("it has CET, and %s", describe_vmm(&vmm)),
			     "shut this guest down, and start it without CET or with a later QEMU");
	else if (guest->cet && !with_cet)
		refuse_guest(guest, "it has CET, which the modules that are to be loaded do not offer",
			     "shut this guest down, or migrate it to a host with CET");
}

/* ---- its memory */

/* Whether this file is on tmpfs or hugetlbfs, still in its folder, and what the process has mapped */
static bool outlives(const struct guest *guest, const char *path)
{
	char *maps = read_file("/proc/%d/maps", guest->pid);
	struct stat status;
	struct statfs fs;

	if (stat(path, &status) || !S_ISREG(status.st_mode) || statfs(path, &fs))
		return false;
	if ((unsigned int)fs.f_type != TMPFS && (unsigned int)fs.f_type != HUGETLBFS)
		return false;
	return maps && strstr(maps, format(" %lu ", (unsigned long)status.st_ino)) && strstr(maps, path);
}

/* All of its memory is in files that stay when its process ends */
static bool memory_stays(struct guest *guest, struct json_object *backends)
{
	if (!length(backends) || words_have(guest->started.words, "aux-ram-share=on"))
		return false;
	for (size_t i = 0; i < length(backends); i++) {
		struct json_object *one = item(backends, i), *type, *path, *discard;
		const char *id = json_text_in(one, "id");
		char *object;

		if (!id || !json_object_get_boolean(in(one, "share")))
			return false;
		object = format("/objects/%s", id);
		type = ask(guest, "qom-get", qom(object, "type"));
		path = ask(guest, "qom-get", qom(object, "mem-path"));
		discard = ask(guest, "qom-get", qom(object, "discard-data"));
		if (!same_text(json_object_get_string(type), "memory-backend-file") ||
		    json_object_get_boolean(discard) || !path ||
		    !outlives(guest, in_its_folder(guest, json_object_get_string(path))))
			return false;
	}
	return true;
}

static void look_at_memory(struct guest *guest)
{
	struct json_object *sizes = must_ask(guest, "query-memory-size-summary", NULL);
	struct json_object *backends = ask(guest, "query-memdev", NULL);
	struct json_object *capabilities = ask(guest, "query-migrate-capabilities", NULL);
	bool ignores = false;

	for (size_t i = 0; i < length(capabilities); i++)
		ignores |= same_text(json_text_in(item(capabilities, i), "capability"), "x-ignore-shared");
	guest->in_memory = ignores && memory_stays(guest, backends);
	for (size_t i = 0; guest->in_memory && i < length(backends); i++) {
		const char *object = format("/objects/%s", json_text_in(item(backends, i), "id"));
		struct json_object *path = ask(guest, "qom-get", qom(object, "mem-path"));

		if (!json_object_get_string(path)) {
			refuse_guest(guest, "QEMU does not report where its memory is", "run this again");
			continue;
		}
		guest->image = enlarged(guest->image, guest->images, 1, sizeof(*guest->image));
		guest->image[guest->images++] = (struct image) {
			.file = in_its_folder(guest, json_object_get_string(path)), .memory = true
		};
	}
	guest->bytes = MARGIN;
	if (!guest->in_memory)
		guest->bytes += json_object_get_int64(in(sizes, "base-memory")) +
				json_object_get_int64(in(sizes, "plugged-memory"));
}

void look_at_qemu(const struct holder *holder, bool with_cet, struct guest *guest)
{
	char *why;

	*guest = (struct guest) { .pid = holder->pid, .qmp.fd = -1, .cgroup_holder = -1 };
	guest->name = holder->name ?: format("%s", holder->command);
	guest->time = start_time(holder->pid);
	why = look_at_started(holder->pid, &guest->started);
	if (holder->vms > 1)
		refuse_guest(guest, format("its process has %d VMs", holder->vms), "shut this guest down");
	if (why)
		refuse_guest(guest, why,
			     strstr(why, "systemd") ? "systemctl stop it, and start it after the swap" :
						      "shut this guest down, or migrate it; start it after the swap");
	if (!guest->started.words || !guest->started.folder)
		return;
	check_options(guest);
	connect_monitor(guest);
	if (guest->qmp.fd < 0)
		return;
	check_state(guest);
	check_devices(guest);
	check_disks(guest);
	check_cpu(holder, with_cet, guest);
	look_at_memory(guest);
	note_left_behind(guest);
	why = qemu_note_settings(guest);
	if (why)
		refuse_guest(guest, why, "shut this guest down, or migrate it");
}
