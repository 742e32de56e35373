/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KVM_GET_ONE_REG, KVM_SET_ONE_REG and KVM_GET_REG_LIST: the functions that KVM's x86 core calls.
 *
 * This file is included by x86.c and must not complete any type: that would change the CRCs of the symbols exported
 * there.
 */
#ifndef KVM_ONEREG_ONE_REG_H
#define KVM_ONEREG_ONE_REG_H

#include <linux/types.h>

struct kvm_vcpu;
struct msr_data;

/*
 * The index that mainline uses internally for GUEST_SSP. It is not ABI. Guests must not reach it with RDMSR or WRMSR,
 * and KVM must not use it for anything else.
 */
#define MSR_KVM_INTERNAL_GUEST_SSP 0x4b564dff

/**
 * typedef kvm_onereg_msr_fn - Access an MSR on behalf of user space
 * @vcpu: loaded vCPU; the caller holds vcpu->kvm->srcu
 * @index: MSR index
 * @data: the value that was read, or is to be written
 *
 * Return: 0, or a positive or negative value for any failure.
 */
typedef int (*kvm_onereg_msr_fn)(struct kvm_vcpu *vcpu, unsigned int index, u64 *data);

/**
 * kvm_onereg_vcpu_ioctl - The body of the three ioctls
 * @vcpu: the vCPU, loaded, its mutex held
 * @ioctl: KVM_GET_ONE_REG, KVM_SET_ONE_REG or KVM_GET_REG_LIST
 * @argp: the ioctl's argument
 * @get_msr: what KVM_GET_MSRS calls for each MSR
 * @set_msr: what KVM_SET_MSRS calls for each MSR
 *
 * Context: process context, may sleep. Takes vcpu->kvm->srcu around MSR accesses, not around accesses
 * to user memory.
 *
 * Return: 0, -EFAULT, -EINVAL or -E2BIG, by the rules in <asm/kvm_onereg.h>.
 */
int kvm_onereg_vcpu_ioctl(struct kvm_vcpu *vcpu, unsigned int ioctl, void __user *argp, kvm_onereg_msr_fn get_msr,
			  kvm_onereg_msr_fn set_msr);

/**
 * kvm_onereg_internal_msr - Reject MSR_KVM_INTERNAL_GUEST_SSP
 * @msr: the access
 *
 * The results are mainline's: a guest gets #GP even with ignore_msrs. For the host, the MSR does not exist on a vCPU
 * without shadow stacks.
 *
 * Return: 1 for the guest, KVM_MSR_RET_UNSUPPORTED for the host.
 */
int kvm_onereg_internal_msr(const struct msr_data *msr);

#endif
