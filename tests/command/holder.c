// SPDX-License-Identifier: GPL-2.0
/*
 * holder [device | vm] [ARGUMENT...]: a VM with two vCPUs that does nothing, or /dev/kvm held open, until it is killed. Says
 * "ready" once it has it. Arguments are for /proc/PID/cmdline.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int kvm = open("/dev/kvm", O_RDWR), vm;

	if (kvm < 0) {
		perror("/dev/kvm");
		return 1;
	}
	if (argc < 2 || strcmp(argv[1], "device")) {
		vm = ioctl(kvm, KVM_CREATE_VM, 0);
		if (vm < 0 || ioctl(vm, KVM_CREATE_VCPU, 0) < 0 || ioctl(vm, KVM_CREATE_VCPU, 1) < 0) {
			perror("VM");
			return 1;
		}
	}
	puts("ready");
	fflush(stdout);
	pause();
	return 0;
}
