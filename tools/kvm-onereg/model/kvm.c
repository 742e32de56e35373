// SPDX-License-Identifier: GPL-2.0
/* /dev/kvm. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/message.h"
#include "model/kvm.h"

#define DEVICE "/dev/kvm"

enum kvm_access kvm_probe(int *file)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC), answer;

	if (file)
		*file = fd;
	if (fd < 0) {
		if (errno == EACCES || errno == EPERM)
			return KVM_FORBIDDEN;
		return errno == ENOENT || errno == ENODEV || errno == ENXIO ? KVM_ABSENT : KVM_UNUSABLE;
	}
	answer = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (answer != KVM_API_VERSION) {
		if (answer >= 0)
			errno = EPROTO;
		close(fd);
		if (file)
			*file = -1;
		return KVM_UNUSABLE;
	}
	answer = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_ONE_REG);
	if (!file)
		close(fd);
	return answer > 0 ? KVM_ONE_REG : KVM_NO_ONE_REG;
}

int kvm_open(bool *one_reg)
{
	int fd;

	switch (kvm_probe(&fd)) {
	case KVM_ABSENT:
		die(STATUS_CANNOT,
		    "modprobe kvm_intel (AMD: kvm_amd); \"kvm-onereg doctor\" finds out why it is not loaded",
		    "there is no " DEVICE ": no KVM module is loaded");
	case KVM_FORBIDDEN:
		die(STATUS_CANNOT, "run it as root, or as a user of the group kvm", "no permission to open " DEVICE);
	case KVM_UNUSABLE:
		die(STATUS_CANNOT, "kvm-onereg doctor", DEVICE " does not respond: %m");
	case KVM_NO_ONE_REG:
		*one_reg = false;
		break;
	case KVM_ONE_REG:
		*one_reg = true;
		break;
	}
	return fd;
}

static struct kvm_cpuid2 *supported_cpuid(int kvm)
{
	/* No kernel has more than 256 entries */
	for (unsigned int n = 256; n <= 4096; n *= 2) {
		struct kvm_cpuid2 *cpuid = allocate(1, sizeof(*cpuid) + n * sizeof(*cpuid->entries));

		cpuid->nent = n;
		if (!ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid))
			return cpuid;
		if (errno != E2BIG)
			break;
	}
	die(STATUS_CANNOT, "kvm-onereg doctor", "KVM_GET_SUPPORTED_CPUID: %m");
}

struct vcpu vcpu_create(bool bare)
{
	struct vcpu vcpu = { .kvm = kvm_open(&vcpu.one_reg) };

	vcpu.cpuid = supported_cpuid(vcpu.kvm);
	do
		vcpu.vm = ioctl(vcpu.kvm, KVM_CREATE_VM, 0);
	while (vcpu.vm < 0 && errno == EINTR);
	if (vcpu.vm < 0)
		die(STATUS_CANNOT, "kvm-onereg doctor", "cannot create a VM: %m");
	vcpu.fd = ioctl(vcpu.vm, KVM_CREATE_VCPU, 0);
	if (vcpu.fd < 0)
		die(STATUS_CANNOT, "kvm-onereg doctor", "cannot create a vCPU: %m");
	if (!bare && ioctl(vcpu.fd, KVM_SET_CPUID2, vcpu.cpuid))
		die(STATUS_CANNOT, "kvm-onereg doctor", "KVM_SET_CPUID2: %m");
	return vcpu;
}

void vcpu_close(struct vcpu *vcpu)
{
	close(vcpu->fd);
	close(vcpu->vm);
	close(vcpu->kvm);
}

static int one_reg(const struct vcpu *vcpu, unsigned long request, __u64 id, __u64 *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (unsigned long)value };

	return ioctl(vcpu->fd, request, &reg) ? errno : 0;
}

int vcpu_get(const struct vcpu *vcpu, __u64 id, __u64 *value)
{
	return one_reg(vcpu, KVM_GET_ONE_REG, id, value);
}

int vcpu_set(const struct vcpu *vcpu, __u64 id, __u64 value)
{
	return one_reg(vcpu, KVM_SET_ONE_REG, id, &value);
}
