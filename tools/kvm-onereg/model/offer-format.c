// SPDX-License-Identifier: GPL-2.0
/* The document that --save writes. */
#include <linux/kvm.h>
#include <asm/kvm_onereg.h>

#include "base/text.h"
#include "model/offer-format.h"

/* clang-format off */
#define CAP(name) { #name, name }
/* clang-format on */
const struct known_capability known_capabilities[] = { CAP(KVM_CAP_IRQCHIP),
						       CAP(KVM_CAP_SPLIT_IRQCHIP),
						       CAP(KVM_CAP_X2APIC_API),
						       CAP(KVM_CAP_PIT_STATE2),
						       CAP(KVM_CAP_MP_STATE),
						       CAP(KVM_CAP_ADJUST_CLOCK),
						       CAP(KVM_CAP_VCPU_EVENTS),
						       CAP(KVM_CAP_EXCEPTION_PAYLOAD),
						       CAP(KVM_CAP_X86_TRIPLE_FAULT_EVENT),
						       CAP(KVM_CAP_DEBUGREGS),
						       CAP(KVM_CAP_XCRS),
						       CAP(KVM_CAP_XSAVE),
						       CAP(KVM_CAP_XSAVE2),
						       CAP(KVM_CAP_SREGS2),
						       CAP(KVM_CAP_NESTED_STATE),
						       CAP(KVM_CAP_X86_SMM),
						       CAP(KVM_CAP_MCE),
						       CAP(KVM_CAP_GET_TSC_KHZ),
						       CAP(KVM_CAP_TSC_CONTROL),
						       CAP(KVM_CAP_TSC_DEADLINE_TIMER),
						       CAP(KVM_CAP_ASYNC_PF),
						       CAP(KVM_CAP_ASYNC_PF_INT),
						       CAP(KVM_CAP_STEAL_TIME),
						       CAP(KVM_CAP_HYPERV),
						       CAP(KVM_CAP_HYPERV_SYNIC2),
						       CAP(KVM_CAP_VAPIC),
						       CAP(KVM_CAP_MAX_VCPUS),
						       CAP(KVM_CAP_ONE_REG),
						       {} };

char *printable_text(const char *text)
{
	char *copy = format("%.200s", text);

	for (char *c = copy; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return copy;
}
