/* SPDX-License-Identifier: GPL-2.0 */
/* What a host offers a guest that matters for migration: asked of KVM, or read from a file. */
#ifndef MODEL_OFFER_H
#define MODEL_OFFER_H

#include <json-c/json.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/names.h"

/* struct offer.vendor */
#define INTEL "GenuineIntel"
#define AMD   "AuthenticAMD"

struct leaf {
	__u32 leaf, subleaf, reg[4]; /* by enum cpuid_register */
};

struct msr_value {
	__u32 index;
	__u64 value;
};

struct capability {
	const char *name; /* as in <linux/kvm.h> */
	int value;	  /* what KVM_CHECK_EXTENSION returns */
};

struct offer {
	struct json_object *json; /* the document; the strings below are in it */
	int version;		  /* of its format: what version 1 does not have is marked with 2 */
	const char *id;		  /* 2: tells hosts of one name apart; NULL: not known */
	const char *date;	  /* when it was saved */
	const char *host, *system, *kernel, *kernel_version;
	const char *vendor, *cpu; /* of the CPU: GenuineIntel, and its name */
	const char *kvm_version;  /* of kvm-onereg's modules, NULL: others are loaded */
	const char *nested;	  /* 2: the parameter nested of kvm_intel or kvm_amd; NULL: not known */
	__u64 quirks;		  /* 2: KVM_CAP_DISABLE_QUIRKS2 */
	const char *why_no_cet;	  /* NULL if guests have shadow stacks */
	int family, model, stepping, tsc_khz;
	bool one_reg, tsc_scaling;
	struct leaf *cpuid, *emulated;
	struct msr_value *features; /* the MSRs that describe features */
	struct capability *capabilities;
	__u32 *msrs;
	__u64 *registers; /* ids of the KVM-defined registers of a vCPU */
	size_t n_cpuid, n_emulated, n_features, n_capabilities, n_msrs, n_registers;
};

void offer_free(struct offer *offer);

/* A leaf of CPUID, all zero if KVM does not offer it. */
struct leaf offer_leaf(const struct offer *offer, __u32 leaf, __u32 subleaf);
__u64 offer_xcr0(const struct offer *offer);
__u64 offer_xss(const struct offer *offer);
bool offer_bit(const struct offer *offer, __u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit);
/* An MSR that tells features, or NULL */
const struct msr_value *offer_feature(const struct offer *offer, __u32 index);
/* What KVM_CHECK_EXTENSION returned; 0 if the file does not say */
int offer_capability(const struct offer *offer, const char *name);
/* An MSR that KVM saves, a KVM-defined register that a vCPU has */
bool offer_lists_msr(const struct offer *offer, __u32 index);
bool offer_has_register(const struct offer *offer, __u64 id);
/* The TSCs run alike, or nothing is known of one */
bool same_speed(const struct offer *a, const struct offer *b);

#endif
