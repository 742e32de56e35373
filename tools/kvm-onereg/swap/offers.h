/* SPDX-License-Identifier: GPL-2.0 */
/* What KVM offers guests before and after a swap. */
#ifndef SWAP_OFFERS_H
#define SWAP_OFFERS_H

#include <json-c/json.h>
#include <stdbool.h>

/* The offer of the loaded KVM; NULL if it cannot be asked */
struct json_object *ask_offer(void);
/*
 * lost_offer - compare the loaded KVM with an offer from before
 * @cet, @nested: some guest has CET, or runs VMs itself
 *
 * NULL if such guests can go on; or a sentence.
 */
char *lost_offer(struct json_object *before, bool cet, bool nested);

#endif
