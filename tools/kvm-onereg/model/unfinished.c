// SPDX-License-Identifier: GPL-2.0
/* A swap that kept guests and has not come to its end. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "model/unfinished.h"

/* Whether a guest in this phase has its state in a file, and does not run */
static bool waits(const char *phase)
{
	return same_text(phase, "saved") || same_text(phase, "gone") || same_text(phase, "restoring");
}

static bool is_set(const char *name)
{
	return same_text(name, "ours") || same_text(name, "distro");
}

struct unfinished look_at_unfinished(void)
{
	struct unfinished unfinished = { .readable = true };
	struct json_object *guests;
	size_t size;
	char *text;

	errno = 0;
	text = (char *)read_bytes(rooted_path("%s", JOURNAL), &size);
	if (!text) {
		/* Who may not enter the folder does not see whether there is one */
		unfinished.readable = errno == ENOENT;
		unfinished.there = errno != ENOENT && errno != EACCES;
		unfinished.damaged = unfinished.there;
		return unfinished;
	}
	unfinished.there = true;
	unfinished.json = json_tokener_parse(text);
	guests = json_object_object_get(unfinished.json, "guests");
	if (!same_text(json_text_in(unfinished.json, "what"), JOURNAL_FORMAT) ||
	    json_object_get_int(json_object_object_get(unfinished.json, "version")) != JOURNAL_VERSION ||
	    !is_set(json_text_in(unfinished.json, "from")) || !is_set(json_text_in(unfinished.json, "to")) ||
	    !json_object_is_type(guests, json_type_array)) {
		unfinished.damaged = true;
		return unfinished;
	}
	unfinished.from = format("%s", json_text_in(unfinished.json, "from"));
	unfinished.to = format("%s", json_text_in(unfinished.json, "to"));
	for (size_t i = 0; i < json_object_array_length(guests); i++) {
		struct json_object *guest = json_object_array_get_idx(guests, i);

		if (!waits(json_text_in(guest, "phase")))
			continue;
		unfinished.guests++;
		unfinished.waiting = format("%s%s%s", unfinished.waiting ?: "", unfinished.waiting ? ", " : "",
					    json_text_in(guest, "name") ?: "?");
	}
	return unfinished;
}

char *describe_unfinished(const struct unfinished *unfinished)
{
	if (unfinished->damaged)
		return format("%s is damaged: a swap that kept guests was interrupted; their states are still in %s",
			      JOURNAL, GUESTS_FOLDER);
	if (!unfinished->guests)
		return format("a swap from %s to %s that kept guests was interrupted", unfinished->from,
			      unfinished->to);
	return format("a swap from %s to %s was interrupted, and %d guest%s saved and %s not run: %s", unfinished->from,
		      unfinished->to, unfinished->guests, unfinished->guests == 1 ? " is" : "s are",
		      unfinished->guests == 1 ? "does" : "do", unfinished->waiting);
}

const char *fix_unfinished(const struct unfinished *unfinished)
{
	if (unfinished->damaged)
		return format("restore the guests by hand from these files (docs/swap.md), then: rm %s", JOURNAL);
	return format("kvm-onereg swap %s --keep-guests     # goes on; to go back: kvm-onereg swap %s --keep-guests",
		      unfinished->to, unfinished->from);
}

struct json_object *unfinished_json(const struct unfinished *unfinished)
{
	struct json_object *json, *list, *guests;

	if (!unfinished->there)
		return NULL;
	json = json_object_new_object();
	list = json_object_new_array();
	json_object_object_add(json, "damaged", json_object_new_boolean(unfinished->damaged));
	json_object_object_add(json, "from", json_string(unfinished->from));
	json_object_object_add(json, "to", json_string(unfinished->to));
	guests = unfinished->damaged ? NULL : json_object_object_get(unfinished->json, "guests");
	for (size_t i = 0; guests && i < json_object_array_length(guests); i++) {
		struct json_object *all = json_object_array_get_idx(guests, i), *one = json_object_new_object();

		json_object_object_add(one, "name", json_string(json_text_in(all, "name")));
		json_object_object_add(one, "phase", json_string(json_text_in(all, "phase")));
		json_object_object_add(one, "file", json_string(json_text_in(all, "file")));
		json_object_object_add(one, "waits", json_object_new_boolean(waits(json_text_in(all, "phase"))));
		json_object_array_add(list, one);
	}
	json_object_object_add(json, "guests", list);
	json_object_object_add(json, "message", json_string(describe_unfinished(unfinished)));
	json_object_object_add(json, "fix", json_string(fix_unfinished(unfinished)));
	return json;
}
