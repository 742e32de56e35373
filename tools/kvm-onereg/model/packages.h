/* SPDX-License-Identifier: GPL-2.0 */
/* Versions according to dpkg and the kernels' headers, and the records of our installer. */
#ifndef MODEL_PACKAGES_H
#define MODEL_PACKAGES_H

#include <stdbool.h>
#include <time.h>

#include "base/process.h"

#define PACKAGE "kvm-onereg"
#define STATE	"/var/lib/" PACKAGE

/* dpkg-query, asked once: "NAME VERSION STATUS ERROR" lines of the packages that matter here, with tabs */
const struct program_result *known_packages(void);
/* Whether a package is installed; *version and *status are "" if dpkg does not know it. Both may be NULL */
bool find_package(const char *name, char **version, char **status);

/* The command that builds and installs for all kernels on this host */
const char *rebuild_command(void);
/* Whether it also downloads the source, so that nothing has to be installed before */
bool fetches_source(void);

/* The Debian version that a kernel was built from: its headers tell, or dpkg of its image. Or NULL */
char *built_from(const char *release);
/* The Debian version of a kernel's image, or NULL if none is installed, or its files are about to change */
char *image_version(const char *release);
/* The one that the running kernel was built from, as it says itself; or NULL */
char *running_version(void);

/* What our modules with this build-id were built from, as the installer noted: modinfo's origin. Or NULL */
char *noted_origin(const char *id);

/* Why a kernel waits for its source: the result of the last attempt to download it */
struct wanted {
	char *version;	    /* of the source; NULL: the kernel waits for none */
	char *result;	    /* "untried", "offline", "unavailable", "failed", or what a later version writes */
	char *message;	    /* a line, or NULL */
	time_t tried, next; /* 0: never, or no automatic attempt is planned */
};

struct wanted wanted_source(const char *release);
/* "no network; tried 2026-11-28 14:00, next try at 15:00": its state in words */
char *wanted_state(const struct wanted *wanted);

#endif
