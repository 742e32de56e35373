/* SPDX-License-Identifier: GPL-2.0 */
/* Differences between two hosts that do not matter for guests. */
#ifndef DIFFERENCES_H
#define DIFFERENCES_H

#include "model/offer.h"

/* As strings */
void offer_differences(const struct offer *a, const struct offer *b, struct json_object *notes);

#endif
