// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_GET_ONE_REG, KVM_SET_ONE_REG and KVM_GET_REG_LIST on x86, with the results of Linux 6.18 and later.
 * <asm/kvm_onereg.h> documents the ABI.
 */
#include <linux/kvm_host.h>
#include <linux/uaccess.h>

#include <asm/kvm_onereg.h>

#include "x86.h"

#include "compat.h"
#include "one_reg.h"
#include "synthetic.h"

/* Everything above the index: architecture, size, reserved bits and type, which are compared as a whole. */
#define ID_KIND(id)  ((u32)((id) >> 32))
#define ID_INDEX(id) ((u32)(id))

#define KIND_MSR ID_KIND(KVM_X86_REG_MSR(0))
#define KIND_KVM ID_KIND(KVM_X86_REG_KVM(KVM_REG_GUEST_SSP))

/*
 * Read or write an internal MSR. The vendor module decides whether the vCPU has the register. This does not go through
 * the MSR layer, which would obey ignore_msrs.
 */
static int kvm_onereg_get_internal_msr(struct kvm_vcpu *vcpu, unsigned int index, u64 *data)
{
	struct msr_data msr = { .index = index, .host_initiated = true };
	int r;

	r = kvm_x86_call(get_msr)(vcpu, &msr);
	*data = msr.data;

	return r;
}

static int kvm_onereg_set_internal_msr(struct kvm_vcpu *vcpu, unsigned int index, u64 *data)
{
	struct msr_data msr = { .index = index, .host_initiated = true, .data = *data };

	return kvm_x86_call(set_msr)(vcpu, &msr);
}

/* The MSR layer's results are 0, small positive numbers and errnos: user space sees 0 or EINVAL. */
static int kvm_onereg_access_msr(struct kvm_vcpu *vcpu, u32 msr, u64 *val, kvm_onereg_msr_fn fn)
{
	int idx, r;

	idx = srcu_read_lock(&vcpu->kvm->srcu);
	r = fn(vcpu, msr, val);
	srcu_read_unlock(&vcpu->kvm->srcu, idx);

	return r ? -EINVAL : 0;
}

static int kvm_onereg_get(struct kvm_vcpu *vcpu, u32 msr, u64 __user *addr, kvm_onereg_msr_fn get_msr)
{
	u64 val;
	int r;

	r = kvm_onereg_access_msr(vcpu, msr, &val, get_msr);
	if (r)
		return r;

	return put_user(val, addr);
}

static int kvm_onereg_set(struct kvm_vcpu *vcpu, u32 msr, u64 __user *addr, kvm_onereg_msr_fn set_msr,
			  const struct synthetic_reg *reg)
{
	u64 val;

	/* If the register does not exist, that error takes precedence. */
	if (get_user(val, addr))
		return reg && !reg->exists(vcpu) ? -EINVAL : -EFAULT;

	return kvm_onereg_access_msr(vcpu, msr, &val, set_msr);
}

static int kvm_onereg_get_reg_list(struct kvm_vcpu *vcpu, struct kvm_reg_list __user *list)
{
	const struct synthetic_reg *reg = NULL;
	u64 room, n = 0;

	if (get_user(room, &list->n))
		return -EFAULT;

	while ((reg = synthetic_reg_next(vcpu, reg)))
		n++;

	if (put_user(n, &list->n))
		return -EFAULT;
	if (room < n)
		return -E2BIG;

	for (n = 0; (reg = synthetic_reg_next(vcpu, reg)); n++)
		if (put_user(reg->id, &list->reg[n]))
			return -EFAULT;

	return 0;
}

int kvm_onereg_vcpu_ioctl(struct kvm_vcpu *vcpu, unsigned int ioctl, void __user *argp, kvm_onereg_msr_fn get_msr,
			  kvm_onereg_msr_fn set_msr)
{
	const struct synthetic_reg *synthetic = NULL;
	struct kvm_one_reg __user *reg = argp;
	u64 id, addr;
	u32 msr;

	if (ioctl == KVM_GET_REG_LIST)
		return kvm_onereg_get_reg_list(vcpu, argp);

	/* Two words: a fraction of the cost of copy_from_user(). */
	if (!user_read_access_begin(reg, sizeof(*reg)))
		return -EFAULT;
	unsafe_get_user(id, &reg->id, fault);
	unsafe_get_user(addr, &reg->addr, fault);
	user_read_access_end();

	switch (ID_KIND(id)) {
	case KIND_MSR:
		msr = ID_INDEX(id);
		break;
	case KIND_KVM:
		synthetic = synthetic_reg_find(id);
		if (!synthetic)
			return -EINVAL;
		msr = synthetic->msr;
		get_msr = kvm_onereg_get_internal_msr;
		set_msr = kvm_onereg_set_internal_msr;
		break;
	default:
		return -EINVAL;
	}

	if (ioctl == KVM_GET_ONE_REG)
		return kvm_onereg_get(vcpu, msr, u64_to_user_ptr(addr), get_msr);
	return kvm_onereg_set(vcpu, msr, u64_to_user_ptr(addr), set_msr, synthetic);

fault:
	user_read_access_end();
	return -EFAULT;
}

int kvm_onereg_internal_msr(const struct msr_data *msr)
{
	return msr->host_initiated ? KVM_MSR_RET_UNSUPPORTED : 1;
}
