/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kernels that a host finds in reserved memory, for kexec: tests/hosts/run -L. The kernel parameter
 * LIBRARY_PARAMETER tells where.
 */
#ifndef TESTS_HOSTS_LIBRARY_H
#define TESTS_HOSTS_LIBRARY_H

#include <stdint.h>

#define LIBRARY_PARAMETER "tests.library="
#define LIBRARY_MAGIC	  0x3152415242494cull
#define LIBRARY_MAX	  8

struct library_entry {
	char name[32];
	/* Where the kernel's image belongs in physical memory, and its 64-bit entry point. */
	uint64_t base, end, entry;
	/* Offsets from the start of the library. */
	uint64_t kernel, kernel_size, initrd, initrd_size;
	char cmdline[1024];
};

struct library {
	uint64_t magic, size, entries;
	struct library_entry entry[LIBRARY_MAX];
};

#endif
