/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/types.h>

/* Two of the values that KVM's MSR layer returns. */
#define KVM_MSR_RET_UNSUPPORTED 2
#define KVM_MSR_RET_FILTERED	3

struct kvm_vcpu;
struct msr_data;

/* The vendor module's operations. */
#define kvm_x86_call(op) vendor_##op

int vendor_get_msr(struct kvm_vcpu *vcpu, struct msr_data *msr);
int vendor_set_msr(struct kvm_vcpu *vcpu, struct msr_data *msr);
