// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: unload one set of modules, and load another. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/file.h"
#include "base/message.h"
#include "base/text.h"
#include "model/kernel.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "swap/exchange.h"
#include "swap/libvirt-cache.h"
#include "swap/report.h"
#include "swap/set.h"
#include "swap/users.h"
#include "swap/way-back.h"

static void list_steps(const struct running *running, const struct set *to, bool keep_kvm)
{
	if (running->set != MISSING && !keep_kvm) {
		char *loaded = "";

		for (int i = 0; i < MODULES; i++)
			if (running->module[i].there)
				loaded = format("%s%s%s", loaded, *loaded ? " " : "", loaded_names[i]);
		add_step(format("unload %s (%s)", loaded, whose_names[running->set]));
	}
	for (int i = keep_kvm ? KVM_INTEL : KVM; i < MODULES; i++)
		if (to->wanted[i])
			add_step(format("load %s", without_root(to->module[i].file)));
	add_step("verify what is loaded");
	if (has_libvirt())
		add_step("touch " QEMU_MODULES ", so that libvirt asks KVM again what it offers");
}

/* After unload_all() failed with @error at the module @blocker */
static int could_not_unload(const struct running *running, struct ways *ways, int error, int blocker)
{
	char *why = format("cannot unload %s: %s", loaded_names[blocker], strerror(error)), *holds, *fix;
	bool unchanged = true;

	for (int i = 0; i < MODULES; i++)
		unchanged &= !running->module[i].there || is_loaded(i);
	if (unchanged && error != EWOULDBLOCK && error != EBUSY)
		return finish_swap(STATUS_CANNOT, "refused", format("nothing was changed: %s", why),
				   "run this on the host itself, outside of containers");
	holds = who_holds(&fix);
	if (!unchanged)
		return roll_back(ways, why, holds, fix);
	/* A VM was started in the meantime */
	return refuse_as_busy(format("nothing was changed: %s came into use in the meantime: %s", loaded_names[blocker],
				     holds ? holds : strerror(error)),
			      fix ? fix : "run this again");
}

int exchange_modules(const struct kernel *kernel, struct running *running, struct ways *ways, bool keep_kvm)
{
	struct set *to = &ways->to;
	const char *after = kernel->set == to->whose ?
				    "the same at the next boot" :
				    format("the next boot loads what modprobe finds: %s", describe_kernel(kernel));
	int blocker = -1, error;
	sigset_t all;
	char *why;

	list_steps(running, to, keep_kvm);
	if (dry_run)
		return finish_swap(STATUS_OK, "dry run",
				   format("Nothing was done (--dry-run); with %s loaded, %s.", describe_set(to), after),
				   NULL);

	/* From here on, Ctrl-C or a lost terminal must not leave half of it */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	error = keep_kvm ? 0 : unload_all(&blocker);
	if (error)
		return could_not_unload(running, ways, error, blocker);
	why = load_set(to, ways->had, keep_kvm);
	if (!why)
		why = verify_set(to);
	if (why)
		return roll_back(ways, why, NULL, NULL);
	renew_libvirt();
	return finish_swap(STATUS_OK, "swapped", format("%s is loaded; %s.", describe_set(to), after), NULL);
}
