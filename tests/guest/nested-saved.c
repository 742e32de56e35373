// SPDX-License-Identifier: GPL-2.0
/* Nested VMX: L1 and L2 are saved, and restored into a new VM, as nested-guest.h says. */
#include "nested-vmx.h"

static bool is_capability(uint32_t msr)
{
	return msr == MSR_FEATURE_CONTROL || (msr >= MSR_VMX_BASIC && msr <= MSR_VMX_LAST);
}

static void split(struct saved *s, struct nested *n)
{
	unsigned int i;

	s->vm = snapshot_take(n->c);
	s->capabilities = snapshot_copy(s->vm);
	for (i = s->vm->msrs.nmsrs; i--;)
		snapshot_drop_msr(is_capability(s->vm->msr_entries[i].index) ? s->vm : s->capabilities,
				  s->vm->msr_entries[i].index);
}

void save(struct saved *s, struct nested *n)
{
	split(s, n);
	blob_take(n->c, &s->blob);
	s->view = *n;
	s->l1 = n->own;
	s->l2 = triple_now(n);
}

struct nested *restore(const struct saved *s, const char *order)
{
	struct machine *m = snapshot_machine(s->vm);
	struct nested *n;
	uint32_t msr = 0;

	if (snapshot_put(s->capabilities, m->cpus[0], PART_MSRS, &msr))
		tap_bail("MSR 0x%x", msr);
	put_state(s, m->cpus[0], order);
	n = nested_of(m);
	n->launched = true;
	n->own = s->l1;
	return n;
}
