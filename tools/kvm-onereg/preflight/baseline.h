/* SPDX-License-Identifier: GPL-2.0 */
/* What all of several hosts offer. */
#ifndef BASELINE_H
#define BASELINE_H

#include <json-c/json.h>
#include <stddef.h>

#include "model/offer.h"

/*
 * baseline_make - the CPU that guests can have on each of these hosts
 * @offers, @files: of the hosts, and the names of their files
 * @without: CET, NESTED, or both
 * @qemu: the oldest version of QEMU that takes it; 0: any
 *
 * Exits with STATUS_USAGE if two files are of one host, and with STATUS_NO if the hosts' CPUs have different vendors.
 */
struct json_object *baseline_make(const struct offer *offers, char **files, size_t n, unsigned int without,
				  unsigned int qemu);

#endif
