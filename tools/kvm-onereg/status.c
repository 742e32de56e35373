// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg status: whose KVM is on disk, whose is loaded, who uses it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/message.h"
#include "base/text.h"
#include "kernel-options.h"
#include "model/boot.h"
#include "model/cet.h"
#include "model/hold.h"
#include "model/holders.h"
#include "model/kernel.h"
#include "model/kvm.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "model/outlook.h"
#include "model/packages.h"
#include "model/series.h"
#include "model/unfinished.h"
#include "model/vmm.h"
#include "status.h"

static const char * const access_names[] = {
	[KVM_ABSENT] = "absent",	 [KVM_FORBIDDEN] = "forbidden", [KVM_UNUSABLE] = "unusable",
	[KVM_NO_ONE_REG] = "no-one-reg", [KVM_ONE_REG] = "one-reg",
};

static struct json_object *wanted_json(const char *release)
{
	struct wanted needs = wanted_source(release);
	struct json_object *all;

	if (!needs.version)
		return NULL;
	all = json_object_new_object();
	json_object_object_add(all, "version", json_string(needs.version));
	json_object_object_add(all, "result", json_string(needs.result));
	json_object_object_add(all, "message", json_string(needs.message));
	json_object_object_add(all, "tried", needs.tried ? json_object_new_int64(needs.tried) : NULL);
	json_object_object_add(all, "next", needs.next ? json_object_new_int64(needs.next) : NULL);
	return all;
}

static struct json_object *kernel_json(const struct kernel *kernel, const struct outlook *outlook)
{
	struct json_object *all = json_object_new_object(), *modules = json_object_new_array();

	for (int i = 0; i < MODULES; i++) {
		const struct module *module = &kernel->module[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "name", json_string(file_names[i]));
		json_object_object_add(one, "whose", json_string(whose_names[module->whose]));
		json_object_object_add(one, "file", json_string(without_root(module->file)));
		json_object_object_add(one, "version", json_string(module->version));
		json_object_object_add(one, "origin", json_string(module->origin));
		json_object_object_add(one, "srcversion", json_string(module->srcversion));
		json_object_array_add(modules, one);
	}
	json_object_object_add(all, "release", json_string(kernel->release));
	json_object_object_add(all, "running", json_object_new_boolean(kernel->running));
	json_object_object_add(all, "native", json_object_new_boolean(kernel->native));
	json_object_object_add(all, "modules_are", json_string(whose_names[kernel->set]));
	json_object_object_add(all, "version", kernel->set == OURS ? json_string(kernel->module[KVM].version) : NULL);
	json_object_object_add(all, "origin", kernel->set == OURS ? json_string(kernel->module[KVM].origin) : NULL);
	/* The others are not examined: that would take time */
	json_object_object_add(all, "unloadable",
			       json_string(kernel->running		  ? outlook->unloadable :
					   kernel == outlook->next.kernel ? outlook->next_unloadable :
									    NULL));
	json_object_object_add(all, "prebuilt",
			       json_object_new_boolean(kernel->set == OURS && kernel->module[KVM].prebuilt));
	json_object_object_add(all, "image_version", json_string(image_version(kernel->release)));
	json_object_object_add(all, "source_wanted", wanted_json(kernel->release));
	json_object_object_add(all, "modules", modules);
	return all;
}

static struct json_object *running_json(const struct running *running, const struct outlook *outlook)
{
	struct json_object *all = json_object_new_object(), *modules = json_object_new_array();

	for (int i = 0; i < MODULES; i++) {
		const struct loaded *loaded = &running->module[i];
		struct json_object *one;

		if (!loaded->there)
			continue;
		one = json_object_new_object();
		json_object_object_add(one, "name", json_string(loaded_names[i]));
		json_object_object_add(one, "whose", json_string(whose_names[loaded->whose]));
		json_object_object_add(one, "version", json_string(loaded->version));
		json_object_object_add(one, "srcversion", json_string(loaded->srcversion));
		json_object_object_add(one, "build_id", json_string(loaded->build_id));
		json_object_object_add(one, "file",
				       loaded->file ? json_string(without_root(loaded->file->file)) : NULL);
		json_object_array_add(modules, one);
	}
	json_object_object_add(all, "modules_are",
			       json_string(running->set == MISSING ? "none" : whose_names[running->set]));
	json_object_object_add(all, "as_on_disk",
			       running->set == MISSING ? NULL : json_object_new_boolean(running->as_resolved));
	json_object_object_add(all, "source", json_string(outlook->loaded_source));
	json_object_object_add(all, "source_inferred", json_object_new_boolean(outlook->source_inferred));
	json_object_object_add(all, "modules", modules);
	return all;
}

static struct json_object *next_boot_json(const struct outlook *outlook)
{
	struct json_object *all = json_object_new_object();
	const struct next_boot *next = &outlook->next;

	json_object_object_add(all, "release", json_string(next->release));
	json_object_object_add(all, "by", json_string(next->by));
	json_object_object_add(all, "kvm", next->kernel ? json_string(whose_names[next->kernel->set]) : NULL);
	json_object_object_add(all, "loses_ours", json_object_new_boolean(!!outlook->loses_ours));
	json_object_object_add(all, "loses_cet", json_object_new_boolean(outlook->loses_cet));
	return all;
}

static struct json_object *pending_json(const struct outlook *outlook)
{
	struct json_object *all = json_object_new_object();

	json_object_object_add(all, "swap", json_object_new_boolean(outlook->swap_pending));
	json_object_object_add(all, "reboot", json_object_new_boolean(outlook->reboot_pending));
	json_object_object_add(all, "source_on_disk", json_string(outlook->disk_source));
	json_object_object_add(all, "upgraded", json_string(outlook->upgraded));
	return all;
}

static char *loaded_list(const struct running *running)
{
	char *names = "";

	for (int i = 0; i < MODULES; i++) {
		const struct loaded *loaded = &running->module[i];

		if (!loaded->there)
			continue;
		names = format("%s%s%s%s", names, *names ? ", " : "", loaded_names[i],
			       running->set != MIXED ? "" :
			       loaded->whose == OURS ? format(" ours %s", loaded->version) :
						       format(" %s", whose_names[loaded->whose]));
	}
	return names;
}

/* As describe_kernel(); of the distro's modules, too, of which source */
static char *describe_source(const struct kernel *kernel)
{
	char *version = kernel->set == DISTRO || kernel->set == NATIVE ? image_version(kernel->release) : NULL;

	return version ? format("%s, of linux %s", describe_kernel(kernel), version) : describe_kernel(kernel);
}

static void print_kernels(const struct kernel *all, const char *only, const struct outlook *outlook)
{
	const char *unloadable;
	struct wanted needs;
	int width = 20;

	printf("%sOn disk%s, as modprobe loads them; * is the running kernel\n", colour(BOLD), colour(PLAIN));
	for (const struct kernel *kernel = all; kernel->release; kernel++)
		if ((int)strlen(kernel->release) > width)
			width = strlen(kernel->release);
	if (!all->release)
		puts("  no kernel has modules here");
	for (; all->release; all++) {
		if (only && strcmp(all->release, only))
			continue;
		printf("%c %-*s  %s\n", all->running ? '*' : ' ', width, all->release, describe_source(all));
		unloadable = all->running		 ? outlook->unloadable :
			     all == outlook->next.kernel ? outlook->next_unloadable :
							   NULL;
		if (unloadable)
			printf("  %-*s  %sdoes not load%s: %s\n", width, "", colour(RED), colour(PLAIN), unloadable);
		needs = wanted_source(all->release);
		if (needs.version && needs.next)
			printf("  %-*s  waits for the source of linux %s\n  %-*s  (%s)\n", width, "", needs.version,
			       width, "", wanted_state(&needs));
		else if (needs.version)
			printf("  %-*s  waits for the source of linux %s\n  %-*s  (%s)\n  %-*s  to fix: %s\n", width,
			       "", needs.version, width, "", wanted_state(&needs), width, "", rebuild_command());
	}
}

static void print_loaded(const struct running *running, const struct outlook *outlook)
{
	printf("Loaded    ");
	if (running->set == MISSING) {
		puts(path_exists("/sys/module") ? "none" : "unknown: there is no /sys");
		return;
	}
	printf("%s", whose_names[running->set]);
	if (running->set == OURS && running->module[KVM].version)
		printf(" %s%s", running->module[KVM].version,
		       running->module[KVM].file && running->module[KVM].file->prebuilt ? ", prebuilt" : "");
	printf(": %s\n", loaded_list(running));
	if (outlook->loaded_source)
		printf("          built from %s%s\n", outlook->loaded_source,
		       outlook->source_inferred ? ", like the kernel; its file is no longer on disk" : "");
	else
		puts("          built from: not known, because its file is no longer on disk");
	if (!running->vendor)
		puts("          no vendor module, so no VM can run");
	if (outlook->swap_pending)
		printf("          not what is on disk%s%s: a swap or a reboot is pending\n",
		       outlook->disk_source ? ", which was built from " : "",
		       outlook->disk_source ? outlook->disk_source : "");
	else if (!running->known && running->set != BUILTIN)
		puts("          (probably as on disk: there are no build-ids to compare)");
}

static void print_next_boot(const struct outlook *outlook)
{
	const struct next_boot *next = &outlook->next;

	if (!next->release)
		return;
	printf("Next boot %s (%s): %s\n", next->release, next->by,
	       next->kernel ? whose_names[next->kernel->set] : "no modules on disk");
	if (outlook->upgraded)
		printf("          a reboot is pending: %s\n", outlook->upgraded);
	else if (outlook->reboot_pending)
		puts("          a reboot is pending: this kernel is newer than the running one");
	if (outlook->loses_ours)
		printf("          %s%s%s\n", colour(outlook->loses_cet ? RED : YELLOW),
		       outlook->loses_cet ?
			       "guests lose CET at the next reboot: \"kvm-onereg doctor\" says how to keep it" :
			       "without our KVM, which another kernel has",
		       colour(PLAIN));
}

static void print_access(enum kvm_access access)
{
	static const char * const lines[] = {
		[KVM_ABSENT] = "does not exist",
		[KVM_FORBIDDEN] = "may not be opened by this user: run this as root, or join the group kvm",
		[KVM_UNUSABLE] = "does not respond",
		[KVM_NO_ONE_REG] = "KVM_CAP_ONE_REG is 0",
		[KVM_ONE_REG] = "KVM_CAP_ONE_REG is 1",
	};

	printf("/dev/kvm  %s\n", *host_root() ? "not asked: KVM_ONEREG_ROOT is set" : lines[access]);
}

static void print_cet(const struct cet *cet, const struct running *running)
{
	if (!running->module[cet->vendor].there)
		return;
	printf("CET       ");
	if (running->set == NATIVE)
		printf("up to the kernel: %s has no parameter for it\n", cet->module);
	else if (cet->value)
		printf("%s.cet=%c", cet->module, cet->value);
	else
		printf("not offered: %s has no parameter cet", cet->module);
	if (running->set == NATIVE)
		return;
	printf("; CPU: shadow stacks %s", answer_name(cet->shadow_stacks));
	/* AMD's CPUs have no IBT, and whatever their kernels can use, guests can. */
	if (cet->vendor == KVM_INTEL)
		printf(", IBT %s%s", answer_name(cet->ibt),
		       cet->vmx == UNKNOWN ? "" :
		       cet->vmx == YES	   ? ", for guests yes" :
					     ", for guests no");
	putchar('\n');
	if (cet->asked_in)
		printf("          %s asks for cet=%d\n", cet->asked_in, cet->asked);
	if (cet->reason)
		printf("          %s\n", cet->reason);
	else if (cet->asked && cet->value == 'N')
		puts("          the kernel's log says why: dmesg | grep 'guests get no CET'");
}

/* What a guest with CET would lose, in red if this one has it */
static void print_vmm(const struct holder *holder)
{
	struct vmm vmm = look_at_vmm(holder);
	const char *text = describe_vmm(&vmm);

	if (!text)
		return;
	printf("            %s", colour(loses_cet(&vmm) ? RED : PLAIN));
	print_wrapped(12, 12, text);
	printf("%s\n", colour(PLAIN));
}

static void print_unfinished(const struct unfinished *unfinished)
{
	if (!unfinished->there)
		return;
	printf("Guests    %s", colour(RED));
	print_wrapped(10, 10, describe_unfinished(unfinished));
	printf("%s\n          to fix: %s\n", colour(PLAIN), fix_unfinished(unfinished));
}

static void print_holders(const struct holders *holders, bool cet)
{
	char *unnamed = describe_unnamed(holders);

	printf("VMs       ");
	if (!holders->processes)
		puts(holders->complete ? "none" : "none that this user can see");
	else
		printf("%d\n", holders->vms);
	for (int i = 0; i < holders->processes; i++) {
		const struct holder *holder = &holders->process[i];

		printf("          %s\n", describe_holder(holder));
		if (cet && holder->vms)
			print_vmm(holder);
	}
	if (!holders->complete)
		puts("          (processes of other users were not examined: run this as root)");
	for (char **module = holders->module; *module; module++)
		printf("          module %s uses KVM\n", *module);
	for (int i = 0; i < holders->holds; i++)
		if (holders->hold[i].how != MAYBE)
			printf("          %s\n", holders->hold[i].what);
	if (unnamed)
		printf("          %s\n", unnamed);
	for (int i = 0; i < holders->holds; i++)
		if (holders->hold[i].how == MAYBE)
			printf("          maybe %s\n", holders->hold[i].what);
}

/* Whether the loaded KVM has ONE_REG, and the sentence that says so */
static bool judge(const struct running *running, enum kvm_access access, const struct kernel *kernel, char **verdict)
{
	bool asked = !*host_root() && (access == KVM_ONE_REG || access == KVM_NO_ONE_REG);
	const char *disk = !kernel		 ? "" :
			   kernel->set == OURS	 ? " \"kvm-onereg swap ours\", or a reboot, loads ours." :
			   kernel->set == NATIVE ? " modprobe would load one that has it." :
						   " \"kvm-onereg doctor\" says what is missing.";

	if (!path_exists("/sys/module") && asked) {
		*verdict = format("VMs on this host have %sONE_REG; whose KVM is loaded is not known without /sys.",
				  access == KVM_ONE_REG ? "" : "no ");
		return access == KVM_ONE_REG;
	}
	if (running->set == MISSING)
		*verdict = format("No KVM is loaded, so no VM can run.%s", kernel && kernel->set == OURS ?
										   " modprobe would load ours." :
										   " \"kvm-onereg doctor\" says more.");
	else if (running->set == MIXED)
		*verdict = format("The loaded modules do not belong together; \"kvm-onereg swap ours\" repairs that.");
	else if (!running->vendor && (running->set == OURS || running->set == DISTRO))
		*verdict = format(
			"kvm is loaded without a vendor module, so no VM can run; \"kvm-onereg swap %s\" completes it.",
			whose_names[running->set]);
	else if (!running->vendor)
		*verdict = format("No vendor module is loaded, so no VM can run; \"kvm-onereg doctor\" says more.");
	else if (asked && access == KVM_NO_ONE_REG)
		*verdict = format("VMs on this host have no ONE_REG: the %s KVM is loaded.%s",
				  running->set == DISTRO ? "distro's" : whose_names[running->set], disk);
	else if (asked && access == KVM_ONE_REG)
		*verdict = format("VMs on this host have ONE_REG: %s KVM is loaded, complete.",
				  running->set == OURS	 ? "our" :
				  running->set == NATIVE ? "the kernel's own" :
							   whose_names[running->set]);
	else if (running->set == OURS || running->set == NATIVE)
		*verdict = format("The loaded KVM is %s, complete, and has ONE_REG; /dev/kvm could not be asked.",
				  running->set == OURS ? "ours" : "the kernel's own");
	else
		*verdict = format("The loaded KVM is %s; /dev/kvm could not be asked.%s",
				  running->set == DISTRO ? "the distro's, without ONE_REG" : whose_names[running->set],
				  disk);
	if (running->set == MIXED || running->set == MISSING || !running->vendor)
		return false;
	return asked ? access == KVM_ONE_REG : running->set == OURS || running->set == NATIVE;
}

/*
 * For a monitoring system, as its plugins do it: one line, and an exit status. What guests lack now, or will after the
 * next reboot, is critical; what is loaded and older than what is on disk is a warning.
 */
static int monitor(const struct running *running, const struct outlook *outlook, const struct unfinished *unfinished,
		   bool good, const char *verdict)
{
	static const char * const levels[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };
	enum { FINE, WARNING, CRITICAL, UNSURE } level = FINE;
	char *line = format("%s", verdict);

	if (outlook->swap_pending) {
		level = WARNING;
		line = format("%s A swap or a reboot is pending: %s is loaded, %s is on disk.", line,
			      outlook->loaded_source ? outlook->loaded_source : "another build",
			      outlook->disk_source ? outlook->disk_source : "another one");
	}
	if (outlook->reboot_pending) {
		level = WARNING;
		line = format("%s A reboot is pending: %s.", line,
			      outlook->upgraded ? outlook->upgraded : format("%s boots next", outlook->next.release));
	}
	if (outlook->loses_ours)
		line = format("%s %s: %s.", line, outlook->loses_cet ? "Guests lose CET at the next reboot" : "Note",
			      outlook->loses_ours);
	if (outlook->next_unloadable)
		line = format("%s After the next boot no KVM loads: %s.", line, outlook->next_unloadable);
	if (unfinished->there) {
		level = WARNING;
		line = format("%s Note: %s.", line, describe_unfinished(unfinished));
	}
	if (!good || outlook->loses_cet || outlook->next_unloadable || unfinished->damaged || unfinished->guests)
		level = CRITICAL;
	if (running->set == MISSING && !path_exists("/sys/module"))
		level = UNSURE;
	printf("kvm-onereg %s: %s\n", levels[level], line);
	return level;
}

static const char help[] = "usage: kvm-onereg status [--json] [-k KERNEL]\n"
			   "       kvm-onereg status --check\n"
			   "\n"
			   "  Show whose KVM modules are on disk for each kernel, whose are loaded, and from\n"
			   "  which source; what the next boot will load, what /dev/kvm says, CET, and the\n"
			   "  running VMs.\n"
			   "\n"
			   "  -k, --kernel=KERNEL  show the modules on disk for this kernel only\n"
			   "      --json           print JSON\n"
			   "      --check          for monitoring: one line, and other exit statuses\n"
			   "\n"
			   "Exit status: 0 the loaded KVM has ONE_REG (with -k and a kernel that is not\n"
			   "running: the modules on disk have it), 1 it does not, 2 wrong usage.\n"
			   "With --check: 0 all is well; 1 warning: a swap or a reboot is pending;\n"
			   "2 critical: no ONE_REG now, or the next boot loses CET or KVM, or guests of an\n"
			   "interrupted swap do not run; 3 unknown.\n";

/* All that the command shows */
struct report {
	struct running running;
	struct outlook outlook;
	struct unfinished unfinished;
	struct holders holders;
	struct cet cet;
	enum kvm_access access;
	char *verdict;
	bool good;
};

static char *kernel_verdict(const struct kernel *kernel, bool good)
{
	return format("Kernel %s would load %s KVM %s ONE_REG.", kernel->release,
		      kernel->set == OURS    ? "our" :
		      kernel->set == NATIVE  ? "its own" :
		      kernel->set == DISTRO  ? "the distro's" :
		      kernel->set == FOREIGN ? "another package's" :
					       "no complete",
		      good ? "with" : "without");
}

static void print_report(const struct kernel *all, const char *release, struct report *report)
{
	print_kernels(all, release, &report->outlook);
	putchar('\n');
	print_loaded(&report->running, &report->outlook);
	print_next_boot(&report->outlook);
	print_access(report->access);
	print_cet(&report->cet, &report->running);
	print_holders(&report->holders, offers_cet(&report->cet, report->running.set == NATIVE));
	print_unfinished(&report->unfinished);
	printf("\n%s%s%s\n", colour(report->good ? GREEN : RED), report->verdict, colour(PLAIN));
}

static struct json_object *report_json(struct kernel *all, const struct kernel *only, struct report *report)
{
	struct json_object *json = json_object_new_object(), *kernels = json_object_new_array(), *cet;

	json_object_object_add(json, "tools_version", json_string(tools_version));
	json_object_object_add(json, "running", json_string(running_release()));
	for (; all->release; all++)
		if (!only || all == only)
			json_object_array_add(kernels, kernel_json(all, &report->outlook));
	json_object_object_add(json, "kernels", kernels);
	json_object_object_add(json, "loaded", running_json(&report->running, &report->outlook));
	json_object_object_add(json, "next_boot", next_boot_json(&report->outlook));
	json_object_object_add(json, "pending", pending_json(&report->outlook));
	json_object_object_add(json, "dev_kvm", *host_root() ? NULL : json_string(access_names[report->access]));
	cet = cet_json(&report->cet);
	json_object_object_add(cet, "vmms",
			       offers_cet(&report->cet, report->running.set == NATIVE) ? vmms_json(&report->holders) :
											 NULL);
	json_object_object_add(json, "cet", cet);
	json_object_object_add(json, "vms", holders_json(&report->holders));
	json_object_object_add(json, "unfinished_swap", unfinished_json(&report->unfinished));
	json_object_object_add(json, "one_reg", json_object_new_boolean(report->good));
	json_object_object_add(json, "verdict", json_string(report->verdict));
	return json;
}

int cmd_status(int argc, char **argv)
{
	struct report report = { .access = KVM_FORBIDDEN };
	struct kernel_options options;
	struct kernel *kernel, *only;

	if (!read_kernel_options(&options, "status", true, help, argc, argv))
		return STATUS_OK;
	only = options.only;
	kernel = find_kernel(options.all, running_release());
	report.running = what_runs(kernel);
	if (!*host_root())
		report.access = probe_loaded_kvm(&report.running);
	report.cet = look_at_cet();
	report.outlook = look_ahead(options.all, kernel, &report.running, &report.cet);
	report.holders = who_holds_kvm();
	report.unfinished = look_at_unfinished();
	report.good = judge(&report.running, report.access, kernel, &report.verdict);
	if (only && !only->running) {
		report.good = only->set == OURS || only->set == NATIVE;
		report.verdict = kernel_verdict(only, report.good);
	}
	if (options.check)
		return monitor(&report.running, &report.outlook, &report.unfinished, report.good, report.verdict);
	if (options.json)
		print_json(report_json(options.all, only, &report));
	else
		print_report(options.all, options.release, &report);
	return report.good ? STATUS_OK : STATUS_NO;
}
