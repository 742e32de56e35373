/* SPDX-License-Identifier: GPL-2.0 */
/* Ask the KVM of this host what it offers guests. */
#ifndef MODEL_OFFER_ASK_H
#define MODEL_OFFER_ASK_H

#include <json-c/json.h>

/* The document, which the caller owns. Exits with STATUS_CANNOT and a reason when it cannot. */
struct json_object *offer_ask(void);

#endif
