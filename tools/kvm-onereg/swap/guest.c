// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: guests, and the journal. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/hold.h"
#include "model/module-file.h"
#include "model/unfinished.h"
#include "swap/guest.h"

const char * const phase_names[PHASES] = {
	[RUNNING] = "running",	   [SAVING] = "saving",	    [SAVED] = "saved", [GONE] = "gone",
	[RESTORING] = "restoring", [RESUMING] = "resuming", [LOST] = "lost"
};

void refuse_guest(struct guest *guest, const char *reason, const char *fix)
{
	struct json_object *one = json_object_new_object();

	if (!guest->refused)
		guest->refused = json_object_new_array();
	/* Words of a guest's command line, and what its process says, are not ours */
	json_object_object_add(one, "reason", json_string(printable(format("%s", reason))));
	json_object_object_add(one, "fix", json_string(fix));
	json_object_array_add(guest->refused, one);
}

void add_guest_note(struct guest *guest, const char *note)
{
	if (!guest->notes)
		guest->notes = json_object_new_array();
	json_object_array_add(guest->notes, json_string(printable(format("%s", note))));
}

char *describe_guest(const struct guest *guest)
{
	return guest->pid ? format("%s (%d)", guest->name, guest->pid) : format("%s", guest->name);
}

bool waits_in_file(const struct guest *guest)
{
	return guest->phase == SAVED || guest->phase == GONE || guest->phase == RESTORING;
}

char *boot_id(void)
{
	return read_file("/proc/sys/kernel/random/boot_id") ?: format("unknown");
}

static struct json_object *guest_json(const struct guest *guest)
{
	struct json_object *json = json_object_new_object(), *images = json_object_new_array();

	json_object_object_add(json, "name", json_string(guest->name));
	json_object_object_add(json, "phase", json_string(phase_names[guest->phase]));
	json_object_object_add(json, "libvirt", json_object_new_boolean(guest->libvirt));
	json_object_object_add(json, "pid", json_object_new_int(guest->pid));
	json_object_object_add(json, "time", json_hexadecimal(guest->time));
	json_object_object_add(json, "ran", json_object_new_boolean(guest->ran));
	json_object_object_add(json, "in_memory", json_object_new_boolean(guest->in_memory));
	json_object_object_add(json, "bytes", json_object_new_int64(guest->bytes));
	json_object_object_add(json, "written", json_object_new_int64(guest->written));
	json_object_object_add(json, "stopped", json_object_new_int64(guest->stopped));
	json_object_object_add(json, "resumed", json_object_new_int64(guest->resumed));
	json_object_object_add(json, "file", json_string(guest->file));
	json_object_object_add(json, "log", json_string(guest->log));
	json_object_object_add(json, "socket", json_string(guest->socket));
	json_object_object_add(json, "cet", json_object_new_boolean(guest->cet));
	json_object_object_add(json, "nested", json_object_new_boolean(guest->nested));
	json_object_object_add(json, "images_known", json_object_new_boolean(guest->images_known));
	for (int i = 0; i < guest->images; i++) {
		const struct image *image = &guest->image[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "file", json_string(image->file));
		json_object_object_add(one, "memory", json_object_new_boolean(image->memory));
		json_object_object_add(one, "device", json_hexadecimal(image->device));
		json_object_object_add(one, "inode", json_hexadecimal(image->inode));
		json_object_object_add(one, "size", json_object_new_int64(image->size));
		json_object_object_add(one, "seconds", json_object_new_int64(image->seconds));
		json_object_object_add(one, "nanoseconds", json_object_new_int64(image->nanoseconds));
		json_object_array_add(images, one);
	}
	json_object_object_add(json, "images", images);
	if (guest->libvirt)
		return json;
	json_object_object_add(json, "settings", json_object_get(guest->settings));
	json_object_object_add(json, "started", started_json(&guest->started));
	return json;
}

static long long number_in(struct json_object *json, const char *key)
{
	return json_object_get_int64(json_object_object_get(json, key));
}

static bool flag_in(struct json_object *json, const char *key)
{
	return json_object_get_boolean(json_object_object_get(json, key));
}

static unsigned long long hexadecimal_in(struct json_object *json, const char *key)
{
	return strtoull(json_text_in(json, key) ?: "", NULL, 16);
}

static bool read_guest(struct json_object *json, struct guest *guest)
{
	struct json_object *images = json_object_object_get(json, "images");
	const char *phase = json_text_in(json, "phase");
	int i;

	*guest = (struct guest) { .qmp.fd = -1, .cgroup_holder = -1 };
	for (i = 0; i < PHASES && !same_text(phase, phase_names[i]); i++)
		;
	guest->name = json_copy_in(json, "name");
	guest->libvirt = flag_in(json, "libvirt");
	if (i == PHASES || !guest->name || !json_object_is_type(images, json_type_array))
		return false;
	guest->phase = i;
	guest->pid = number_in(json, "pid");
	guest->time = hexadecimal_in(json, "time");
	guest->ran = flag_in(json, "ran");
	guest->in_memory = flag_in(json, "in_memory");
	guest->bytes = number_in(json, "bytes");
	guest->written = number_in(json, "written");
	guest->stopped = number_in(json, "stopped");
	guest->resumed = number_in(json, "resumed");
	guest->file = json_copy_in(json, "file");
	guest->log = json_copy_in(json, "log");
	guest->socket = json_copy_in(json, "socket");
	guest->cet = flag_in(json, "cet");
	guest->nested = flag_in(json, "nested");
	guest->settings = json_object_get(json_object_object_get(json, "settings"));
	guest->images_known = flag_in(json, "images_known");
	guest->images = json_object_array_length(images);
	guest->image = allocate(guest->images + 1, sizeof(*guest->image));
	for (i = 0; i < guest->images; i++) {
		struct json_object *one = json_object_array_get_idx(images, i);
		struct image *image = &guest->image[i];

		image->file = json_copy_in(one, "file");
		image->memory = flag_in(one, "memory");
		image->device = hexadecimal_in(one, "device");
		image->inode = hexadecimal_in(one, "inode");
		image->size = number_in(one, "size");
		image->seconds = number_in(one, "seconds");
		image->nanoseconds = number_in(one, "nanoseconds");
		if (!image->file)
			return false;
	}
	return guest->libvirt ||
	       (guest->file && guest->socket && read_started(json_object_object_get(json, "started"), &guest->started));
}

static struct parameter *read_parameters(struct json_object *array)
{
	size_t n = array ? json_object_array_length(array) : 0, used = 0;
	struct parameter *all = allocate(n + 1, sizeof(*all));

	for (size_t i = 0; i < n; i++) {
		struct json_object *one = json_object_array_get_idx(array, i);
		struct parameter parameter = { .name = json_copy_in(one, "name"), .value = json_copy_in(one, "value") };

		parameter.whole = flag_in(one, "whole");
		for (parameter.module = 0; parameter.module < MODULES; parameter.module++)
			if (same_text(json_text_in(one, "module"), loaded_names[parameter.module]))
				break;
		if (parameter.module < MODULES && parameter.name && parameter.value)
			all[used++] = parameter;
	}
	return all;
}

bool read_journal(struct json_object *json, struct journal *journal)
{
	struct json_object *guests = json_object_object_get(json, "guests"), *parameters, *offer;

	*journal = (struct journal) { .from = json_copy_in(json, "from"),
				      .to = json_copy_in(json, "to"),
				      .boot = json_copy_in(json, "boot"),
				      .written = true };
	journal->device_known = flag_in(json, "device_known");
	journal->device_user = number_in(json, "device_user");
	journal->device_group = number_in(json, "device_group");
	journal->device_mode = number_in(json, "device_mode");
	parameters = json_object_object_get(json, "parameters");
	offer = json_object_object_get(json, "offer");
	if (!journal->boot || !json_object_is_type(guests, json_type_array) ||
	    !json_object_is_type(parameters, json_type_array))
		return false;
	journal->parameters = read_parameters(parameters);
	journal->offer = json_object_get(offer);
	journal->guests = json_object_array_length(guests);
	journal->guest = allocate(journal->guests + 1, sizeof(*journal->guest));
	for (int i = 0; i < journal->guests; i++)
		if (!read_guest(json_object_array_get_idx(guests, i), &journal->guest[i]))
			return false;
	return true;
}

int write_journal(struct journal *journal)
{
	struct json_object *json = json_object_new_object(), *guests = json_object_new_array();
	struct json_object *parameters = json_object_new_array();
	int error;

	json_object_object_add(json, "what", json_string(JOURNAL_FORMAT));
	json_object_object_add(json, "version", json_object_new_int(JOURNAL_VERSION));
	json_object_object_add(json, "from", json_string(journal->from));
	json_object_object_add(json, "to", json_string(journal->to));
	json_object_object_add(json, "boot", json_string(journal->boot));
	json_object_object_add(json, "device_known", json_object_new_boolean(journal->device_known));
	json_object_object_add(json, "device_user", json_object_new_int64(journal->device_user));
	json_object_object_add(json, "device_group", json_object_new_int64(journal->device_group));
	json_object_object_add(json, "device_mode", json_object_new_int64(journal->device_mode));
	for (const struct parameter *one = journal->parameters; one && one->name; one++) {
		struct json_object *parameter = json_object_new_object();

		json_object_object_add(parameter, "module", json_string(loaded_names[one->module]));
		json_object_object_add(parameter, "name", json_string(one->name));
		json_object_object_add(parameter, "value", json_string(one->value));
		json_object_object_add(parameter, "whole", json_object_new_boolean(one->whole));
		json_object_array_add(parameters, parameter);
	}
	json_object_object_add(json, "parameters", parameters);
	for (int i = 0; i < journal->guests; i++)
		json_object_array_add(guests, guest_json(&journal->guest[i]));
	json_object_object_add(json, "guests", guests);
	json_object_object_add(json, "offer", json_object_get(journal->offer));
	error = make_private_folder(rooted_path("%s", GUESTS_FOLDER));
	if (!error)
		error = write_durably(rooted_path("%s", JOURNAL),
				      json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN));
	json_object_put(json);
	journal->written |= !error;
	return error;
}

int enter_phase(struct journal *journal, struct guest *guest, enum phase phase)
{
	enum phase before = guest->phase;
	int error;

	guest->phase = phase;
	error = write_journal(journal);
	if (error)
		guest->phase = before;
	return error;
}

int remove_journal(struct journal *journal)
{
	int error = journal->written ? remove_durably(rooted_path("%s", JOURNAL)) : 0;

	/* Of a write that was interrupted */
	unlink(rooted_path("%s.part", JOURNAL));
	rmdir(rooted_path("%s", GUESTS_FOLDER));
	journal->written &= !!error;
	return error;
}

/* What was written to a block device since it is there, in sectors; -1: not known */
static long long sectors_written(dev_t device)
{
	char *text = read_file("/sys/dev/block/%u:%u/stat", major(device), minor(device));
	long long sectors;

	return text && sscanf(text, "%*s %*s %*s %*s %*s %*s %lld", &sectors) == 1 ? sectors : -1;
}

static bool look_at_image(struct image *image)
{
	struct stat status;

	if (stat(image->file, &status) || !(S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)))
		return false;
	if (S_ISBLK(status.st_mode)) {
		image->device = status.st_rdev;
		image->inode = 0;
		image->size = sectors_written(status.st_rdev);
		image->seconds = 0;
		image->nanoseconds = 0;
		return image->size >= 0;
	}
	image->device = status.st_dev;
	image->inode = status.st_ino;
	image->size = status.st_size;
	image->seconds = status.st_mtim.tv_sec;
	image->nanoseconds = status.st_mtim.tv_nsec;
	return true;
}

void note_images(struct guest *guest)
{
	guest->images_known = true;
	for (int i = 0; i < guest->images; i++) {
		int path = open(guest->image[i].file, O_PATH | O_CLOEXEC), fd = -1;
		struct stat status;

		/* Its name is the guest's: what it leads to by now may be a device, and opening one may do something */
		if (path >= 0 && !fstat(path, &status) && (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)))
			fd = open(format("/proc/self/fd/%d", path), O_RDONLY | O_CLOEXEC);
		/* After a power cut, too, its time must be what is noted */
		if (fd >= 0) {
			fsync(fd);
			close(fd);
		}
		if (path >= 0)
			close(path);
		guest->images_known &= look_at_image(&guest->image[i]);
	}
}

char *changed_image(const struct guest *guest)
{
	if (!guest->images_known)
		return format("not all of its disk images were there when it was saved");
	for (int i = 0; i < guest->images; i++) {
		const struct image *old = &guest->image[i];
		const char *what = old->memory ? "memory" : "disk image";
		struct image now = { .file = old->file };

		if (!look_at_image(&now))
			return format("its %s %s is gone", what, old->file);
		if ((old->device && now.device != old->device) || now.inode != old->inode)
			return format("its %s %s is another file now", what, old->file);
		if (now.size != old->size ||
		    (!old->memory && (now.seconds != old->seconds || now.nanoseconds != old->nanoseconds)))
			return format("its %s %s was written to since it was saved", what, old->file);
	}
	return NULL;
}
