// SPDX-License-Identifier: GPL-2.0
/* The steps that run a guest, and what is noted of it afterwards. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fuzz.h"
#include "l1.h"

/*
 * By the TSC, which counts instructions on the emulated hosts. A guest that has not ended by then has a loop: those
 * that do end, even if every page they use has left the nested page tables, take less than half of it.
 */
#define LIMIT 5000000

/* After that, a vCPU that waits has not been woken up. */
#define LIMIT_WAITING 250000

static void note_segment(struct fuzz *f, const char *name, const struct kvm_segment *s)
{
	/* Of an unusable segment, the rest means nothing. */
	note(f, name, s->unusable);
	if (s->unusable)
		return;
	note(f, "base", s->base);
	note(f, "attributes",
	     (uint64_t)s->limit << 32 | s->selector << 16 | s->type << 8 | s->present << 7 | s->dpl << 5 | s->db << 4 |
		     s->s << 3 | s->l << 2 | s->g << 1 | s->avl);
}

static void note_regs(struct fuzz *f, struct cpu *c)
{
	static const char * const names[] = {
		"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8",
		"r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags",
	};
	struct kvm_regs r;
	unsigned int i;

	if (note_result(f, "regs", ioctl(c->io.vcpu, KVM_GET_REGS, &r)))
		return;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		note(f, names[i], (&r.rax)[i]);
		check_tag(f, c, names[i], (&r.rax)[i]);
	}
}

static void note_sregs(struct fuzz *f, struct cpu *c)
{
	struct kvm_sregs s;

	if (note_result(f, "sregs", ioctl(c->io.vcpu, KVM_GET_SREGS, &s)))
		return;
	note_segment(f, "cs", &s.cs);
	note_segment(f, "ss", &s.ss);
	note_segment(f, "ds", &s.ds);
	note_segment(f, "gs", &s.gs);
	note_segment(f, "tr", &s.tr);
	note(f, "gdt", s.gdt.base ^ (uint64_t)s.gdt.limit << 48);
	note(f, "idt", s.idt.base ^ (uint64_t)s.idt.limit << 48);
	note(f, "cr0", s.cr0);
	note(f, "cr2", s.cr2);
	check_tag(f, c, "CR2", s.cr2);
	note(f, "cr3", s.cr3);
	note(f, "cr4", s.cr4);
	note(f, "cr8", s.cr8);
	note(f, "efer", s.efer);
	note(f, "apic_base", s.apic_base);
}

static void note_events(struct fuzz *f, struct cpu *c)
{
	struct kvm_vcpu_events e;

	memset(&e, 0, sizeof(e));
	if (note_result(f, "events", ioctl(c->io.vcpu, KVM_GET_VCPU_EVENTS, &e)))
		return;
	note(f, "exception", e.exception.injected ? 0x100 | e.exception.nr : 0);
	if (e.exception.injected && e.exception.has_error_code)
		note(f, "error", e.exception.error_code);
	note(f, "interrupt", e.interrupt.injected << 8 | e.interrupt.soft << 1 | e.interrupt.shadow << 2);
	/* Newer kernels count those that wait. */
	note(f, "nmi", e.nmi.injected | (e.nmi.pending ? 2 : 0) | e.nmi.masked << 2);
	note(f, "smi", e.smi.smm | e.smi.pending << 1 | e.smi.smm_inside_nmi << 2 | e.smi.latched_init << 3);
}

void note_cet(struct fuzz *f, struct cpu *c)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[CET_MSRS_XSS];
	} m = { .head.nmsrs = CET_MSRS_XSS };
	uint64_t ssp = 0;
	int i, done;

	for (i = 0; i < CET_MSRS_XSS; i++)
		m.entries[i].index = cet_msrs[i];
	done = note_result(f, "cet", ioctl(c->io.vcpu, KVM_GET_MSRS, &m));
	for (i = 0; i < done; i++) {
		note(f, "msr", m.entries[i].data);
		check_tag(f, c, "a CET MSR", m.entries[i].data);
	}
	if (note_result(f, "one_reg", get_reg(&c->io, ID_GUEST_SSP, &ssp).ret))
		return;
	note(f, "ssp", ssp);
	check_tag(f, c, "SSP", ssp);
}

void note_state(struct fuzz *f, struct cpu *c)
{
	note_regs(f, c);
	note_sregs(f, c);
	note_events(f, c);
	note_cet(f, c);
}

static void note_exit(struct fuzz *f, struct cpu *c)
{
	struct kvm_run *run = c->io.run;

	note(f, "exit", run->exit_reason);
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		note(f, "io", run->io.direction << 24 | run->io.size << 16 | run->io.port);
		note(f, "count", run->io.count);
		if (run->io.direction == KVM_EXIT_IO_IN)
			memset((uint8_t *)run + run->io.data_offset, 0x5a, run->io.size * run->io.count);
		break;
	case KVM_EXIT_MMIO:
		note(f, "mmio", run->mmio.phys_addr);
		note(f, "length", run->mmio.len << 1 | run->mmio.is_write);
		if (run->mmio.is_write)
			note_bytes(f, "data", run->mmio.data, sizeof(run->mmio.data));
		else
			memset(run->mmio.data, 0x5a, sizeof(run->mmio.data));
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		note(f, "suberror", run->internal.suberror);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		note(f, "reason", (uint32_t)run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_DEBUG:
		note(f, "debug", run->debug.arch.exception);
		note(f, "pc", run->debug.arch.pc);
		note(f, "dr6", run->debug.arch.dr6);
		break;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		note(f, "index", run->msr.index);
		note(f, "why", run->msr.reason);
		if (run->exit_reason == KVM_EXIT_X86_WRMSR)
			note(f, "data", run->msr.data);
		else
			run->msr.data = fuzz_value(f, c);
		run->msr.error = random_one_in(4);
		break;
	}
}

/*
 * A fault in the exception handler has overwritten the frame that it would return with: it would return to itself
 * endlessly. Let it continue elsewhere.
 */
static void leave_handler(struct fuzz *f, struct cpu *c, uint64_t at, struct exception_frame *frame)
{
	if (frame->vector == VECTOR_DB || frame->vector == VECTOR_NMI || frame->rip < (uintptr_t)g_exception_stubs ||
	    frame->rip >= (uintptr_t)g_exception_end)
		return;
	frame->rip = f->code;
	memcpy(machine_at(c->machine, at), frame, sizeof(*frame));
}

/* Of a #DB, also what follows if it is that of an INT1. */
static void note_exception(struct fuzz *f, struct cpu *c)
{
	struct kvm_run *run = c->io.run;
	struct exception_frame frame;
	struct kvm_regs r;
	bool int1;

	if (run->exit_reason != KVM_EXIT_IO || run->io.port != PORT_EXCEPTION || ioctl(c->io.vcpu, KVM_GET_REGS, &r) ||
	    r.rdi > RAM_SIZE - sizeof(frame))
		return;
	memcpy(&frame, machine_at(c->machine, r.rdi), sizeof(frame));
	note(f, "vector", frame.vector);
	note(f, "code", frame.error);
	note(f, "at", frame.rip);
	if (frame.vector == VECTOR_DB && frame.rip < RAM_SIZE) {
		int1 = *(uint8_t *)machine_at(c->machine, frame.rip) == FUZZ_INT1;
		note(f, "int1", int1);
		note(f, "next", frame.rip + int1);
	}
	note(f, "from", frame.cs);
	note(f, "address", frame.cr2);
	check_tag(f, c, "an address that faulted", frame.cr2);
	leave_handler(f, c, r.rdi, &frame);
}

/* The vCPU does not run, but waits for an interrupt or another vCPU: its state; or 0. */
static unsigned int waits(struct cpu *c)
{
	struct kvm_mp_state s;

	const int err = errno;

	if (ioctl(c->io.vcpu, KVM_GET_MP_STATE, &s))
		s.mp_state = KVM_MP_STATE_RUNNABLE;
	errno = err;
	return s.mp_state;
}

/* What waits for the vCPU to run, and the interrupt shadow that it begins with. Returns whether NMIs are masked. */
static bool note_pending(struct fuzz *f, struct cpu *c)
{
	bool *lost = &f->lost[index_of(f, c)];
	struct kvm_vcpu_events e;

	if (*lost)
		note(f, "lost", 1);
	*lost = false;
	memset(&e, 0, sizeof(e));
	if (!ioctl(c->io.vcpu, KVM_GET_VCPU_EVENTS, &e))
		note(f, "pending", (e.nmi.pending ? 1 : 0) | e.smi.pending << 1 | e.interrupt.shadow << 2);
	return e.nmi.masked;
}

/*
 * After a shutdown or INIT, newer kernels mask NMIs on SVM. After INIT, the vCPU fetches where there is no memory,
 * which is an error.
 */
static void unmask_nmis(struct cpu *c)
{
	struct kvm_vcpu_events e;

	memset(&e, 0, sizeof(e));
	if (!kvm_is_svm() || ioctl(c->io.vcpu, KVM_GET_VCPU_EVENTS, &e))
		return;
	e.nmi.masked = 0;
	ioctl(c->io.vcpu, KVM_SET_VCPU_EVENTS, &e);
}

/*
 * When EFER.SVME goes, as in SMM, and with a RSM that fails, older kernels set GIF. Newer ones leave it, and it is 0 if
 * L2 was active at the SMI: no NMI and no SMI would come any more.
 */
static void set_gif(struct fuzz *f, struct cpu *c)
{
	struct kvm_nested_state s = { .size = sizeof(s),
				      .format = KVM_STATE_NESTED_FORMAT_SVM,
				      .flags = KVM_STATE_NESTED_GIF_SET };
	struct kvm_sregs sregs;

	if (f->nested && c == f->cpus[0] && kvm_is_svm() && !ioctl(c->io.vcpu, KVM_GET_SREGS, &sregs) &&
	    !(sregs.efer & EFER_SVME))
		ioctl(c->io.vcpu, KVM_SET_NESTED_STATE, &s);
}

/* A number of TSC ticks of the host, as a time. */
static unsigned int in_us(struct cpu *c, unsigned int ticks)
{
	static int khz;

	if (!khz)
		khz = ioctl(c->io.vcpu, KVM_GET_TSC_KHZ);
	if (khz <= 0)
		tap_bail("KVM_GET_TSC_KHZ");
	return ticks * 1000ull / khz;
}

static int run_until(struct cpu *c, unsigned int ticks)
{
	int ret;

	time_limit_us(in_us(c, ticks));
	ret = ioctl(c->io.vcpu, KVM_RUN, 0);
	time_limit_us(0);
	return ret;
}

void fuzz_run(struct fuzz *f, struct cpu *c)
{
	const bool masked = note_pending(f, c);
	bool waiting;
	int ret;

	waiting = waits(c);
	ret = run_until(c, waiting ? LIMIT_WAITING : LIMIT);
	if (waiting && ret && errno == EINTR && !waits(c))
		ret = run_until(c, LIMIT);
	if (ret && errno == EINTR) {
		if (!waits(c)) {
			f->operations++;
			f->ended = "a guest does not end";
			return;
		}
		note(f, "waits", waits(c));
	}
	note_result(f, "ret", ret);
	if (!ret) {
		note_exit(f, c);
		/* Newer kernels still await the end of the IRET that caused this: lines of explained ask for it. */
		f->lost[index_of(f, c)] = masked && kvm_is_svm() && c->io.run->exit_reason == KVM_EXIT_SHUTDOWN;
		if (c->io.run->exit_reason == KVM_EXIT_SHUTDOWN || c->io.run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
			unmask_nmis(c);
		/* QEMU's TCG, which has no shadow stacks, writes the host's state to the VMCB then. */
		if (c->io.run->exit_reason == KVM_EXIT_FAIL_ENTRY && kvm_is_svm() && !kvm_has_shstk()) {
			f->ended = "a VM entry failed";
			return;
		}
		note_exception(f, c);
	}
	note_state(f, c);
	set_gif(f, c);
}

/* A page of random code, on the stacks that the library made, at CPL0 or CPL3; or one access to an MSR. */
void step_run(struct fuzz *f, struct cpu *c)
{
	const bool msr = random_one_in(4);
	const unsigned int cpl = msr ? 0 : random_below(2) * 3;
	uint64_t cet = 0;
	__u64 *gpr;
	const struct kvm_regs usual = cpu_usual_regs(c, cpl, 0);
	struct kvm_regs regs = usual;
	struct kvm_sregs sregs;

	/* A hypervisor would be lost. */
	if (f->nested && c == f->cpus[0]) {
		step_l1(f, c);
		return;
	}
	(msr ? fuzz_msr_access : fuzz_code)(f, c, machine_at(c->machine, f->code));
	note_code(f, machine_at(c->machine, f->code));
	if (note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_SREGS, &sregs)))
		return;
	cpu_usual_sregs(c, cpl, &sregs);
	fuzz_set_sregs(f, c, "sregs", &sregs);
	for (gpr = &regs.rax; gpr <= &regs.r15; gpr++)
		*gpr = fuzz_value(f, c);
	regs.rip = f->code;
	regs.rsp = usual.rsp;
	note_result(f, "set", ioctl(c->io.vcpu, KVM_SET_REGS, &regs));
	if (msrs_get(&c->io, cpl ? MSR_U_CET : MSR_S_CET, &cet) && cet & CET_SHSTK && random_below(8))
		note_result(f, "put",
			    set_reg(&c->io, ID_GUEST_SSP,
				    cpu_shadow_stack(c, cpl ? CPU_SS_USER_PAGE : CPU_SS_PAGE) - 64)
				    .ret);
	fuzz_run(f, c);
}

void step_continue(struct fuzz *f, struct cpu *c)
{
	const bool l1 = f->nested && c == f->cpus[0];

	if (l1) {
		note(f, "l2", l1_in_l2(c));
		/* What an entry that fails must give back. */
		note_cet(f, c);
	}
	c->io.run->immediate_exit = random_one_in(8);
	if (c->io.run->immediate_exit) {
		/* This completes the last exit. */
		note_result(f, "complete", ioctl(c->io.vcpu, KVM_RUN, 0));
		c->io.run->immediate_exit = 0;
		note_state(f, c);
		set_gif(f, c);
	} else {
		fuzz_run(f, c);
	}
	if (l1 && !f->ended)
		l1_note(f, c);
}
