// SPDX-License-Identifier: GPL-2.0
/* The capability, and which file descriptors support the ioctls. */
#include <errno.h>

#include "kvm.h"
#include "onereg.h"

static const struct {
	unsigned int nr;
	const char *name;
} ioctls[] = {
	{ GET_ONE_REG, "KVM_GET_ONE_REG" },
	{ SET_ONE_REG, "KVM_SET_ONE_REG" },
	{ GET_REG_LIST, "KVM_GET_REG_LIST" },
};

static void check_extension(int fd, int want, const char *fd_name)
{
	struct outcome o = xioctl(fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)CAP_ONE_REG);

	tap_ok(o.ret == want, "KVM_CHECK_EXTENSION on %s is %d", fd_name, want);
	if (o.ret != want)
		tap_diag("got: %d %s", o.ret, errno_name(o.err));
}

/* KVM_CHECK_EXTENSION on a vCPU is an error, and so is KVM_ENABLE_CAP. */
static void check_no_such_cap(const struct vm *vm)
{
	struct kvm_enable_cap enable = { .cap = CAP_ONE_REG };

	check_errno(xioctl(vm->vcpu, KVM_CHECK_EXTENSION, (void *)(uintptr_t)CAP_ONE_REG), EINVAL,
		    "KVM_CHECK_EXTENSION on a vCPU");
	check_errno(xioctl(vm->vcpu, KVM_ENABLE_CAP, &enable), EINVAL, "KVM_ENABLE_CAP on a vCPU");
	check_errno(xioctl(vm->fd, KVM_ENABLE_CAP, &enable), EINVAL, "KVM_ENABLE_CAP on a VM");
}

static void check_wrong_fds(const struct vm *vm)
{
	uint64_t value = 0;
	struct kvm_one_reg reg = { .id = ID_EFER, .addr = user_addr(&value) };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		check_errno(xioctl(vm->fd, ioctls[i].nr, &reg), ENOTTY, "%s on a VM", ioctls[i].name);
		check_errno(xioctl(kvm_dev, ioctls[i].nr, &reg), EINVAL, "%s on the system fd", ioctls[i].name);
	}
}

void test_cap(void)
{
	struct vm vm;

	vm_create(&vm, 0);
	check_extension(kvm_dev, 1, "the system fd");
	check_extension(vm.fd, 1, "a VM");
	check_no_such_cap(&vm);
	check_wrong_fds(&vm);
	vm_destroy(&vm);
}

void test_absent(void)
{
	uint64_t value = 0;
	struct kvm_one_reg reg = { .id = ID_EFER, .addr = user_addr(&value) };
	unsigned int i;
	struct vm vm;

	vm_create(&vm, VM_CPUID);
	check_extension(kvm_dev, 0, "the system fd");
	check_extension(vm.fd, 0, "a VM");
	check_no_such_cap(&vm);
	check_wrong_fds(&vm);
	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		check_errno(xioctl(vm.vcpu, ioctls[i].nr, &reg), EINVAL, "%s on a vCPU", ioctls[i].name);
		check_errno(xioctl(vm.vcpu, ioctls[i].nr, NULL), EINVAL, "%s on a vCPU without argument",
			    ioctls[i].name);
	}
	vm_destroy(&vm);
}
