// SPDX-License-Identifier: GPL-2.0
/* What is loaded. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/elf-file.h"
#include "model/kernel.h"
#include "model/kvm.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "model/series.h"

bool same_module(const struct loaded *loaded, struct module *file)
{
	if (file->whose == MISSING || file->whose == DAMAGED)
		return false;
	if (loaded->build_id && build_id_of(file))
		return !strcmp(loaded->build_id, file->build_id);
	/* The distro's have neither: then all that can be said is that both are the distro's */
	if (loaded->version || file->version || loaded->srcversion || file->srcversion)
		return same_text(loaded->version, file->version) && same_text(loaded->srcversion, file->srcversion);
	return file->whose == DISTRO && !loaded->out_of_tree;
}

static void look_at_loaded(struct loaded *loaded, const char *name)
{
	unsigned char *notes;
	char *state, *value;
	size_t size;

	loaded->references = -1;
	loaded->there = path_exists("/sys/module/%s", name);
	if (!loaded->there)
		return;
	state = read_file("/sys/module/%s/initstate", name);
	if (!state) {
		/* Parameters of built-in code make a folder too */
		loaded->whose = BUILTIN;
		loaded->live = true;
		return;
	}
	loaded->live = !strcmp(state, "live");
	loaded->version = read_file("/sys/module/%s/version", name);
	loaded->srcversion = read_file("/sys/module/%s/srcversion", name);
	value = read_file("/sys/module/%s/taint", name);
	loaded->out_of_tree = value && strchr(value, 'O');
	value = read_file("/sys/module/%s/refcnt", name);
	if (value)
		loaded->references = atoi(value);
	notes = read_bytes(rooted_path("/sys/module/%s/notes/.note.gnu.build-id", name), &size);
	if (notes)
		loaded->build_id = notes_build_id(notes, size);
}

struct running what_runs(struct kernel *kernel)
{
	struct running running = { .as_resolved = true, .known = true };
	struct module *sets = allocate(2 * MODULES, sizeof(*sets));

	if (kernel) {
		find_set(kernel, OURS, sets);
		find_set(kernel, DISTRO, sets + MODULES);
	}
	for (int i = 0; i < MODULES; i++) {
		struct loaded *loaded = &running.module[i];

		look_at_loaded(loaded, loaded_names[i]);
		if (!loaded->there)
			continue;
		if (loaded->whose != BUILTIN) {
			struct module *files[] = { kernel ? &kernel->module[i] : NULL, &sets[i], &sets[MODULES + i] };

			for (size_t f = 0; f < 3 && !loaded->file; f++)
				if (files[f] && same_module(loaded, files[f]))
					loaded->file = files[f];
			if (loaded->file)
				loaded->whose = loaded->file->whose;
			else if (loaded->version)
				/* None of the file is left: of the modules of these names only ours have a version */
				loaded->whose = OURS;
			else
				loaded->whose = loaded->out_of_tree ? FOREIGN : DISTRO;
			running.as_resolved = running.as_resolved && kernel && loaded->file == &kernel->module[i];
			running.known = running.known && kernel && loaded->build_id && build_id_of(&kernel->module[i]);
		}
		running.vendor = running.vendor || (i != KVM && loaded->live);
		if (running.set == MISSING)
			running.set = loaded->whose;
		else if (running.set != loaded->whose ||
			 (loaded->whose == OURS && !same_text(loaded->version, running.module[KVM].version)))
			running.set = MIXED;
	}
	if (running.set == BUILTIN)
		running.vendor = true;
	if ((running.set == DISTRO || running.set == BUILTIN) && is_native(running_release())) {
		running.set = NATIVE;
		for (int i = 0; i < MODULES; i++)
			running.module[i].whose = NATIVE;
	}
	return running;
}

enum kvm_access probe_loaded_kvm(const struct running *running)
{
	return running->vendor || !path_exists("/sys/module") ? kvm_probe(NULL) : KVM_ABSENT;
}
