/* SPDX-License-Identifier: GPL-2.0 */
/* What keeps a guest from moving between two hosts. */
#ifndef MODEL_OFFER_COMPARE_H
#define MODEL_OFFER_COMPARE_H

#include "model/offer.h"

/*
 * Can a guest that was given all of @from go on at @to? Appends to @obstacles and @warnings what is in the way, as
 * objects of "name", "what", and whether it is nothing to guests without "cet", or that run no VMs of their own
 * ("nested").
 */
void offer_compare(const struct offer *from, const struct offer *to, struct json_object *obstacles,
		   struct json_object *warnings);

#endif
