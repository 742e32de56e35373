/* SPDX-License-Identifier: GPL-2.0 */
/* Which kernels kvm-onereg is for, as src/series says */
#ifndef MODEL_SERIES_H
#define MODEL_SERIES_H

#include <stdbool.h>

/* SUPPORTED_SERIES, a list of texts, and NATIVE_SINCE, a text */
#include "series.inc"

/* The running kernel's release */
const char *running_release(void);
/* "6.12" of "6.12.117+deb13-amd64" */
char *series_of(const char *release);
/* Its KVM can be rebuilt by kvm-onereg */
bool is_supported(const char *release);
/* It has all of this itself */
bool is_native(const char *release);

#endif
