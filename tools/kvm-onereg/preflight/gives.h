/* SPDX-License-Identifier: GPL-2.0 */
/* What QEMU can give a guest on a host, by QEMU's names. */
#ifndef GIVES_H
#define GIVES_H

#include <stdbool.h>

#include "model/offer.h"
#include "preflight/features.h"

/* QEMU with "enforce" starts on this host with the feature: all bits of its name are offered. */
bool gives(const struct offer *offer, const char *name);
/* The line of features[] that has a name first, or NULL */
const struct feature *find_feature(const char *name);
/* The first of such lines, after NULL, or the one after this; NULL at the end */
const struct feature *next_name(const struct feature *feature);
/* Why a feature belongs in no baseline, although all hosts may offer it; or NULL */
const char *unfit(const char *name);
/* The feature without which this one means nothing, or NULL */
const char *belongs_to(const struct feature *feature);

#endif
