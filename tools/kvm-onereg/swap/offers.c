// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg swap: what KVM offers.
 *
 * A child asks: it may end when it cannot, and whatever it opened does not hold the modules.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "model/offer-ask.h"
#include "model/offer-compare.h"
#include "model/offer-file.h"
#include "model/offer.h"
#include "swap/offers.h"

static struct json_object *ask_in_child(void *unused)
{
	(void)unused;
	return offer_ask();
}

static struct json_object *compared(void *context)
{
	struct offer before = offer_read(context, "the KVM from before"), now = offer_read(offer_ask(), "this host");
	struct json_object *obstacles = json_object_new_array(), *warnings = json_object_new_array();

	offer_compare(&before, &now, obstacles, warnings);
	return obstacles;
}

/* What @make returns in a child; NULL if that fails */
static struct json_object *in_child(struct json_object *(*make)(void *context), void *context)
{
	int file = memfd_create("offer", MFD_CLOEXEC), status;
	struct json_object *result = NULL;
	size_t size;
	char *text;
	pid_t pid;

	if (file < 0)
		return NULL;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		dprintf(file, "%s", json_object_to_json_string_ext(make(context), JSON_C_TO_STRING_PLAIN));
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status)) {
		text = (char *)read_bytes(format("/proc/self/fd/%d", file), &size);
		result = text ? json_tokener_parse(text) : NULL;
	}
	close(file);
	return result;
}

struct json_object *ask_offer(void)
{
	return in_child(ask_in_child, NULL);
}

char *lost_offer(struct json_object *before, bool cet, bool nested)
{
	struct json_object *obstacles;
	char *lost = NULL;

	if (!before)
		return NULL;
	obstacles = in_child(compared, before);
	if (!obstacles)
		return format("the loaded KVM cannot be asked what it offers");
	for (size_t i = 0; i < json_object_array_length(obstacles); i++) {
		struct json_object *one = json_object_array_get_idx(obstacles, i);

		if (json_object_get_boolean(json_object_object_get(one, "cet")) && !cet)
			continue;
		if (json_object_get_boolean(json_object_object_get(one, "nested")) && !nested)
			continue;
		lost = format("%s%s: %s", lost ? format("%s; ", lost) : "", json_text_in(one, "name"),
			      json_text_in(one, "what"));
	}
	json_object_put(obstacles);
	return lost ? format("the loaded KVM does not offer guests what they may have: %s", lost) : NULL;
}
