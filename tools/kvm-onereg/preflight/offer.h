/* SPDX-License-Identifier: GPL-2.0 */
/* What a host offers a guest that matters for migration: asked of KVM, or read from a file. */
#ifndef PREFLIGHT_OFFER_H
#define PREFLIGHT_OFFER_H

#include <json-c/json.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/names.h"

struct leaf {
	__u32 leaf, subleaf, reg[4];	/* by enum cpuid_register */
};

struct msr_value {
	__u32 index;
	__u64 value;
};

struct capability {
	const char *name;		/* as in <linux/kvm.h> */
	int value;			/* what KVM_CHECK_EXTENSION returns */
};

struct offer {
	struct json_object *json;	/* the document; the strings below are in it */
	const char *host, *system, *kernel, *kernel_version;
	const char *vendor, *cpu;	/* of the CPU: GenuineIntel, and its name */
	const char *kvm_version;	/* of kvm-onereg's modules, NULL: others are loaded */
	const char *why_no_cet;		/* NULL if guests have shadow stacks */
	int family, model, stepping, tsc_khz;
	bool one_reg, tsc_scaling;
	struct leaf *cpuid, *emulated;
	struct msr_value *features;	/* the MSRs that tell features */
	struct capability *capabilities;
	__u32 *msrs;
	__u64 *registers;		/* ids of the KVM-defined registers of a vCPU */
	size_t n_cpuid, n_emulated, n_features, n_capabilities, n_msrs, n_registers;
};

/* Ask the KVM of this host; the caller owns the document. Exits with STATUS_CANNOT and a reason when it cannot. */
struct json_object *offer_ask(void);

/*
 * offer_read - take apart what offer_ask() made, or a file holds
 * @json: the document, which the offer then owns
 * @name: of the file, for messages
 *
 * Exits with STATUS_USAGE and a reason when it is not whole, or of a version that is not known.
 */
struct offer offer_read(struct json_object *json, const char *name);
struct offer offer_load(const char *file);
void offer_free(struct offer *offer);

/* Write @json to @file, which appears whole or not at all; replaces a file that is there. */
void offer_save(struct json_object *json, const char *file);

/* A leaf of CPUID, all zero if KVM does not offer it. */
struct leaf offer_leaf(const struct offer *offer, __u32 leaf, __u32 subleaf);
__u64 offer_xcr0(const struct offer *offer);
__u64 offer_xss(const struct offer *offer);
bool offer_bit(const struct offer *offer, __u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit);

/*
 * Can a guest that was given all of @from go on at @to? Appends to @obstacles and @warnings what is in the way, as
 * objects of "name", "what", and whether it is nothing to guests without "cet", or that run no VMs of their own ("nested").
 */
void offer_compare(const struct offer *from, const struct offer *to, struct json_object *obstacles,
		   struct json_object *warnings);
/* Differences that are in nobody's way, as strings. */
void offer_differences(const struct offer *a, const struct offer *b, struct json_object *notes);

#endif
