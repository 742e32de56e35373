// SPDX-License-Identifier: GPL-2.0
/*
 * The table of KVM-defined registers. With an entry here, KVM_GET_ONE_REG and KVM_SET_ONE_REG access a register, and
 * KVM_GET_REG_LIST lists it.
 */
#include <linux/kernel.h>
#include <linux/kvm_host.h>

#include <asm/kvm_onereg.h>

#include "cpuid.h"

#include "compat.h"
#include "one_reg.h"
#include "synthetic.h"

static bool has_shstk(struct kvm_vcpu *vcpu)
{
	return kvm_cpu_cap_has(X86_FEATURE_SHSTK) && guest_cpuid_has(vcpu, X86_FEATURE_SHSTK);
}

/* In the order in which KVM_GET_REG_LIST returns them. */
static const struct synthetic_reg registers[] = {
	{
		.id = KVM_X86_REG_KVM(KVM_REG_GUEST_SSP),
		.msr = MSR_KVM_INTERNAL_GUEST_SSP,
		.exists = has_shstk,
	},
};

const struct synthetic_reg *synthetic_reg_next(struct kvm_vcpu *vcpu, const struct synthetic_reg *reg)
{
	for (reg = reg ? reg + 1 : registers; reg < registers + ARRAY_SIZE(registers); reg++)
		if (reg->exists(vcpu))
			return reg;
	return NULL;
}

const struct synthetic_reg *synthetic_reg_find(u64 id)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(registers); i++)
		if (registers[i].id == id)
			return &registers[i];
	return NULL;
}
