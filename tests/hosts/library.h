/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kernels for kexec, which a host finds in reserved memory: tests/hosts/boot -L. The kernel parameter
 * LIBRARY_PARAMETER has the address.
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

/*
 * Files that a host gets after its boot, if the kernel parameter FILES_PARAMETER has their address in reserved memory:
 * a struct files, then for each file a struct file, its path with a final '\0', and its content, or the target of a
 * symbolic link. Each struct file is aligned to FILES_ALIGN.
 */
#define FILES_PARAMETER "tests.files="
#define FILES_MAGIC	0x3153454c4946ull
#define FILES_ALIGN	8

/* A write to this port makes Bochs save the machine's state, and exit: bochs-snapshot.patch */
#define SNAPSHOT_PORT 0x8904

struct files {
	uint64_t magic, size;
};

struct file {
	uint64_t size;
	uint32_t mode, device, path_size, reserved;
};

#endif
