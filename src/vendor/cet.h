/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CET of a vCPU, as far as VMX and SVM treat it alike: the MSRs that no VM entry or exit switches, the rules for all of
 * them, and when CET is offered. The .c files here are compiled into kvm-intel.ko and into kvm-amd.ko, by the file
 * cet_vendor.c of each, which first includes its cet_vendor.h: what these files need to know of the vendor.
 *
 *	PL0_SSP..PL2_SSP	struct kvm_cet, or the CPU's MSRs while guest state is loaded; switched here
 *	U_CET, PL3_SSP		the same; or, if the host's kernel switches these itself, the guest's FPU state (XSAVES
 *				component 11)
 *	IA32_XSS		struct kvm_vcpu_arch; bits that the guest adds to the host's are in the CPU while guest
 *				state is loaded
 *
 * Invariants, which docs/isolation.md explains:
 *
 * 1. While no guest state is loaded in a CPU, the MSRs that are switched here are 0 there, except PL3_SSP. So a vCPU
 *    whose values are 0 always has its own values, however the CPU reads them.
 * 2. The CPU reads and writes PL3_SSP only if U_CET.SHSTK_EN is set, by SYSCALL and SYSENTER if S_CET.SHSTK_EN is, or
 *    by XSAVES, XRSTORS, RDMSR and WRMSR. A vCPU for which one of these is possible is "live", and has its own PL3_SSP
 *    loaded.
 *
 * This file is included by KVM's own headers, before most types are defined.
 */
#ifndef KVM_ONEREG_VENDOR_CET_H
#define KVM_ONEREG_VENDOR_CET_H

#include <linux/compiler.h>
#include <linux/percpu-defs.h>
#include <linux/types.h>

#include "../one_reg.h"

struct kvm_vcpu;
struct msr_data;

/*
 * Defined by src/cet.c in our kvm.ko. The distro's kvm.ko has neither this symbol nor the checks that CET needs there:
 * then the address is NULL, and guests do not get CET. Nor do they with a kvm.ko of another build, whose checks may
 * differ.
 */
extern const char kvm_onereg_build[] __weak;

/* Also defined by our kvm.ko, and not used with another one. */
DECLARE_PER_CPU(u64, kvm_onereg_xss) __weak;

/* Guests can have CET: every CPU supports it, and nothing else prevents it. */
extern bool kvm_cet_offered;

/**
 * struct kvm_cet - CET state of a vCPU that no VM entry or exit switches, and the features that the guest has
 * @shstk: the guest has shadow stacks: KVM offers them and its CPUID shows them
 * @ibt: the guest has indirect branch tracking
 * @live: an MSR that is switched here may be nonzero, so they are switched. Never cleared
 * @resident_on: the CPU whose PL3_SSP is the vCPU's, unless another vCPU has used it since; -1: none
 * @xrstors: XRSTORS may have written PL0..2_SSP, because bit 12 of IA32_XSS was set at some time
 * @supported_xss: what the guest may set in IA32_XSS
 * @msrs: the MSRs that are switched here; out of date while @live and guest state is loaded
 */
struct kvm_cet {
	bool shstk;
	bool ibt;
	bool live;
	bool xrstors;
	int resident_on;
	u64 supported_xss;
	u64 msrs[5];
};

static __always_inline bool kvm_cet_guest_has(const struct kvm_cet *cet)
{
	return unlikely(cet->shstk || cet->ibt);
}

/**
 * kvm_cet_get_msr, kvm_cet_set_msr - IA32_XSS (write), the CET MSRs and SSP of a vCPU
 * @vcpu: loaded vCPU
 * @msr: the access, by the guest or by user space
 *
 * Return: 0; 1 for a value or access that must fault; KVM_MSR_RET_UNSUPPORTED if the vCPU does not have the MSR.
 */
int kvm_cet_get_msr(struct kvm_vcpu *vcpu, struct msr_data *msr);
int kvm_cet_set_msr(struct kvm_vcpu *vcpu, struct msr_data *msr);

/*
 * L1 or L2 has a new CR4. Once this has CET, SYSCALL and SYSENTER may write PL3_SSP, even at CPL0 and with U_CET 0, as
 * S_CET is the guest's. Does nothing on a kernel that switches PL3_SSP itself.
 */
void kvm_cet_set_cr4(struct kvm_vcpu *vcpu, unsigned long cr4);

void __kvm_cet_load(struct kvm_cet *cet);
void __kvm_cet_save(struct kvm_cet *cet);

/* The vCPU's guest state is being loaded into the CPU, or saved from it. Preemption is off. */
static __always_inline void kvm_cet_load(struct kvm_cet *cet)
{
	if (unlikely(cet->live))
		__kvm_cet_load(cet);
}

static __always_inline void kvm_cet_save(struct kvm_cet *cet)
{
	if (unlikely(cet->live))
		__kvm_cet_save(cet);
}

#endif
