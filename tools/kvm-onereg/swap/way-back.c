// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: what to do if the requested set does not load. */
#include <string.h>

#include "base/message.h"
#include "base/text.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "swap/libvirt-cache.h"
#include "swap/parameters.h"
#include "swap/report.h"
#include "swap/set.h"
#include "swap/users.h"
#include "swap/way-back.h"

/*
 * Load a set over whatever is loaded; NULL, or why not. What fits and is loaded stays where it has to: kvm may not
 * unload any more, or the vendor module may be in use.
 */
static char *load_over(struct set *set, const struct parameter *had)
{
	struct running running = what_runs_now();
	bool keep = running.module[KVM].there && same_module(&running.module[KVM], &set->module[KVM]);
	char *failure;
	int error;

	for (int i = KVM_INTEL; i < MODULES; i++) {
		if (!running.module[i].there)
			continue;
		error = unload_module(i);
		if (error && keep && set->wanted[i] && same_module(&running.module[i], &set->module[i]))
			return NULL;
		if (error)
			return format("cannot unload %s: %s", loaded_names[i], strerror(error));
	}
	error = running.module[KVM].there && !keep ? unload_kvm() : 0;
	if (error)
		return format("cannot unload kvm: %s", strerror(error));
	failure = load_set(set, had, keep);
	if (failure && keep && !unload_kvm())
		failure = load_set(set, had, false);
	return failure;
}

/* Load the best set that loads, with the previous parameters or else without them; NULL, or why not */
static char *load_any(struct ways *ways, struct set **loaded)
{
	static const struct parameter none = { .name = NULL };
	struct set *sets[] = { ways->have_before && ways->before.whose != MISSING ? &ways->before : NULL,
			       ways->have_other ? &ways->other : NULL, &ways->to };
	char *failure = NULL, *last = "";

	for (size_t i = 0; i < 2 * sizeof(sets) / sizeof(*sets); i++) {
		struct set *set = sets[i / 2];
		char *why;

		if (!set)
			continue;
		add_step(format("load %s (%s)%s", names_of_set(set), whose_names[set->whose],
				i % 2 ? ", with the parameters of modprobe.d" : ""));
		why = load_over(set, i % 2 ? &none : ways->had);
		if (!why)
			why = verify_set(set);
		if (!why) {
			*loaded = set;
			return NULL;
		}
		if (strcmp(why, last))
			add_note(why);
		last = why;
		if (!failure)
			failure = why;
	}
	return failure;
}

int roll_back(struct ways *ways, const char *why, const char *holds, const char *fix)
{
	const char *and_held = holds ? format(": %s", holds) : "";
	struct set *loaded = NULL;
	char *failure, *now;

	add_step(format("failed: %s", why));
	if (!ways->have_before)
		add_note("the files of the modules that were loaded are gone");
	failure = load_any(ways, &loaded);
	if (failure) {
		holds = who_holds(&now);
		return finish_swap(STATUS_BROKEN, "broken",
				   format("%s; and the previous modules could not be loaded again: %s%s%s", why,
					  failure, holds ? ": " : "", holds ? holds : ""),
				   now ? now : "run it again, or: modprobe kvm_intel (AMD: kvm_amd), or reboot");
	}
	renew_libvirt();
	return finish_swap(STATUS_ROLLED_BACK, "rolled back",
			   loaded == &ways->before ?
				   format("%s; the previous modules are loaded again%s", why, and_held) :
				   format("%s; %s is loaded now%s", why, describe_set(loaded), and_held),
			   fix ? fix : "kvm-onereg doctor");
}

int complete_loaded(struct ways *ways, const char *holds, const char *fix)
{
	char *why;

	add_step(format("load %s (%s)", names_of_set(&ways->before), whose_names[ways->before.whose]));
	if (dry_run) {
		why = format("only the vendor module of the loaded kvm could be loaded; kvm would not be replaced: %s",
			     holds);
		return refuse_as_busy(why, fix);
	}
	why = load_set(&ways->before, ways->had, true);
	if (!why)
		why = verify_set(&ways->before);
	if (why)
		return finish_swap(STATUS_BROKEN, "broken",
				   format("%s; and the vendor module of the loaded kvm could not be loaded: %s", holds,
					  why),
				   fix);
	renew_libvirt();
	return finish_swap(STATUS_ROLLED_BACK, "rolled back",
			   format("%s; the vendor module of the loaded kvm (%s) was loaded, so that VMs can run", holds,
				  whose_names[ways->before.whose]),
			   fix);
}
