// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg preflight: what this host offers guests, and whether a guest can go from one host to another. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/message.h"
#include "base/options.h"
#include "base/text.h"
#include "model/names.h"
#include "preflight/ask.h"
#include "preflight/compare.h"
#include "preflight/differences.h"
#include "preflight/file.h"
#include "preflight/offer.h"
#include "preflight/preflight.h"
#include "preflight/rules.h"

/* The suggested solution */
#define WITHOUT_CET                                                                                               \
	"All of this is CET's: a guest without it can go. Give it a fixed -cpu model without cet-ss and cet-ibt " \
	"instead of -cpu host, and start it anew."
#define WITHOUT_NESTED                                                                                   \
	"All of this is of guests that run VMs themselves: a guest that does not can go. Start it with " \
	"-cpu host,-vmx (AMD: -svm)."
#define WITHOUT_BOTH                                                                                              \
	"All of this is CET's, or of guests that run VMs themselves: a guest can go that has a fixed -cpu model " \
	"without cet-ss, cet-ibt and vmx (AMD: svm)."
#define WITH_LESS "A guest with a fixed -cpu model that both hosts have may go."

/* "LABEL    text", where long text goes on below itself. */
static void print_labelled(const char *label, int indent, const char *text)
{
	print_wrapped(printf("%-*s", indent, label), indent, text);
	putchar('\n');
}

/* Names of the components of XCR0 and XSS. */
static char *components(__u64 mask)
{
	char *text = format("0x%llx", mask);

	for (unsigned int bit = 0; bit < 64; bit++) {
		if (!(mask >> bit & 1))
			continue;
		text = xfeature_name(bit) ? format("%s %s", text, xfeature_name(bit)) : format("%s %u", text, bit);
	}
	return text;
}

static void print_summary(const struct offer *offer)
{
	bool shadow_stacks = offer_bit(offer, 7, 0, ECX, 7), ibt = offer_bit(offer, 7, 0, EDX, 20);
	struct leaf sizes = offer_leaf(offer, 0x80000008, 0);
	const int indent = 18;

	print_labelled("host", indent, format("%s%s%s", offer->host, offer->system ? ", " : "", offer->system ?: ""));
	print_labelled("kernel", indent, format("%s (%s)", offer->kernel, offer->kernel_version));
	print_labelled("CPU", indent,
		       format("%s, family %d model %d stepping %d: %s", offer->vendor, offer->family, offer->model,
			      offer->stepping, offer->cpu ?: "no name"));
	print_labelled("KVM", indent,
		       offer->kvm_version ? format("kvm-onereg %s", offer->kvm_version) : format("the kernel's own"));
	print_labelled("ONE_REG", indent, offer->one_reg ? "yes" : "no");
	print_labelled("CET", indent,
		       shadow_stacks || ibt ? format("%s%s%s", shadow_stacks ? "shadow stacks" : "",
						     shadow_stacks && ibt ? ", " : "", ibt ? "IBT" : "") :
					      format("no: %s", offer->why_no_cet ?: "not offered"));
	print_labelled("XCR0", indent, components(offer_xcr0(offer)));
	print_labelled("XSS", indent, components(offer_xss(offer)));
	print_labelled("physical address", indent, format("%u bits", sizes.reg[EAX] & 0xff));
	print_labelled("TSC", indent,
		       format("%d kHz, %s", offer->tsc_khz, offer->tsc_scaling ? "can be scaled" : "cannot be scaled"));
	print_labelled("registers", indent,
		       format("%zu MSRs, %zu MSRs that tell features, %zu KVM-defined", offer->n_msrs,
			      offer->n_features, offer->n_registers));
	print_labelled("CPUID", indent, format("%zu leaves", offer->n_cpuid));
}

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

/* "name: what", or "what: name, name, ..." for all that have the same. */
static void print_items(struct json_object *items, const char *mark)
{
	size_t n = json_object_array_length(items);

	for (size_t i = 0; i < n; i++) {
		const char *what = json_text_in(json_object_array_get_idx(items, i), "what");
		unsigned int same = 0;
		char *names = NULL;

		for (size_t j = 0; j < n; j++) {
			struct json_object *item = json_object_array_get_idx(items, j);
			char *name;

			if (strcmp(json_text_in(item, "what"), what))
				continue;
			if (j < i)
				break;
			name = format("%s", json_text_in(item, "name"));
			for (char *c = name; *c; c++)
				if (*c == ' ')
					*c = NO_BREAK;
			names = same++ ? format("%s, %s", names, name) : name;
		}
		if (same)
			print_labelled(mark, 4,
				       same > 1 ? format("%s: %s", what, names) : format("%s: %s", names, what));
	}
}

static void print_way(const char *from, const char *to, struct json_object *way)
{
	struct json_object *obstacles = json_object_object_get(way, "obstacles");
	bool good = ok(obstacles, 0);

	printf("\n%s%s -> %s: a guest with all of %s %s%s%s%s\n", colour(BOLD), from, to, from,
	       colour(good ? GREEN : RED), good ? "can go" : "CANNOT go", colour(PLAIN), good ? "" : ":");
	print_items(obstacles, "  -");
	print_items(json_object_object_get(way, "warnings"), "  !");
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

static struct json_object *describe(const struct offer *offer, const char *file)
{
	struct json_object *host = json_object_new_object();

	json_object_object_add(host, "file", file ? json_object_new_string(file) : NULL);
	json_object_object_add(host, "host", json_object_new_string(offer->host));
	json_object_object_add(host, "kernel", json_object_new_string(offer->kernel));
	return host;
}

static void print_host(const char *letter, const struct offer *offer, const char *file)
{
	print_labelled(letter, 3,
		       format("%s: %s, Linux %s, %s, CET: %s", file ?: "this host", offer->host, offer->kernel,
			      offer->kvm_version ? "kvm-onereg's KVM" : "its own KVM",
			      offer_bit(offer, 7, 0, ECX, 7) || offer_bit(offer, 7, 0, EDX, 20) ? "yes" : "no"));
}

static int compare(const struct offer *a, const char *file_a, const struct offer *b, const char *file_b,
		   unsigned int without, bool json)
{
	struct json_object *forward = one_way(a, b, without), *backward = one_way(b, a, without);
	struct json_object *notes = json_object_new_array(), *result;
	bool good = ok(json_object_object_get(forward, "obstacles"), 0) &&
		    ok(json_object_object_get(backward, "obstacles"), 0);

	offer_differences(a, b, notes);
	if (!json) {
		print_host("A", a, file_a);
		print_host("B", b, file_b);
		print_way("A", "B", forward);
		print_way("B", "A", backward);
		if (json_object_array_length(notes))
			printf("\nDifferences that do not matter, A and B:\n");
		for (size_t i = 0; i < json_object_array_length(notes); i++)
			print_labelled("  .", 4, json_object_get_string(json_object_array_get_idx(notes, i)));
	}
	result = json_object_new_object();
	json_object_object_add(result, "first", describe(a, file_a));
	json_object_object_add(result, "second", describe(b, file_b));
	json_object_object_add(result, "forward", forward);
	json_object_object_add(result, "backward", backward);
	json_object_object_add(result, "notes", notes);
	if (json)
		print_json(result);
	else
		json_object_put(result);
	return good ? STATUS_OK : STATUS_NO;
}

static const char help[] = "usage: kvm-onereg preflight [--json]\n"
			   "       kvm-onereg preflight --save FILE\n"
			   "       kvm-onereg preflight [--json] [--without WHAT]... --compare FILE [FILE2]\n\n"
			   "Shows what the KVM of this host offers guests, as far as it matters for\n"
			   "migration; saves it; or says whether a guest with all of these features\n"
			   "(QEMU: -cpu host) can move from one host to another, and back.\n\n"
			   "  --save FILE           write all of it to FILE, replacing an existing one\n"
			   "  --compare FILE        compare this host (A) with that of FILE (B)\n"
			   "  --compare FILE FILE2  compare two files; needs no KVM\n"
			   "  --without cet         compare for guests without CET\n"
			   "  --without nested      ... for guests that run no VMs of their own\n"
			   "  --json                print JSON: what --save writes, or the comparison\n"
			   "  --help                this text\n\n"
			   "Exit status: 0; 1 at least one direction is blocked; 2 wrong usage, or a FILE\n"
			   "that is damaged, invalid or from a newer version; 3 no usable KVM here.\n";

static unsigned int without;

static void take_without(const char *kind)
{
	if (strcmp(kind, "cet") && strcmp(kind, "nested"))
		usage_error("preflight", "--without takes cet or nested, not '%s'", kind);
	without |= strcmp(kind, "cet") ? NESTED : CET;
}

int cmd_preflight(int argc, char **argv)
{
	const char *save = NULL, *file = NULL, *file2 = NULL;
	bool json = false;
	const struct known_option options[] = {
		{ "save", .argument = &save },
		{ "compare", .argument = &file },
		{ "without", .take = take_without },
		{ "json", .flag = &json },
		{},
	};
	struct offer here, there;
	int status = STATUS_OK;

	if (!read_options("preflight", help, options, argc, argv))
		return STATUS_OK;
	if (file && optind < argc)
		file2 = argv[optind++];
	if (optind < argc)
		usage_error("preflight", "'%s' is too much", argv[optind]);
	if (save && (file || json))
		usage_error("preflight", "--save goes alone");
	if (without && !file)
		usage_error("preflight", "--without goes with --compare");

	if (file) {
		/* Before KVM is asked, because the file may be unreadable */
		there = offer_load(file2 ?: file);
		here = file2 ? offer_load(file) : offer_read(offer_ask(), "this host");
		status = compare(&here, file2 ? file : NULL, &there, file2 ?: file, without, json);
		offer_free(&there);
	} else {
		here = offer_read(offer_ask(), "this host");
		if (save)
			offer_save(here.json, save);
		else if (json)
			print_json(json_object_get(here.json));
		else
			print_summary(&here);
	}
	offer_free(&here);
	return status;
}
