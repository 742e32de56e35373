// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg swap: unload the three modules and load those of the other set, without a reboot.
 *
 * Nothing on disk changes: what modprobe takes at the next boot is what it was. Everything that can be known before is
 * checked before the first module goes. What happens then ends in one of three ways: the wanted set is loaded and
 * verified; the set from before is loaded again; or neither could be loaded, and that is said.
 */
#include <errno.h>
#include <fcntl.h>
#include <libkmod.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "holders.h"
#include "host.h"
#include "kvm-onereg.h"
#include "kvm.h"
#include "modules.h"
#include "options.h"

/* Something else may load KVM's modules in between, when a program opens /dev/kvm: then it is done over. */
#define TRIES	5

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
};

/* What the loaded modules' parameters are; .name NULL ends the list */
static struct parameter *parameters(void)
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
			all[n++] = (struct parameter){ i, *name, value };
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
};

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

static int unload_all(int *which)
{
	for (int i = MODULES - 1; i >= 0; i--) {
		int error = is_loaded(i) ? unload(i) : 0;

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

static int insert(const struct module *file, const char *options)
{
	struct kmod_ctx *ctx = no_modules();
	struct kmod_module *mod;
	int error = -kmod_module_new_from_path(ctx, file->file, &mod);

	if (!error) {
		error = -kmod_module_insert_module(mod, 0, options);
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	return error;
}

/*
 * Load a set with these options per module; NULL, or why not. Something else may have loaded modules meanwhile: right
 * ones are as good, others are unloaded again.
 */
static char *load(struct set *set, char *const options[MODULES])
{
	for (int i = 0; i < MODULES; i++) {
		int error, blocker, tries = 0;

		if (!set->wanted[i])
			continue;
		error = load_needed(&set->module[i]);
		if (error)
			return text("a module that %s needs (%s) does not load: %s", loaded_names[i],
				set->module[i].depends,
				    strerror(error));
		while ((error = insert(&set->module[i], options[i])) == EEXIST && ++tries < TRIES) {
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

/* NULL, or what is not as it should be */
static char *verify(struct set *set)
{
	struct kernel *all = kernels();
	struct running running = what_runs(find_kernel(all, running_release()));
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

/*
 * Load @set as modprobe would, and give it the parameters that the modules had before. Those that can only be given
 * at load are, by loading once more: what a plain load gives must be known first. NULL, or why not.
 */
static char *load_with(struct set *set, const struct parameter *before)
{
	char *options[MODULES], *failure, *now;
	bool again = false;
	int blocker, error;

	for (int i = 0; i < MODULES; i++)
		options[i] = set->wanted[i] ? plain_options(&set->module[i], i) : "";
	failure = load(set, options);
	if (failure)
		return failure;
	for (const struct parameter *one = before; one->name; one++) {
		if (!set->wanted[one->module])
			continue;
		if (!has_parameter(&set->module[one->module], one->name)) {
			/* Only what was switched on is a loss */
			if (strcmp(one->value, "N") && strcmp(one->value, "0"))
				note(text("%s.%s=%s is dropped: this %s has no such parameter",
					loaded_names[one->module],
					  one->name, one->value, loaded_names[one->module]));
			continue;
		}
		if (!differs(one, &now))
			continue;
		if (set_by_file(one)) {
			note(text("%s.%s=%s kept", loaded_names[one->module], one->name, one->value));
			continue;
		}
		options[one->module] = text("%s %s", options[one->module], option(one->name, one->value));
		again = true;
	}
	if (!again)
		return NULL;
	error = unload_all(&blocker);
	if (error)
		return text("cannot unload %s to load it with its parameters: %s", loaded_names[blocker],
			strerror(error));
	failure = load(set, options);
	if (failure)
		return text("with the parameters from before (%s %s %s): %s", options[0], options[1], options[2],
			failure);
	for (const struct parameter *one = before; one->name; one++) {
		if (!set->wanted[one->module] || !has_parameter(&set->module[one->module], one->name))
			continue;
		if (strstr(options[one->module], option(one->name, one->value)) && !differs(one, &now))
			note(text("%s.%s=%s kept", loaded_names[one->module], one->name, one->value));
		else if (differs(one, &now) && !set_by_file(one))
			note(text("%s.%s was %s and is %s now", loaded_names[one->module], one->name, one->value, now));
	}
	return NULL;
}

/* ---- Before ---- */

static int busy(const char *sentence, const char *fix)
{
	return finish(STATUS_BUSY, "refused", sentence, fix);
}

/* Who holds KVM, as a phrase, or NULL; *fix tells what to do */
static char *who(const struct running *running, char **fix)
{
	struct holders holders = who_holds_kvm();
	char *names = NULL;
	int used = 0;

	json_object_put(users);
	users = holders_json(&holders);
	for (int i = 0; i < holders.processes; i++)
		names = text("%s\n    %s", names ? names : "", describe_holder(&holders.process[i]));
	if (names) {
		*fix = text("end or migrate %s, then run this again", holders.processes == 1 ? "it" : "them");
		return text("KVM is in use by%s", names);
	}
	for (char **module = holders.module; *module; module++)
		names = text("%s %s", names ? names : "", *module);
	if (names) {
		*fix = text("modprobe -r%s, then run this again", names);
		return text("other modules use KVM:%s", names);
	}
	for (int i = KVM_INTEL; i < MODULES; i++)
		if (running->module[i].references > 0)
			used += running->module[i].references;
	if (used) {
		*fix = text("look for it on the host itself, outside of containers: ls -l /proc/*/fd | grep kvm");
		return text("KVM is in use %d times, by processes that cannot be seen from here", used);
	}
	return NULL;
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

/* A file for each loaded module, to go back to; false if one is gone, *missing tells which */
static bool file_of_loaded(const struct running *running, struct set *set, int *missing)
{
	bool all = true;

	set->whose = running->set;
	for (int i = 0; i < MODULES; i++) {
		set->wanted[i] = running->module[i].there;
		if (!set->wanted[i])
			continue;
		if (running->module[i].file) {
			set->module[i] = *running->module[i].file;
		} else {
			*missing = i;
			all = false;
		}
	}
	return all;
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

static int roll_back(struct set *before, const struct parameter *had, const char *why, bool have_before)
{
	char *failure = NULL;
	int blocker, error;

	step(text("failed: %s", why));
	error = unload_all(&blocker);
	if (error)
		failure = text("cannot unload %s: %s", loaded_names[blocker], strerror(error));
	else if (!have_before)
		failure = text("the files of the modules that were loaded are gone");
	if (!failure) {
		step(before->whose == MISSING ? "nothing was loaded before: done" :
		     text("load what was loaded before: %s", files_of(before)));
		failure = before->whose == MISSING ? NULL : load_with(before, had);
	}
	if (!failure)
		failure = verify(before);
	if (failure)
		return finish(STATUS_BROKEN, "broken", text("%s; and the way back failed: %s", why, failure),
			      "run it again, or: modprobe kvm_intel (AMD: kvm_amd), or reboot");
	return finish(STATUS_ROLLED_BACK, "rolled back", before->whose == MISSING ?
		      text("%s; no module of KVM is loaded, as before", why) :
		      text("%s; the modules from before are loaded again", why), "kvm-onereg doctor");
}

static int swap(const struct kernel *kernel, struct running *running, struct set *to, const char *to_name)
{
	const char *after = kernel->set == to->whose ? "the same at the next boot" :
		text("the next boot loads what modprobe takes: %s", describe(kernel));
	const struct parameter *had = parameters();
	int blocker = -1, error, missing = -1;
	struct set before = { 0 };
	bool have_before, unchanged = true;
	sigset_t all;
	char *why;

	have_before = file_of_loaded(running, &before, &missing);
	if (!have_before)
		note(text("the file that %s was loaded from is gone: if this fails, there is no way back to it",
			  loaded_names[missing]));
	if (running->set != MISSING)
		step(text("unload %s (%s)", files_of(&before), whose_names[running->set]));
	for (int i = 0; i < MODULES; i++)
		if (to->wanted[i])
			step(text("load %s", shown(to->module[i].file)));
	step("verify what is loaded");
	if (dry_run)
		return finish(STATUS_OK, "dry run",
			      text("Nothing was done (--dry-run); with %s loaded, %s.", to_name, after), NULL);

	/* From here on, Ctrl-C or a lost terminal must not leave half of it */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	error = unload_all(&blocker);
	for (int i = 0; i < MODULES; i++)
		unchanged &= !before.wanted[i] || is_loaded(i);
	if (error && unchanged && (error == EWOULDBLOCK || error == EBUSY)) {
		/* A VM was started meanwhile */
		char *fix = NULL, *holds = who(running, &fix);

		return busy(text("nothing was changed: %s came into use meanwhile: %s", loaded_names[blocker],
				 holds ? holds : strerror(error)), fix ? fix : "run this again");
	}
	if (error && unchanged)
		return finish(STATUS_CANNOT, "refused", text("nothing was changed: cannot unload %s: %s",
							     loaded_names[blocker], strerror(error)),
							     "run this on the host itself, outside of containers");
	if (error)
		return roll_back(&before, had, text("cannot unload %s: %s", loaded_names[blocker], strerror(error)),
			have_before);
	why = load_with(to, had);
	if (!why)
		why = verify(to);
	if (why)
		return roll_back(&before, had, why, have_before);
	return finish(STATUS_OK, "swapped", text("%s is loaded; %s.", to_name, after), NULL);
}

static const char help[] =
"usage: kvm-onereg swap ours|distro [--dry-run] [--json]\n"
"\n"
"  Unload kvm and kvm_intel or kvm_amd, and load those of this package (ours) or\n"
"  of the kernel's package (distro), with the parameters that they have now. No\n"
"  VM may run. Nothing on disk changes. If anything fails, the modules from\n"
"  before are loaded again.\n"
"\n"
"  -n, --dry-run  print the steps, do nothing\n"
"      --json     for programs\n"
"\n"
"Exit status: 0 done, or nothing to do; 2 wrong use; 3 not possible here: not\n"
"root, no such modules on disk; 4 VMs run, or something else uses KVM: nothing\n"
"was changed; 5 failed, the modules from before are loaded again; 6 failed, and\n"
"so did the way back.\n";

int cmd_swap(int argc, char **argv)
{
	enum { JSON = LONG_ONLY };
	static const struct option options[] = {
		{ "dry-run", no_argument, NULL, 'n' }, { "json", no_argument, NULL, JSON },
		{ "help", no_argument, NULL, 'h' }, { }
	};
	struct set to = { 0 };
	struct running running;
	struct kernel *kernel;
	char *holds, *fix, *name;
	int option, lock;

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
		to.whose = OURS;
	else if (!strcmp(argv[optind], "distro"))
		to.whose = DISTRO;
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
	if (!find_set(kernel, to.whose, to.module))
		return not_there(kernel, to.whose, to.module);
	for (int i = 0; i < MODULES; i++)
		if (!to.module[i].not_configured &&
		    (!to.module[i].vermagic || strncmp(to.module[i].vermagic, kernel->release, strlen(kernel->release))))
			return finish(STATUS_CANNOT, "refused", text("%s is not of kernel %s",
				shown(to.module[i].file), kernel->release),
				      text("kvm-onereg doctor -k %s", kernel->release));
	choose(&to, &running);
	if (!to.wanted[KVM_INTEL] && !to.wanted[KVM_AMD])
		return finish(STATUS_CANNOT, "refused", "this CPU has no virtualization, or the firmware disables it",
			"kvm-onereg doctor");
	name = to.whose == OURS ? text("our KVM %s", to.module[KVM].version) : text("the distro's KVM");
	if (running.vendor && running.set != MIXED) {
		bool same = true;

		for (int i = 0; i < MODULES; i++)
			same &= !to.wanted[i] || same_module(&running.module[i], &to.module[i]);
		if (same)
			return finish(STATUS_OK, "nothing to do", text("Nothing to do: %s is loaded.", name), NULL);
	}
	if (!dry_run && geteuid())
		return finish(STATUS_CANNOT, "refused", "loading modules needs root",
			      text("sudo kvm-onereg swap %s", argv[optind]));
	/* Not two at a time. No file is made for it, and the lock goes with the process */
	lock = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (!dry_run && lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
		return busy("another \"kvm-onereg swap\" is running", "wait for it to end");
	if (geteuid())
		note("not root: VMs of other users were not looked for");
	holds = who(&running, &fix);
	if (holds)
		return busy(text("nothing was changed: %s", holds), fix);
	if (!as_json)
		printf("%s: %s to %s\n", kernel->release,
		       running.set == MISSING ? "from nothing" : text("from %s", whose_names[running.set]), name);
	return swap(kernel, &running, &to, name);
}
