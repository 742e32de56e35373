// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg swap: unload the three modules and load those of the other set, without a reboot.
 *
 * Nothing on disk changes: what modprobe takes at the next boot is what it was. Everything that can be known before is
 * checked before the first module goes. What happens then ends in one of three ways: the wanted set is loaded and
 * verified; the set from before is loaded again, or another one that works; or none could be loaded, and that is said.
 *
 * The way back needs neither the disk, as the files are open from the beginning, nor kvm to unload: something may take
 * a reference to it while the vendor module is gone. Then the vendor module that belongs to that kvm is loaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <libkmod.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/options.h"
#include "base/text.h"
#include "model/hold.h"
#include "model/holders.h"
#include "model/kernel.h"
#include "model/kmod.h"
#include "model/kvm.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "model/series.h"
#include "swap/swap.h"

/* Something else may load KVM's modules in between, when a program opens /dev/kvm: then it is done over. */
#define TRIES	5

/* How long to wait for a reference to kvm to go, with the vendor module unloaded: 20 times 50 ms */
#define WAITS	20
#define WAIT_NS	50000000

static bool as_json, dry_run;
static struct json_object *steps, *notes, *users;

static void add_line(struct json_object *array, const char *line)
{
	json_object_array_add(array, json_object_new_string(line));
}

/* What is done, or would be */
static void step(const char *line)
{
	add_line(steps, line);
	if (!as_json)
		printf("  %s\n", line);
	fflush(stdout);
}

/* What is worth knowing beside the result */
static void note(const char *line)
{
	add_line(notes, line);
	if (!as_json)
		printf("  %snote%s: %s\n", colour(YELLOW), colour(PLAIN), line);
	fflush(stdout);
}

static int finish(int status, const char *result, const char *sentence, const char *fix)
{
	if (as_json) {
		struct json_object *json = json_object_new_object();

		json_object_object_add(json, "result", json_object_new_string(result));
		json_object_object_add(json, "message", json_object_new_string(sentence));
		json_object_object_add(json, "fix", fix ? json_object_new_string(fix) : NULL);
		json_object_object_add(json, "dry_run", json_object_new_boolean(dry_run));
		json_object_object_add(json, "steps", steps);
		json_object_object_add(json, "notes", notes);
		json_object_object_add(json, "vms", users);
		print_json(json);
		return status;
	}
	json_object_put(steps);
	json_object_put(notes);
	json_object_put(users);
	if (status == STATUS_OK)
		printf("%s%s%s\n", colour(GREEN), sentence, colour(PLAIN));
	else
		complain(fix, "%s", sentence);
	return status;
}

/* ---- Parameters ---- */

struct parameter {
	int module;
	char *name, *value;
	bool whole;		/* may be given at load, too */
};

/*
 * What the loaded modules' parameters are; .name NULL ends the list. Those of a kvm that has had no vendor module yet
 * are not final, and not all of them can be given at load.
 */
static struct parameter *parameters(bool whole)
{
	struct parameter *all = NULL;
	size_t n = 0;

	for (int i = 0; i < MODULES; i++) {
		for (char **name = list("/sys/module/%s/parameters", loaded_names[i]); *name; name++) {
			char *value = read_file("/sys/module/%s/parameters/%s", loaded_names[i], *name);

			if (!value)
				continue;
			all = realloc(all, (n + 2) * sizeof(*all));
			if (!all)
				die(STATUS_CANNOT, NULL, "no memory");
			all[n++] = (struct parameter){ i, *name, value, whole };
		}
	}
	if (!all)
		return kept(calloc(1, sizeof(*all)));
	all[n].name = NULL;
	return kept(all);
}

static bool has_parameter(const struct module *file, const char *name)
{
	for (char **one = file->parameters; one && *one; one++)
		if (!strcmp(*one, name))
			return true;
	return false;
}

/* "name=value" with the quotes that the kernel takes */
static char *option(const char *name, const char *value)
{
	return text(strpbrk(value, " \t") ? "%s=\"%s\"" : "%s=%s", name, value);
}

/* modprobe's options for a module, those that its file has */
static char *plain_options(const struct module *file, int which)
{
	struct kmod_ctx *ctx = modules_of(running_release());
	struct kmod_module *mod;
	const char *configured;
	char *options = "";

	if (kmod_module_new_from_name(ctx, loaded_names[which], &mod) >= 0) {
		configured = kmod_module_get_options(mod);
		while (configured && *configured) {
			size_t n = strcspn(configured, " \t");
			char *word = text("%.*s", (int)n, configured);
			char *name = text("%.*s", (int)strcspn(word, "="), word);

			if (has_parameter(file, name))
				options = text("%s%s%s", options, *options ? " " : "", word);
			configured += n + !!configured[n];
		}
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	return options;
}

/* ---- Loading and unloading ---- */

struct set {
	enum whose whose;		/* OURS, DISTRO, MIXED, MISSING: no module */
	struct module module[MODULES];	/* the files; of those to load */
	bool wanted[MODULES];		/* load this one */
	int file[MODULES];		/* open, as it may be gone from disk later; 0 if not */
};

/* Open the files of a set, and read now what verify() asks of them */
static void open_files(struct set *set)
{
	for (int i = 0; i < MODULES; i++) {
		if (!set->wanted[i] || set->file[i] || !set->module[i].file)
			continue;
		set->file[i] = open(set->module[i].file, O_RDONLY | O_CLOEXEC);
		if (set->file[i] < 0)
			set->file[i] = 0;
		build_id(&set->module[i]);
	}
}

static char *error_of(int error, const char *name)
{
	switch (error) {
	case EKEYREJECTED: case ENOKEY: case EPERM:
		return text("%s does not load: %s (Secure Boot: the key that signed it is not enrolled)", name,
		strerror(error));
	case ENOENT: case ENOEXEC: case EINVAL:
		return text("%s does not load: %s; dmesg tells more", name, strerror(error));
	case EOPNOTSUPP: case EIO: case ENODEV:
		return text("%s does not load: %s (no virtualization here, or the firmware disables it)", name,
		strerror(error));
	default:
		return text("%s does not load: %s", name, strerror(error));
	}
}

static bool is_loaded(int which)
{
	return exists("/sys/module/%s/initstate", loaded_names[which]);
}

/* 0, or an errno; a module that is not loaded is no error */
static int unload(int which)
{
	struct kmod_ctx *ctx = modules_of(running_release());
	struct kmod_module *mod;
	int error = -kmod_module_new_from_name(ctx, loaded_names[which], &mod);

	if (!error) {
		error = -kmod_module_remove_module(mod, 0);
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	return error == ENOENT ? 0 : error;
}

/* kvm, once its vendor module is gone: a reference may be one of a moment */
static int unload_kvm(void)
{
	static const struct timespec wait = { .tv_nsec = WAIT_NS };
	int error;

	for (int i = 0; (error = unload(KVM)) == EWOULDBLOCK && i < WAITS; i++)
		nanosleep(&wait, NULL);
	return error;
}

static int unload_all(int *which)
{
	for (int i = MODULES - 1; i >= 0; i--) {
		int error = !is_loaded(i) ? 0 : i == KVM ? unload_kvm() : unload(i);

		if (error) {
			*which = i;
			return error;
		}
	}
	return 0;
}

/* What a module needs besides kvm: loaded by name, as modprobe does; it stays loaded */
static int load_needed(const struct module *file)
{
	struct kmod_ctx *ctx = modules_of(running_release());
	const char *at = file->depends;
	int error = 0;

	while (at && *at && !error) {
		size_t n = strcspn(at, ",");
		char *name = text("%.*s", (int)n, at);
		struct kmod_module *mod;

		at += n + !!at[n];
		if (!*name || !strcmp(name, "kvm") || kmod_module_new_from_name(ctx, name, &mod) < 0)
			continue;
		error = kmod_module_probe_insert_module(mod, KMOD_PROBE_IGNORE_COMMAND, NULL, NULL, NULL, NULL);
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	return error < 0 ? -error : 0;
}

static int insert(const struct set *set, int which, const char *options)
{
	const char *file = set->file[which] ? text("/proc/self/fd/%d", set->file[which]) : set->module[which].file;
	struct kmod_ctx *ctx = no_modules();
	struct kmod_module *mod;
	int error = -kmod_module_new_from_path(ctx, file, &mod);

	if (!error) {
		error = -kmod_module_insert_module(mod, 0, options);
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	return error;
}

/*
 * Load a set with these options per module; NULL, or why not. Something else may have loaded modules meanwhile: they
 * are unloaded again. With @keep_kvm the kvm that is loaded is the right one, and stays.
 */
static char *load(struct set *set, char *const options[MODULES], bool keep_kvm)
{
	for (int i = 0; i < MODULES; i++) {
		int error, blocker, tries = 0;

		if (!set->wanted[i] || (i == KVM && keep_kvm))
			continue;
		error = load_needed(&set->module[i]);
		if (error)
			return text("a module that %s needs (%s) does not load: %s", loaded_names[i],
				    set->module[i].depends, strerror(error));
		while ((error = insert(set, i, options[i])) == EEXIST && ++tries < TRIES) {
			note(text("%s was loaded by something else meanwhile; unloading it again", loaded_names[i]));
			error = i == KVM ? unload_all(&blocker) : unload(i);
			if (error)
				break;
		}
		if (error)
			return error_of(error, loaded_names[i]);
	}
	return NULL;
}

static struct running what_runs_now(void)
{
	return what_runs(find_kernel(kernels(), running_release()));
}

/* NULL, or what is not as it should be */
static char *verify(struct set *set)
{
	struct running running = what_runs_now();
	enum kvm_access access;

	for (int i = 0; i < MODULES; i++) {
		struct loaded *loaded = &running.module[i];

		if (!set->wanted[i] && loaded->there)
			return text("%s is loaded, and should not be", loaded_names[i]);
		if (!set->wanted[i])
			continue;
		if (!loaded->there || !loaded->live)
			return text("%s is not loaded", loaded_names[i]);
		if (!same_module(loaded, &set->module[i]))
			return text("the %s that is loaded is not %s", loaded_names[i], set->module[i].file);
	}
	if (!set->wanted[KVM_INTEL] && !set->wanted[KVM_AMD])
		return NULL;
	access = kvm_probe(NULL);
	if (access != KVM_ONE_REG && access != KVM_NO_ONE_REG)
		return text("/dev/kvm does not open: %m");
	if (set->module[KVM].whose != FOREIGN && (set->module[KVM].whose == OURS) != (access == KVM_ONE_REG))
		return text("KVM_CAP_ONE_REG is %d", access == KVM_ONE_REG);
	return NULL;
}

/* The parameters of @before that a module has and that are different now */
static bool differs(const struct parameter *parameter, char **now)
{
	*now = read_file("/sys/module/%s/parameters/%s", loaded_names[parameter->module], parameter->name);
	return *now && strcmp(*now, parameter->value);
}

static bool set_by_file(const struct parameter *parameter)
{
	int fd = open(path("/sys/module/%s/parameters/%s", loaded_names[parameter->module], parameter->name),
		      O_WRONLY | O_CLOEXEC);
	bool written;
	char *now;

	if (fd < 0)
		return false;
	written = write(fd, parameter->value, strlen(parameter->value)) >= 0;
	close(fd);
	return written && !differs(parameter, &now);
}

/* Say which parameters were kept, and which could not be */
static void note_parameters(const struct set *set, const struct parameter *before, char *const options[MODULES])
{
	char *now;

	for (const struct parameter *one = before; one->name; one++) {
		if (!set->wanted[one->module] || !has_parameter(&set->module[one->module], one->name))
			continue;
		if (differs(one, &now)) {
			if (!set_by_file(one))
				note(text("%s.%s was %s and is %s now", loaded_names[one->module], one->name,
					  one->value, now));
		} else if (strstr(options[one->module], option(one->name, one->value))) {
			note(text("%s.%s=%s kept", loaded_names[one->module], one->name, one->value));
		}
	}
}

/* Load @set once more, with these options; of kvm, too, if that is not kept. NULL, or why not */
static char *load_again(struct set *set, char *const options[MODULES], bool keep_kvm)
{
	char *failure;
	int error = 0;

	for (int i = KVM_INTEL; i < MODULES && !error; i++) {
		error = set->wanted[i] ? unload(i) : 0;
		if (error)
			note(text("cannot unload %s to load it with its parameters: %s", loaded_names[i],
				  strerror(error)));
	}
	/* It is in use already: what is loaded is right but for parameters, and stays */
	if (error)
		return NULL;
	error = keep_kvm ? 0 : unload_kvm();
	if (error)
		note(text("cannot unload kvm to load it with its parameters: %s", strerror(error)));
	failure = load(set, options, keep_kvm || error);
	return failure ? text("with the parameters from before (%s %s %s): %s", options[0], options[1], options[2],
			      failure) : NULL;
}

/*
 * Load @set as modprobe would, and give it the parameters that the modules had before. Those that can only be given
 * at load are, by loading once more: what a plain load gives must be known first. NULL, or why not.
 */
static char *load_with(struct set *set, const struct parameter *before, bool keep_kvm)
{
	bool again = false, again_kvm = false;
	char *options[MODULES], *failure, *now;

	for (int i = 0; i < MODULES; i++)
		options[i] = set->wanted[i] ? plain_options(&set->module[i], i) : "";
	failure = load(set, options, keep_kvm);
	if (failure)
		return failure;
	for (const struct parameter *one = before; one->name; one++) {
		if (!set->wanted[one->module])
			continue;
		if (!has_parameter(&set->module[one->module], one->name)) {
			/* Only what was switched on is a loss */
			if (strcmp(one->value, "N") && strcmp(one->value, "0"))
				note(text("%s.%s=%s is dropped: this %s has no such parameter",
					  loaded_names[one->module], one->name, one->value,
					  loaded_names[one->module]));
			continue;
		}
		if (!differs(one, &now))
			continue;
		if (set_by_file(one)) {
			note(text("%s.%s=%s kept", loaded_names[one->module], one->name, one->value));
			continue;
		}
		if (!one->whole)
			continue;
		options[one->module] = text("%s %s", options[one->module], option(one->name, one->value));
		again = true;
		again_kvm |= one->module == KVM;
	}
	if (!again)
		return NULL;
	failure = load_again(set, options, keep_kvm || !again_kvm);
	if (!failure)
		note_parameters(set, before, options);
	return failure;
}

/* ---- Before ---- */

static int busy(const char *sentence, const char *fix)
{
	return finish(STATUS_BUSY, "refused", sentence, fix);
}

/* @list and one more, with @between */
static char *and(char *list, const char *between, const char *one)
{
	return list ? text("%s%s%s", list, between, one) : text("%s", one);
}

/* Who holds KVM, as a phrase, or NULL; *fix tells what to do */
static char *who(char **fix)
{
	struct holders holders = who_holds_kvm();
	char *names = NULL, *modules = NULL, *maybe = NULL, *end = NULL, *unnamed = describe_unnamed(&holders);

	json_object_put(users);
	users = holders_json(&holders);
	*fix = NULL;
	if (!is_held(&holders))
		return NULL;
	for (int i = 0; i < holders.processes; i++)
		names = text("%s\n    %s", names ? names : "", describe_holder(&holders.process[i]));
	if (names)
		*fix = text("end or migrate %s", holders.processes == 1 ? "it" : "them");
	for (char **module = holders.module; *module; module++) {
		names = text("%s\n    module %s", names ? names : "", *module);
		modules = and(modules, " ", *module);
	}
	if (modules)
		*fix = and(*fix, "; ", text("modprobe -r %s", modules));
	for (int i = 0; i < holders.holds; i++) {
		struct hold *hold = &holders.hold[i];

		if (hold->how == MAYBE) {
			end = maybe ? "end what is named here, one after the other" : hold->fix;
			maybe = text("%s\n    maybe %s", maybe ? maybe : "", hold->what);
			continue;
		}
		names = text("%s\n    %s", names ? names : "", hold->what);
		*fix = and(*fix, "; ", hold->fix);
	}
	if (unnamed && maybe)
		*fix = and(*fix, "; ", end);
	else if (unnamed && holders.vendor_references && !holders.processes)
		*fix = and(*fix, "; ",
			   "look for it on the host itself, outside of containers: ls -l /proc/*/fd | grep kvm");
	else if (unnamed)
		*fix = and(*fix, "; ",
			   "end what traces KVM on this host: ls -l /proc/*/fd | grep -e perf_event -e bpf; bpftool link show");
	if (*fix)
		*fix = text("%s, then run this again", *fix);
	if (!unnamed)
		return names ? text("KVM is in use by%s", names) : "KVM is in use";
	return text("%s%s%s", names ? text("KVM is in use by%s\n    and ", names) : "", unnamed, maybe ? maybe : "");
}

/* Which vendor module this CPU takes: those that are loaded, or else by its flags */
static void choose(struct set *set, const struct running *running)
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

static char *files_of(const struct set *set)
{
	char *names = "";

	for (int i = 0; i < MODULES; i++)
		if (set->wanted[i])
			names = text("%s%s%s", names, *names ? " " : "", loaded_names[i]);
	return names;
}

/* Says which command brings a set that is not all there */
static int not_there(const struct kernel *kernel, enum whose whose, const struct module set[MODULES])
{
	char *state = text("kvm %s, kvm-intel %s, kvm-amd %s", whose_names[set[KVM].whose],
		whose_names[set[KVM_INTEL].whose],
			   whose_names[set[KVM_AMD].whose]);

	if (whose == OURS)
		return finish(STATUS_CANNOT, "refused", text("our modules are not complete on disk for kernel %s: %s",
							     kernel->release, state),
			      text("kvm-onereg doctor -k %s tells what is missing", kernel->release));
	return finish(STATUS_CANNOT, "refused", text("the distro's modules are not complete on disk for kernel %s: %s",
						     kernel->release, state),
		      text("apt-get install --reinstall linux-image-%s", kernel->release));
}

/* ---- The swap ---- */

/* The sets that may be loaded, the better ones first */
struct ways {
	struct set before, other, to;
	bool have_before, have_other;
	const struct parameter *had;
};

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
		error = unload(i);
		if (error && keep && set->wanted[i] && same_module(&running.module[i], &set->module[i]))
			return NULL;
		if (error)
			return text("cannot unload %s: %s", loaded_names[i], strerror(error));
	}
	error = running.module[KVM].there && !keep ? unload_kvm() : 0;
	if (error)
		return text("cannot unload kvm: %s", strerror(error));
	failure = load_with(set, had, keep);
	if (failure && keep && !unload_kvm())
		failure = load_with(set, had, false);
	return failure;
}

/* Load the best set that loads, with the parameters from before or else without; NULL, or why not */
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
		step(text("load %s (%s)%s", files_of(set), whose_names[set->whose],
			  i % 2 ? ", with the parameters of modprobe.d" : ""));
		why = load_over(set, i % 2 ? &none : ways->had);
		if (!why)
			why = verify(set);
		if (!why) {
			*loaded = set;
			return NULL;
		}
		if (strcmp(why, last))
			note(why);
		last = why;
		if (!failure)
			failure = why;
	}
	return failure;
}

static const char *name_of(const struct set *set)
{
	return set->whose == OURS ? text("our KVM %s", set->module[KVM].version) :
		set->whose == DISTRO ? "the distro's KVM" : text("the KVM of %s", shown(set->module[KVM].file));
}

/* @holds: who keeps a module from unloading, and @fix, what ends it; or NULL */
static int roll_back(struct ways *ways, const char *why, const char *holds, const char *fix)
{
	const char *and_held = holds ? text(": %s", holds) : "";
	struct set *loaded = NULL;
	char *failure, *now;

	step(text("failed: %s", why));
	if (!ways->have_before)
		note("the files of the modules that were loaded are gone");
	failure = load_any(ways, &loaded);
	if (failure) {
		holds = who(&now);
		return finish(STATUS_BROKEN, "broken", text("%s; and the way back failed: %s%s%s", why, failure,
							    holds ? ": " : "", holds ? holds : ""),
			      now ? now : "run it again, or: modprobe kvm_intel (AMD: kvm_amd), or reboot");
	}
	return finish(STATUS_ROLLED_BACK, "rolled back", loaded == &ways->before ?
		      text("%s; the modules from before are loaded again%s", why, and_held) :
		      text("%s; %s is loaded now%s", why, name_of(loaded), and_held),
		      fix ? fix : "kvm-onereg doctor");
}

static int swap(const struct kernel *kernel, struct running *running, struct ways *ways, bool keep_kvm)
{
	struct set *to = &ways->to;
	const char *after = kernel->set == to->whose ? "the same at the next boot" :
		text("the next boot loads what modprobe takes: %s", describe(kernel));
	int blocker = -1, error = 0;
	bool unchanged = true;
	sigset_t all;
	char *why;

	if (running->set != MISSING && !keep_kvm) {
		char *loaded = "";

		for (int i = 0; i < MODULES; i++)
			if (running->module[i].there)
				loaded = text("%s%s%s", loaded, *loaded ? " " : "", loaded_names[i]);
		step(text("unload %s (%s)", loaded, whose_names[running->set]));
	}
	for (int i = keep_kvm ? KVM_INTEL : KVM; i < MODULES; i++)
		if (to->wanted[i])
			step(text("load %s", shown(to->module[i].file)));
	step("verify what is loaded");
	if (dry_run)
		return finish(STATUS_OK, "dry run",
			      text("Nothing was done (--dry-run); with %s loaded, %s.", name_of(to), after), NULL);

	/* From here on, Ctrl-C or a lost terminal must not leave half of it */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	if (!keep_kvm)
		error = unload_all(&blocker);
	for (int i = 0; i < MODULES; i++)
		unchanged &= !running->module[i].there || is_loaded(i);
	if (error && unchanged && (error == EWOULDBLOCK || error == EBUSY)) {
		/* A VM was started meanwhile */
		char *fix, *holds = who(&fix);

		return busy(text("nothing was changed: %s came into use meanwhile: %s", loaded_names[blocker],
				 holds ? holds : strerror(error)), fix ? fix : "run this again");
	}
	if (error && unchanged)
		return finish(STATUS_CANNOT, "refused", text("nothing was changed: cannot unload %s: %s",
							     loaded_names[blocker], strerror(error)),
			      "run this on the host itself, outside of containers");
	if (error) {
		char *fix, *holds = who(&fix);

		return roll_back(ways, text("cannot unload %s: %s", loaded_names[blocker], strerror(error)), holds,
				 fix);
	}
	why = load_with(to, ways->had, keep_kvm);
	if (!why)
		why = verify(to);
	if (why)
		return roll_back(ways, why, NULL, NULL);
	return finish(STATUS_OK, "swapped", text("%s is loaded; %s.", name_of(to), after), NULL);
}

/* KVM is held and has no vendor module: the wanted set cannot be loaded, but what is there can be completed */
static int complete(struct ways *ways, const char *holds, const char *fix)
{
	char *why;

	step(text("load %s (%s)", files_of(&ways->before), whose_names[ways->before.whose]));
	if (dry_run)
		return busy(text("the kvm that is loaded would be completed, not replaced: %s", holds), fix);
	why = load_with(&ways->before, ways->had, true);
	if (!why)
		why = verify(&ways->before);
	if (why)
		return finish(STATUS_BROKEN, "broken", text("%s; and the kvm that is loaded could not be completed: %s",
							    holds, why), fix);
	return finish(STATUS_ROLLED_BACK, "rolled back",
		      text("%s; the kvm that is loaded (%s) was completed, so that VMs can run", holds,
			   whose_names[ways->before.whose]), fix);
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

static const char help[] =
"usage: kvm-onereg swap ours|distro [--dry-run] [--json]\n"
"\n"
"  Unload kvm and kvm_intel or kvm_amd, and load those of this package (ours) or\n"
"  of the kernel's package (distro), with the parameters that they have now. No\n"
"  VM may run, and nothing else may hold KVM: what does is named. Nothing on disk\n"
"  changes. If anything fails, the modules from before are loaded again.\n"
"\n"
"  -n, --dry-run  make all checks, print the steps, do nothing\n"
"      --json     for programs\n"
"\n"
"Exit status: 0 done, or nothing to do; 2 wrong use; 3 not possible here: not\n"
"root, no such modules on disk; 4 VMs run, or something else holds KVM: nothing\n"
"was changed; 5 failed, the modules from before, or others that work, are\n"
"loaded; 6 failed, and so did the way back.\n";

int cmd_swap(int argc, char **argv)
{
	enum { JSON = LONG_ONLY };
	static const struct option options[] = {
		{ "dry-run", no_argument, NULL, 'n' }, { "json", no_argument, NULL, JSON },
		{ "help", no_argument, NULL, 'h' }, { }
	};
	struct ways ways = { 0 };
	struct set *to = &ways.to;
	int option, lock, vendor, missing = KVM;
	struct running running;
	struct kernel *kernel;
	const char *cannot;
	char *holds, *fix;
	bool half, keep;

	while ((option = next_option("swap", options, argc, argv)) != -1) {
		switch (option) {
		case 'n':
			dry_run = true;
			break;
		case JSON:
			as_json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return STATUS_OK;
		}
	}
	if (argc - optind != 1)
		usage_error("swap", "say what to load: ours or distro");
	if (!strcmp(argv[optind], "ours"))
		to->whose = OURS;
	else if (!strcmp(argv[optind], "distro"))
		to->whose = DISTRO;
	else
		usage_error("swap", "'%s' is neither ours nor distro", argv[optind]);
	if (*host_root() && !dry_run)
		usage_error("swap", "KVM_ONEREG_ROOT is set: with it, only --dry-run");

	steps = json_object_new_array();
	notes = json_object_new_array();
	kernel = find_kernel(kernels(), running_release());
	if (is_native(running_release()))
		return finish(STATUS_OK, "nothing to do",
			text("Kernel %s has ONE_REG itself: there is nothing to swap.",
							       running_release()), NULL);
	if (!kernel)
		return finish(STATUS_CANNOT, "refused", text("the running kernel, %s, has no modules in /lib/modules",
							     running_release()),
							     text("apt-get install linux-image-%s", running_release()));
	running = what_runs(kernel);
	if (running.set == BUILTIN)
		return finish(STATUS_CANNOT, "refused", "KVM is built into the running kernel: it cannot be unloaded",
			NULL);
	if (!find_set(kernel, to->whose, to->module))
		return not_there(kernel, to->whose, to->module);
	for (int i = 0; i < MODULES; i++)
		if (!to->module[i].not_configured && (!to->module[i].vermagic ||
		    strncmp(to->module[i].vermagic, kernel->release, strlen(kernel->release))))
			return finish(STATUS_CANNOT, "refused", text("%s is not of kernel %s",
				shown(to->module[i].file), kernel->release),
				      text("kvm-onereg doctor -k %s", kernel->release));
	choose(to, &running);
	if (!to->wanted[KVM_INTEL] && !to->wanted[KVM_AMD])
		return finish(STATUS_CANNOT, "refused", "this CPU has no virtualization, or the firmware disables it",
			"kvm-onereg doctor");
	vendor = to->wanted[KVM_INTEL] ? KVM_INTEL : KVM_AMD;
	if (!to->module[vendor].file)
		return finish(STATUS_CANNOT, "refused",
			      text("kernel %s is configured without %s, which this CPU needs", kernel->release,
				   loaded_names[vendor]), "use a kernel that is configured for this CPU");
	half = running.module[KVM].there && !running.vendor;
	if (running.vendor && running.set != MIXED) {
		bool same = true;

		for (int i = 0; i < MODULES; i++)
			same &= !to->wanted[i] || same_module(&running.module[i], &to->module[i]);
		if (same)
			return finish(STATUS_OK, "nothing to do", text("Nothing to do: %s is loaded.", name_of(to)),
				      NULL);
	}
	if (!dry_run && geteuid())
		return finish(STATUS_CANNOT, "refused", "loading modules needs root",
			      text("sudo kvm-onereg swap %s", argv[optind]));
	cannot = cannot_load();
	if (cannot)
		return finish(STATUS_CANNOT, "refused", text("nothing was changed: %s", cannot),
			      strstr(cannot, "boot") ? "reboot: the next boot loads what modprobe takes" :
			      "run this on the host itself, outside of containers");
	/* Not two at a time. No file is made for it, and the lock goes with the process */
	lock = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (lock >= 0 && flock(lock, (dry_run ? LOCK_SH : LOCK_EX) | LOCK_NB) && errno == EWOULDBLOCK)
		return busy("another \"kvm-onereg swap\" is running", "wait for it to end");
	if (dry_run && lock >= 0)
		flock(lock, LOCK_UN);
	if (geteuid())
		note("not root: VMs of other users were not looked for");
	ways.had = parameters(!half);
	ways.have_before = file_of_loaded(kernel, &running, &ways.before, vendor, &missing);
	ways.other.whose = to->whose == OURS ? DISTRO : OURS;
	memcpy(ways.other.wanted, to->wanted, sizeof(to->wanted));
	ways.have_other = find_set(kernel, ways.other.whose, ways.other.module) && ways.other.module[vendor].file &&
		(!ways.have_before || ways.before.whose != ways.other.whose);
	if (ways.have_before)
		open_files(&ways.before);
	if (ways.have_other)
		open_files(&ways.other);
	open_files(to);
	/* After kill -9 the right kvm may be there: then only its vendor module is missing */
	keep = half && same_module(&running.module[KVM], &to->module[KVM]);
	if (!ways.have_before && !keep)
		note(text("the file that %s was loaded from is gone: if this fails, there is no way back to it",
			  loaded_names[missing]));
	holds = who(&fix);
	if (!as_json)
		printf("%s: %s to %s\n", kernel->release,
		       running.set == MISSING ? "from nothing" : text("from %s", whose_names[running.set]),
		       name_of(to));
	if (holds && half && !keep && ways.have_before)
		return complete(&ways, holds, fix);
	if (holds && !keep)
		return busy(text("nothing was changed: %s", holds), fix);
	return swap(kernel, &running, &ways, keep);
}
