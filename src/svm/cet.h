/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CET on SVM: shadow stacks, and what the VMCB holds of them. SVM has no IBT. ../vendor/cet.h has the rest.
 *
 *	S_CET, SSP, ISST_ADDR	VMCB save area; VMRUN and #VMEXIT exchange the host's and the guest's (APM volume 2,
 *				appendix B, swap type A). KVM calls the MSR of ISST_ADDR INT_SSP_TAB, as Intel does
 *
 * This file is included by KVM's svm.h, before most types are defined.
 */
#ifndef KVM_ONEREG_SVM_CET_H
#define KVM_ONEREG_SVM_CET_H

#include <linux/bits.h>

#include "../vendor/cet.h"

struct kvm_x86_ops;
struct vcpu_svm;
struct vmcb;
struct vmcb_save_area;

/*
 * APM volume 2, 15.15.3: the clean bit of S_CET, SSP and ISST_ADDR. The distro's headers do not define it. As in
 * mainline, it is used even if guests cannot have CET: the three are 0 then, and nobody writes them.
 */
#define VMCB_CET 12

/**
 * svm_cet_hardware_setup - Decide whether guests can have shadow stacks, and set them up
 * @ops: kvm-amd's operations, not yet copied
 *
 * Does nothing unless kvm_amd.cet=1. If something is missing, it says so in one log line, and leaves everything as in
 * the distro's KVM.
 *
 * Context: module load, after KVM's capabilities have been set up.
 */
void svm_cet_hardware_setup(struct kvm_x86_ops *ops);

/* The vCPU is being put. Its guest state may have been saved already, or not been @loaded at all. */
static __always_inline void svm_cet_save(struct kvm_cet *cet, bool loaded)
{
	if (unlikely(cet->live) && loaded)
		__kvm_cet_save(cet);
}

/* Print the CET state of a VMCB, in the format of KVM's dump_vmcb(). */
void svm_cet_dump_vmcb(const struct vmcb_save_area *save);

/* ---- Nested SVM ---- */

void __svm_cet_nested_load_vmcb02(struct kvm_cet *cet, const struct vmcb *vmcb12, bool new_vmcb12);
void __svm_cet_nested_save_vmcb02(struct kvm_cet *cet, struct vmcb *vmcb12);

/* L2's state is being loaded. @new_vmcb12: the clean bits of vmcb12 do not count, as L2 was another one before. */
static __always_inline void svm_cet_nested_load_vmcb02(struct kvm_cet *cet, const struct vmcb *vmcb12, bool new_vmcb12)
{
	if (kvm_cet_guest_has(cet))
		__svm_cet_nested_load_vmcb02(cet, vmcb12, new_vmcb12);
}

/* L2's state is being saved; vmcb02 is still current. */
static __always_inline void svm_cet_nested_save_vmcb02(struct kvm_cet *cet, struct vmcb *vmcb12)
{
	if (kvm_cet_guest_has(cet))
		__svm_cet_nested_save_vmcb02(cet, vmcb12);
}

/*
 * Bits of a nested page fault's error code that L1 gets as the CPU gave them to KVM: SS, an access to a shadow stack.
 * KVM's own walk of L1's page table, which makes the others, does not know this kind of access.
 */
static __always_inline u64 svm_cet_nested_page_fault_bits(void)
{
	return kvm_cet_offered ? BIT_ULL(6) : 0;
}

/* Copy the CET state of L1 that VMRUN saves, between vmcb01 and the host save area or user space's nested state. */
void svm_cet_copy_vmrun_state(struct vmcb_save_area *to, const struct vmcb_save_area *from);

#endif
