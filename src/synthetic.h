/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The KVM-defined ("synthetic") registers: vCPU state that user space cannot access as an MSR or by another ioctl.
 * <asm/kvm_onereg.h> says who owns which index.
 */
#ifndef KVM_ONEREG_SYNTHETIC_H
#define KVM_ONEREG_SYNTHETIC_H

#include <linux/types.h>

struct kvm_vcpu;

/**
 * struct synthetic_reg - One KVM-defined register
 * @id: the id that user space passes, built with KVM_X86_REG_KVM()
 * @msr: the internal MSR index that reads and writes it; the vendor module's MSR operations reject it
 *	 for the host if the vCPU does not have the register
 * @exists: whether this vCPU has it
 */
struct synthetic_reg {
	u64 id;
	u32 msr;
	bool (*exists)(struct kvm_vcpu *vcpu);
};

/**
 * synthetic_reg_find - Look up a register
 * @id: register id
 *
 * Return: the register, which a vCPU may or may not have, or NULL if no register has this id.
 */
const struct synthetic_reg *synthetic_reg_find(u64 id);

/**
 * synthetic_reg_next - Walk the registers that a vCPU has
 * @vcpu: the vCPU
 * @reg: the previous one, or NULL to get the first
 *
 * Return: the next register, or NULL after the last one.
 */
const struct synthetic_reg *synthetic_reg_next(struct kvm_vcpu *vcpu, const struct synthetic_reg *reg);

#endif
