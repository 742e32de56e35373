/* SPDX-License-Identifier: GPL-2.0 */
/* The document that --save writes: what it is called, and what it names. */
#ifndef MODEL_OFFER_FORMAT_H
#define MODEL_OFFER_FORMAT_H

#define FORMAT "kvm-onereg preflight"
#define ABOUT                                                               \
	"What the KVM of a host offers guests that matters for migration. " \
	"To compare: kvm-onereg preflight --compare FILE"
/* 2 has the host's id, the parameter nested, and KVM's quirks. Files of version 1 are read, too. */
#define VERSION_NOW 2

/* What QEMU's migration stream is made of, or depends on; ended by .name NULL */
extern const struct known_capability {
	const char *name;
	int number;
} known_capabilities[];

/* @text in ASCII, without control characters, and cut off where it is long */
char *printable_text(const char *text);

#endif
