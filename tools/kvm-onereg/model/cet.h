/* SPDX-License-Identifier: GPL-2.0 */
/* CET for guests: what was requested, what is in force, and what the CPU supports. */
#ifndef MODEL_CET_H
#define MODEL_CET_H

#include <json-c/json.h>
#include <stdbool.h>

enum answer { NO, YES, UNKNOWN };

struct cet {
	int vendor;	    /* KVM_INTEL or KVM_AMD: whose parameter cet counts on this CPU */
	const char *module; /* its name: kvm_intel or kvm_amd */
	bool asked;	    /* MODULE.cet=1, in modprobe.d or on the kernel's command line */
	char *asked_in;	    /* where the setting in force is: a file, or "the kernel's command line"; or NULL */
	char *invalid;	    /* the value there, if it is invalid; or NULL */
	char value;	    /* of the loaded module's parameter: 'Y', 'N', or 0: it has none, or is not loaded */
	enum answer shadow_stacks, ibt; /* the CPU's */
	enum answer vmx; /* Intel only: VM entry and exit can load both, from MSRs that only root can read */
	char *reason;	 /* the kernel log's line that says why not, or NULL */
};

struct cet look_at_cet(void);
/* KVM offers it to guests, as far as can be told: by the parameter, or by the CPU if there is none (@native) */
bool offers_cet(const struct cet *cet, bool native);
/* Whether guests have it, or should have it: it is on or requested. */
bool wants_cet(const struct cet *cet);
const char *answer_name(enum answer answer);
struct json_object *cet_json(const struct cet *cet);

#endif
