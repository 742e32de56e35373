// SPDX-License-Identifier: GPL-2.0
/* What KVM lists. */
#include <errno.h>
#include <sys/ioctl.h>

#include "base/memory.h"
#include "base/message.h"
#include "base/text.h"
#include "model/cet.h"
#include "model/kvm.h"
#include "model/lists.h"
#include "model/series.h"

#define SHSTK (1u << 7)	 /* CPUID 7.0 ECX */
#define IBT   (1u << 20) /* CPUID 7.0 EDX */

struct kvm_msr_list *msr_list(int kvm, unsigned long request)
{
	struct kvm_msr_list *list = allocate(1, sizeof(*list));

	/* If the number is too small, KVM stores the one that is needed */
	for (int tries = 0; tries < 3; tries++) {
		__u32 n = list->nmsrs;

		if (!ioctl(kvm, request, list))
			return list;
		if (errno != E2BIG || list->nmsrs <= n)
			die(STATUS_CANNOT, "kvm-onereg doctor", "KVM does not list its MSRs: %m");
		n = list->nmsrs;
		list = allocate(1, sizeof(*list) + n * sizeof(*list->indices));
		list->nmsrs = n;
	}
	die(STATUS_CANNOT, "kvm-onereg doctor", "KVM does not list its MSRs: %m");
}

struct kvm_reg_list *register_list(const struct vcpu *vcpu)
{
	struct kvm_reg_list *list = allocate(1, sizeof(*list));

	for (int tries = 0; tries < 3; tries++) {
		__u64 n = list->n;

		if (!ioctl(vcpu->fd, KVM_GET_REG_LIST, list))
			return list;
		if (errno != E2BIG || list->n <= n || list->n > 1 << 20)
			die(STATUS_CANNOT, "kvm-onereg doctor", "KVM_GET_REG_LIST: %m");
		n = list->n;
		list = allocate(1, sizeof(*list) + n * sizeof(*list->reg));
		list->n = n;
	}
	die(STATUS_CANNOT, "kvm-onereg doctor", "KVM_GET_REG_LIST: %m");
}

const struct kvm_cpuid_entry2 *cpuid_leaf(const struct kvm_cpuid2 *cpuid, __u32 leaf, __u32 subleaf)
{
	for (__u32 i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == leaf && cpuid->entries[i].index == subleaf)
			return &cpuid->entries[i];
	return NULL;
}

bool has_shadow_stacks(const struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *leaf = cpuid_leaf(cpuid, 7, 0);

	return leaf && leaf->ecx & SHSTK;
}

bool has_ibt(const struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *leaf = cpuid_leaf(cpuid, 7, 0);

	return leaf && leaf->edx & IBT;
}

const char *why_no_cet(void)
{
	struct cet cet = look_at_cet();

	if (cet.shadow_stacks == NO)
		return "this CPU has none";
	if (cet.reason)
		return cet.reason;
	if (cet.value == 'N')
		return format("the module parameter %s.cet is off", cet.module);
	if (cet.value)
		return format("KVM does not offer them, although %s.cet is on", cet.module);
	return "the loaded KVM does not offer them; kvm-onereg's does, as does Linux " NATIVE_SINCE;
}
