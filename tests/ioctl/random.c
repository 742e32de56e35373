// SPDX-License-Identifier: GPL-2.0
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm.h"
#include "random.h"

/* A thread has its own. */
static __thread uint64_t random_state;

void random_seed(uint64_t seed)
{
	random_state = seed;
}

uint64_t random_mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t random_next(void)
{
	return random_mix(random_state += 0x9e3779b97f4a7c15ull);
}

unsigned int random_below(unsigned int n)
{
	return random_next() % n;
}

bool random_one_in(unsigned int n)
{
	return !random_below(n);
}

const char *place_name(enum pointer_place p)
{
	static const char * const names[PLACES] = {
		[PLACE_GOOD] = "good",
		[PLACE_UNALIGNED] = "unaligned",
		[PLACE_AT_END] = "at the end of memory",
		[PLACE_READ_ONLY] = "read-only",
		[PLACE_STRADDLING] = "across the end of memory",
		[PLACE_NULL] = "NULL",
		[PLACE_UNMAPPED] = "unmapped",
		[PLACE_KERNEL] = "kernel",
	};

	return names[p];
}

bool place_readable(enum pointer_place p)
{
	return p <= PLACE_READ_ONLY;
}

bool place_writable(enum pointer_place p)
{
	return p < PLACE_READ_ONLY;
}

enum pointer_place random_place(void)
{
	return random_below(3) ? PLACE_GOOD : random_below(PLACES);
}

void area_create(struct area *a)
{
	a->size = sysconf(_SC_PAGESIZE);
	a->writable = mmap(NULL, 4 * a->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	a->read_only = a->writable + 2 * a->size;
	if (a->writable == MAP_FAILED || mprotect(a->writable, a->size, PROT_READ | PROT_WRITE))
		tap_bail("memory");
}

uint64_t area_addr(const struct area *a, enum pointer_place p, size_t size)
{
	switch (p) {
	case PLACE_GOOD:
		return user_addr(a->writable + 256);
	case PLACE_UNALIGNED:
		return user_addr(a->writable + 256 + 3);
	case PLACE_AT_END:
		return user_addr(a->writable + a->size - size);
	case PLACE_READ_ONLY:
		return user_addr(a->read_only + 256);
	case PLACE_STRADDLING:
		return user_addr(a->writable + a->size - size + 1);
	case PLACE_UNMAPPED:
		return user_addr(a->writable + a->size + 64);
	case PLACE_KERNEL:
		return sizeof(void *) == 8 ? 0xffff888000001000ull : 0xfffff000ull;
	default:
		return 0;
	}
}

void area_fill(const struct area *a, enum pointer_place p, const void *data, size_t size)
{
	uint8_t *at = (uint8_t *)(uintptr_t)area_addr(a, p, size);

	memset(a->writable, AREA_CANARY, a->size);
	if (p == PLACE_READ_ONLY) {
		mprotect(a->read_only, a->size, PROT_READ | PROT_WRITE);
		memcpy(at, data, size);
		mprotect(a->read_only, a->size, PROT_READ);
	} else if (p == PLACE_STRADDLING) {
		memcpy(at, data, size - 1);
	} else if (place_readable(p)) {
		memcpy(at, data, size);
	}
}

static bool is_canary(const uint8_t *p, size_t n)
{
	return !n || (*p == AREA_CANARY && !memcmp(p, p + 1, n - 1));
}

bool area_untouched(const struct area *a, uint64_t at, size_t size)
{
	const uint64_t first = user_addr(a->writable), end = first + a->size;
	const uint64_t from = at < first ? first : at < end ? at : end;
	const uint64_t to = at + size < from ? from : at + size < end ? at + size : end;

	return is_canary(a->writable, from - first) && is_canary(a->writable + (to - first), end - to);
}

uint32_t random_dense_msr(void)
{
	static const struct {
		uint32_t base, count;
	} dense[] = {
		{ 0, 0x1000 },	       { 0xc0000080, 5 },     { 0xc0000000, 0x200 }, { 0xc0010000, 0x2000 },
		{ 0x40000000, 0x200 }, { 0x4b564d00, 0x100 }, { 0x6a0, 9 },
	};
	unsigned int i = random_below(ARRAY_SIZE(dense));

	return dense[i].base + random_below(dense[i].count);
}

uint64_t random_id(uint32_t msr)
{
	uint64_t id = ID_MSR_BASE | msr;
	unsigned int changes = random_below(3);

	while (changes--) {
		switch (random_below(7)) {
		case 0:
			id ^= 1ull << random_below(64);
			break;
		case 1:
			id &= ~(0xffull << 32);
			id |= (uint64_t)random_below(256) << 32;
			break;
		case 2:
			id &= ~(0xfull << 52);
			id |= (uint64_t)random_below(16) << 52;
			break;
		case 3:
			id &= ~(0xffull << 56);
			id |= (uint64_t)random_below(256) << 56;
			break;
		case 4:
			id ^= (uint64_t)random_below(4096) << 40;
			break;
		case 5:
			/* KVM-defined, often the known one */
			id &= ~(0xffull << 32);
			id |= 3ull << 32;
			if (random_below(2))
				id &= ~0xffffffffull;
			break;
		case 6:
			/* one of the 2024 types */
			id &= ~(0xffull << 32);
			id |= (random_below(2) ? 4ull : 8ull) << 32;
			break;
		}
	}
	return id;
}

uint64_t random_value(void)
{
	switch (random_below(6)) {
	case 0:
		return 0;
	case 1:
		return 1ull << random_below(64);
	case 2:
		return random_below(0x10000);
	case 3:
		return ~0ull;
	case 4:
		return 0xffff800000000000ull | random_next() >> 17;
	default:
		return random_next();
	}
}
