/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/types.h>

struct kvm_vcpu;

bool kvm_cpu_cap_has(unsigned int feature);
bool guest_cpuid_has(struct kvm_vcpu *vcpu, unsigned int feature);
