// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: parameters of modules. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/kmod.h"
#include "model/module-file.h"
#include "model/series.h"
#include "swap/parameters.h"

struct parameter *loaded_parameters(bool whole)
{
	struct parameter *all = allocate(1, sizeof(*all));
	size_t n = 0;

	for (int i = 0; i < MODULES; i++) {
		for (char **name = list_folder("/sys/module/%s/parameters", loaded_names[i]); *name; name++) {
			char *value = read_file("/sys/module/%s/parameters/%s", loaded_names[i], *name);

			if (!value)
				continue;
			all = enlarged(all, n, 2, sizeof(*all));
			all[n++] = (struct parameter) { i, *name, value, whole };
		}
	}
	return all;
}

bool has_parameter(const struct module *file, const char *name)
{
	for (char **one = file->parameters; one && *one; one++)
		if (!strcmp(*one, name))
			return true;
	return false;
}

char *option_with_value(const char *name, const char *value)
{
	return format(strpbrk(value, " \t") ? "%s=\"%s\"" : "%s=%s", name, value);
}

char *plain_options(const struct module *file, int which)
{
	struct kmod_ctx *ctx = kmod_of_release(running_release());
	struct kmod_module *mod;
	const char *configured;
	char *options = "";

	if (kmod_module_new_from_name(ctx, loaded_names[which], &mod) >= 0) {
		configured = kmod_module_get_options(mod);
		while (configured && *configured) {
			size_t n = strcspn(configured, " \t");
			char *word = format("%.*s", (int)n, configured);
			char *name = format("%.*s", (int)strcspn(word, "="), word);

			if (has_parameter(file, name))
				options = format("%s%s%s", options, *options ? " " : "", word);
			configured += n + !!configured[n];
		}
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	return options;
}

bool parameter_differs(const struct parameter *parameter, char **now)
{
	*now = read_file("/sys/module/%s/parameters/%s", loaded_names[parameter->module], parameter->name);
	return *now && strcmp(*now, parameter->value);
}

bool set_by_file(const struct parameter *parameter)
{
	int fd = open(rooted_path("/sys/module/%s/parameters/%s", loaded_names[parameter->module], parameter->name),
		      O_WRONLY | O_CLOEXEC);
	bool written;
	char *now;

	if (fd < 0)
		return false;
	written = write(fd, parameter->value, strlen(parameter->value)) >= 0;
	close(fd);
	return written && !parameter_differs(parameter, &now);
}
