/* SPDX-License-Identifier: GPL-2.0 */
/* Read and write the document. */
#ifndef MODEL_OFFER_FILE_H
#define MODEL_OFFER_FILE_H

#include <json-c/json.h>

#include "model/offer.h"

/*
 * offer_read - take apart what offer_ask() made, or a file holds
 * @json: the document, which the offer then owns
 * @name: of the file, for messages
 *
 * Exits with STATUS_USAGE and a reason when it is not whole, or of a version that is not known.
 */
struct offer offer_read(struct json_object *json, const char *name);
struct offer offer_load(const char *file);
/* Write @json to @file, which appears whole or not at all; replaces a file that is there. */
void offer_save(struct json_object *json, const char *file);

#endif
