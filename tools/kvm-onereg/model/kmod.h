/* SPDX-License-Identifier: GPL-2.0 */
/* libkmod's contexts. */
#ifndef MODEL_KMOD_H
#define MODEL_KMOD_H

#include <libkmod.h>

/* For modules in @folder, with the modprobe.d files or folders of @config; NULL: the system's. */
struct kmod_ctx *new_kmod_context(const char *folder, const char * const *config);
/* The same for the modules of @release, with the host's modprobe.d. */
struct kmod_ctx *kmod_of_release(const char *release);
/* For files that are named by their path: in a context that knows modules.dep, a name may belong to another file. */
struct kmod_ctx *kmod_of_no_release(void);

#endif
