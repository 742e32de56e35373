// SPDX-License-Identifier: GPL-2.0
/*
 * Wraps ioctl() for a KVM selftest (ld --wrap=ioctl).
 *
 * It counts the ioctls of ONE_REG.  msrs_test also passes without them if the
 * capability is missing, so that only the counts show what it tested.
 *
 * The tests are from a newer kernel than the KVM that they test.  Interfaces that
 * they require, and that an older KVM has in another form, are translated: without
 * that, the tests do not start, with any modules.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kvm.h>

#include "calls.h"

#define CPUID_1_ECX_HYPERVISOR (1u << 31)

/* Shared with the parent, which reads it however the test ends, and with children of the test */
static struct calls *calls;

__attribute__((constructor)) static void map_calls(void)
{
	const char *fd = getenv(CALLS_FD);

	if (!fd)
		return;
	calls = mmap(NULL, sizeof(*calls), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(fd), 0);
	if (calls == MAP_FAILED)
		abort();
}

static int counted(int which, int result)
{
	if (calls) {
		__atomic_add_fetch(&calls->made[which], 1, __ATOMIC_RELAXED);
		if (!result)
			__atomic_add_fetch(&calls->succeeded[which], 1, __ATOMIC_RELAXED);
	}
	return result;
}

/* KVM has always supported the bit HYPERVISOR, but reports it only since 6.14 */
static void add_hypervisor(struct kvm_cpuid2 *cpuid)
{
	unsigned int i;

	for (i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 1)
			cpuid->entries[i].ecx |= CPUID_1_ECX_HYPERVISOR;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	void *argument;
	va_list ap;
	int r;

	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);
	/* Like the kernel: some callers pass a sign-extended int */
	request = (unsigned int)request;

	r = __real_ioctl(fd, request, argument);
	switch (request) {
	case KVM_GET_ONE_REG:
		return counted(GET_ONE_REG, r);
	case KVM_SET_ONE_REG:
		return counted(SET_ONE_REG, r);
	case KVM_GET_REG_LIST:
		return counted(GET_REG_LIST, r);
	case KVM_GET_SUPPORTED_CPUID:
		if (!r)
			add_hypervisor(argument);
		return r;
	/* Since 6.8; the older structure is the beginning of the newer one */
	case KVM_CHECK_EXTENSION:
		if (!r && (unsigned long)argument == KVM_CAP_USER_MEMORY2)
			return 1;
		return r;
	case KVM_SET_USER_MEMORY_REGION2:
		if (r < 0 && errno == ENOTTY)
			return __real_ioctl(fd, KVM_SET_USER_MEMORY_REGION, argument);
		return r;
	default:
		return r;
	}
}
