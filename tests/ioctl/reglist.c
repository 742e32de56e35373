// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_GET_REG_LIST without shadow stacks: there are no KVM-defined registers, so the list
 * is empty and no input is too short.
 */
#include <errno.h>
#include <string.h>

#include "kvm.h"
#include "onereg.h"

#define CANARY 0xa5a5a5a5a5a5a5a5ull

static void check_empty(const struct vm *vm, uint64_t n, const char *name)
{
	uint64_t list[1001];
	bool untouched = true;
	struct outcome o;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(list); i++)
		list[i] = CANARY;
	list[0] = n;
	o = xioctl(vm->vcpu, GET_REG_LIST, list);
	check_value(o, list[0], 0, "list: n=%s", name);
	for (i = 1; i < ARRAY_SIZE(list); i++)
		if (list[i] != CANARY)
			untouched = false;
	tap_ok(untouched, "list: n=%s: entries untouched", name);
}

static void check_lists(const struct vm *vm)
{
	check_empty(vm, 0, "0");
	check_empty(vm, 1, "1");
	check_empty(vm, 2, "2");
	check_empty(vm, 1000, "1000");
	check_empty(vm, 1ull << 31, "2^31");
	check_empty(vm, 1ull << 32, "2^32");
	/* n times 8 overflows to something small. */
	check_empty(vm, 1ull << 61, "2^61");
	check_empty(vm, 0x2000000000000001ull, "2^61+1");
	check_empty(vm, 0x8000000000000000ull, "2^63");
	check_empty(vm, 0xffffffffffffffffull, "2^64-1");
}

static void check_pointers(const struct vm *vm)
{
	uint8_t buffer[3 * sizeof(uint64_t)];
	uint64_t n = 1;
	struct pages p;

	pages_create(&p);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, NULL), EFAULT, "list: NULL");
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, p.none), EFAULT, "list: inaccessible");
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, (void *)(uintptr_t)-4096ll), EFAULT, "list: kernel address");

	/* n can be read, but not written back. */
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, p.ro_end - 64), EFAULT, "list: read-only");
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, p.rw_end - 4), EFAULT, "list: n across the end of memory");
	/* No entries follow, so nothing behind n may be touched. */
	memcpy(p.rw_end - 8, &n, 8);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, p.rw_end - 8), 0, "list: n at the end of memory");
	memcpy(&n, p.rw_end - 8, 8);
	tap_ok(n == 0, "list: n at the end of memory is 0");

	memset(buffer, 0xa5, sizeof(buffer));
	n = 1;
	memcpy(buffer + 3, &n, 8);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, buffer + 3), 0, "list: unaligned");
	memcpy(&n, buffer + 3, 8);
	tap_ok(n == 0 && buffer[2] == 0xa5 && buffer[11] == 0xa5, "list: unaligned n is 0, its neighbours untouched");
}

void test_reglist(void)
{
	struct vm vm;

	vm_create(&vm, 0);
	check_empty(&vm, 0, "0 without CPUID");
	check_empty(&vm, 1000, "1000 without CPUID");
	vm_destroy(&vm);

	vm_create(&vm, VM_CPUID);
	check_lists(&vm);
	check_pointers(&vm);
	vm_destroy(&vm);
}
