// SPDX-License-Identifier: GPL-2.0
/*
 * CET in nested SVM: VMRUN and #VMEXIT as an L1 hypervisor sees them, per the APM's volume 2, chapter 15. cet.h
 * documents the functions. The CPU checks the values of vmcb02, which are those of vmcb12. U_CET and PL0_SSP..PL3_SSP
 * are not switched between L1 and L2: SVM leaves that to L1.
 */
#include <linux/kvm_host.h>

#include "x86.h"
#include "svm/svm.h"

#include "../vendor/cet_state.h"

static void svm_cet_copy(struct vmcb_save_area *to, const struct vmcb_save_area *from)
{
	to->s_cet = from->s_cet;
	to->ssp = from->ssp;
	to->isst_addr = from->isst_addr;
}

void __svm_cet_nested_load_vmcb02(struct kvm_cet *cet, const struct vmcb *vmcb12, bool new_vmcb12)
{
	struct vmcb *vmcb02 = container_of(cet, struct vcpu_svm, cet)->nested.vmcb02.ptr;

	if (!new_vmcb12 && vmcb12->control.clean & BIT(VMCB_CET))
		return;

	svm_cet_copy(&vmcb02->save, &vmcb12->save);
	vmcb_mark_dirty(vmcb02, VMCB_CET);
}

void __svm_cet_nested_save_vmcb02(struct kvm_cet *cet, struct vmcb *vmcb12)
{
	struct vcpu_svm *svm = container_of(cet, struct vcpu_svm, cet);

	svm_cet_copy(&vmcb12->save, &svm->nested.vmcb02.ptr->save);

	/* The CPU refused it, and loaded nothing. 6.1 marks it clean all the same. */
	if (svm->nested.vmcb02.ptr->control.exit_code == SVM_EXIT_ERR)
		vmcb_mark_dirty(svm->nested.vmcb02.ptr, VMCB_CET);

	/* User space may have restored L1's state while L2 was active. */
	vmcb_mark_dirty(svm->vmcb01.ptr, VMCB_CET);
}

void svm_cet_copy_vmrun_state(struct vmcb_save_area *to, const struct vmcb_save_area *from)
{
	if (kvm_cet_offered)
		svm_cet_copy(to, from);
}
