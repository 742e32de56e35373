/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/types.h>
#include <linux/kvm.h>
#include <errno.h>

struct srcu_struct {
	int held, last;
};

struct kvm {
	struct srcu_struct srcu;
};

struct kvm_vcpu {
	struct kvm *kvm;
	unsigned int has;
};

struct msr_data {
	bool host_initiated;
	u32 index;
	u64 data;
};

int srcu_read_lock(struct srcu_struct *srcu);
void srcu_read_unlock(struct srcu_struct *srcu, int idx);
