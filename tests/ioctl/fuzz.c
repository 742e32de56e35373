// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz - random ONE_REG calls against a model
 *
 * Usage: fuzz [COUNT [SEED [cet]]]
 *
 * cet: the vCPUs have shadow stacks and IBT, which KVM must support.
 *
 * Two equal VMs: one takes the calls, the other is driven by KVM_GET_MSRS and
 * KVM_SET_MSRS only and says what a type 2 register does. Everything else is decided by the
 * model below, in the order in which the ABI checks. Ends at the first difference; the same
 * SEED repeats it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm.h"

#define CANARY 0xa5

static uint64_t random_state;

/* splitmix64 */
static uint64_t next_random(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static unsigned int below(unsigned int n)
{
	return next_random() % n;
}

/* Where a pointer points, and which accesses that allows. */
enum place {
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

static const char * const place_names[PLACES] = {
	[PLACE_GOOD] = "good",
	[PLACE_UNALIGNED] = "unaligned",
	[PLACE_AT_END] = "at the end of memory",
	[PLACE_READ_ONLY] = "read-only",
	[PLACE_STRADDLING] = "across the end of memory",
	[PLACE_NULL] = "NULL",
	[PLACE_UNMAPPED] = "unmapped",
	[PLACE_KERNEL] = "kernel",
};

static bool readable(enum place p)
{
	return p <= PLACE_READ_ONLY;
}

static bool writable(enum place p)
{
	return p < PLACE_READ_ONLY;
}

static enum place random_place(void)
{
	/* Mostly valid ones, or nothing else would ever be reached. */
	return below(3) ? PLACE_GOOD : below(PLACES);
}

/* A read-write, an inaccessible, a read-only page; for struct and for value. */
struct area {
	uint8_t *writable;
	uint8_t *read_only;
	size_t size;
};

static void area_create(struct area *a)
{
	a->size = sysconf(_SC_PAGESIZE);
	a->writable = mmap(NULL, 4 * a->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	a->read_only = a->writable + 2 * a->size;
	if (a->writable == MAP_FAILED || mprotect(a->writable, a->size, PROT_READ | PROT_WRITE))
		tap_bail("memory");
}

static uint64_t area_addr(const struct area *a, enum place p, size_t size)
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

/* Fills the area and puts @data where @p points, as far as that is memory. */
static void area_fill(const struct area *a, enum place p, const void *data, size_t size)
{
	uint8_t *at = (uint8_t *)(uintptr_t)area_addr(a, p, size);

	memset(a->writable, CANARY, a->size);
	if (p == PLACE_READ_ONLY) {
		mprotect(a->read_only, a->size, PROT_READ | PROT_WRITE);
		memcpy(at, data, size);
		mprotect(a->read_only, a->size, PROT_READ);
	} else if (p == PLACE_STRADDLING) {
		memcpy(at, data, size - 1);
	} else if (readable(p)) {
		memcpy(at, data, size);
	}
}

static struct kvm_msr_list *listed;

static uint32_t random_msr(void)
{
	static const struct {
		uint32_t base, count;
	} dense[] = {
		{ 0, 0x1000 },	       { 0xc0000080, 5 },     { 0xc0000000, 0x200 }, { 0xc0010000, 0x2000 },
		{ 0x40000000, 0x200 }, { 0x4b564d00, 0x100 }, { 0x6a0, 9 },
	};
	unsigned int i = below(ARRAY_SIZE(dense) + 3);

	if (i < ARRAY_SIZE(dense))
		return dense[i].base + below(dense[i].count);
	if (i == ARRAY_SIZE(dense))
		return next_random();
	return listed->indices[below(listed->nmsrs)];
}

/* A valid id with up to two fields changed. */
static uint64_t random_id(void)
{
	uint64_t id = ID_MSR_BASE | random_msr();
	unsigned int changes = below(3);

	while (changes--) {
		switch (below(7)) {
		case 0:
			id ^= 1ull << below(64);
			break;
		case 1:
			id &= ~(0xffull << 32);
			id |= (uint64_t)below(256) << 32;
			break;
		case 2:
			id &= ~(0xfull << 52);
			id |= (uint64_t)below(16) << 52;
			break;
		case 3:
			id &= ~(0xffull << 56);
			id |= (uint64_t)below(256) << 56;
			break;
		case 4:
			id ^= (uint64_t)below(4096) << 40;
			break;
		case 5:
			/* KVM-defined, often the known one */
			id &= ~(0xffull << 32);
			id |= 3ull << 32;
			if (below(2))
				id &= ~0xffffffffull;
			break;
		case 6:
			/* one of the 2024 types */
			id &= ~(0xffull << 32);
			id |= (below(2) ? 4ull : 8ull) << 32;
			break;
		}
	}
	return id;
}

static uint64_t random_value(const struct vm *vm, uint32_t msr)
{
	uint64_t value;

	switch (below(7)) {
	case 0:
		return 0;
	case 1:
		return 1ull << below(64);
	case 2:
		return below(0x10000);
	case 3:
		return ~0ull;
	case 4:
		return 0xffff800000000000ull | next_random() >> 17;
	case 5:
		return next_random();
	default:
		return msrs_get(vm, msr, &value) ? value : 0;
	}
}

struct call {
	unsigned int nr;
	enum place argp;
	enum place addr;
	uint64_t id;
	uint64_t value; /* that SET takes */
};

/* vCPUs with shadow stacks have one KVM-defined register: GUEST_SSP. */
static bool shadow_stacks;

/* The MSR whose number a host may use in its place */
static uint32_t msr_of(uint64_t id)
{
	return id == ID_GUEST_SSP ? MSR_INTERNAL_SSP : id;
}

/* The result according to the ABI, in its order of checks. Applies the expected change to @oracle. */
static int model_reg(const struct call *c, const struct vm *oracle, uint64_t *got)
{
	if (!readable(c->argp))
		return -EFAULT;
	if (c->id >> 56 != 0x20)
		return -EINVAL;
	if (c->id >> 40 & 0xfff)
		return -EINVAL;
	/* Without shadow stacks there is no KVM-defined register. */
	if ((c->id >> 32 & 0xff) == 3 && (!shadow_stacks || (uint32_t)c->id))
		return -EINVAL;
	if ((c->id >> 32 & 0xff) != 2 && (c->id >> 32 & 0xff) != 3)
		return -EINVAL;
	if ((c->id >> 52 & 0xf) != 3)
		return -EINVAL;
	if (c->nr == GET_ONE_REG) {
		if (!msrs_get(oracle, msr_of(c->id), got))
			return -EINVAL;
		return writable(c->addr) ? 0 : -EFAULT;
	}
	if (!readable(c->addr))
		return -EFAULT;
	return msrs_set(oracle, msr_of(c->id), c->value) ? 0 : -EINVAL;
}

static int model_list(const struct call *c)
{
	if (!writable(c->argp))
		return -EFAULT;
	if (c->value < shadow_stacks)
		return -E2BIG;
	/* The id goes behind n, where memory may have ended. */
	return shadow_stacks && c->argp == PLACE_AT_END ? -EFAULT : 0;
}

struct fuzz {
	struct vm vm; /* takes the calls */
	struct vm oracle;
	struct area argp;
	struct area addr;
};

/* Equal values, unless the MSR changes by itself. */
static bool same_value(const struct fuzz *f, uint32_t msr, uint64_t a, uint64_t b)
{
	uint64_t before, after;

	if (a == b)
		return true;
	if (!msrs_get(&f->oracle, msr, &before))
		return false;
	sleep_ms(1);
	return msrs_get(&f->oracle, msr, &after) && before != after;
}

/* True if nothing but @size bytes at @at has changed. */
static bool rest_untouched(const struct area *a, uint64_t at, size_t size)
{
	const uint8_t *p;

	for (p = a->writable; p < a->writable + a->size; p++)
		if ((user_addr(p) < at || user_addr(p) >= at + size) && *p != CANARY)
			return false;
	return true;
}

/* Returns NULL if all is well, otherwise what is wrong. */
static const char *try_reg(const struct fuzz *f, const struct call *c, struct outcome *o, int *want)
{
	const uint64_t addr = area_addr(&f->addr, c->addr, 8);
	const uint64_t argp = area_addr(&f->argp, c->argp, 16);
	const struct kvm_one_reg reg = { .id = c->id, .addr = addr };
	const uint64_t initial = c->nr == SET_ONE_REG ? c->value : 0x0101010101010101ull * CANARY;
	uint64_t want_value = 0, a, b = 0;
	bool same;

	area_fill(&f->argp, c->argp, &reg, sizeof(reg));
	area_fill(&f->addr, c->addr, &initial, sizeof(initial));
	*want = model_reg(c, &f->oracle, &want_value);
	*o = xioctl(f->vm.vcpu, c->nr, (void *)(uintptr_t)argp);

	if (*want ? o->ret != -1 || o->err != -*want : o->ret != 0)
		return "result";
	if (!rest_untouched(&f->argp, argp, sizeof(reg)))
		return "memory around argp";
	if (readable(c->argp) && memcmp((void *)(uintptr_t)argp, &reg, sizeof(reg)))
		return "argp written";
	if (!rest_untouched(&f->addr, addr, sizeof(initial)))
		return "memory around addr";
	if (c->nr == GET_ONE_REG && !*want) {
		memcpy(&a, (void *)(uintptr_t)addr, sizeof(a));
		if (!same_value(f, msr_of(c->id), a, want_value))
			return "value";
	} else if (readable(c->addr) && memcmp((void *)(uintptr_t)addr, &initial, sizeof(initial))) {
		return "memory at addr";
	}
	if (c->nr == SET_ONE_REG) {
		same = msrs_get(&f->vm, msr_of(c->id), &a) == msrs_get(&f->oracle, msr_of(c->id), &b);
		if (!same || !same_value(f, msr_of(c->id), a, b))
			return "state after SET";
	}
	return NULL;
}

static const char *try_list(const struct fuzz *f, const struct call *c, struct outcome *o, int *want)
{
	const uint64_t argp = area_addr(&f->argp, c->argp, 8);
	size_t written = sizeof(uint64_t);
	uint64_t n, id;

	area_fill(&f->argp, c->argp, &c->value, sizeof(c->value));
	*want = model_list(c);
	*o = xioctl(f->vm.vcpu, c->nr, (void *)(uintptr_t)argp);

	if (*want ? o->ret != -1 || o->err != -*want : o->ret != 0)
		return "result";
	if (shadow_stacks && !*want)
		written += sizeof(id);
	if (!rest_untouched(&f->argp, argp, written))
		return "memory around n";
	if (writable(c->argp)) {
		memcpy(&n, (void *)(uintptr_t)argp, sizeof(n));
		if (n != shadow_stacks)
			return "n";
	}
	if (written > sizeof(n)) {
		memcpy(&id, (void *)(uintptr_t)(argp + sizeof(n)), sizeof(id));
		if (id != ID_GUEST_SSP)
			return "id";
	}
	return NULL;
}

static bool fuzz_once(const struct fuzz *f)
{
	static const unsigned int ioctls[] = {
		GET_ONE_REG, GET_ONE_REG, GET_ONE_REG, SET_ONE_REG, SET_ONE_REG, SET_ONE_REG, GET_REG_LIST,
	};
	struct call c = {
		.nr = ioctls[below(ARRAY_SIZE(ioctls))],
		.argp = random_place(),
		.addr = random_place(),
		.id = random_id(),
	};
	struct outcome o;
	const char *bad;
	int want;

	c.value = random_value(&f->oracle, c.id);
	/* A bitmap base that is not canonical makes the native kernel complain. */
	if ((uint32_t)c.id == 0x6a0)
		c.value = (uint64_t)((int64_t)(c.value << 17) >> 17);
	if (c.nr == GET_REG_LIST)
		bad = try_list(f, &c, &o, &want);
	else
		bad = try_reg(f, &c, &o, &want);
	if (!bad)
		return true;
	tap_diag("%s differs", bad);
	tap_diag("ioctl 0x%x, id 0x%016llx, value 0x%llx", c.nr, (unsigned long long)c.id, (unsigned long long)c.value);
	tap_diag("argp %s, addr %s", place_names[c.argp], place_names[c.addr]);
	tap_diag("wanted: %s", errno_name(-want));
	tap_diag("got: %d %s", o.ret, errno_name(o.err));
	return false;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 10000;
	unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	unsigned int flags = VM_CPUID | VM_MEMORY | VM_IRQCHIP;
	unsigned long i;
	struct fuzz f;

	shadow_stacks = argc > 3 && !strcmp(argv[3], "cet");
	if (shadow_stacks)
		flags |= VM_SHSTK | VM_IBT | VM_CET_XSS;
	kvm_open(shadow_stacks ? "fuzz cet" : "fuzz");
	listed = msr_list(KVM_GET_MSR_INDEX_LIST);
	vm_create(&f.vm, flags);
	vm_create(&f.oracle, flags);
	area_create(&f.argp);
	area_create(&f.addr);
	random_state = seed;

	for (i = 0; i < count; i++)
		if (!fuzz_once(&f))
			break;
	tap_ok(i == count, "random calls answer as the model says");
	if (i < count)
		tap_diag("call %lu; to repeat: fuzz %lu %lu%s", i, i + 1, seed, shadow_stacks ? " cet" : "");
	tap_ok(largest_one_reg_result <= 0, "no result was positive");
	return tap_done();
}
