/* SPDX-License-Identifier: GPL-2.0 */
/* Packed files, unpacked by the programs of their makers. */
#ifndef BASE_UNPACK_H
#define BASE_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The program that unpacks what begins like this, or NULL; at least 6 bytes are looked at. */
const char *unpacker(const unsigned char *bytes, size_t size);

/* What a program writes, as it comes. It has 20 seconds. */
struct unpacking {
	int fd;
	pid_t pid;
	long end;
};

/* Start @program on the rest of the file @from, where its offset is. False if it cannot be started. */
bool unpack_start(struct unpacking *unpacking, const char *program, int from);
/* The next bytes; 0 at the end, -1 when the time is up or reading failed. */
ssize_t unpack_read(struct unpacking *unpacking, void *bytes, size_t size);
/* End it, whatever it does. True if it had come to its end by itself, and says that all was well. */
bool unpack_end(struct unpacking *unpacking);

/* All of @bytes, unpacked if they are packed; NULL if they cannot be. At most 64 MiB. */
unsigned char *unpack(unsigned char *bytes, size_t size, size_t *unpacked);

#endif
