// SPDX-License-Identifier: GPL-2.0
/* The steps of a hypervisor: L1 gets an order, or L2 continues. */
#include <string.h>
#include <sys/ioctl.h>

#include "l1.h"

/* Not all of the kernels have KVM_RUN's own flag for this. */
bool l1_in_l2(const struct cpu *c)
{
	static uint8_t buffer[NESTED_SIZE];
	struct kvm_nested_state *s = (void *)buffer;

	memset(s, 0, sizeof(*s));
	s->size = sizeof(buffer);
	return !ioctl(c->io.vcpu, KVM_GET_NESTED_STATE, s) && s->flags & KVM_STATE_NESTED_GUEST_MODE;
}

static void go_on(struct fuzz *f, struct cpu *c)
{
	struct kvm_regs regs;

	note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_REGS, &regs));
	switch (random_below(4)) {
	case 0:
		fuzz_code(f, c, machine_at(c->machine, f->code));
		regs.rip = f->code;
		break;
	case 1:
		break;
	default:
		regs.rip = (uintptr_t)l1_functions.leave;
	}
	note_result(f, "set", ioctl(c->io.vcpu, KVM_SET_REGS, &regs));
}

void l1_restart(struct fuzz *f, struct cpu *c)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = cpu_usual_regs(c, 0, (uintptr_t)l1_functions.first);

	if (note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_SREGS, &sregs)))
		return;
	cpu_usual_sregs(c, 0, &sregs);
	sregs.cr4 |= l1_functions.cr4;
	fuzz_set_sregs(f, c, "sregs", &sregs);
	note_result(f, "set", ioctl(c->io.vcpu, KVM_SET_REGS, &regs));
	note_result(f, "ssp", set_reg(&c->io, ID_GUEST_SSP, cpu_shadow_stack(c, CPU_SS_PAGE)).ret);
}

void step_l1(struct fuzz *f, struct cpu *c)
{
	struct l1_request *request;
	bool active;

	if (!f->nested || c != f->cpus[0]) {
		step_continue(f, c);
		return;
	}
	request = l1_request();
	active = l1_in_l2(c);
	note(f, "l2", active);
	if (active) {
		go_on(f, c);
	} else {
		if (random_one_in(16))
			l1_restart(f, c);
		l1_operation(f, c);
		note(f, "kind", request->kind);
		note(f, "a", request->a);
		note(f, "b", request->b);
		/* A failed entry must restore this. */
		if (request->kind == l1_functions.run)
			note_cet(f, c);
	}
	fuzz_run(f, c);
	if (f->ended)
		return;
	note(f, "status", request->status);
	if (!msr_moves(request->a)) {
		note(f, "result", request->result);
		check_tag(f, c, "what L1 read", request->result);
	}
	l1_note(f, c);
}
