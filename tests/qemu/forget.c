// SPDX-License-Identifier: GPL-2.0
/*
 * forget: preloaded into QEMU, makes it a VMM that does not restore GUEST_SSP
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
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
	if (request == KVM_SET_ONE_REG &&
	    ((struct kvm_one_reg *)argument)->id == KVM_X86_REG_KVM(KVM_REG_GUEST_SSP))
		return 0;
	if (!real)
		real = dlsym(RTLD_NEXT, "ioctl");
	return real(fd, request, argument);
}
