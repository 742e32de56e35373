// SPDX-License-Identifier: GPL-2.0
/* What hypervisor.h declares: L1 and L2 are saved, and restored into a new VM. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hypervisor.h"

void blob_take(struct cpu *c, struct blob *b)
{
	memset(b, 0, sizeof(*b));
	b->head.size = sizeof(*b);
	if (ioctl(c->io.vcpu, KVM_GET_NESTED_STATE, b))
		tap_bail("KVM_GET_NESTED_STATE");
	if (b->head.size != sizeof(*b))
		tap_bail("KVM_GET_NESTED_STATE: %u bytes", b->head.size);
}

int blob_put(struct cpu *c, const struct blob *b)
{
	return ioctl(c->io.vcpu, KVM_SET_NESTED_STATE, b) ? errno : 0;
}

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
	s->l1 = n->own;
	s->l2 = triple_now(n);
}

void saved_free(struct saved *s)
{
	free(s->vm);
	free(s->capabilities);
}

struct nested *restore(const struct saved *s, const char *order)
{
	struct machine *m = snapshot_machine(s->vm);
	struct cpu *c = m->cpus[0];
	struct nested *n;
	uint32_t msr = 0;
	const char *p;
	int err;

	if (snapshot_put(s->capabilities, c, PART_MSRS, &msr))
		tap_bail("MSR 0x%x", msr);
	for (p = order; *p; p++) {
		switch (*p) {
		case 'S':
			err = snapshot_put(s->vm, c, PART_SREGS, NULL);
			break;
		case 'R':
			err = snapshot_put(s->vm, c, PART_REGS, NULL);
			break;
		case 'M':
			err = snapshot_put(s->vm, c, PART_MSRS, &msr);
			break;
		case 'P':
			err = snapshot_put(s->vm, c, PART_ONE_REG, NULL);
			break;
		case 'E':
			err = snapshot_put(s->vm, c, PART_EVENTS, NULL);
			break;
		default:
			err = blob_put(c, &s->blob);
		}
		if (err)
			tap_bail("order %s, at %c: %s, MSR 0x%x", order, *p, errno_name(err), msr);
	}
	snapshot_put(s->vm, c, PART_XCRS, NULL);
	snapshot_put(s->vm, c, PART_XSAVE, NULL);
	snapshot_put(s->vm, c, PART_EVENTS, NULL);
	snapshot_put(s->vm, c, PART_MP_STATE, NULL);
	snapshot_put(s->vm, c, PART_DEBUGREGS, NULL);
	n = nested_of(m);
	n->launched = true;
	n->own = s->l1;
	return n;
}

struct saved saved_copy(const struct saved *s)
{
	struct saved copy = *s;

	copy.vm = snapshot_copy(s->vm);
	copy.capabilities = snapshot_copy(s->capabilities);
	return copy;
}
