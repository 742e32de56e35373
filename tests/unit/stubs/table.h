/* SPDX-License-Identifier: GPL-2.0 */
/* Made-up KVM-defined registers: register n exists if bit n of vcpu->has is set. */
#ifndef STUB_TABLE_H
#define STUB_TABLE_H

#include <linux/types.h>

struct kvm_vcpu;

bool has_0(struct kvm_vcpu *vcpu);
bool has_1(struct kvm_vcpu *vcpu);
bool has_2(struct kvm_vcpu *vcpu);

#define TABLE_ID(n)  (0x2030000300000000ULL + 7ULL * (n))
#define TABLE_MSR(n) (0x4b564d00U + (n))

#endif
