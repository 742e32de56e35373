// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg swap: keep guests.
 *
 * A guest never runs twice, and an old state is never restored: what a step may do is in the journal before it is done.
 * Guests run again only when all of them have been restored. Until then, going back needs nothing but the files.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "swap/guest.h"
#include "swap/keep.h"
#include "swap/libvirt.h"
#include "swap/qemu-look.h"
#include "swap/qemu-move.h"
#include "swap/report.h"
#include "swap/started.h"

/* A new process that was just started when a swap was interrupted answers within this time */
#define SETTLE_MS 60000

static char *enter(struct journal *journal, struct guest *guest, enum phase phase)
{
	int error = enter_phase(journal, guest, phase);

	return error ? format("the journal cannot be written: %s", strerror(error)) : NULL;
}

/* What is not needed any more */
static void drop_files(struct guest *guest)
{
	if (guest->libvirt)
		return;
	remove_durably(guest->file);
	if (guest->log)
		unlink(guest->log);
}

/* ---- a swap that was interrupted */

static void drop_guest(struct journal *journal, int i)
{
	memmove(&journal->guest[i], &journal->guest[i + 1], (journal->guests - i - 1) * sizeof(*journal->guest));
	journal->guests--;
}

static char *does_not_answer(const struct guest *guest, const char *why)
{
	return format("%s: %s; end what is connected to its QMP socket, or this process", describe_guest(guest), why);
}

/* Its own process is there, and was being saved, or had been */
static char *settle_old(struct journal *journal, struct guest *guest, bool act)
{
	const char *state;
	char *why = qemu_connect(guest);

	if (why)
		return does_not_answer(guest, why);
	state = qemu_state(guest);
	if (!state)
		return does_not_answer(guest, "it does not report its state");
	/* Somebody has let it go on, even if it is stopped again: its file is old */
	if (guest->phase == SAVING || strcmp(state, "postmigrate")) {
		if (!act) {
			guest->phase = RUNNING;
			return NULL;
		}
		why = qemu_continue(guest, guest->phase == SAVING && guest->ran && strcmp(state, "running"));
		if (why)
			return format("%s does not go on: %s", describe_guest(guest), why);
		why = enter(journal, guest, RUNNING);
		if (why)
			return why;
		drop_files(guest);
		add_note(format("%s goes on: it was not saved yet", describe_guest(guest)));
	}
	return NULL;
}

/* A new process is there, that takes its state, or has taken it */
static char *settle_new(struct journal *journal, struct guest *guest, bool act)
{
	const char *state;
	char *why = qemu_wait(guest, act ? SETTLE_MS : 0);

	if (why)
		return does_not_answer(guest, why);
	/* One that does not answer may run: its monitor may have another client */
	state = qemu_state(guest);
	if (!state)
		return does_not_answer(guest, "it does not report its state");
	if (guest->phase == RESTORING && !same_text(state, "running")) {
		if (!act) {
			guest->phase = GONE;
			return NULL;
		}
		/* It never ran */
		qemu_kill(guest);
		note_images(guest);
		return enter(journal, guest, GONE);
	}
	if (!act) {
		guest->phase = RUNNING;
		return NULL;
	}
	if (guest->phase == RESUMING && !same_text(state, "running"))
		why = qemu_continue(guest, guest->ran);
	if (why)
		return does_not_answer(guest, why);
	why = enter(journal, guest, RUNNING);
	if (why)
		return why;
	drop_files(guest);
	add_note(format("%s runs: it was restored before", describe_guest(guest)));
	return NULL;
}

/* What is not the same after a reboot */
static void forget_boot(struct guest *guest)
{
	const char *memory;
	int n = 0;

	/* A device's number, and what it counts */
	for (int i = 0; i < guest->images; i++) {
		struct stat status;

		if (!stat(guest->image[i].file, &status) && S_ISBLK(status.st_mode)) {
			add_note(format("%s: after a reboot, it is not known whether %s was written to", guest->name,
					guest->image[i].file));
			continue;
		}
		guest->image[n] = guest->image[i];
		guest->image[n++].device = 0;
	}
	guest->images = n;
	if (!guest->in_memory || !waits_in_file(guest))
		return;
	memory = guest->images ? guest->image[guest->images - 1].file : "a file";
	add_note(format("%s is lost: a reboot has emptied its memory, %s; start it again (its devices' state: %s)",
			guest->name, memory, guest->file));
	guest->phase = LOST;
}

static char *settle_qemu(struct journal *journal, struct guest *guest, bool same_boot, bool act)
{
	char *why;

	if (!same_boot)
		forget_boot(guest);
	if (same_boot && is_alive(guest->pid, guest->time)) {
		switch (guest->phase) {
		case SAVING:
		case SAVED:
			return settle_old(journal, guest, act);
		case RESTORING:
		case RESUMING:
			why = settle_new(journal, guest, act);
			if (!why || is_alive(guest->pid, guest->time))
				return why;
			/* It has ended while it was asked */
			break;
		case GONE:
		case RUNNING:
		case LOST:
			break;
		}
	}
	switch (guest->phase) {
	case SAVED:
	case RESTORING:
		guest->phase = GONE;
		break;
	case SAVING:
		add_note(format("%s ended while it was being saved, and is lost, as in a power cut: start it again",
				guest->name));
		if (act)
			drop_files(guest);
		guest->phase = LOST;
		break;
	case RESUMING:
		add_note(format("%s has ended since it was restored; it may have run, so it is not restored again",
				guest->name));
		add_note(format("%s: start it again; its old state is still in %s", guest->name, guest->file));
		guest->phase = LOST;
		break;
	case RUNNING:
		/* Killed before its file was removed */
		if (act)
			drop_files(guest);
		break;
	case GONE:
	case LOST:
		break;
	}
	return NULL;
}

static char *settle_domain(struct journal *journal, struct guest *guest, bool act)
{
	enum phase phase;
	char *why = NULL;

	if (!domain_phase(guest, &phase))
		return format(
			"libvirtd does not report the state of domain %s; see that it runs: systemctl start libvirtd",
			guest->name);
	if (phase == RESTORING) {
		/* A save that did not come to its end, or a start that did: libvirt itself has ended both */
		if (act && guest->ran && guest->phase != RUNNING)
			why = domain_resume(guest);
		if (why)
			return format("domain %s does not go on: %s", guest->name, why);
		phase = RUNNING;
	}
	if (phase == LOST)
		add_note(format("domain %s has ended, and has no managed save", guest->name));
	guest->phase = phase;
	return act ? enter(journal, guest, phase) : NULL;
}

char *settle_guests(struct journal *journal, bool act)
{
	bool same_boot = same_text(journal->boot, boot_id());

	for (int i = 0; i < journal->guests; i++) {
		struct guest *guest = &journal->guest[i];
		char *why = guest->libvirt ? settle_domain(journal, guest, act) :
					     settle_qemu(journal, guest, same_boot, act);

		if (why)
			return why;
		if (!waits_in_file(guest)) {
			qmp_close(&guest->qmp);
			drop_guest(journal, i--);
		}
	}
	journal->boot = boot_id();
	return NULL;
}

/* ---- find and judge */

bool is_kept(const struct journal *journal, int pid)
{
	for (int i = 0; i < journal->guests; i++)
		if (journal->guest[i].pid == pid && journal->guest[i].time == start_time(pid))
			return true;
	return false;
}

/* A name of a file that no other guest has, from a guest's name, which may hold anything */
static char *file_for(const struct guest *guest, const char *folder, const char *end)
{
	char *name = format("%s", guest->name);

	for (char *c = name; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *c))
			*c = '_';
	return format("%s/%.60s-%d-%llu.%s", folder, name, guest->pid, guest->time, end);
}

void find_guests(struct journal *journal, const struct holders *holders, const char *folder, bool with_cet)
{
	for (int i = 0; i < holders->processes; i++) {
		const struct holder *holder = &holders->process[i];
		struct guest *guest;

		if (!holder->vms || is_kept(journal, holder->pid))
			continue;
		journal->guest = enlarged(journal->guest, journal->guests, 1, sizeof(*journal->guest));
		guest = &journal->guest[journal->guests++];
		if (look_at_domain(holder, with_cet, guest))
			continue;
		if (is_qemu(holder)) {
			look_at_qemu(holder, with_cet, guest);
		} else {
			*guest = (struct guest) { .pid = holder->pid, .qmp.fd = -1, .cgroup_holder = -1 };
			guest->time = start_time(holder->pid);
			guest->name = holder->name ?: format("%s", holder->command);
			refuse_guest(guest, "it is neither libvirt's nor a QEMU: only these can be saved",
				     "shut this guest down, or save it by its own means; start it after the swap");
		}
		guest->file = file_for(guest, folder, "state");
		guest->log = file_for(guest, folder, "log");
	}
}

/* The folder of a file, or the one above it that is there */
static char *folder_there(const char *file, struct stat *status)
{
	char *folder = format("%.*s", (int)(strrchr(file, '/') - file), file), *slash;

	while (stat(folder, status) && (slash = strrchr(folder, '/')) && slash != folder)
		*slash = '\0';
	return folder;
}

void check_space(struct journal *journal)
{
	for (int i = 0; i < journal->guests; i++) {
		struct guest *guest = &journal->guest[i];
		struct stat here, there;
		char *folder = folder_there(guest->file, &here);
		long long needed = 0, free;
		struct statvfs fs;

		if (stat(folder, &here) && stat("/", &here))
			continue;
		if (statvfs(*folder ? folder : "/", &fs) || !fs.f_blocks)
			continue;
		/* That of all guests before it, and its own */
		for (int j = 0; j <= i; j++) {
			folder_there(journal->guest[j].file, &there);
			if (journal->guest[j].phase == RUNNING && there.st_dev == here.st_dev)
				needed += journal->guest[j].bytes;
		}
		free = (long long)fs.f_bavail * fs.f_frsize;
		if (guest->phase == RUNNING && needed > free)
			refuse_guest(guest,
				     format("%s has %lld MiB free, and the guests up to this one need %lld", folder,
					    free >> 20, needed >> 20),
				     guest->libvirt ? "make room there" :
						      "make room there, or name another folder: --state-dir FOLDER");
	}
}

bool any_cet(const struct journal *journal)
{
	bool any = false;

	for (int i = 0; i < journal->guests; i++)
		any |= journal->guest[i].cet;
	return any;
}

bool any_nested(const struct journal *journal)
{
	bool any = false;

	for (int i = 0; i < journal->guests; i++)
		any |= journal->guest[i].nested;
	return any;
}

int unsettled_guests(const struct journal *journal)
{
	int n = 0;

	for (int i = 0; i < journal->guests; i++)
		n += journal->guest[i].phase != RUNNING && journal->guest[i].phase != LOST;
	return n;
}

int waiting_guests(const struct journal *journal)
{
	int n = 0;

	for (int i = 0; i < journal->guests; i++)
		n += waits_in_file(&journal->guest[i]);
	return n;
}

/* ---- save */

static char *save_one(struct journal *journal, struct guest *guest)
{
	char *why = enter(journal, guest, SAVING);

	if (why)
		return why;
	add_step(format("save %s", describe_guest(guest)));
	why = guest->libvirt ? domain_save(guest, true) : qemu_save(guest);
	if (why)
		return format("%s cannot be saved: %s", describe_guest(guest), why);
	if (guest->libvirt)
		return enter(journal, guest, GONE);
	note_images(guest);
	why = changed_image(guest);
	if (why)
		return format("%s cannot be saved: %s", describe_guest(guest), why);
	return enter(journal, guest, SAVED);
}

/* One that was being saved goes on in its process */
static char *continue_one(struct journal *journal, struct guest *guest)
{
	char *why;

	if (guest->phase != SAVING && guest->phase != SAVED)
		return NULL;
	if (guest->libvirt) {
		enum phase phase;

		/* A failed save leaves a domain as it was, or stopped */
		why = !domain_phase(guest, &phase)     ? format("libvirtd does not answer") :
		      phase == RESTORING && guest->ran ? domain_resume(guest) :
							 NULL;
		return why ?: enter(journal, guest, phase == GONE ? GONE : RUNNING);
	}
	/* QEMU would leave one that was paused in a state from which it cannot be saved again: it is restored */
	if (guest->phase == SAVED && !guest->ran) {
		why = qemu_end(guest);
		return why ?: enter(journal, guest, GONE);
	}
	/* One that cannot be told to go on stays as it is, and its file with it */
	why = qemu_connect(guest);
	if (why)
		return why;
	/* From here on its file is old */
	why = enter(journal, guest, guest->phase == SAVING ? SAVING : RESUMING);
	if (why)
		return why;
	why = qemu_continue(guest, guest->ran);
	if (why)
		return why;
	why = enter(journal, guest, RUNNING);
	if (!why)
		drop_files(guest);
	return why;
}

char *continue_guests(struct journal *journal)
{
	char *failed = NULL;

	for (int i = 0; i < journal->guests; i++) {
		char *why = continue_one(journal, &journal->guest[i]);

		if (why)
			failed = format("%s%s does not go on: %s", failed ? format("%s; ", failed) : "",
					describe_guest(&journal->guest[i]), why);
	}
	return failed;
}

char *save_guests(struct journal *journal, char **failed)
{
	char *why = NULL;

	*failed = NULL;
	for (int i = 0; i < journal->guests && !why; i++)
		if (journal->guest[i].phase == RUNNING)
			why = save_one(journal, &journal->guest[i]);
	for (int i = 0; i < journal->guests && !why; i++) {
		struct guest *guest = &journal->guest[i];

		if (guest->phase != SAVED)
			continue;
		guest->cgroup_holder = hold_cgroup(&guest->started);
		why = qemu_end(guest);
		why = why ? format("%s cannot be ended: %s", describe_guest(guest), why) : enter(journal, guest, GONE);
	}
	if (why)
		*failed = continue_guests(journal);
	return why;
}

/* ---- restore */

static void end_cgroup_holder(struct guest *guest)
{
	if (guest->cgroup_holder > 0)
		kill(guest->cgroup_holder, SIGKILL);
	guest->cgroup_holder = -1;
}

static char *restore_one(struct journal *journal, struct guest *guest)
{
	char *why;
	int go;

	if (guest->libvirt) {
		why = enter(journal, guest, RESTORING);
		return why ?: domain_restore(guest);
	}
	why = changed_image(guest);
	if (why)
		return format("%s; its state in %s is kept", why, guest->file);
	why = qemu_start(guest, &go);
	if (why)
		return why;
	end_cgroup_holder(guest);
	why = enter(journal, guest, RESTORING);
	if (why)
		close(go);
	else
		why = qemu_restore(guest, go);
	return why;
}

/* It was restored, or that failed, and it never ran */
static char *unrestore_one(struct journal *journal, struct guest *guest)
{
	if (guest->phase != RESTORING)
		return NULL;
	if (guest->libvirt) {
		enum phase phase;
		char *why = NULL;

		if (!domain_phase(guest, &phase))
			return format("libvirtd does not answer");
		if (phase == RUNNING || phase == RESTORING)
			why = domain_save(guest, false);
		return why ?: enter(journal, guest, phase == LOST ? LOST : GONE);
	}
	qemu_kill(guest);
	note_images(guest);
	return enter(journal, guest, GONE);
}

char *restore_guests(struct journal *journal, bool together)
{
	char *failed = NULL;

	for (int i = 0; i < journal->guests && !(failed && together); i++) {
		struct guest *guest = &journal->guest[i];
		char *why, *undone;

		if (guest->phase == LOST)
			failed = format("%s%s has ended, and libvirt has no state of it",
					failed ? format("%s; ", failed) : "", guest->name);
		if (guest->phase != GONE)
			continue;
		add_step(format("restore %s", guest->name));
		why = restore_one(journal, guest);
		if (!why) {
			if (guest->remark)
				add_note(format("%s: %s", guest->name, guest->remark));
			continue;
		}
		failed = format("%s%s cannot be restored: %s", failed ? format("%s; ", failed) : "", guest->name, why);
		undone = together ? NULL : unrestore_one(journal, guest);
		if (undone)
			failed = format("%s; %s", failed, undone);
	}
	for (int i = 0; i < journal->guests && failed && together; i++) {
		char *why = unrestore_one(journal, &journal->guest[i]);

		if (why)
			failed = format("%s; %s: %s", failed, journal->guest[i].name, why);
	}
	return failed;
}

char *resume_guests(struct journal *journal)
{
	char *failed = NULL;

	for (int i = 0; i < journal->guests; i++) {
		struct guest *guest = &journal->guest[i];
		char *why;

		if (guest->phase != RESTORING)
			continue;
		why = enter(journal, guest, RESUMING);
		if (!why && guest->ran)
			why = guest->libvirt ? domain_resume(guest) : qemu_resume(guest);
		if (!why)
			why = enter(journal, guest, RUNNING);
		qmp_close(&guest->qmp);
		if (!why)
			drop_files(guest);
		else
			failed = format("%s%s does not run again: %s", failed ? format("%s; ", failed) : "",
					describe_guest(guest), why);
	}
	return failed;
}
