/* SPDX-License-Identifier: GPL-2.0 */
/* Compressed files, which are decompressed by the programs for their formats. */
#ifndef BASE_UNPACK_H
#define BASE_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The program that decompresses data with this beginning, or NULL; examines at least 6 bytes. */
const char *unpacker(const unsigned char *bytes, size_t size);

/* The output of a program as a stream. The program has 20 seconds. */
struct unpacking {
	int fd;
	pid_t pid;
	long end;
};

/* Start @program on the rest of the file @from, where its offset is. False if it cannot be started. */
bool unpack_start(struct unpacking *unpacking, const char *program, int from);
/* The next bytes; 0 at the end, -1 when the time is up or reading failed. */
ssize_t unpack_read(struct unpacking *unpacking, void *bytes, size_t size);
/* End it, whatever it does. Returns true if it had already ended by itself, successfully. */
bool unpack_end(struct unpacking *unpacking);

/* All of @bytes, decompressed if they are compressed; NULL if that fails. At most 64 MiB. */
unsigned char *unpack(unsigned char *bytes, size_t size, size_t *unpacked);

#endif
