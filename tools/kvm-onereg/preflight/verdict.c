// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg preflight: whether a guest can move from one host to another, and back. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/message.h"
#include "base/text.h"
#include "model/offer-compare.h"
#include "model/offer-rules.h"
#include "model/offer.h"
#include "preflight/differences.h"
#include "preflight/grouped.h"
#include "preflight/verdict.h"

/* The suggested solution */
#define WITHOUT_CET                                                                                                   \
	"All of this concerns CET only: a guest without CET can move. Give it a fixed -cpu model without cet-ss and " \
	"cet-ibt instead of -cpu host, and restart it."
#define WITHOUT_NESTED                                                                                      \
	"All of this concerns only guests that run VMs themselves: other guests can move. Start them with " \
	"-cpu host,-vmx (AMD: -svm)."
#define WITHOUT_BOTH                                                                                                  \
	"All of this concerns only CET, and guests that run VMs themselves: a guest with a fixed -cpu model without " \
	"cet-ss, cet-ibt and vmx (AMD: svm) can move."
#define WITH_LESS "A guest with a fixed -cpu model that both hosts support may be able to move."

/* What --without excludes: these are also the names of members of obstacles. */
static const char * const kinds[] = { "cet", "nested" };

static unsigned int concerns(struct json_object *obstacle)
{
	unsigned int of = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (json_object_get_boolean(json_object_object_get(obstacle, kinds[i])))
			of |= 1 << i;
	return of;
}

/* Whether a guest without these can move. */
static bool ok(struct json_object *obstacles, unsigned int without)
{
	for (size_t i = 0; i < json_object_array_length(obstacles); i++)
		if (!(concerns(json_object_array_get_idx(obstacles, i)) & without))
			return false;
	return true;
}

static struct json_object *one_way(const struct offer *from, const struct offer *to, unsigned int without)
{
	struct json_object *way = json_object_new_object(), *obstacles = json_object_new_array(),
			   *warnings = json_object_new_array();

	offer_compare(from, to, obstacles, warnings);
	for (size_t i = json_object_array_length(obstacles); i-- > 0;)
		if (concerns(json_object_array_get_idx(obstacles, i)) & without)
			json_object_array_del_idx(obstacles, i, 1);
	json_object_object_add(way, "ok", json_object_new_boolean(ok(obstacles, 0)));
	json_object_object_add(way, "ok_without_cet", json_object_new_boolean(ok(obstacles, CET)));
	json_object_object_add(way, "ok_without_nested", json_object_new_boolean(ok(obstacles, NESTED)));
	json_object_object_add(way, "obstacles", obstacles);
	json_object_object_add(way, "warnings", warnings);
	return way;
}

static void print_way(const char *from, const char *to, struct json_object *way)
{
	struct json_object *obstacles = json_object_object_get(way, "obstacles");
	bool good = ok(obstacles, 0);

	printf("\n%s%s -> %s: a guest with all of %s %s%s%s%s\n", colour(BOLD), from, to, from,
	       colour(good ? GREEN : RED), good ? "can move" : "CANNOT move", colour(PLAIN), good ? "" : ":");
	print_grouped(obstacles, "what", "  -", true);
	print_grouped(json_object_object_get(way, "warnings"), "what", "  !", true);
	if (good)
		return;
	if (ok(obstacles, CET))
		print_labelled("  =", 4, WITHOUT_CET);
	else if (ok(obstacles, NESTED))
		print_labelled("  =", 4, WITHOUT_NESTED);
	else if (ok(obstacles, CET | NESTED))
		print_labelled("  =", 4, WITHOUT_BOTH);
	else if (strcmp(json_text_in(json_object_array_get_idx(obstacles, 0), "name"), "CPU vendor"))
		print_labelled("  =", 4, WITH_LESS);
}

/* What differs between hosts and is not KVM's */
static const char * const elsewhere[] = {
	"QEMU's version: qemu-system-x86_64 --version. A guest moves to the same one, or to a newer one",
	"machine types: qemu-system-x86_64 -M help. A guest needs the same one, with its version (pc-q35-10.0, not q35)",
	"libvirt's version: virsh version; what it considers the host's CPU: virsh domcapabilities",
};

struct json_object *not_compared(void)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++)
		json_object_array_add(list, json_object_new_string(elsewhere[i]));
	return list;
}

void print_not_compared(void)
{
	printf("\nNot compared; check these on each host:\n");
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++)
		print_labelled("  .", 4, elsewhere[i]);
}

/* A file that was written before there was something to compare */
static void note_older(struct json_object *notes, const struct offer *offer, const char *file)
{
	if (offer->version >= 2)
		return;
	json_object_array_add(
		notes,
		json_string(format(
			"%s has version %d of the format, without quirks and the parameter nested: save it again", file,
			offer->version)));
}

struct json_object *describe_host(const struct offer *offer, const char *file)
{
	struct json_object *host = json_object_new_object();

	json_object_object_add(host, "file", file ? json_object_new_string(file) : NULL);
	json_object_object_add(host, "host", json_object_new_string(offer->host));
	json_object_object_add(host, "kernel", json_object_new_string(offer->kernel));
	return host;
}

void print_host(const char *letter, const struct offer *offer, const char *file)
{
	print_labelled(letter, 3,
		       format("%s: %s, Linux %s, %s, CET: %s", file ?: "this host", offer->host, offer->kernel,
			      offer->kvm_version ? "kvm-onereg's KVM" : "its own KVM",
			      offer_bit(offer, 7, 0, ECX, 7) || offer_bit(offer, 7, 0, EDX, 20) ? "yes" : "no"));
}

int compare(const struct offer *a, const char *file_a, const struct offer *b, const char *file_b, unsigned int without,
	    bool json)
{
	struct json_object *forward = one_way(a, b, without), *backward = one_way(b, a, without);
	struct json_object *notes = json_object_new_array(), *result;
	bool good = ok(json_object_object_get(forward, "obstacles"), 0) &&
		    ok(json_object_object_get(backward, "obstacles"), 0);

	offer_differences(a, b, notes);
	note_older(notes, a, file_a);
	note_older(notes, b, file_b);
	if (!json) {
		print_host("A", a, file_a);
		print_host("B", b, file_b);
		print_way("A", "B", forward);
		print_way("B", "A", backward);
		if (json_object_array_length(notes))
			printf("\nDifferences that do not matter, A and B:\n");
		for (size_t i = 0; i < json_object_array_length(notes); i++)
			print_labelled("  .", 4, json_object_get_string(json_object_array_get_idx(notes, i)));
		print_not_compared();
	}
	result = json_object_new_object();
	json_object_object_add(result, "first", describe_host(a, file_a));
	json_object_object_add(result, "second", describe_host(b, file_b));
	json_object_object_add(result, "forward", forward);
	json_object_object_add(result, "backward", backward);
	json_object_object_add(result, "notes", notes);
	json_object_object_add(result, "not_compared", not_compared());
	if (json)
		print_json(result);
	else
		json_object_put(result);
	return good ? STATUS_OK : STATUS_NO;
}
