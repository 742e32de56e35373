// SPDX-License-Identifier: GPL-2.0
/* libkmod. */
#include <stdlib.h>

#include "base/file.h"
#include "base/message.h"
#include "model/kmod.h"

struct kmod_ctx *new_kmod_context(const char *folder, const char * const *config)
{
	struct kmod_ctx *ctx;

	/* libkmod complains about modprobe.d on stderr, even in kmod_new() */
	setenv("KMOD_LOG", "0", 0);
	ctx = kmod_new(folder, config);
	if (!ctx)
		die(STATUS_CANNOT, NULL, "cannot set up libkmod: %m");
	return ctx;
}

struct kmod_ctx *kmod_of_no_release(void)
{
	static const char * const nothing[] = { NULL };

	return new_kmod_context("/nonexistent", nothing);
}

struct kmod_ctx *kmod_of_release(const char *release)
{
	const char * const below_root[] = {
		rooted_path("/etc/modprobe.d"),		  rooted_path("/run/modprobe.d"),
		rooted_path("/usr/local/lib/modprobe.d"), rooted_path("/usr/lib/modprobe.d"),
		rooted_path("/lib/modprobe.d"),		  NULL
	};

	return new_kmod_context(rooted_path("/lib/modules/%s", release), *host_root() ? below_root : NULL);
}
