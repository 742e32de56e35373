/* SPDX-License-Identifier: GPL-2.0 */
/* Which VMM a process is, and whether it saves what guests with CET need. */
#ifndef MODEL_VMM_H
#define MODEL_VMM_H

#include <json-c/json.h>
#include <stdbool.h>

#include "model/cet.h"
#include "model/hold.h"

struct vmm {
	const char *name;    /* "QEMU", or the name of the program */
	char *version;	     /* as its binary says; NULL: not known */
	enum answer saves;   /* SSP, the MSRs and XSS; UNKNOWN: no table has it */
	enum answer has_cet; /* its guest has CET, if KVM offers it */
	const char *what;    /* what is lost, or what is not known: the end of a sentence; NULL if it saves all */
};

/* Looks at the program, and does not run it */
struct vmm look_at_vmm(const struct holder *holder);
/* "QEMU 10.0.13 does not save ...": a sentence, or NULL if nothing can be lost */
char *describe_vmm(const struct vmm *vmm);
/* Whether its guest has CET that is lost when it moves */
bool loses_cet(const struct vmm *vmm);
/* All of them, for JSON */
struct json_object *vmms_json(const struct holders *holders);

#endif
