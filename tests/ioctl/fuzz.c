// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz - random ONE_REG calls against a model
 *
 * Usage: fuzz [COUNT [SEED [cet]]]
 *        fuzz --calls FILE [cet]
 *
 * FILE has the calls, one a line: "get ID", "set ID VALUE" or "list N", in hexadecimal. Pointers
 * are random.
 *
 * cet: the vCPUs have shadow stacks and IBT, which KVM must support.
 *
 * Two equal VMs: one takes the calls, the other is driven by KVM_GET_MSRS and
 * KVM_SET_MSRS only and says what a type 2 register does. Everything else is decided by
 * model.c, in the order in which the ABI checks. Ends at the first difference; the same
 * SEED repeats it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvm.h"
#include "model.h"

static struct kvm_msr_list *listed;

static uint32_t random_msr(void)
{
	unsigned int i = random_below(10);

	if (i < 7)
		return random_dense_msr();
	return i == 7 ? random_next() : listed->indices[random_below(listed->nmsrs)];
}

/* What an MSR may have, and sometimes what it has. */
static uint64_t random_value_for(const struct vm *vm, uint32_t msr)
{
	uint64_t value;

	if (!random_one_in(7))
		return random_value();
	return msrs_get(vm, msr, &value) ? value : 0;
}

struct call {
	unsigned int nr;
	enum pointer_place argp;
	enum pointer_place addr;
	uint64_t id;
	uint64_t value; /* that SET takes */
};

/* vCPUs with shadow stacks have one KVM-defined register: GUEST_SSP. */
static bool shadow_stacks;

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

/* Returns NULL if all is well, otherwise what is wrong. */
static const char *try_reg(const struct fuzz *f, const struct call *c, struct outcome *o, int *want)
{
	const uint64_t addr = area_addr(&f->addr, c->addr, 8);
	const uint64_t argp = area_addr(&f->argp, c->argp, 16);
	const struct kvm_one_reg reg = { .id = c->id, .addr = addr };
	const uint64_t initial = c->nr == SET_ONE_REG ? c->value : 0x0101010101010101ull * AREA_CANARY;
	uint64_t want_value = 0, a, b = 0;
	bool same;

	area_fill(&f->argp, c->argp, &reg, sizeof(reg));
	area_fill(&f->addr, c->addr, &initial, sizeof(initial));
	*want = one_reg_model(&f->oracle, c->nr, c->argp, c->addr, c->id, c->value, shadow_stacks, &want_value);
	*o = xioctl(f->vm.vcpu, c->nr, (void *)(uintptr_t)argp);

	if (*want ? o->ret != -1 || o->err != -*want : o->ret != 0)
		return "result";
	if (!area_untouched(&f->argp, argp, sizeof(reg)))
		return "memory around argp";
	if (place_readable(c->argp) && memcmp((void *)(uintptr_t)argp, &reg, sizeof(reg)))
		return "argp written";
	if (!area_untouched(&f->addr, addr, sizeof(initial)))
		return "memory around addr";
	if (c->nr == GET_ONE_REG && !*want) {
		memcpy(&a, (void *)(uintptr_t)addr, sizeof(a));
		if (!same_value(f, one_reg_msr(c->id), a, want_value))
			return "value";
	} else if (place_readable(c->addr) && memcmp((void *)(uintptr_t)addr, &initial, sizeof(initial))) {
		return "memory at addr";
	}
	if (c->nr == SET_ONE_REG) {
		same = msrs_get(&f->vm, one_reg_msr(c->id), &a) == msrs_get(&f->oracle, one_reg_msr(c->id), &b);
		if (!same || !same_value(f, one_reg_msr(c->id), a, b))
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
	*want = reg_list_model(c->argp, c->value, shadow_stacks);
	*o = xioctl(f->vm.vcpu, c->nr, (void *)(uintptr_t)argp);

	if (*want ? o->ret != -1 || o->err != -*want : o->ret != 0)
		return "result";
	if (shadow_stacks && !*want)
		written += sizeof(id);
	if (!area_untouched(&f->argp, argp, written))
		return "memory around n";
	if (place_writable(c->argp)) {
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

static bool try_call(const struct fuzz *f, struct call *c)
{
	struct outcome o;
	const char *bad;
	int want;

	/* A bitmap base that is not canonical makes the native kernel complain. */
	if ((uint32_t)c->id == 0x6a0)
		c->value = (uint64_t)((int64_t)(c->value << 17) >> 17);
	if (c->nr == GET_REG_LIST)
		bad = try_list(f, c, &o, &want);
	else
		bad = try_reg(f, c, &o, &want);
	if (!bad)
		return true;
	tap_diag("%s differs", bad);
	tap_diag("ioctl 0x%x, id 0x%016llx, value 0x%llx", c->nr, (unsigned long long)c->id,
		 (unsigned long long)c->value);
	tap_diag("argp %s, addr %s", place_name(c->argp), place_name(c->addr));
	tap_diag("wanted: %s", errno_name(-want));
	tap_diag("got: %d %s", o.ret, errno_name(o.err));
	return false;
}

static bool fuzz_once(const struct fuzz *f)
{
	static const unsigned int ioctls[] = {
		GET_ONE_REG, GET_ONE_REG, GET_ONE_REG, SET_ONE_REG, SET_ONE_REG, SET_ONE_REG, GET_REG_LIST,
	};
	struct call c = {
		.nr = ioctls[random_below(ARRAY_SIZE(ioctls))],
		.argp = random_place(),
		.addr = random_place(),
		.id = random_id(random_msr()),
	};

	c.value = random_value_for(&f->oracle, c.id);
	return try_call(f, &c);
}

/* The next call of a file: false at its end, or if a line is not one. */
static bool read_call(FILE *from, struct call *c)
{
	unsigned long long a, b = 0;
	char line[80], name[8];
	int n;

	if (!fgets(line, sizeof(line), from))
		return false;
	n = sscanf(line, "%7s %llx %llx", name, &a, &b);
	*c = (struct call) { .argp = random_place(), .addr = random_place(), .id = a, .value = b };
	if (n == 2 && !strcmp(name, "get")) {
		c->nr = GET_ONE_REG;
	} else if (n == 3 && !strcmp(name, "set")) {
		c->nr = SET_ONE_REG;
	} else if (n == 2 && !strcmp(name, "list")) {
		c->nr = GET_REG_LIST;
		c->id = 0;
		c->value = a;
	} else {
		tap_ok(false, "each line is a call");
		tap_diag("this is not: %s", line);
		return false;
	}
	return true;
}

static void run_calls(const struct fuzz *f, const char *file)
{
	FILE *from = fopen(file, "re");
	unsigned long calls = 0;
	bool good = true;
	struct call c;

	tap_ok(from, "the file of calls is there");
	while (from && good && read_call(from, &c)) {
		good = try_call(f, &c);
		calls++;
	}
	tap_ok(good && calls, "its calls answer as the model says");
	tap_diag("%lu calls", calls);
}

int main(int argc, char **argv)
{
	const char *file = argc > 2 && !strcmp(argv[1], "--calls") ? argv[2] : NULL;
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
	random_seed(file ? 1 : seed);

	if (file) {
		run_calls(&f, file);
		return tap_done();
	}
	for (i = 0; i < count; i++)
		if (!fuzz_once(&f))
			break;
	tap_ok(i == count, "random calls answer as the model says");
	if (i < count)
		tap_diag("call %lu; to repeat: fuzz %lu %lu%s", i, i + 1, seed, shadow_stacks ? " cet" : "");
	tap_ok(largest_one_reg_result <= 0, "no result was positive");
	return tap_done();
}
