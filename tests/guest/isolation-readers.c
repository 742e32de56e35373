// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever makes the CPU read CET state, it reads the vCPU's own: docs/isolation.md has the table.
 *
 * A predecessor leaves secret values in all its registers. Then, on the same CPU, a victim that has never written these
 * registers (or has written and zeroed them, or has its own there) makes the CPU read them, in each way that a guest
 * can. Then everything that the victim or its VMM can see is searched for secrets, and the SSP that the CPU took is
 * compared with the right one. An address of 0 is a valid shadow stack here: the page there is one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <asm/kvm_onereg.h>

#include "isolation.h"
#include "isolation-readers.h"
#include "smram.h"

/* ---- Secrets ---- */

/* Not in plain text: guest memory has a copy of this program. */
static const volatile uint32_t not_secret = 0x5a18;

/*
 * The secret of predecessor @n, not 0. It is canonical and valid as an SSP. CPL3 always notices this U_CET. Without
 * IBT, U_CET and S_CET cannot hold an address, and U_CET is what CPL3 notices.
 */
static uint64_t secret(unsigned int n, unsigned int msr)
{
	uint64_t value = (uint64_t)~not_secret << 32 | n << 24 | (msr + 1) << 16 |
			 (msr == VALUE_U_CET ? CET_SHSTK | CET_ENDBR : 0);

	return msr <= VALUE_S_CET ? cet_control(value) : value;
}

/* The page of this process's SSP, if the process is a predecessor. A number, as guest memory has a copy of it. */
static uint64_t host_ssp_page;

static bool is_secret(uint64_t value)
{
	if (host_ssp_page && value / PAGE == host_ssp_page)
		return true;
	return value >> 32 == (uint32_t)~not_secret && value >> 24 & 0xff;
}

/* Whether findings are printed; not if they are expected. */
static bool quiet;

/* For memory of any type. */
typedef uint32_t __attribute__((may_alias)) word;

static unsigned int search(const char *where, const void *memory, size_t size)
{
	const uint32_t high = ~not_secret, page = host_ssp_page ? host_ssp_page >> 20 : high;
	const word *p = memory;
	unsigned int found = 0;
	uint64_t value;
	size_t i;

	for (i = 0; i + 1 < size / sizeof(*p); i++) {
		/* A fast first pass, because memory is large and the full comparison is slow. */
		if (p[i + 1] != high && p[i + 1] != page)
			continue;
		value = (uint64_t)p[i + 1] << 32 | p[i];
		if (!is_secret(value))
			continue;
		if (!quiet && !found)
			tap_diag("%s: 0x%llx at 0x%lx", where, (unsigned long long)value,
				 (unsigned long)(i * sizeof(*p)));
		found++;
	}
	return found;
}

/* ---- Kinds of vCPU ---- */

enum kind { NO_CET, ONLY_IBT, ONLY_SHSTK, BOTH, KINDS };

static const char * const kind_names[KINDS] = { "no CET", "IBT alone", "shadow stacks alone", "both" };

static bool kind_has_cet(enum kind kind)
{
	return kind != NO_CET;
}

/* On SVM there are two kinds: with and without shadow stacks. */
static bool kind_is_possible(enum kind kind)
{
	return kvm_has_ibt() || kind == NO_CET || kind == ONLY_SHSTK;
}

static bool kind_has_shstk(enum kind kind)
{
	return kind >= ONLY_SHSTK;
}

/* Of the machine that is being created: the kind of its vCPU, or of both its vCPUs. */
static enum kind creating[2];

/* XSS is there for all: a guest without CET can load the components by XRSTORS. */
static void hide(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	if (!kind_has_shstk(creating[cpu]))
		cpuid_hide_shstk(cpuid);
	if (creating[cpu] == NO_CET || creating[cpu] == ONLY_SHSTK)
		cpuid_hide_ibt(cpuid);
}

/* ---- Predecessors ---- */

enum way { BY_NOTHING, BY_HOST, BY_WRMSR, BY_XRSTORS, BY_ENTRY };

/* In guest memory: what a predecessor is to write. */
static uint64_t to_write[CET_MSRS];
static struct cet_image to_load;

static GUEST void precede(uint64_t unused)
{
	unsigned int i;

	(void)unused;
	for (;;) {
		enum way way = g_call(CALL_READY, 0, 0, 0);

		/* Not a switch statement: it could become a table of indirect jumps. */
		if (way == BY_WRMSR) {
			for (i = 0; i < CET_MSRS; i++)
				g_wrmsr_safe(cet_msrs[i], to_write[i]);
		} else if (way == BY_XRSTORS) {
			g_wrmsr_safe(MSR_XSS, XSS_CET);
			g_xrstors(&to_load, XSS_CET);
		}
	}
}

struct predecessor {
	const char *name;
	enum way way;
	enum kind kind;
	bool same_vm; /* the other vCPU of the victim's machine */
	bool gone;    /* destroyed before the victim runs */
	unsigned int n;
	struct cpu *c;
};

static void at_ready(struct cpu *c)
{
	if (!cpu_called(c, CALL_READY))
		tap_bail("the predecessor stops elsewhere: %s", stop_text(c));
}

/* Enters from CPL3, so that the CPU stores SSP in PL3_SSP. */
static void store_by_entry(struct predecessor *p)
{
	struct cpu *c = p->c;
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = (uintptr_t)read_store,
		.rsp = cpu_stack(c, CPU_USER_PAGE, 2),
		.rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_IOPL3,
	};

	cpu_usual_sregs(c, 3, &sregs);
	sregs.cr4 |= CR4_CET;
	cpu_set_sregs(c, &sregs);
	cpu_set_regs(c, &regs);
	cpu_wrmsr(c, MSR_U_CET, CET_SHSTK);
	cpu_wrmsr(c, MSR_PL3_SSP, 0);
	cpu_set_ssp(c, secret(p->n, VALUE_PL3));
	cpu_run(c);
	if (c->stop.kind != STOP_EXCEPTION || c->stop.frame->vector != VECTOR_STORE ||
	    cpu_rdmsr(c, MSR_PL3_SSP) != secret(p->n, VALUE_PL3))
		tap_bail("the CPU does not store SSP: %s", stop_text(c));
}

/* Runs the predecessor, which leaves its secrets. */
static void run_predecessor(struct predecessor *p)
{
	unsigned int i;

	if (!p->c)
		return;
	if (p->way == BY_ENTRY) {
		store_by_entry(p);
		return;
	}
	cpu_answer(p->c, p->way);
	if (p->way == BY_HOST)
		for (i = 0; i < CET_MSRS; i++)
			msrs_set(&p->c->io, cet_msrs[i], secret(p->n, i));
	cpu_run(p->c);
	at_ready(p->c);
}

static void start_predecessor(struct predecessor *p, struct cpu *c)
{
	struct cet_image *image = in_guest(c->machine, &to_load);
	unsigned int i;

	p->c = c;
	if (p->way == BY_ENTRY)
		return;
	for (i = 0; i < CET_MSRS; i++)
		in_guest(c->machine, &to_write[0])[i] = secret(p->n, i);
	image->xcomp_bv = XSAVE_COMPACT | XSS_CET;
	image->xstate_bv = XSS_CET;
	image->u_cet = secret(p->n, VALUE_U_CET);
	image->pl3_ssp = secret(p->n, VALUE_PL3);
	for (i = 0; i < 3; i++)
		image->pl_ssp[i] = secret(p->n, VALUE_PL0 + i);
	cpu_start(c, precede, 0);
	cpu_run(c);
	at_ready(c);
}

/* How many of its registers have a secret, as far as its VMM can tell. */
static unsigned int secrets_of(struct cpu *c)
{
	unsigned int i, n = 0;
	uint64_t value;

	for (i = 0; i < CET_MSRS; i++)
		n += msrs_get(&c->io, cet_msrs[i], &value) && is_secret(value);
	return n;
}

/* ---- Victims ---- */

enum state { NEVER, ZEROED, WRITTEN };

static const char * const state_names[] = { "never written", "written and zeroed", "with its own" };

struct victim {
	struct machine *m;
	struct cpu *c;
	enum kind kind;
	enum state state;
	uint64_t own[CET_MSRS]; /* the values that its registers must have */
	uint64_t zero;		/* the page at address 0, followed by the last page of all */
	uint64_t stacks;	/* of CPL1 and CPL2, and two shadow stacks */
};

/* In guest memory: what a victim read by instructions. */
static uint64_t own_values[CET_MSRS];
static struct {
	uint64_t value[CET_MSRS], fault[CET_MSRS];
	uint64_t xss_fault;
	struct cet_image image;
} seen;

/* By XRSTORS, if CPUID shows no shadow stacks. */
static GUEST void write_own(uint64_t unused)
{
	uint64_t fault = 0;
	unsigned int i;

	(void)unused;
	for (i = VALUE_PL0; i < CET_MSRS; i++)
		fault = g_wrmsr_safe(cet_msrs[i], own_values[i]);
	if (fault) {
		g_wrmsr(MSR_XSS, XSS_CET);
		to_load.xcomp_bv = XSAVE_COMPACT | XSS_CET;
		to_load.xstate_bv = XSS_CET;
		to_load.pl3_ssp = own_values[VALUE_PL3];
		for (i = 0; i < 3; i++)
			to_load.pl_ssp[i] = own_values[VALUE_PL0 + i];
		g_xrstors(&to_load, XSS_CET);
	}
	g_call(CALL_SEEN, 0, 0, 0);
}

static GUEST void read_by_instructions(uint64_t unused)
{
	unsigned int i;

	(void)unused;
	g_wrmsr_safe(MSR_S_CET, 0);
	for (i = 0; i < CET_MSRS; i++)
		seen.fault[i] = g_rdmsr_safe(cet_msrs[i], &seen.value[i]);
	seen.xss_fault = g_wrmsr_safe(MSR_XSS, XSS_CET);
	if (!seen.xss_fault)
		g_xsaves(&seen.image, XSS_CET);
	g_call(CALL_SEEN, 0, 0, 0);
}

/* CR2, unless the guest has had a page fault. */
#define OLD_CR2 0x7654321000

static void start_at(struct victim *v, unsigned int cpl, uint64_t rip)
{
	struct cpu *c = v->c;
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = rip,
		.rsp = cpu_stack(c, cpl ? CPU_USER_PAGE : CPU_STACK_PAGE, 2),
		.rflags = RFLAGS_FIXED | RFLAGS_IF | (cpl ? RFLAGS_IOPL3 : 0),
		.rdi = v->kind == ONLY_IBT ? CET_ENDBR : CET_SHSTK,
	};

	cpu_usual_sregs(c, cpl, &sregs);
	sregs.cr2 = OLD_CR2;
	cpu_set_sregs(c, &sregs);
	cpu_set_regs(c, &regs);
}

static void put(struct victim *v, uint64_t gpa, uint64_t value)
{
	memcpy(machine_at(v->m, gpa), &value, sizeof(value));
}

static uint64_t take(struct victim *v, uint64_t gpa)
{
	uint64_t value;

	memcpy(&value, machine_at(v->m, gpa), sizeof(value));
	return value;
}

static uint64_t call_gate(unsigned int selector, uint64_t target)
{
	return (target & 0xffff) | (uint64_t)selector << 16 | 0xecull << 40 | (target >> 16 & 0xffff) << 48;
}

static void make_tables(struct victim *v)
{
	static const unsigned int code[] = { SEL_CODE64, SEL_CODE_CPL1 | 1, SEL_CODE_CPL2 | 2 };
	uint64_t target = (uintptr_t)read_target, stubs = (uintptr_t)g_exception_stubs;
	struct machine *m = v->m;
	struct cpu *c = v->c;
	unsigned int i;

	cpu_descriptor(c, SEL_CODE_CPL1, DESC_CODE64 | DESC_DPL1);
	cpu_descriptor(c, SEL_CODE_CPL2, DESC_CODE64 | DESC_DPL2);
	for (i = 0; i < 3; i++) {
		cpu_descriptor(c, SEL_GATE(i), call_gate(code[i], target));
		cpu_descriptor(c, SEL_GATE(i) + 8, target >> 32);
		machine_gate_to(m, VECTOR_TO_CPL0 + i, code[i], i ? target : stubs + 16 * VECTOR_TO_CPL0, 3, 0);
	}
	/* These use PL0_SSP, too. */
	machine_gate(m, VECTOR_BP, stubs + 16 * VECTOR_BP, 3, 0);
	machine_gate(m, VECTOR_UD, stubs + 16 * VECTOR_UD, 3, 0);
	machine_gate(m, VECTOR_PF, stubs + 16 * VECTOR_PF, 3, 0);
	machine_gate(m, VECTOR_INJECTED, stubs + 16 * VECTOR_INJECTED, 3, 0);
	put(v, c->page + CPU_RSP(1), v->stacks + PAGE - 64);
	put(v, c->page + CPU_RSP(2), v->stacks + 2 * PAGE - 64);
}

/* At address 0 are a shadow stack and an INT_SSP_TAB, both valid. No token is busy. */
static void fresh_tokens(struct victim *v)
{
	static const unsigned int ist[] = { CPU_SS_IST1_PAGE, CPU_SS_IST2_PAGE, CPU_SS_PL0_PAGE };
	unsigned int i;

	put(v, v->zero, 0);
	for (i = 0; i < 3; i++)
		put(v, cpu_shadow_stack(v->c, ist[i]), cpu_shadow_stack(v->c, ist[i]));
	put(v, v->zero + 8, cpu_shadow_stack(v->c, CPU_SS_IST1_PAGE));
	put(v, v->zero + 16, cpu_shadow_stack(v->c, CPU_SS_IST2_PAGE));
	for (i = 1; i < 3; i++)
		if (v->own[VALUE_PL0 + i] && !is_secret(v->own[VALUE_PL0 + i]))
			put(v, v->own[VALUE_PL0 + i], v->own[VALUE_PL0 + i]);
}

static void run_to(struct victim *v, const char *want)
{
	cpu_run(v->c);
	if (strcmp(stop_text(v->c), want))
		tap_bail("%s: a victim stops at %s, not %s", kind_names[v->kind], stop_text(v->c), want);
}

static void write_registers(struct victim *v)
{
	memcpy(in_guest(v->m, &own_values[0]), v->own, sizeof(v->own));
	start_at(v, 0, (uintptr_t)write_own);
	run_to(v, "call 3");
}

/* @other: the vCPU that shares its machine, or NULL. It becomes a predecessor. */
static struct victim *new_victim(enum kind kind, enum state state, struct predecessor *other)
{
	const struct machine_config config = { .cpus = other ? 2 : 1, .cpuid = hide };
	struct victim *v = calloc(1, sizeof(*v));

	if (!v)
		tap_bail("no memory");
	creating[0] = kind;
	creating[1] = other ? other->kind : kind;
	v->kind = kind;
	v->state = state;
	v->m = machine_create(&config);
	v->c = v->m->cpus[0];
	v->zero = machine_alloc(v->m, 6);
	v->stacks = v->zero + 2 * PAGE;
	/* With an SSP of 0, a push goes to the last page. */
	machine_map(v->m, -PAGE, v->zero + PAGE, PTE_SHADOW);
	machine_touch(v->m);
	if (state != NEVER) {
		v->own[VALUE_PL0] = cpu_shadow_stack(v->c, CPU_SS_PL0_PAGE);
		v->own[VALUE_PL0 + 1] = machine_shadow_stack(v->m, v->stacks + 2 * PAGE, false, false);
		v->own[VALUE_PL0 + 2] = machine_shadow_stack(v->m, v->stacks + 3 * PAGE, false, false);
		v->own[VALUE_PL3] = cpu_shadow_stack(v->c, CPU_SS_USER_PAGE);
		/* This is not XSAVE state. */
		if (kind_has_shstk(kind))
			v->own[VALUE_TABLE] = v->c->page + CPU_SSP_TABLE;
		write_registers(v);
	}
	if (state == ZEROED) {
		memset(v->own, 0, sizeof(v->own));
		write_registers(v);
	}
	make_tables(v);
	if (kind_has_cet(kind)) {
		start_at(v, 0, (uintptr_t)read_arm);
		run_to(v, "call 2");
	}
	if (other)
		start_predecessor(other, v->m->cpus[1]);
	return v;
}

static void free_victim(struct victim *v)
{
	machine_destroy(v->m);
	free(v);
}

/* ---- Readers ---- */

struct reader {
	const char *name;
	void (*code)(void);
	unsigned int cpl; /* where it starts */
	unsigned int msr; /* what it reads */
	const char *stop; /* where it ends */
	unsigned int flags;
};

#define UNMAPPED 1u /* address 0 is not mapped, so this faults there: not for a victim with its own */
#define CET_ONLY 2u /* faults without CET */
#define NO_TOKEN 4u /* no token becomes busy */
#define INJECTED 8u /* by VM entry */

static const struct reader readers[] = {
	/* First: what faults has to find address 0 not mapped, and the TLB remembers what is mapped. */
	{ "SETSSBSY that faults", read_setssbsy, 0, VALUE_PL0, "#PF", UNMAPPED | CET_ONLY },
	{ "SETSSBSY", read_setssbsy, 0, VALUE_PL0, "call 3", CET_ONLY },
	{ "INT n to CPL0", read_int_to_cpl0, 3, VALUE_PL0, "vector 144", 0 },
	{ "INT n to CPL1", read_int_to_cpl1, 3, VALUE_PL0 + 1, "call 3", 0 },
	{ "INT n to CPL2", read_int_to_cpl2, 3, VALUE_PL0 + 2, "call 3", 0 },
	{ "INT n with IST", read_int_ist, 3, VALUE_TABLE, "vector 147", 0 },
	{ "INT3", read_bp, 3, VALUE_PL0, "#BP", 0 },
	{ "an exception", read_ud, 3, VALUE_PL0, "#UD", 0 },
	{ "an interrupt by VM entry", read_wait, 3, VALUE_PL0, "vector 148", INJECTED },
	{ "far CALL to CPL0", read_gate_to_cpl0, 3, VALUE_PL0, "call 3", 0 },
	{ "far CALL to CPL1", read_gate_to_cpl1, 3, VALUE_PL0 + 1, "call 3", 0 },
	{ "far CALL to CPL2", read_gate_to_cpl2, 3, VALUE_PL0 + 2, "call 3", 0 },
	{ "CPL3 and its IBT", read_user, 3, VALUE_U_CET, "call 3", NO_TOKEN },
	/* From here on, the guest writes U_CET. */
	{ "IRET", read_iret, 0, VALUE_PL3, "call 3", CET_ONLY | NO_TOKEN },
	{ "far RET", read_lret, 0, VALUE_PL3, "call 3", CET_ONLY | NO_TOKEN },
	{ "SYSRET", read_sysret, 0, VALUE_PL3, "call 3", CET_ONLY | NO_TOKEN },
	{ "SYSEXIT", read_sysexit, 0, VALUE_PL3, "call 3", CET_ONLY | NO_TOKEN },
};

/* Everything that the VMM can see of a vCPU that has stopped. */
static unsigned int search_vcpu(const char *name, struct victim *v)
{
	struct kvm_vcpu_events events = { 0 };
	struct kvm_debugregs debug = { 0 };
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	unsigned int i, found;
	uint64_t value;

	cpu_get_regs(v->c, &regs);
	cpu_get_sregs(v->c, &sregs);
	if (ioctl(v->c->io.vcpu, KVM_GET_VCPU_EVENTS, &events) || ioctl(v->c->io.vcpu, KVM_GET_DEBUGREGS, &debug))
		tap_bail("KVM_GET_VCPU_EVENTS");
	found = search(name, &regs, sizeof(regs)) + search(name, &sregs, sizeof(sregs)) +
		search(name, &events, sizeof(events)) + search(name, &debug, sizeof(debug)) +
		search(name, v->c->io.run, v->c->io.run_size);
	if (v->c->stop.kind == STOP_EXCEPTION)
		found += search(name, v->c->stop.frame, sizeof(*v->c->stop.frame));
	for (i = 0; i < CET_MSRS; i++)
		if (msrs_get(&v->c->io, cet_msrs[i], &value))
			found += search(cet_names[i], &value, sizeof(value));
	if (!get_reg(&v->c->io, KVM_X86_REG_KVM(KVM_REG_GUEST_SSP), &value).ret)
		found += search("SSP", &value, sizeof(value));
	return found;
}

/*
 * The memory that the CPU may have written to: all but the program. If the predecessor is in the same machine, only
 * what the victim alone writes to.
 */
static unsigned int search_memory(struct victim *v, bool all)
{
	if (all)
		return search("guest memory", v->m->ram, v->m->free);
	return search("guest memory", machine_at(v->m, v->c->page), CPU_PAGES * PAGE) +
	       search("guest memory", machine_at(v->m, v->zero), 6 * PAGE);
}

static uint64_t linear_to_gpa(struct victim *v, uint64_t linear)
{
	return linear < PAGE ? v->zero + linear : linear;
}

/* The SSP that the CPU has to take, and that the guest sees. */
static uint64_t right_ssp(struct victim *v, const struct reader *r)
{
	if (r->msr == VALUE_U_CET)
		return -1ull;
	if (r->msr == VALUE_TABLE)
		return take(v, linear_to_gpa(v, v->own[VALUE_TABLE] + 8));
	return v->own[r->msr];
}

/* Whether the CPU took the right SSP: by what the guest saw, and by the token, which is busy then. */
static bool went_right(struct victim *v, const struct reader *r)
{
	bool on = kind_has_cet(v->kind), call = v->c->stop.kind == STOP_CALL;
	const char *want = r->flags & CET_ONLY && !on ? "#UD" : r->stop;
	uint64_t ssp = right_ssp(v, r), got;
	bool ok = !strcmp(stop_text(v->c), want);

	/* The CPU may read or write the token. */
	if (on && r->flags & UNMAPPED)
		ok = !strncmp(stop_text(v->c), want, strlen(want)) && v->c->stop.frame->error & PF_SHADOW_STACK;
	if (!ok && !quiet)
		tap_diag("%s: %s, not %s", r->name, stop_text(v->c), want);
	if (!ok || (r->flags & CET_ONLY && !on))
		return ok;
	if (r->flags & UNMAPPED) {
		ok = !v->c->stop.frame->cr2;
		if (!ok && !quiet)
			tap_diag("%s: CR2 is 0x%llx", r->name, (unsigned long long)v->c->stop.frame->cr2);
		return ok;
	}
	got = call ? v->c->stop.a : v->c->stop.frame->ssp;
	/* Then RDSSP does nothing: its register is unchanged. */
	if (!on)
		return got == (call ? -1ull : 0);
	ok = got == ssp && (r->flags & NO_TOKEN || take(v, linear_to_gpa(v, ssp)) == (ssp | 1));
	if (!ok && !quiet)
		tap_diag("%s: SSP is 0x%llx, not 0x%llx, or its token is not busy", r->name, (unsigned long long)got,
			 (unsigned long long)ssp);
	return ok;
}

static bool applies(const struct victim *v, const struct reader *r)
{
	if (r->flags & UNMAPPED && v->own[VALUE_PL0])
		return false;
	return kind_has_cet(v->kind) || r->code == read_setssbsy || !(r->flags & CET_ONLY);
}

/* The number of faults found: 0 if the victim used its own values and sees no others. */
static unsigned int read_once(struct victim *v, const struct reader *r, struct predecessor *p, bool facts)
{
	struct kvm_interrupt interrupt = { .irq = VECTOR_INJECTED };
	unsigned int wrong;

	machine_map(v->m, 0, v->zero, r->flags & UNMAPPED ? 0 : PTE_SHADOW);
	fresh_tokens(v);
	start_at(v, r->cpl, (uintptr_t)r->code);
	if (r->flags & INJECTED && ioctl(v->c->io.vcpu, KVM_INTERRUPT, &interrupt))
		tap_bail("KVM_INTERRUPT");
	run_predecessor(p);
	cpu_run(v->c);
	wrong = !went_right(v, r) + search_vcpu(r->name, v);
	if (facts) {
		char name[80];
		struct kvm_sregs sregs;

		cpu_get_sregs(v->c, &sregs);
		snprintf(name, sizeof(name), "readers: %s, %s: %s", kind_names[v->kind], state_names[v->state],
			 r->name);
		/* Where the emulator has SVM, a guest finds the host's CR2 until it has a page fault. */
		fact(name, "%s, ssp 0x%llx, cr2 0x%llx", stop_text(v->c),
		     (unsigned long long)(v->c->stop.kind == STOP_EXCEPTION ? v->c->stop.frame->ssp : v->c->stop.a),
		     (unsigned long long)(kvm_is_svm() && strncmp(stop_text(v->c), "#PF", 3) ? OLD_CR2 : sregs.cr2));
	}
	return wrong;
}

/* By RDMSR and XSAVES. The victim has its own U_CET by then. */
static unsigned int read_registers(struct victim *v, struct predecessor *p)
{
	const uint64_t u_cet = kind_has_cet(v->kind) ? CET_SHSTK : 0;
	unsigned int i, wrong = 0;
	uint64_t right;
	bool has;

	start_at(v, 0, (uintptr_t)read_by_instructions);
	run_predecessor(p);
	run_to(v, "call 3");
	for (i = 0; i < CET_MSRS; i++) {
		right = i == VALUE_U_CET ? u_cet : i == VALUE_S_CET ? 0 : v->own[i];
		has = i < VALUE_PL0 ? kind_has_cet(v->kind) : kind_has_shstk(v->kind);
		if (has ? !in_guest(v->m, &seen)->fault[i] && in_guest(v->m, &seen)->value[i] == right :
			  in_guest(v->m, &seen)->fault[i] == FAULT(VECTOR_GP))
			continue;
		wrong++;
		if (!quiet)
			tap_diag("RDMSR %s: 0x%llx, not 0x%llx", cet_names[i],
				 (unsigned long long)in_guest(v->m, &seen)->value[i], (unsigned long long)right);
	}
	if (in_guest(v->m, &seen)->xss_fault || in_guest(v->m, &seen)->image.u_cet != u_cet ||
	    in_guest(v->m, &seen)->image.pl3_ssp != v->own[VALUE_PL3] ||
	    memcmp(in_guest(v->m, &seen)->image.pl_ssp, &v->own[VALUE_PL0], sizeof(seen.image.pl_ssp))) {
		wrong++;
		if (!quiet)
			tap_diag("XSAVES: another image");
	}
	return wrong + search("RDMSR, XSAVES", in_guest(v->m, &seen), sizeof(seen)) + search_vcpu("KVM_GET_*", v);
}

/* SMRAM gets what the CPU has at an SMI. */
static unsigned int read_smram(struct victim *v, struct predecessor *p)
{
	unsigned int i, found = 0;
	uint64_t value;

	start_at(v, 3, (uintptr_t)read_wait);
	smram_create(v->c);
	run_predecessor(p);
	smram_smi(v->c);
	for (i = 0xfe00; i < 0x10000; i += 8) {
		value = smram_get(i);
		found += search("SMRAM", &value, sizeof(value));
	}
	return found + search_vcpu("SMI", v);
}

/* All readers of a victim: the number of faults found, and in *@ways how many readers there were. */
static unsigned int read_all(struct victim *v, struct predecessor *p, bool facts, unsigned int *ways)
{
	unsigned int i, wrong = 0;

	*ways = 2;
	for (i = 0; i < ARRAY_SIZE(readers); i++) {
		if (!applies(v, &readers[i]))
			continue;
		wrong += read_once(v, &readers[i], p, facts);
		++*ways;
	}
	wrong += read_registers(v, p);
	/* With a wrong SSP, VM entry may fail in SMM. */
	if (!wrong)
		wrong += read_smram(v, p);
	return wrong + search_memory(v, !p->same_vm);
}

/* ---- The table ---- */

static struct predecessor predecessors[] = {
	{ .name = "another VM's WRMSR", .way = BY_WRMSR, .kind = BOTH },
	{ .name = "another VM's KVM_SET_MSRS", .way = BY_HOST, .kind = BOTH },
	{ .name = "another VM's XRSTORS", .way = BY_XRSTORS, .kind = BOTH },
	{ .name = "another VM's entry from CPL3", .way = BY_ENTRY, .kind = BOTH },
	{ .name = "WRMSR of one with shadow stacks alone", .way = BY_WRMSR, .kind = ONLY_SHSTK },
	{ .name = "XRSTORS of one with IBT alone", .way = BY_XRSTORS, .kind = ONLY_IBT },
	{ .name = "XRSTORS of one without CET", .way = BY_XRSTORS, .kind = NO_CET },
	{ .name = "the VM's other vCPU", .way = BY_WRMSR, .kind = BOTH, .same_vm = true },
	{ .name = "a VM that is gone", .way = BY_WRMSR, .kind = BOTH, .gone = true },
};

static const struct {
	enum kind kind;
	enum state state;
} victims[] = {
	{ NO_CET, NEVER },	 { NO_CET, ZEROED },	{ NO_CET, WRITTEN },   { ONLY_IBT, NEVER },
	{ ONLY_IBT, ZEROED },	 { ONLY_IBT, WRITTEN }, { ONLY_SHSTK, NEVER }, { ONLY_SHSTK, ZEROED },
	{ ONLY_SHSTK, WRITTEN }, { BOTH, NEVER },	{ BOTH, ZEROED },      { BOTH, WRITTEN },
};

static struct machine *predecessor_machine(struct predecessor *p)
{
	const struct machine_config config = { .cpuid = hide };
	struct machine *m;

	creating[0] = p->kind;
	m = machine_create(&config);
	start_predecessor(p, m->cpus[0]);
	return m;
}

static void check_pair(unsigned int i, struct predecessor *p)
{
	struct machine *m = p->gone ? predecessor_machine(p) : NULL;
	struct victim *v = new_victim(victims[i].kind, victims[i].state, p->same_vm ? p : NULL);
	unsigned int wrong, ways, secrets;

	run_predecessor(p);
	secrets = secrets_of(p->c);
	if (p->gone) {
		p->c = NULL;
		machine_destroy(m);
	}
	wrong = read_all(v, p, p == &predecessors[0], &ways);
	tap_ok(!wrong, "after %s, in %u ways: one with %s, %s, reads its own", p->name, ways, kind_names[v->kind],
	       state_names[v->state]);
	if (wrong)
		tap_diag("%u times not", wrong);
	/* Without shadow stacks in its CPUID, a vCPU's VMM sees at most U_CET and S_CET. */
	if (!i && kind_has_shstk(p->kind))
		tap_ok(secrets >= (p->way == BY_ENTRY ? 1 : kvm_has_ibt() ? 5 : 4), "%s: secrets were there", p->name);
	free_victim(v);
}

static void check_predecessor(struct predecessor *p)
{
	struct machine *m = p->gone || p->same_vm ? NULL : predecessor_machine(p);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(victims); i++)
		if (kind_is_possible(victims[i].kind))
			check_pair(i, p);
	if (m)
		machine_destroy(m);
}

/* The same code detects secrets: here the victim has them itself. */
static void check_notices(void)
{
	struct predecessor nobody = { .way = BY_NOTHING };
	unsigned int i;

	quiet = true;
	for (i = 0; i < ARRAY_SIZE(readers); i++) {
		const struct reader *r = &readers[i];
		struct victim *v = new_victim(BOTH, NEVER, NULL);
		uint64_t value = secret(99, r->msr);
		unsigned int wrong = read_once(v, r, &nobody, false);

		tap_ok(!wrong, "%s: no secret, nothing to notice", r->name);
		cpu_wrmsr(v->c, cet_msrs[r->msr], value);
		read_once(v, r, &nobody, false);
		/* Not in the MSR, but where the reader has stored it. U_CET has an effect, but is stored nowhere. */
		cpu_wrmsr(v->c, cet_msrs[r->msr], 0);
		tap_ok(!went_right(v, r) && (r->msr == VALUE_U_CET || search_vcpu(r->name, v)),
		       "%s: a secret in %s is noticed", r->name, cet_names[r->msr]);
		free_victim(v);
	}
	quiet = false;
}

#define EXIT_WRONG 50

/* In a process on a shadow stack: the host's U_CET and PL3_SSP are what must not be seen. */
static void victims_of_host(void)
{
	struct predecessor host = { .way = BY_NOTHING };
	unsigned int i, ways, wrong = 0;
	uint64_t ssp = 0;

	asm volatile("rdsspq %0" : "+r"(ssp));
	host_ssp_page = ssp / PAGE;
	for (i = 0; i < ARRAY_SIZE(victims); i++) {
		struct victim *v;

		if (!kind_is_possible(victims[i].kind))
			continue;
		v = new_victim(victims[i].kind, victims[i].state, NULL);

		wrong += read_all(v, &host, false, &ways);
		free_victim(v);
	}
	fflush(stdout);
	_exit(host_ssp_page && !wrong ? 0 : EXIT_WRONG);
}

void test_readers(void)
{
	unsigned int p;

	for (p = 0; p < ARRAY_SIZE(predecessors); p++) {
		if (predecessors[p].kind == ONLY_IBT && !kvm_has_ibt()) {
			tap_skip("KVM offers no IBT", "after %s", predecessors[p].name);
			continue;
		}
		predecessors[p].n = p + 1;
		check_predecessor(&predecessors[p]);
	}
	check_notices();
	if (host_has_cet)
		tap_ok(!status_on_shadow_stack(victims_of_host),
		       "in a process on a shadow stack, vCPUs of all kinds read their own");
}
