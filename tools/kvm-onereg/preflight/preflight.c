// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg preflight: what this host offers guests; the other parts of the command. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/options.h"
#include "base/text.h"
#include "model/names.h"
#include "model/offer-ask.h"
#include "model/offer-file.h"
#include "model/offer-quirks.h"
#include "model/offer-rules.h"
#include "model/offer.h"
#include "preflight/baseline-report.h"
#include "preflight/baseline.h"
#include "preflight/preflight.h"
#include "preflight/verdict.h"

/* The oldest one whose names are known */
#define OLDEST_QEMU 7

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
	print_labelled("nested VMs", indent,
		       offer->nested ? format("parameter nested is %s", offer->nested) : format("not known"));
	print_labelled("quirks", indent,
		       format("on by default: %s", quirk_names(quirks_on(offer->quirks, !strcmp(offer->vendor, AMD)))));
	print_labelled("XCR0", indent, components(offer_xcr0(offer)));
	print_labelled("XSS", indent, components(offer_xss(offer)));
	print_labelled("physical address", indent, format("%u bits", sizes.reg[EAX] & 0xff));
	print_labelled("TSC", indent,
		       format("%d kHz, %s", offer->tsc_khz, offer->tsc_scaling ? "can be scaled" : "cannot be scaled"));
	print_labelled("registers", indent,
		       format("%zu MSRs, %zu MSRs that describe features, %zu KVM-defined", offer->n_msrs,
			      offer->n_features, offer->n_registers));
	print_labelled("CPUID", indent, format("%zu leaves", offer->n_cpuid));
}

static const char help[] = "usage: kvm-onereg preflight [--json]\n"
			   "       kvm-onereg preflight --save FILE\n"
			   "       kvm-onereg preflight [--json] [--without WHAT]... --compare FILE [FILE2]\n"
			   "       kvm-onereg preflight [--json] [--without WHAT]... [--qemu VERSION]\n"
			   "                            --baseline FILE...\n\n"
			   "Shows what the KVM of this host offers guests, as far as it matters for\n"
			   "migration; saves it; says whether a guest with all of these features (QEMU:\n"
			   "-cpu host) can move from one host to another, and back; or prints a CPU that\n"
			   "guests can have on each of several hosts.\n\n"
			   "  --save FILE           write all of it to FILE, replacing an existing one\n"
			   "  --compare FILE        compare this host (A) with that of FILE (B)\n"
			   "  --compare FILE FILE2  compare two files; needs no KVM\n"
			   "  --baseline FILE...    what all of these hosts offer, as -cpu for QEMU and\n"
			   "                        <cpu> for libvirt; needs no KVM\n"
			   "  --qemu VERSION        leave out what this QEMU does not know, such as 10\n"
			   "  --without cet         compare, or make a CPU, for guests without CET\n"
			   "  --without nested      ... for guests that run no VMs of their own\n"
			   "  --json                print JSON: what --save writes, the comparison, the CPU\n"
			   "  --help                this text\n\n"
			   "Exit status: 0; 1 at least one direction is blocked, or hosts have no common\n"
			   "CPU; 2 wrong usage, or a FILE that is damaged, invalid or from a newer version;\n"
			   "3 no usable KVM here.\n";

static unsigned int without;

static void take_without(const char *kind)
{
	if (strcmp(kind, "cet") && strcmp(kind, "nested"))
		usage_error("preflight", "--without takes cet or nested, not '%s'", kind);
	without |= strcmp(kind, "cet") ? NESTED : CET;
}

/* The first number of a version */
static unsigned int first_number(const char *version)
{
	int number = atoi(version);

	if (strspn(version, "0123456789.") != strlen(version) || number < 1)
		usage_error("preflight", "--qemu takes a version, such as 10, not '%s'", version);
	if (number < OLDEST_QEMU)
		usage_error("preflight", "--qemu knows QEMU %d and later, not %s", OLDEST_QEMU, version);
	return number;
}

static int baseline(char **files, int n, const char *qemu, bool json)
{
	unsigned int version = qemu ? first_number(qemu) : 0;
	struct offer *offers = allocate(n, sizeof(*offers));
	struct json_object *result;

	if (!n)
		usage_error("preflight", "--baseline needs files; on each host: kvm-onereg preflight --save FILE");
	for (int i = 0; i < n; i++)
		offers[i] = offer_load(files[i]);
	result = baseline_make(offers, files, n, without, version);
	if (json)
		print_json(json_object_get(result));
	else
		print_baseline(result, offers, files, n);
	json_object_put(result);
	for (int i = 0; i < n; i++)
		offer_free(&offers[i]);
	return STATUS_OK;
}

int cmd_preflight(int argc, char **argv)
{
	const char *save = NULL, *file = NULL, *file2 = NULL, *qemu = NULL;
	bool json = false, of_all = false;
	const struct known_option options[] = {
		{ "save", .argument = &save },
		{ "compare", .argument = &file },
		{ "baseline", .flag = &of_all },
		{ "without", .take = take_without },
		{ "qemu", .argument = &qemu },
		{ "json", .flag = &json },
		{},
	};
	struct offer here, there;
	int status = STATUS_OK;

	if (!read_options("preflight", help, options, argc, argv))
		return STATUS_OK;
	if (save && (file || of_all || json))
		usage_error("preflight", "--save takes no other option");
	if (file && of_all)
		usage_error("preflight", "--compare and --baseline cannot be combined");
	if (without && !file && !of_all)
		usage_error("preflight", "--without needs --compare or --baseline");
	if (qemu && !of_all)
		usage_error("preflight", "--qemu needs --baseline");
	if (of_all)
		return baseline(argv + optind, argc - optind, qemu, json);
	if (file && optind < argc)
		file2 = argv[optind++];
	if (optind < argc)
		usage_error("preflight", "unexpected argument '%s'", argv[optind]);

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
