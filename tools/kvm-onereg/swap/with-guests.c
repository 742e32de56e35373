// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg swap --keep-guests.
 *
 * Save all, end all, exchange the modules, compare what KVM offers, restore all, and let all run. A failure before the
 * first process ends lets all guests go on in their processes; one after that exchanges the modules back, and restores
 * all guests there.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/json.h"
#include "base/message.h"
#include "base/process.h"
#include "base/text.h"
#include "model/cet.h"
#include "model/hold.h"
#include "model/holders.h"
#include "model/module-file.h"
#include "model/unfinished.h"
#include "swap/exchange.h"
#include "swap/guest.h"
#include "swap/keep.h"
#include "swap/offers.h"
#include "swap/parameters.h"
#include "swap/report.h"
#include "swap/set.h"
#include "swap/users.h"
#include "swap/with-guests.h"

static const char *other_name(enum whose whose)
{
	return whose == OURS ? "distro" : "ours";
}

/* Whether the wanted modules will offer CET to guests, as far as can be told before they are loaded */
static bool will_offer_cet(const struct ways *ways)
{
	struct cet cet = look_at_cet();
	bool on = cet.asked;

	if (!has_parameter(&ways->to.module[cet.vendor], "cet"))
		return false;
	/* The value of the loaded module is kept */
	for (const struct parameter *one = ways->had; one->name; one++)
		if (one->module == cet.vendor && !strcmp(one->name, "cet"))
			on = *one->value == 'Y';
	return on && cet.shadow_stacks == YES;
}

static char *how_saved(const struct guest *guest)
{
	if (guest->libvirt)
		return format("virsh managedsave: its memory is written to a file");
	if (guest->in_memory)
		return format("its memory stays in %s: only the state of its devices is written",
			      guest->image[guest->images - 1].file);
	return format("its memory is written to a file");
}

static long long pause_of(const struct guest *guest)
{
	return guest->phase == RUNNING && guest->resumed > guest->stopped ? guest->resumed - guest->stopped : -1;
}

static void report(const struct journal *journal)
{
	struct json_object *list = json_object_new_array();

	for (int i = 0; i < journal->guests; i++) {
		const struct guest *guest = &journal->guest[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "name", json_string(guest->name));
		json_object_object_add(one, "pid", json_object_new_int(guest->pid));
		json_object_object_add(one, "libvirt", json_object_new_boolean(guest->libvirt));
		json_object_object_add(one, "phase", json_string(phase_names[guest->phase]));
		json_object_object_add(one, "running", json_object_new_boolean(guest->ran));
		json_object_object_add(one, "memory_stays", json_object_new_boolean(guest->in_memory));
		json_object_object_add(one, "bytes", json_object_new_int64(guest->bytes));
		json_object_object_add(one, "written", json_object_new_int64(guest->written));
		json_object_object_add(one, "file", json_string(guest->file));
		json_object_object_add(one, "pause_ms",
				       pause_of(guest) < 0 ? NULL : json_object_new_int64(pause_of(guest)));
		json_object_object_add(one, "refused",
				       guest->refused ? json_object_get(guest->refused) : json_object_new_array());
		json_object_object_add(one, "notes",
				       guest->notes ? json_object_get(guest->notes) : json_object_new_array());
		json_object_array_add(list, one);
	}
	report_guests(list);
}

static void print_guests(const struct journal *journal)
{
	if (as_json || !journal->guests)
		return;
	printf("Guests:\n");
	for (int i = 0; i < journal->guests; i++) {
		const struct guest *guest = &journal->guest[i];

		printf("  %s%s%s: ", colour(BOLD), describe_guest(guest), colour(PLAIN));
		if (guest->refused)
			printf("%scannot be kept%s\n", colour(RED), colour(PLAIN));
		else if (waits_in_file(guest))
			printf("saved, in %s\n", guest->file);
		else
			printf("%s, at most %lld MiB: %s\n", guest->ran ? "pauses" : "is paused, and stays so",
			       guest->bytes >> 20, how_saved(guest));
		if (guest->in_memory)
			printf("      a reboot or a power cut before it is restored loses it\n");
		for (size_t j = 0; guest->notes && j < json_object_array_length(guest->notes); j++)
			printf("      %s\n", json_object_get_string(json_object_array_get_idx(guest->notes, j)));
	}
	if (waiting_guests(journal) < journal->guests)
		printf("  Each pauses from when it is saved until all are restored.\n");
	fflush(stdout);
}

static void print_pauses(const struct journal *journal)
{
	for (int i = 0; i < journal->guests && !as_json; i++) {
		const struct guest *guest = &journal->guest[i];

		if (guest->phase == RUNNING && pause_of(guest) >= 0)
			printf("  %s paused for %lld ms\n", describe_guest(guest), pause_of(guest));
		else if (guest->phase == RUNNING && !guest->ran)
			printf("  %s is paused, as before\n", describe_guest(guest));
		else if (waits_in_file(guest))
			printf("  %s%s is saved in %s%s\n", colour(RED), guest->name, guest->file, colour(PLAIN));
	}
	fflush(stdout);
}

/* All that is refused, in one sentence, or NULL */
static char *refusals(const struct journal *journal, const struct holders *holders, char **fix)
{
	struct holders others = *holders;
	char *text = NULL, *held;
	int n = 0;

	*fix = NULL;
	for (int i = 0; i < journal->guests; i++) {
		const struct guest *guest = &journal->guest[i];

		for (size_t j = 0; guest->refused && j < json_object_array_length(guest->refused); j++) {
			struct json_object *one = json_object_array_get_idx(guest->refused, j);

			text = format("%s\n    %s: %s\n      to fix: %s", text ?: "", describe_guest(guest),
				      json_text_in(one, "reason"), json_text_in(one, "fix"));
		}
	}
	/* Whatever else holds KVM */
	others.process = NULL;
	others.processes = 0;
	others.vms = 0;
	for (int i = 0; i < holders->processes; i++)
		n += !is_kept(journal, holders->process[i].pid);
	if (n) {
		struct holder list[n];

		others.process = list;
		for (int i = 0; i < holders->processes; i++)
			if (!is_kept(journal, holders->process[i].pid))
				list[others.processes++] = holders->process[i];
		held = describe_holds(&others, fix);
	} else {
		/* What the guests hold goes with them */
		others.vendor_references = 0;
		others.kvm_references = holders->unnamed ? holders->kvm_references : 0;
		held = describe_holds(&others, fix);
	}
	report_users(holders_json(holders));
	if (text)
		text = format("guests cannot be kept:%s", text);
	return text && held ? format("%s\n  and %s", text, held) : text ?: held;
}

/* Two sentences, each of which may be NULL */
static char *both(char *one, const char *other)
{
	return one && other ? format("%s; %s", one, other) : one ?: other ? format("%s", other) : NULL;
}

static void note_device(struct journal *journal)
{
	struct stat status;

	if (stat("/dev/kvm", &status) || !S_ISCHR(status.st_mode))
		return;
	journal->device_known = true;
	journal->device_user = status.st_uid;
	journal->device_group = status.st_gid;
	journal->device_mode = status.st_mode & 07777;
}

/* /dev/kvm is new. Guests of other users need the rights that it had, and udev gives them when it gets to it */
static void restore_device(const struct journal *journal)
{
	struct stat status;

	if (!journal->guests)
		return;
	RUN_PROGRAM("udevadm", "settle", "--timeout=15");
	if (!journal->device_known || stat("/dev/kvm", &status))
		return;
	if ((status.st_uid != journal->device_user || status.st_gid != journal->device_group) &&
	    chown("/dev/kvm", journal->device_user, journal->device_group))
		add_note(format("/dev/kvm: its owner cannot be set: %m"));
	if ((status.st_mode & 07777) != journal->device_mode && chmod("/dev/kvm", journal->device_mode))
		add_note(format("/dev/kvm: its mode cannot be set: %m"));
}

/* Restore all guests on whatever is loaded now, and let them run; NULL, or who could not be */
static char *bring_back(struct journal *journal)
{
	char *why;

	restore_device(journal);
	why = restore_guests(journal, false);
	return both(why, resume_guests(journal));
}

/* The end: the journal goes, unless guests still need it */
static int conclude(struct journal *journal, char *failed)
{
	struct swap_end end = swap_end();
	int unsettled = unsettled_guests(journal), error = unsettled ? write_journal(journal) : remove_journal(journal);

	report(journal);
	print_pauses(journal);
	if (error)
		add_note(format("the journal %s cannot be %s: %s", JOURNAL, unsettled ? "written" : "removed",
				strerror(error)));
	if (!failed)
		return end.status;
	failed = format("%.*s; but %s", (int)strlen(end.sentence) - (end.sentence[strlen(end.sentence) - 1] == '.'),
			end.sentence, failed);
	if (unsettled)
		end.fix = format("kvm-onereg swap %s --keep-guests, or to go back: kvm-onereg swap %s --keep-guests",
				 journal->to, journal->from);
	return finish_swap(STATUS_BROKEN, "broken", failed, end.fix);
}

static void tell_steps(const struct journal *journal)
{
	for (int i = 0; i < journal->guests; i++)
		if (journal->guest[i].phase == RUNNING)
			add_step(format("save %s", describe_guest(&journal->guest[i])));
}

static int dry(const struct kernel *kernel, struct running *running, struct ways *ways, bool keep_kvm,
	       const struct journal *journal, const char *there)
{
	int status = STATUS_OK;

	report(journal);
	if (there) {
		finish_swap(STATUS_OK, "dry run",
			    format("Nothing was done (--dry-run); %s, so only guests are restored.", there), NULL);
	} else {
		tell_steps(journal);
		status = exchange_modules(kernel, running, ways, keep_kvm);
	}
	for (int i = 0; i < journal->guests; i++)
		add_step(format("restore %s", journal->guest[i].name));
	return status;
}

/* The modules, and then whether guests can go on with them */
static int exchange_and_compare(const struct kernel *kernel, struct running *running, struct ways *ways, bool keep_kvm,
				const struct journal *journal)
{
	int status = exchange_modules(kernel, running, ways, keep_kvm);
	char *lost;

	if (status != STATUS_OK)
		return status;
	add_step("compare what KVM offers guests");
	lost = lost_offer(journal->offer, any_cet(journal), any_nested(journal));
	return lost ? roll_back(ways, lost, NULL, NULL) : STATUS_OK;
}

static int go(const struct kernel *kernel, struct running *running, struct ways *ways, bool keep_kvm,
	      struct journal *journal, const char *there)
{
	char *why, *failed;
	int status;

	if (there) {
		/* Those whose processes are still there need not be restored */
		failed = continue_guests(journal);
		/* The one before may have been killed before it compared */
		why = waiting_guests(journal) ? lost_offer(journal->offer, any_cet(journal), any_nested(journal)) :
						NULL;
		if (why) {
			finish_swap(STATUS_CANNOT, "refused", format("%s, and no guest was restored: %s", there, why),
				    NULL);
			return conclude(journal, both(failed, "these guests are saved, and wait"));
		}
		finish_swap(STATUS_OK, "swapped", format("The guests are restored; %s.", there), NULL);
		return conclude(journal, both(failed, bring_back(journal)));
	}
	why = save_guests(journal, &failed);
	if (why) {
		finish_swap(STATUS_ROLLED_BACK, "rolled back",
			    format("%s; the modules were not exchanged, and the guests go on", why),
			    "kvm-onereg status");
		return conclude(journal, both(failed, bring_back(journal)));
	}
	status = exchange_and_compare(kernel, running, ways, keep_kvm, journal);
	if (status == STATUS_BROKEN) {
		struct swap_end end = swap_end();

		report(journal);
		print_pauses(journal);
		return finish_swap(STATUS_BROKEN, "broken",
				   format("%s. The guests are saved, and are not lost", end.sentence),
				   format("%s; then: kvm-onereg swap %s --keep-guests", end.fix, journal->from));
	}
	if (status == STATUS_OK) {
		restore_device(journal);
		why = restore_guests(journal, true);
		if (!why)
			return conclude(journal, resume_guests(journal));
		status = roll_back(ways, why, NULL, NULL);
	}
	return conclude(journal, bring_back(journal));
}

int swap_with_guests(const struct kernel *kernel, struct running *running, struct ways *ways, bool keep_kvm,
		     const struct unfinished *unfinished, const char *folder, const char *there)
{
	struct journal journal = { .parameters = ways->had, .boot = boot_id() };
	struct holders holders;
	char *why, *fix;
	sigset_t all;
	int error;

	if (unfinished->there && !read_journal(unfinished->json, &journal)) {
		struct unfinished damaged = { .there = true, .damaged = true };

		return refuse_as_busy(describe_unfinished(&damaged), fix_unfinished(&damaged));
	}
	if (!dry_run) {
		/* Only force may end this half way. What is pending ends it where guests go on as they were */
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, NULL);
	}
	if (unfinished->there) {
		/* What is loaded may be anything by now */
		if (!running->vendor)
			ways->had = journal.parameters;
		why = settle_guests(&journal, !dry_run);
		if (why)
			return refuse_as_busy(why, format("kvm-onereg swap %s --keep-guests", journal.to));
	}
	holders = who_holds_kvm();
	if (!there)
		find_guests(&journal, &holders, folder, will_offer_cet(ways));
	check_space(&journal);
	print_guests(&journal);
	why = there ? NULL : refusals(&journal, &holders, &fix);
	if (why) {
		report(&journal);
		return refuse_as_busy(format("nothing was changed: %s", why), fix ?: "see above, then run this again");
	}
	if (dry_run)
		return dry(kernel, running, ways, keep_kvm, &journal, there);
	journal.to = format("%s", whose_names[ways->to.whose]);
	journal.from = format("%s", other_name(ways->to.whose));
	if (!journal.offer && journal.guests && running->vendor)
		journal.offer = ask_offer();
	if (!journal.device_known)
		note_device(&journal);
	error = journal.guests ? make_private_folder(folder) : 0;
	if (!error && journal.guests)
		error = write_journal(&journal);
	if (error)
		return finish_swap(STATUS_CANNOT, "refused",
				   format("nothing was changed: %s cannot be written: %s", folder, strerror(error)),
				   "give it to root alone (chmod 700), or name another folder: --state-dir FOLDER");
	return go(kernel, running, ways, keep_kvm, &journal, there);
}
