/* SPDX-License-Identifier: GPL-2.0 */
/* A swap that kept guests and has not come to its end: what its journal says. */
#ifndef MODEL_UNFINISHED_H
#define MODEL_UNFINISHED_H

#include <json-c/json.h>
#include <stdbool.h>

/* Only root can read what is in this folder */
#define GUESTS_FOLDER	"/var/lib/kvm-onereg/guests"
#define JOURNAL		GUESTS_FOLDER "/journal.json"
#define JOURNAL_FORMAT	"kvm-onereg swap --keep-guests"
#define JOURNAL_VERSION 1

struct unfinished {
	bool there;		  /* there is a journal */
	bool readable;		  /* this user can read it */
	bool damaged;		  /* it is not what a swap wrote */
	char *from, *to;	  /* "ours", "distro" */
	char *waiting;		  /* the names of guests that are saved and do not run, or NULL */
	int guests;		  /* their number */
	struct json_object *json; /* all of it, or NULL; belongs to whoever asked */
};

struct unfinished look_at_unfinished(void);
/* Of a journal that is there: a sentence, and what to do about it */
char *describe_unfinished(const struct unfinished *unfinished);
const char *fix_unfinished(const struct unfinished *unfinished);
/* For JSON; NULL if there is none */
struct json_object *unfinished_json(const struct unfinished *unfinished);

#endif
