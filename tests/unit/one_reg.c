// SPDX-License-Identifier: GPL-2.0
/*
 * Tests src/one_reg.c in user space, with stubs for the kernel: each check of GET, SET and LIST, its errno, and
 * the order of the checks. REGISTERS is the number of made-up KVM-defined registers in the table (1 to 3), or -1
 * for src/synthetic.c as it is.
 *
 * User memory is an array whose bytes can be made unreadable or unwritable one by one. The stubs log each call
 * of the code under test, and the log is compared with that of a model of the ABI, which shares no code and no
 * header with it.
 *
 * Prints "pass NAME" or "fail NAME: DETAIL" per check.
 */
#include <linux/kvm_host.h>
#include <linux/uaccess.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpuid.h"
#include "one_reg.h"
#include "synthetic.h"
#include "table.h"
#include "x86.h"

#define GET  0x4010aeabU
#define SET  0x4010aeacU
#define LIST 0xc008aeb0U

#define MEMORY 512
#define ARGP   (memory + 64)
#define ADDR   (memory + 256)

#define VALUE	0x1122334455667788ULL
#define WRITTEN 0xa1a2a3a4a5a6a7a8ULL

static unsigned char memory[MEMORY], before[MEMORY];
static bool unreadable[MEMORY], unwritable[MEMORY];
static struct kvm kvm;
static struct kvm_vcpu vcpu = { .kvm = &kvm };
static char events[1024];
static bool logging;
static int msr_result;
static u64 msr_written;
static const char *wrong;

/* The window of user_read_access_begin(): its place, how much of it has been read, and whether a read failed. */
static struct {
	const unsigned char *from;
	size_t size, read;
	bool open, fault;
} window;

static void event(const char *format, ...)
{
	size_t used = strlen(events);
	va_list args;

	if (!logging)
		return;
	va_start(args, format);
	vsnprintf(events + used, sizeof(events) - used, format, args);
	va_end(args);
}

/* ---- the kernel */

static size_t access_user(const void *address, size_t size, const bool *bad, bool *inside)
{
	uintptr_t at = (uintptr_t)address - (uintptr_t)memory;
	size_t i;

	if (kvm.srcu.held)
		wrong = "user memory accessed with kvm->srcu held";
	*inside = at < MEMORY && size <= MEMORY - at;
	if (!*inside)
		return size;
	for (i = 0; i < size; i++)
		if (bad[at + i])
			return size - i;
	return 0;
}

size_t stub_read_user(void *to, const void *from, size_t size)
{
	bool inside;
	size_t left = access_user(from, size, unreadable, &inside);

	if (window.open) {
		if ((const unsigned char *)from != window.from + window.read)
			wrong = "read outside of the window, twice, or out of order";
		window.read += size;
		window.fault |= left;
	} else {
		event("read%zu%s ", size, left ? "!" : "");
	}
	/* The bytes before the fault have been copied. */
	memcpy(to, inside ? from : to, size - left);
	return left;
}

size_t stub_write_user(void *to, const void *from, size_t size)
{
	bool inside;
	size_t left = access_user(to, size, unwritable, &inside);

	event("write%zu%s ", size, left ? "!" : "");
	if (window.open)
		wrong = "write in a window for reads";
	if (!left)
		memcpy(to, from, size);
	return left;
}

/* Like the kernel's, this only checks that the addresses belong to user space: reads may still fault. */
bool stub_begin(const void *from, size_t size)
{
	if (window.open || kvm.srcu.held)
		wrong = "window opened twice, or with kvm->srcu held";
	if ((uintptr_t)from >> 47) {
		event("read%zu! ", size);
		return false;
	}
	window.from = from;
	window.size = size;
	window.read = 0;
	window.fault = false;
	window.open = true;
	return true;
}

void stub_end(void)
{
	event("read%zu%s ", window.size, window.fault ? "!" : "");
	if (!window.open || (!window.fault && window.read != window.size))
		wrong = "window closed twice, or not read to its end";
	window.open = false;
}

int srcu_read_lock(struct srcu_struct *srcu)
{
	event("lock ");
	if (window.open)
		wrong = "lock in a window for reads";
	if (srcu != &kvm.srcu || srcu->held++)
		wrong = "lock of another srcu, or a second one";
	return srcu->last ^= 1;
}

void srcu_read_unlock(struct srcu_struct *srcu, int idx)
{
	event("unlock ");
	if (srcu != &kvm.srcu || idx != srcu->last || srcu->held-- != 1)
		wrong = "unlock without its lock";
}

static int get_msr(struct kvm_vcpu *v, unsigned int index, u64 *data)
{
	event("rdmsr(%#x) ", index);
	if (v != &vcpu || kvm.srcu.held != 1)
		wrong = "MSR read without kvm->srcu";
	/* Some handlers leave a value behind when they fail. */
	*data = VALUE;
	return msr_result;
}

static int set_msr(struct kvm_vcpu *v, unsigned int index, u64 *data)
{
	event("wrmsr(%#x) ", index);
	if (v != &vcpu || kvm.srcu.held != 1)
		wrong = "MSR written without kvm->srcu";
	msr_written = *data;
	return msr_result;
}

static bool vendor_has(u32 index);

int vendor_get_msr(struct kvm_vcpu *v, struct msr_data *msr)
{
	event("vendor_get(%#x) ", msr->index);
	if (v != &vcpu || kvm.srcu.held != 1 || !msr->host_initiated)
		wrong = "register read without kvm->srcu, or for the guest";
	msr->data = VALUE;
	return vendor_has(msr->index) ? msr_result : KVM_MSR_RET_UNSUPPORTED;
}

int vendor_set_msr(struct kvm_vcpu *v, struct msr_data *msr)
{
	event("vendor_set(%#x) ", msr->index);
	if (v != &vcpu || kvm.srcu.held != 1 || !msr->host_initiated)
		wrong = "register written without kvm->srcu, or for the guest";
	msr_written = msr->data;
	return vendor_has(msr->index) ? msr_result : KVM_MSR_RET_UNSUPPORTED;
}

/* Shadow stacks, CPUID.(EAX=7,ECX=0):ECX[7]: KVM has them if bit 0 of vcpu.has is set, the guest if bit 1 is. */
bool kvm_cpu_cap_has(unsigned int feature)
{
	return feature == 16 * 32 + 7 && vcpu.has & 1;
}

bool guest_cpuid_has(struct kvm_vcpu *v, unsigned int feature)
{
	return feature == 16 * 32 + 7 && v->has & 2;
}

bool has_0(struct kvm_vcpu *v)
{
	return v->has & 1;
}

bool has_1(struct kvm_vcpu *v)
{
	return v->has & 2;
}

bool has_2(struct kvm_vcpu *v)
{
	return v->has & 4;
}

/* ---- the checks */

static int failures;

static void check(bool good, const char *name, const char *format, ...)
{
	va_list args;

	if (good && !wrong) {
		printf("pass %s\n", name);
		return;
	}
	failures++;
	printf("fail %s: %s%s", name, wrong ? wrong : "", wrong ? "; " : "");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	wrong = NULL;
}

static void reset(void)
{
	unsigned int i;

	for (i = 0; i < MEMORY; i++)
		memory[i] = (unsigned char)(i * 37 + 11);
	memset(unreadable, 0, sizeof(unreadable));
	memset(unwritable, 0, sizeof(unwritable));
	events[0] = 0;
	msr_written = 0;
	msr_result = 0;
}

static int call(unsigned int ioctl, void *argp)
{
	int r;

	memcpy(before, memory, MEMORY);
	r = kvm_onereg_vcpu_ioctl(&vcpu, ioctl, argp, get_msr, set_msr);
	if (kvm.srcu.held)
		wrong = "kvm->srcu still held at the end";
	if (window.open)
		wrong = "window still open at the end";
	window.open = false;
	if (r != 0 && r != -EFAULT && r != -EINVAL && r != -E2BIG)
		wrong = "a result that is none of the ABI's";
	return r;
}

/* Whether nothing in user memory changed but @size bytes at @at. */
static bool only_changed(const unsigned char *at, size_t size)
{
	size_t i;

	for (i = 0; i < MEMORY; i++)
		if (memory[i] != before[i] && (memory + i < at || memory + i >= at + size))
			return false;
	return true;
}

/*
 * The real table, in literal numbers, in the order of the list. @needs are the bits of vcpu.has without which a vCPU
 * does not have the register: 1, KVM offers shadow stacks; 2, the guest's CPUID has them.
 */
static const struct {
	u64 id;
	u32 msr;
	unsigned int needs;
} real[] = {
	{ 0x2030000300000000, 0x4b564dff, 3 },
};

/* The registers of the real table, or made-up ones, each of which has a bit in vcpu.has */
static const unsigned int registers = REGISTERS < 0 ? (int)(sizeof(real) / sizeof(real[0])) : REGISTERS;

static u64 register_id(unsigned int i)
{
	return REGISTERS < 0 ? real[i].id : TABLE_ID(i);
}

static u32 register_msr(unsigned int i)
{
	return REGISTERS < 0 ? real[i].msr : TABLE_MSR(i);
}

static bool has(unsigned int i)
{
	return REGISTERS < 0 ? (vcpu.has & real[i].needs) == real[i].needs : vcpu.has >> i & 1;
}

static bool vendor_has(u32 index)
{
	unsigned int i;

	for (i = 0; i < registers; i++)
		if (register_msr(i) == index)
			return has(i);
	return false;
}

static unsigned int table(u64 *ids)
{
	unsigned int i, n = 0;

	for (i = 0; i < registers; i++)
		if (has(i))
			ids[n++] = register_id(i);
	return n;
}

/* The kinds of ids: invalid, an MSR, a register that the vCPU lacks, a register that it has. */
enum kind { BAD, MSR, LACKING, PRESENT };

/*
 * The model: the kind of an id, from each of its bits, and the MSR that it stands for.
 * The pattern is for bits 63..32 of a valid id, where 'T' is the last bit of the type, 2 or 3.
 */
static enum kind model(u64 id, u32 *msr)
{
	static const char pattern[] = "0010000000110000000000000000001T";
	unsigned int bit, i;

	for (bit = 0; bit < 32; bit++) {
		char c = pattern[bit];

		if (c != 'T' && (c == '1') != ((id >> (63 - bit)) & 1))
			return BAD;
	}
	*msr = (u32)id;
	if (!((id >> 32) & 1))
		return MSR;
	for (i = 0; i < registers; i++)
		if (register_id(i) == id) {
			*msr = register_msr(i);
			return has(i) ? PRESENT : LACKING;
		}
	return BAD;
}

/* clang-format off */
static const u64 ids[] = {
	/* MSRs */
	0x2030000200000010, 0x20300002c0000080, 0x2030000200000da0, 0x20300002000006a0, 0x20300002000006a2,
	0x20300002000006a4, 0x20300002000006a8, 0x203000024b564d01, 0x20300002deadbeef, 0x20300002ffffffff,
	0x2030000200000000, 0x203000024b564dff,
	/* KVM-defined: the made-up registers, their neighbours, the ends of the ranges */
	0x2030000300000000, 0x2030000300000001, 0x2030000300000006, 0x2030000300000007, 0x2030000300000008,
	0x203000030000000e, 0x2030000300000015, 0x203000037fffffff, 0x2030000380000000, 0x20300003ff000000,
	0x20300003ffffffff, 0x203000034b564dff, 0x203000034b564d00,
	/* sizes, reserved bits, architectures, types */
	0x2020000200000010, 0x2040000200000010, 0x2000000200000010, 0x20f0000200000010, 0x2020000300000000,
	0x2000000300000000, 0x2030010200000010, 0x2031000200000010, 0x2038000200000010, 0x2030800200000010,
	0x2030010300000000, 0x2031000300000000, 0x6030000200000010, 0x1030000200000010, 0x0030000200000010,
	0xa030000200000010, 0x6030000300000000, 0x2030000000000010, 0x2030000100000010, 0x2030000400000010,
	0x2030000800000000, 0x2030000600000010, 0x2030001200000010, 0x2030008200000010, 0x203000ff00000000,
	/* ids of the first proposal, and plain numbers */
	0x0000000400000010, 0x0000000800000000, 0, 1, 0x10, 0xffffffffffffffff, 0x4b564d09,
};

/* clang-format on */

static const int results[] = { 0, 1, 2, 3, -1, -EINVAL, -EBUSY, -EFAULT, INT_MAX, INT_MIN };

/* Ways in which the argument (16 bytes) or the value (8 bytes) can be inaccessible. */
enum { GOOD, NOWHERE, NULL_POINTER, FIRST_BYTE, LAST_BYTE, MIDDLE, WAYS };

static void *broken(unsigned char *at, size_t size, unsigned int way, bool *bad)
{
	switch (way) {
	case NOWHERE:
		return (void *)(uintptr_t)0xdead000000000000;
	case NULL_POINTER:
		return NULL;
	case FIRST_BYTE:
		bad[at - memory] = true;
		break;
	case LAST_BYTE:
		bad[at - memory + size - 1] = true;
		break;
	case MIDDLE:
		bad[at - memory + size / 2] = true;
		break;
	}
	return at;
}

#define SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Extract one dimension of a combination from its number. */
static unsigned int digit(unsigned int *number, unsigned int values)
{
	unsigned int value = *number % values;

	*number /= values;
	return value;
}

/*
 * The model: the result of GET or SET for a register of @kind, whose MSR is @msr. Sets @want to the expected
 * log: see event()
 */
static int model_one_reg(bool set, enum kind kind, bool bad_argument, bool bad_value, u32 msr, char *want, size_t size)
{
	const char *prefix = kind == MSR ? set ? "wrmsr" : "rdmsr" : set ? "vendor_set" : "vendor_get";
	int r;

	if (bad_argument) {
		snprintf(want, size, "read16! ");
		return -EFAULT;
	}
	if (kind == BAD) {
		snprintf(want, size, "read16 ");
		return -EINVAL;
	}
	if (set && bad_value) {
		snprintf(want, size, "read16 read8! ");
		return kind == LACKING ? -EINVAL : -EFAULT;
	}
	r = kind == LACKING || msr_result ? -EINVAL : 0;
	if (set) {
		snprintf(want, size, "read16 read8 lock %s(%#x) unlock ", prefix, msr);
		return r;
	}
	snprintf(want, size, "read16 lock %s(%#x) unlock %s", prefix, msr, r ? "" : bad_value ? "write8! " : "write8 ");
	return r ? r : bad_value ? -EFAULT : 0;
}

/* Each id with each MSR result, argument and value address, aligned or not: the result, the order, and memory. */
static void one_reg(bool set)
{
	const unsigned int calls = SIZE(ids) * SIZE(results) * WAYS * WAYS * 2;
	unsigned int n;
	char want[256];

	for (n = 0; n < calls; n++) {
		unsigned int rest = n, align = digit(&rest, 2), addr = digit(&rest, WAYS), arg = digit(&rest, WAYS);
		unsigned int result = digit(&rest, SIZE(results)), id = digit(&rest, SIZE(ids));
		unsigned char *at = ADDR + 3 * align, *in = ARGP + 5 * align;
		void *argp, *value;
		u64 words[2], v = WRITTEN;
		u32 msr = 0;
		bool written;
		enum kind kind;
		int r, model_r;

		reset();
		msr_result = results[result];
		memcpy(at, &v, sizeof(v));
		argp = broken(in, 16, arg, unreadable);
		value = broken(at, 8, addr, set ? unreadable : unwritable);
		words[0] = ids[id];
		words[1] = (u64)(uintptr_t)value;
		memcpy(in, words, sizeof(words));
		/* GET must not read the value, SET must not write it. */
		memset((set ? unwritable : unreadable) + (at - memory), 1, 8);

		kind = model(ids[id], &msr);
		model_r = model_one_reg(set, kind, arg, addr, msr, want, sizeof(want));
		written = !set && !model_r;

		logging = true;
		r = call(set ? SET : GET, argp);
		logging = false;

		memcpy(&v, at, sizeof(v));
		if (wrong || r != model_r || strcmp(events, want) || !only_changed(at, written ? 8 : 0) ||
		    v != (written ? VALUE : WRITTEN) || (set && strstr(want, "lock") && msr_written != WRITTEN)) {
			check(false, set ? "SET" : "GET",
			      "id %#llx, MSR result %d, argument %u, address %u, existing %u: %d (%s), want %d (%s)",
			      ids[id], msr_result, arg, addr, vcpu.has, r, events, model_r, want);
			return;
		}
	}
	check(n == calls, set ? "SET: results, order and memory" : "GET: results, order and memory", "%u calls", n);
}

/* All values of the upper 16 bits with all types, and with all values of bits 47..40. */
static void kinds(void)
{
	/* All types are tested with one of the tables only, because that takes seconds. */
	const unsigned int step = REGISTERS == 3 ? 1 : 17;
	unsigned int top, type, rest, accepted = 0;
	u64 words[2] = { 0, (u64)(uintptr_t)ADDR };
	u32 msr = 0;

	reset();
	for (top = 0; top < 0x10000; top++)
		for (type = 0; type < 256; type += type < 16 ? 1 : step) {
			bool good;
			enum kind kind;

			words[0] = (u64)top << 48 | (u64)type << 32 | 7;
			memcpy(ARGP, words, sizeof(words));
			kind = model(words[0], &msr);
			good = kind == MSR || kind == PRESENT;
			if (kvm_onereg_vcpu_ioctl(&vcpu, GET, ARGP, get_msr, set_msr) != (good ? 0 : -EINVAL)) {
				check(false, "ids", "%#llx", words[0]);
				return;
			}
			accepted += good;
		}
	for (top = 0x2000; top < 0x2100; top++)
		for (rest = 1; rest < 256; rest++)
			for (type = 1; type < 5; type++) {
				words[0] = (u64)top << 48 | (u64)rest << 40 | (u64)type << 32 | 7;
				memcpy(ARGP, words, sizeof(words));
				if (kvm_onereg_vcpu_ioctl(&vcpu, SET, ARGP, get_msr, set_msr) != -EINVAL) {
					check(false, "ids", "%#llx", words[0]);
					return;
				}
			}
	check(accepted == 1 + (REGISTERS > 1 && vcpu.has & 2), "ids: each value of bits 63..48 with each type",
	      "%u accepted", accepted);
}

/* Each bit of the index reaches the MSR layer unchanged. */
static void indices(void)
{
	u64 words[2] = { 0, (u64)(uintptr_t)ADDR };
	unsigned int i;
	char want[64];

	for (i = 0; i < 66; i++) {
		u32 index = i < 32 ? 1U << i : i < 64 ? ~(1U << (i - 32)) : i - 65;

		reset();
		words[0] = 0x2030000200000000ULL | index;
		memcpy(ARGP, words, sizeof(words));
		snprintf(want, sizeof(want), "read16 lock rdmsr(%#x) unlock write8 ", index);
		logging = true;
		if (call(GET, ARGP) || strcmp(events, want)) {
			check(false, "index bits", "%#x: %s", index, events);
			return;
		}
		logging = false;
	}
	check(true, "index bits: each reaches the MSR layer", "");
}

/*
 * The model: the result of LIST with @room for ids, where id number @fault cannot be written. Sets @want to the
 * expected log, and @stored to the number of ids that are stored
 */
static int model_list(u64 room, bool bad_n, bool read_only_n, unsigned int fault, unsigned int count, char *want,
		      unsigned int *stored)
{
	*stored = 0;
	strcpy(want, bad_n ? "read8! " : "read8 ");
	if (bad_n)
		return -EFAULT;
	strcat(want, read_only_n ? "write8! " : "write8 ");
	if (read_only_n)
		return -EFAULT;
	if (room < count)
		return -E2BIG;
	for (; *stored < count; ++*stored) {
		strcat(want, fault == *stored ? "write8! " : "write8 ");
		if (fault == *stored)
			return -EFAULT;
	}
	return 0;
}

static void list(void)
{
	static const u64 rooms[] = { 0, 1, 2, 3, 4, 1000, 1ULL << 29, 1ULL << 32, 1ULL << 61, 1ULL << 63, ~0ULL };
	const unsigned int calls = SIZE(rooms) * WAYS * WAYS * 4 * 2;
	unsigned int count, n;
	u64 want_ids[3], v;
	char want[256];

	count = table(want_ids);
	for (n = 0; n < calls; n++) {
		unsigned int rest = n, align = digit(&rest, 2), wway = digit(&rest, WAYS), way = digit(&rest, WAYS);
		unsigned int fault = digit(&rest, 4), i = digit(&rest, SIZE(rooms)); /* fault 3: none */
		unsigned char *at = ARGP + 5 * align;
		unsigned int stored, j;
		void *argp;
		int r, model_r;

		if (wway == NOWHERE || wway == NULL_POINTER)
			continue;
		reset();
		memcpy(at, &rooms[i], 8);
		argp = broken(at, 8, way, unreadable);
		broken(at, 8, wway, unwritable);
		if (fault < 3)
			unwritable[at - memory + 8 + 8 * fault + 2 * fault] = true;
		/* Only n is read. */
		memset(unreadable + (at - memory) + 8, 1, 64);

		model_r = model_list(rooms[i], way, wway, fault, count, want, &stored);

		logging = true;
		r = call(LIST, argp);
		logging = false;

		memcpy(&v, at, 8);
		for (j = 0; j < stored; j++) {
			u64 id;

			memcpy(&id, at + 8 + 8 * j, 8);
			if (id != want_ids[j])
				wrong = "another id stored";
		}
		if (wrong || r != model_r || strcmp(events, want) || v != (way || wway ? rooms[i] : count) ||
		    !only_changed(at, 8 + 8 * stored)) {
			check(false, "LIST",
			      "room %#llx, way %u, %u, fault at %u, existing %u: %d (%s), n %#llx, expected %d (%s)",
			      rooms[i], way, wway, fault, vcpu.has, r, events, v, model_r, want);
			return;
		}
	}
	check(n == calls, "LIST: results, order and memory", "%u calls", n);
}

static void internal_msr(void)
{
	struct msr_data guest = { .host_initiated = false, .index = MSR_KVM_INTERNAL_GUEST_SSP };
	struct msr_data host = { .host_initiated = true, .index = MSR_KVM_INTERNAL_GUEST_SSP };

	check(MSR_KVM_INTERNAL_GUEST_SSP == 0x4b564dff && kvm_onereg_internal_msr(&guest) == 1 &&
		      kvm_onereg_internal_msr(&host) == 2,
	      "the internal MSR: 1 for the guest, 2 for the host", "");
}

int main(void)
{
	for (vcpu.has = 0; vcpu.has < (REGISTERS > 0 ? 1U << REGISTERS : 4); vcpu.has++) {
		one_reg(false);
		one_reg(true);
		list();
		indices();
	}
	vcpu.has = ~0U;
	kinds();
	internal_msr();
	return failures != 0;
}
