/* SPDX-License-Identifier: GPL-2.0 */
/* Random input for KVM's ioctls, determined by a seed: numbers, register ids, values, and pointers of every kind. */
#ifndef TESTS_IOCTL_RANDOM_H
#define TESTS_IOCTL_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void random_seed(uint64_t seed);
/* A well mixed number from another one (splitmix64's). */
uint64_t random_mix(uint64_t z);
uint64_t random_next(void);
/* Less than @n, which is not 0. */
unsigned int random_below(unsigned int n);
/* True once in @n times. */
bool random_one_in(unsigned int n);

/* Where a pointer points, and which accesses that allows. */
enum pointer_place {
	PLACE_GOOD,
	PLACE_UNALIGNED,
	PLACE_AT_END, /* fits exactly */
	PLACE_READ_ONLY,
	PLACE_STRADDLING, /* its last byte does not exist */
	PLACE_NULL,
	PLACE_UNMAPPED,
	PLACE_KERNEL,
	PLACES
};

const char *place_name(enum pointer_place p);
bool place_readable(enum pointer_place p);
bool place_writable(enum pointer_place p);
/* Mostly valid ones, or nothing else would ever be reached. */
enum pointer_place random_place(void);

#define AREA_CANARY 0xa5

/* A read-write, an inaccessible, a read-only page. */
struct area {
	uint8_t *writable;
	uint8_t *read_only;
	size_t size;
};

void area_create(struct area *a);
/* The address at which @size bytes are as @p says. */
uint64_t area_addr(const struct area *a, enum pointer_place p, size_t size);
/* Fills the area with AREA_CANARY and puts @data where @p points, as far as that is memory. */
void area_fill(const struct area *a, enum pointer_place p, const void *data, size_t size);
/* True if nothing but @size bytes at @at has changed since. */
bool area_untouched(const struct area *a, uint64_t at, size_t size);

/* The id of an MSR of type 2 with up to two fields changed: size, type, architecture, index, reserved bits. */
uint64_t random_id(uint32_t msr);
/* One of the ranges in which MSRs lie densely. */
uint32_t random_dense_msr(void);
/* A value that a register may have: 0, a bit, a small number, an address, all bits, any. */
uint64_t random_value(void);

#endif
