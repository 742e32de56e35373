// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg swap: unload the three modules and load those of the other set, without a reboot.
 *
 * Nothing on disk changes: what modprobe takes at the next boot is what it was. Everything that can be known before is
 * checked before the first module goes. What happens then ends in one of three ways: the wanted set is loaded and
 * verified; the set from before is loaded again, or another one that works; or none could be loaded, and that is said.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/message.h"
#include "base/options.h"
#include "base/text.h"
#include "model/kernel.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "model/series.h"
#include "model/unfinished.h"
#include "swap/exchange.h"
#include "swap/parameters.h"
#include "swap/qemu-look.h"
#include "swap/report.h"
#include "swap/set.h"
#include "swap/swap.h"
#include "swap/users.h"
#include "swap/way-back.h"
#include "swap/with-guests.h"

/* Which vendor module this CPU takes: those that are loaded, or else by its flags */
static void choose_vendor(struct set *set, const struct running *running)
{
	char *flags = value_of(read_file("/proc/cpuinfo"), "flags", ":");
	bool any = false;

	set->wanted[KVM] = true;
	for (int i = KVM_INTEL; i < MODULES; i++)
		any |= set->wanted[i] = running->module[i].there;
	if (!any) {
		set->wanted[KVM_INTEL] = has_word(flags, "vmx");
		set->wanted[KVM_AMD] = !set->wanted[KVM_INTEL] && has_word(flags, "svm");
	}
}

/*
 * A file for each loaded module, to go back to; false if one is gone, *missing tells which. A kvm without vendor
 * module, as after kill -9, is completed by the one that belongs to it, @vendor.
 */
static bool file_of_loaded(const struct kernel *kernel, const struct running *running, struct set *set, int vendor,
			   int *missing)
{
	const struct module *kvm = running->module[KVM].file;
	struct module whole[MODULES];

	set->whose = running->set;
	for (int i = 0; i < MODULES; i++) {
		set->wanted[i] = running->module[i].there;
		if (!set->wanted[i])
			continue;
		if (!running->module[i].file) {
			*missing = i;
			return false;
		}
		set->module[i] = *running->module[i].file;
	}
	if (!running->module[KVM].there || running->vendor)
		return true;
	*missing = vendor;
	set->wanted[vendor] = true;
	if (kvm == &kernel->module[KVM])
		set->module[vendor] = kernel->module[vendor];
	else if (find_set(kernel, kvm->whose, whole) && !strcmp(whole[KVM].file, kvm->file))
		set->module[vendor] = whole[vendor];
	else
		return false;
	return set->module[vendor].file;
}

/* Prints the command that installs a set that is not complete */
static int not_there(const struct kernel *kernel, enum whose whose, const struct module set[MODULES])
{
	char *state = format("kvm %s, kvm-intel %s, kvm-amd %s", whose_names[set[KVM].whose],
			     whose_names[set[KVM_INTEL].whose], whose_names[set[KVM_AMD].whose]);

	if (whose == OURS)
		return finish_swap(STATUS_CANNOT, "refused",
				   format("our modules are not complete on disk for kernel %s: %s", kernel->release,
					  state),
				   format("kvm-onereg doctor -k %s tells what is missing", kernel->release));
	return finish_swap(STATUS_CANNOT, "refused",
			   format("the distro's modules are not complete on disk for kernel %s: %s", kernel->release,
				  state),
			   format("apt-get install --reinstall linux-image-%s", kernel->release));
}

/* Why this process could not load or unload modules here, or NULL */
static const char *cannot_load(void)
{
	char *capable = value_of(read_file("/proc/self/status"), "CapEff", ":");
	char *disabled = read_file("/proc/sys/kernel/modules_disabled");

	if (disabled && *disabled == '1')
		return "loading modules is switched off until the next boot (kernel.modules_disabled=1)";
	if (!geteuid() && capable && !(strtoull(capable, NULL, 16) >> CAP_SYS_MODULE & 1))
		return "this root may not load modules (no CAP_SYS_MODULE)";
	return NULL;
}

static const char help[] = "usage: kvm-onereg swap ours|distro [--keep-guests] [--dry-run] [--json]\n"
			   "\n"
			   "  Unload kvm and kvm_intel or kvm_amd, and load those of this package (ours) or\n"
			   "  of the kernel's package (distro), with their current parameters. No VM may be\n"
			   "  running, and nothing else may hold KVM; otherwise, the command names it. Nothing\n"
			   "  on disk changes. If anything fails, the previous modules are loaded again.\n"
			   "\n"
			   "  -n, --dry-run  make all checks and print the steps, but change nothing\n"
			   "      --json     print JSON\n"
			   "\n"
			   "  -g, --keep-guests  save running guests, and restore them after the swap: domains\n"
			   "                     of libvirt, and QEMUs that have a QMP socket. Says first what\n"
			   "                     pauses, and refuses what cannot be kept. If it was\n"
			   "                     interrupted, the same command goes on; with the other set,\n"
			   "                     it goes back\n"
			   "      --qmp PID=PATH     the QMP socket of a QEMU that does not name it on its\n"
			   "                         command line (repeatable); PATH alone: of whoever\n"
			   "                         listens there\n"
			   "      --state-dir FOLDER for the guests' states, of root alone; default:\n"
			   "                         " GUESTS_FOLDER "\n"
			   "\n"
			   "Exit status: 0 done, or nothing to do; 2 wrong usage; 3 not possible here: not\n"
			   "root, no such modules on disk; 4 refused: VMs are running or cannot be kept, or\n"
			   "something else holds KVM; 5 failed, but the previous modules, or others that\n"
			   "work, are loaded; 6 failed, and the previous modules could not be loaded again,\n"
			   "or a guest not restored.\n";

static bool keep_guests, given;
static const char *bad_socket; /* one that --qmp does not take */
static const char *folder = GUESTS_FOLDER;

static void take_socket(const char *argument)
{
	const char *path = argument + strspn(argument, "0123456789");

	path = *path == '=' && path > argument ? path + 1 : argument;
	given = true;
	if (*path == '/')
		add_given_socket(argument);
	else
		bad_socket = argument;
}

/* Only one at a time. This creates no file, and the lock ends with the process */
static bool another_runs(void)
{
	int lock = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (lock >= 0 && flock(lock, (dry_run ? LOCK_SH : LOCK_EX) | LOCK_NB) && errno == EWOULDBLOCK)
		return true;
	if (dry_run && lock >= 0)
		flock(lock, LOCK_UN);
	return false;
}

/* What is known about a swap before the first module goes */
struct plan {
	const char *name; /* of the wanted set, as it was given */
	struct unfinished unfinished;
	struct kernel *kernel;
	struct running running;
	struct ways ways;
	int vendor;
	bool half;     /* kvm is loaded without a vendor module, as after kill -9 */
	bool there;    /* the wanted set is loaded already */
	bool keep_kvm; /* the loaded kvm is of the wanted set */
};

/* This and the next functions return false if the swap ends with them: its result is set then */
static bool end_refused(const char *why, const char *fix)
{
	finish_swap(STATUS_CANNOT, "refused", why, fix);
	return false;
}

static bool find_running(struct plan *plan)
{
	const char *release = running_release();

	/* Before the journal is read: another one may be about to end it */
	if ((dry_run || !geteuid()) && another_runs()) {
		refuse_as_busy("another \"kvm-onereg swap\" is running", "wait for it to end");
		return false;
	}
	plan->unfinished = look_at_unfinished();
	if (plan->unfinished.there && (!keep_guests || plan->unfinished.damaged)) {
		finish_swap(STATUS_BUSY, "refused", describe_unfinished(&plan->unfinished),
			    fix_unfinished(&plan->unfinished));
		return false;
	}
	plan->kernel = find_kernel(find_kernels(), release);
	if (is_native(release) && !plan->unfinished.there) {
		finish_swap(STATUS_OK, "nothing to do",
			    format("Kernel %s has ONE_REG itself: there is nothing to swap.", release), NULL);
		return false;
	}
	if (!plan->kernel)
		return end_refused(format("the running kernel, %s, has no modules in /lib/modules", release),
				   format("apt-get install linux-image-%s", release));
	plan->running = what_runs(plan->kernel);
	/* Guests from before a reboot */
	if (is_native(release) && !geteuid()) {
		plan->ways.had = loaded_parameters(true);
		swap_with_guests(plan->kernel, &plan->running, &plan->ways, false, &plan->unfinished, folder,
				 format("kernel %s has ONE_REG itself", release));
		return false;
	}
	if (plan->running.set == BUILTIN)
		return end_refused("KVM is built into the running kernel: it cannot be unloaded", NULL);
	return true;
}

static bool is_of_kernel(const struct module *module, const struct kernel *kernel)
{
	return module->vermagic && !strncmp(module->vermagic, kernel->release, strlen(kernel->release));
}

static bool find_wanted(struct plan *plan)
{
	const struct kernel *kernel = plan->kernel;
	struct set *to = &plan->ways.to;

	if (!find_set(kernel, to->whose, to->module)) {
		not_there(kernel, to->whose, to->module);
		return false;
	}
	for (int i = 0; i < MODULES; i++)
		if (!to->module[i].not_configured && !is_of_kernel(&to->module[i], kernel))
			return end_refused(format("%s is not of kernel %s", without_root(to->module[i].file),
						  kernel->release),
					   format("kvm-onereg doctor -k %s", kernel->release));
	choose_vendor(to, &plan->running);
	if (!to->wanted[KVM_INTEL] && !to->wanted[KVM_AMD])
		return end_refused("this CPU has no virtualization, or the firmware disables it", "kvm-onereg doctor");
	plan->vendor = to->wanted[KVM_INTEL] ? KVM_INTEL : KVM_AMD;
	if (!to->module[plan->vendor].file)
		return end_refused(format("kernel %s is configured without %s, which this CPU needs", kernel->release,
					  loaded_names[plan->vendor]),
				   "use a kernel that is configured for this CPU");
	return true;
}

static bool compare_with_loaded(struct plan *plan)
{
	const struct running *running = &plan->running;
	struct set *to = &plan->ways.to;

	plan->half = running->module[KVM].there && !running->vendor;
	plan->keep_kvm = plan->half && same_module(&running->module[KVM], &to->module[KVM]);
	plan->there = running->vendor && running->set != MIXED;
	for (int i = 0; i < MODULES; i++)
		plan->there &= !to->wanted[i] || same_module(&running->module[i], &to->module[i]);
	if (!plan->there || plan->unfinished.there)
		return true;
	finish_swap(STATUS_OK, "nothing to do", format("Nothing to do: %s is loaded.", describe_set(to)), NULL);
	return false;
}

static bool may_load(const struct plan *plan)
{
	const char *cannot;

	if (!dry_run && geteuid())
		return end_refused("loading modules needs root", format("sudo kvm-onereg swap %s%s", plan->name,
									keep_guests ? " --keep-guests" : ""));
	cannot = cannot_load();
	if (cannot)
		return end_refused(format("nothing was changed: %s", cannot),
				   strstr(cannot, "boot") ? "reboot: the next boot loads what modprobe finds" :
							    "run this on the host itself, outside of containers");
	if (geteuid())
		add_note("not root: VMs of other users are not visible");
	return true;
}

/* What to load if the wanted set does not: the set from before, and then the other one. Their files are kept open */
static void find_ways_back(struct plan *plan)
{
	struct ways *ways = &plan->ways;
	int missing = KVM;

	ways->had = loaded_parameters(!plan->half);
	ways->have_before = file_of_loaded(plan->kernel, &plan->running, &ways->before, plan->vendor, &missing);
	ways->other.whose = ways->to.whose == OURS ? DISTRO : OURS;
	memcpy(ways->other.wanted, ways->to.wanted, sizeof(ways->to.wanted));
	ways->have_other = find_set(plan->kernel, ways->other.whose, ways->other.module) &&
			   ways->other.module[plan->vendor].file &&
			   (!ways->have_before || ways->before.whose != ways->other.whose);
	if (ways->have_before)
		open_files(&ways->before);
	if (ways->have_other)
		open_files(&ways->other);
	open_files(&ways->to);
	if (!ways->have_before && !plan->keep_kvm)
		add_note(format("the file that %s was loaded from is gone: if this fails, there is no way back to it",
				loaded_names[missing]));
}

/* All of it, up to the result, which is not printed yet */
static void swap(struct plan *plan)
{
	const char *to;
	char *holds, *fix;

	if (!find_running(plan) || !find_wanted(plan) || !compare_with_loaded(plan) || !may_load(plan))
		return;
	find_ways_back(plan);
	to = describe_set(&plan->ways.to);
	if (!as_json)
		printf("%s: %s to %s\n", plan->kernel->release,
		       plan->running.set == MISSING ? "from nothing" :
						      format("from %s", whose_names[plan->running.set]),
		       to);
	if (keep_guests) {
		swap_with_guests(plan->kernel, &plan->running, &plan->ways, plan->keep_kvm, &plan->unfinished, folder,
				 plan->there ? format("%s is loaded", to) : NULL);
		return;
	}
	holds = who_holds(&fix);
	if (holds && plan->half && !plan->keep_kvm && plan->ways.have_before)
		complete_loaded(&plan->ways, holds, fix);
	else if (holds && !plan->keep_kvm)
		refuse_as_busy(format("nothing was changed: %s", holds), fix);
	else
		exchange_modules(plan->kernel, &plan->running, &plan->ways, plan->keep_kvm);
}

int cmd_swap(int argc, char **argv)
{
	static const struct known_option options[] = {
		{ "dry-run", 'n', .flag = &dry_run },	      { "json", .flag = &as_json },
		{ "keep-guests", 'g', .flag = &keep_guests }, { "qmp", .take = take_socket },
		{ "state-dir", .argument = &folder },	      {},
	};
	struct plan plan = {};

	if (!read_options("swap", help, options, argc, argv))
		return STATUS_OK;
	if (argc - optind != 1)
		usage_error("swap", "say what to load: ours or distro");
	if (!strcmp(argv[optind], "ours"))
		plan.ways.to.whose = OURS;
	else if (!strcmp(argv[optind], "distro"))
		plan.ways.to.whose = DISTRO;
	else
		usage_error("swap", "'%s' is neither ours nor distro", argv[optind]);
	if (*host_root() && !dry_run)
		usage_error("swap", "KVM_ONEREG_ROOT is set: only --dry-run is possible");
	if (!keep_guests && (given || strcmp(folder, GUESTS_FOLDER)))
		usage_error("swap", "--qmp and --state-dir go with --keep-guests");
	if (bad_socket)
		usage_error("swap", "--qmp takes PID=PATH or PATH, with a whole path, not '%s'", bad_socket);
	if (*folder != '/')
		usage_error("swap", "--state-dir takes a whole path, not '%s'", folder);
	start_report();
	plan.name = argv[optind];
	swap(&plan);
	return print_swap();
}
