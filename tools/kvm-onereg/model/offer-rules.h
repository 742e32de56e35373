/* SPDX-License-Identifier: GPL-2.0 */
/* Which parts of CPUID and which MSRs matter for migration, and how. */
#ifndef MODEL_OFFER_RULES_H
#define MODEL_OFFER_RULES_H

#include <linux/types.h>
#include <stdbool.h>

#include "model/names.h"

/* The guests that a difference does not affect. */
#define CET    1 /* guests without CET */
#define NESTED 2 /* guests that cannot run VMs of their own */

/* What the destination's value of a register, or of a field of it, has to be to the source's. */
enum relation {
	BITS,	  /* has each bit that is set there */
	ABSENT,	  /* has no other bits: these indicate what is missing or required */
	AT_LEAST, /* is as large */
	SAME,	  /* is equal, if that is not 0 */
};

/* For the bits of a register, or for a field of it, which has a name; ended by .mask 0 */
extern const struct leaf_rule {
	__u32 leaf, subleaf;
	enum cpuid_register which;
	enum relation relation;
	__u32 mask;
	const char *name; /* of a field */
} leaf_rules[];

extern const struct msr_rule {
	__u32 index;
	enum relation relation;
	__u64 mask;
	const char *name;
} msr_rules[];

/* The capability MSRs of VMX, from 0x480 on, are of guests that run VMs. */
#define VMX_FIRST 0x480
#define VMX_LAST  0x49f
bool is_vmx_msr(__u32 index);

/* It describes one host: its caches, its topology, its clocks, its name, what it holds. */
bool is_of_one_host(__u32 leaf);

/* All of its bits are features that do not depend on a PMU, on enclaves or the like. */
bool is_feature_leaf(__u32 leaf);

/* The bits that are obstacles; for a field, all of it. */
__u64 violation(enum relation relation, __u64 from, __u64 to, __u64 mask);
/* The value of a field */
__u64 field_value(__u64 value, __u64 mask);
char *name_of_msr(__u32 index);
/* "CPUID 7.0" */
char *leaf_name(__u32 leaf, __u32 subleaf);
/* "SHSTK (CPUID 7.0:ECX[7])"; the two that this package is about have a name with any headers. */
char *bit_name(__u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit);

#endif
