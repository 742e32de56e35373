// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: load and unload modules. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "model/kernel.h"
#include "model/kmod.h"
#include "model/kvm.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "model/series.h"
#include "swap/parameters.h"
#include "swap/report.h"
#include "swap/set.h"

/* Something else may load KVM's modules in between, when a program opens /dev/kvm: then it is done over. */
#define TRIES 5

/* How long to wait for a reference to kvm to go, with the vendor module unloaded: 20 times 50 ms */
#define WAITS	20
#define WAIT_NS 50000000

void open_files(struct set *set)
{
	for (int i = 0; i < MODULES; i++) {
		if (!set->wanted[i] || set->file[i] || !set->module[i].file)
			continue;
		set->file[i] = open(set->module[i].file, O_RDONLY | O_CLOEXEC);
		if (set->file[i] < 0)
			set->file[i] = 0;
		build_id_of(&set->module[i]);
	}
}

static char *error_of(int error, const char *name)
{
	switch (error) {
	case EKEYREJECTED:
	case ENOKEY:
	case EPERM:
		return format("%s does not load: %s (Secure Boot: the key that signed it is not enrolled)", name,
			      strerror(error));
	case ENOENT:
	case ENOEXEC:
	case EINVAL:
		return format("%s does not load: %s; see dmesg", name, strerror(error));
	case EOPNOTSUPP:
	case EIO:
	case ENODEV:
		return format("%s does not load: %s (no virtualization here, or the firmware disables it)", name,
			      strerror(error));
	default:
		return format("%s does not load: %s", name, strerror(error));
	}
}

bool is_loaded(int which)
{
	return path_exists("/sys/module/%s/initstate", loaded_names[which]);
}

int unload_module(int which)
{
	struct kmod_ctx *ctx = kmod_of_release(running_release());
	struct kmod_module *mod;
	int error = -kmod_module_new_from_name(ctx, loaded_names[which], &mod);

	if (!error) {
		error = -kmod_module_remove_module(mod, 0);
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	return error == ENOENT ? 0 : error;
}

int unload_kvm(void)
{
	static const struct timespec wait = { .tv_nsec = WAIT_NS };
	int error;

	for (int i = 0; (error = unload_module(KVM)) == EWOULDBLOCK && i < WAITS; i++)
		nanosleep(&wait, NULL);
	return error;
}

int unload_all(int *which)
{
	for (int i = MODULES - 1; i >= 0; i--) {
		int error = !is_loaded(i) ? 0 : i == KVM ? unload_kvm() : unload_module(i);

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
	struct kmod_ctx *ctx = kmod_of_release(running_release());
	const char *at = file->depends;
	int error = 0;

	while (at && *at && !error) {
		size_t n = strcspn(at, ",");
		char *name = format("%.*s", (int)n, at);
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
	const char *file = set->file[which] ? format("/proc/self/fd/%d", set->file[which]) : set->module[which].file;
	struct kmod_ctx *ctx = kmod_of_no_release();
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
static char *load(struct set *set, char * const options[MODULES], bool keep_kvm)
{
	for (int i = 0; i < MODULES; i++) {
		int error, blocker, tries = 0;

		if (!set->wanted[i] || (i == KVM && keep_kvm))
			continue;
		error = load_needed(&set->module[i]);
		if (error)
			return format("a module that %s needs (%s) does not load: %s", loaded_names[i],
				      set->module[i].depends, strerror(error));
		while ((error = insert(set, i, options[i])) == EEXIST && ++tries < TRIES) {
			add_note(format("%s was loaded by something else in the meantime; unloading it again",
					loaded_names[i]));
			error = i == KVM ? unload_all(&blocker) : unload_module(i);
			if (error)
				break;
		}
		if (error)
			return error_of(error, loaded_names[i]);
	}
	return NULL;
}

struct running what_runs_now(void)
{
	return what_runs(find_kernel(find_kernels(), running_release()));
}

char *verify_set(struct set *set)
{
	struct running running = what_runs_now();
	enum kvm_access access, expected;

	for (int i = 0; i < MODULES; i++) {
		struct loaded *loaded = &running.module[i];

		if (!set->wanted[i] && loaded->there)
			return format("%s is loaded, but should not be", loaded_names[i]);
		if (!set->wanted[i])
			continue;
		if (!loaded->there || !loaded->live)
			return format("%s is not loaded", loaded_names[i]);
		if (!same_module(loaded, &set->module[i]))
			return format("the loaded %s is not %s", loaded_names[i], set->module[i].file);
	}
	if (!set->wanted[KVM_INTEL] && !set->wanted[KVM_AMD])
		return NULL;
	access = kvm_probe(NULL);
	if (access != KVM_ONE_REG && access != KVM_NO_ONE_REG)
		return format("/dev/kvm does not open: %m");
	expected = set->module[KVM].whose == OURS ? KVM_ONE_REG : KVM_NO_ONE_REG;
	if (set->module[KVM].whose != FOREIGN && access != expected)
		return format("KVM_CAP_ONE_REG is %d", access == KVM_ONE_REG);
	return NULL;
}

/* Say which parameters were kept, and which could not be */
static void note_parameters(const struct set *set, const struct parameter *before, char * const options[MODULES])
{
	char *now;

	for (const struct parameter *one = before; one->name; one++) {
		if (!set->wanted[one->module] || !has_parameter(&set->module[one->module], one->name))
			continue;
		if (parameter_differs(one, &now)) {
			if (!set_by_file(one))
				add_note(format("%s.%s was %s and is %s now", loaded_names[one->module], one->name,
						one->value, now));
		} else if (strstr(options[one->module], option_with_value(one->name, one->value))) {
			add_note(format("%s.%s=%s kept", loaded_names[one->module], one->name, one->value));
		}
	}
}

/* Load @set once more, with these options; of kvm, too, if that is not kept. NULL, or why not */
static char *load_again(struct set *set, char * const options[MODULES], bool keep_kvm)
{
	char *failure;
	int error = 0;

	for (int i = KVM_INTEL; i < MODULES && !error; i++) {
		error = set->wanted[i] ? unload_module(i) : 0;
		if (error)
			add_note(format("cannot unload %s to load it with its parameters: %s", loaded_names[i],
					strerror(error)));
	}
	/* It is in use already: the loaded modules are right except for parameters, and stay */
	if (error)
		return NULL;
	error = keep_kvm ? 0 : unload_kvm();
	if (error)
		add_note(format("cannot unload kvm to load it with its parameters: %s", strerror(error)));
	failure = load(set, options, keep_kvm || error);
	return failure ? format("with the previous parameters (%s %s %s): %s", options[0], options[1], options[2],
				failure) :
			 NULL;
}

char *load_set(struct set *set, const struct parameter *before, bool keep_kvm)
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
			/* Only parameters that were on are a loss */
			if (strcmp(one->value, "N") && strcmp(one->value, "0"))
				add_note(format("%s.%s=%s is dropped: this %s has no such parameter",
						loaded_names[one->module], one->name, one->value,
						loaded_names[one->module]));
			continue;
		}
		if (!parameter_differs(one, &now))
			continue;
		if (set_by_file(one)) {
			add_note(format("%s.%s=%s kept", loaded_names[one->module], one->name, one->value));
			continue;
		}
		if (!one->whole)
			continue;
		options[one->module] = format("%s %s", options[one->module], option_with_value(one->name, one->value));
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

char *names_of_set(const struct set *set)
{
	char *names = "";

	for (int i = 0; i < MODULES; i++)
		if (set->wanted[i])
			names = format("%s%s%s", names, *names ? " " : "", loaded_names[i]);
	return names;
}

const char *describe_set(const struct set *set)
{
	return set->whose == OURS   ? format("our KVM %s", set->module[KVM].version) :
	       set->whose == DISTRO ? "the distro's KVM" :
				      format("the KVM of %s", without_root(set->module[KVM].file));
}
