/* SPDX-License-Identifier: GPL-2.0 */
/* A baseline, as text. */
#ifndef BASELINE_REPORT_H
#define BASELINE_REPORT_H

#include <json-c/json.h>

#include "model/offer.h"

/* @baseline: what baseline_make() made of these */
void print_baseline(struct json_object *baseline, const struct offer *offers, char **files, size_t n);

#endif
