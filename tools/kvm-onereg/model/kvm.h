/* SPDX-License-Identifier: GPL-2.0 */
/* /dev/kvm: its capabilities, and a vCPU that never runs. */
#ifndef MODEL_KVM_H
#define MODEL_KVM_H

#include <linux/kvm.h>
#include <asm/kvm_onereg.h>
#include <stdbool.h>

/* The result of opening /dev/kvm. */
enum kvm_access {
	KVM_ABSENT,	/* no such device: no KVM module is loaded, or the CPU or firmware has none */
	KVM_FORBIDDEN,	/* it exists, but this user may not open it */
	KVM_UNUSABLE,	/* it exists, but does not open or respond: errno says why */
	KVM_NO_ONE_REG, /* it opens, but its KVM has no ONE_REG: it is the distro's, and too old to have it */
	KVM_ONE_REG,	/* KVM_CAP_ONE_REG is 1 */
};

/*
 * kvm_probe - open /dev/kvm and ask for KVM_CAP_ONE_REG
 * @fd: where to put the open file, or -1; NULL to close it again
 *
 * Creates no VM. Loads no module but what opening /dev/kvm loads by itself.
 */
enum kvm_access kvm_probe(int *fd);

/* The same, for commands that need a usable KVM: exits with STATUS_CANNOT and a reason; returns the file. */
int kvm_open(bool *one_reg);

struct vcpu {
	int kvm, vm, fd;
	bool one_reg;
	struct kvm_cpuid2 *cpuid; /* what KVM_GET_SUPPORTED_CPUID said, and the vCPU has unless bare */
};

/*
 * vcpu_create - a VM with one vCPU, without memory, that never runs
 * @bare: without CPUID: what depends on a feature of the guest does not exist
 *
 * Exits with STATUS_CANNOT and a reason when it cannot.
 */
struct vcpu vcpu_create(bool bare);
void vcpu_close(struct vcpu *vcpu);

/* KVM_GET_ONE_REG and KVM_SET_ONE_REG: 0, or the errno. */
int vcpu_get(const struct vcpu *vcpu, __u64 id, __u64 *value);
int vcpu_set(const struct vcpu *vcpu, __u64 id, __u64 value);

#endif
