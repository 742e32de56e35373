/* SPDX-License-Identifier: GPL-2.0 */
/* What KVM lists: registers, and the CPUID that a guest may have. */
#ifndef MODEL_LISTS_H
#define MODEL_LISTS_H

#include "model/kvm.h"

/* KVM_GET_MSR_INDEX_LIST or KVM_GET_MSR_FEATURE_INDEX_LIST, KVM_GET_REG_LIST. Exit when they fail. */
struct kvm_msr_list *msr_list(int kvm, unsigned long request);
struct kvm_reg_list *register_list(const struct vcpu *vcpu);

/* The leaf of @cpuid, or NULL. */
const struct kvm_cpuid_entry2 *cpuid_leaf(const struct kvm_cpuid2 *cpuid, __u32 leaf, __u32 subleaf);

/* CET: what KVM offers guests by CPUID 7.0, as @cpuid has it, and the bits of its state in IA32_XSS. */
bool has_shadow_stacks(const struct kvm_cpuid2 *cpuid);
bool has_ibt(const struct kvm_cpuid2 *cpuid);
#define XSS_CET 0x1800ull

/* Why KVM offers guests no shadow stacks, for a sentence that says they have none. */
const char *why_no_cet(void);

#endif
