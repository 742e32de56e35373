// SPDX-License-Identifier: GPL-2.0
/*
 * forget: preloaded into QEMU, makes it a VMM that does not restore GUEST_SSP; or, with SSP_ADD in the environment,
 * one that restores a stale one: so many bytes higher
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <linux/kvm.h>

#include <asm/kvm_onereg.h>

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int fd, unsigned long request, void *argument);
	void *argument;
	va_list ap;

	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);
	if (!real)
		real = dlsym(RTLD_NEXT, "ioctl");
	if (request == KVM_SET_ONE_REG &&
	    ((struct kvm_one_reg *)argument)->id == KVM_X86_REG_KVM(KVM_REG_GUEST_SSP)) {
		const char *add = getenv("SSP_ADD");
		struct kvm_one_reg stale = *(struct kvm_one_reg *)argument;
		uint64_t ssp;

		if (!add)
			return 0;
		ssp = *(uint64_t *)(uintptr_t)stale.addr + strtoull(add, NULL, 0);
		stale.addr = (uintptr_t)&ssp;
		return real(fd, request, &stale);
	}
	return real(fd, request, argument);
}
