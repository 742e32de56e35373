/* SPDX-License-Identifier: GPL-2.0 */
/* What QEMU and libvirt call the bits of CPUID and of MSRs. */
#ifndef FEATURES_H
#define FEATURES_H

#include <linux/types.h>

#include "model/names.h"

/* Where a bit is: a register of CPUID, as in enum cpuid_register, or an MSR */
#define IN_MSR 4

/*
 * Ended by .name NULL. A name of QEMU's may have several bits, each in a line of its own: it means all of them. Of the
 * controls of VMX the bit is the one that says that the control may be 1.
 *
 * The last two are versions, of those in Debian 12, 13 and 13's backports: the first that knows the name. 0: none does.
 */
extern const struct feature {
	__u32 leaf; /* or the index of the MSR */
	unsigned int subleaf, where, bit;
	const char *name, *libvirt;
	unsigned int qemu_since, libvirt_since;
} features[];

#endif
