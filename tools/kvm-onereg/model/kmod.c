// SPDX-License-Identifier: GPL-2.0
/* libkmod. */
#include <stdlib.h>

#include "base/file.h"
#include "base/message.h"
#include "model/kmod.h"

struct kmod_ctx *context_of(const char *folder, const char * const *config)
{
	struct kmod_ctx *ctx;

	/* libkmod complains of modprobe.d on stderr, in kmod_new() already */
	setenv("KMOD_LOG", "0", 0);
	ctx = kmod_new(folder, config);
	if (!ctx)
		die(STATUS_CANNOT, NULL, "cannot set up libkmod: %m");
	return ctx;
}

struct kmod_ctx *no_modules(void)
{
	static const char * const nothing[] = { NULL };

	return context_of("/nonexistent", nothing);
}

struct kmod_ctx *modules_of(const char *release)
{
	const char * const below_root[] = { path("/etc/modprobe.d"),	       path("/run/modprobe.d"),
					    path("/usr/local/lib/modprobe.d"), path("/usr/lib/modprobe.d"),
					    path("/lib/modprobe.d"),	       NULL };

	return context_of(path("/lib/modules/%s", release), *host_root() ? below_root : NULL);
}
