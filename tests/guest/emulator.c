// SPDX-License-Identifier: GPL-2.0
/*
 * KVM's emulator while the guest uses CET: it refuses each instruction that would use a shadow stack or the
 * indirect-branch tracker while these are on, and emulates all others as before. KVM's prefix makes it emulate, which
 * needs kvm.force_emulation_prefix=1.
 *
 *   emulator [--facts FILE] [--without-cet]
 *
 * --without-cet: for a KVM that is expected not to offer CET.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "emulator.h"
#include "vmm.h"

static FILE *facts;
static bool with_cet = true;

/* The name's blanks become underscores. */
static void fact(const char *name, const char *answer)
{
	if (!facts)
		return;
	for (; *name; name++)
		fputc(*name == ' ' ? '_' : *name, facts);
	fprintf(facts, " %s\n", answer);
}

/* A place in emulator-code.S. */
#define CODE(name) extern char e_##name[]

/* How the instruction uses CET, as far as an emulator is concerned. */
#define SS	1u /* uses a shadow stack */
#define TRACKED 2u /* starts indirect-branch tracking */
#define FAR	4u /* may end at another CPL, so the CET settings of both count */

/* Where the instruction is executed. */
#define LONG0	1u /* 64-bit code at CPL0 */
#define LONG3	2u
#define COMPAT0 4u /* 32-bit code in long mode */
#define COMPAT3 8u
#define LONG	(LONG0 | LONG3)
#define COMPAT	(COMPAT0 | COMPAT3)
#define ALL	(LONG | COMPAT)
#define CPL0	(LONG0 | COMPAT0)
#define CPL3	(LONG3 | COMPAT3)
#define MODES	4

static const char * const mode_names[MODES] = { "64-bit CPL0", "64-bit CPL3", "32-bit CPL0", "32-bit CPL3" };

struct insn {
	const char *name;
	const char *code;
	unsigned int uses;
	unsigned int modes;
	unsigned int width;  /* the size of what it pops and of far offsets, in bytes */
	const char *outcome; /* when KVM emulates it */
};

/* clang-format off */
#define E(name, ...)	{ #name, e_##name, __VA_ARGS__ }

CODE(target);
CODE(ret); CODE(ret_imm); CODE(call_reg); CODE(call_mem); CODE(jmp_reg); CODE(jmp_mem); CODE(jmp_notrack);
CODE(lret); CODE(lret_imm); CODE(iret); CODE(int); CODE(int3); CODE(sysenter); CODE(enter); CODE(leave);
CODE(ljmp_mem); CODE(lcall_mem); CODE(call_rel); CODE(jmp_rel); CODE(jcc_rel); CODE(jcc_not_taken);
CODE(jmp_short); CODE(jcc_short); CODE(loop); CODE(jrcxz); CODE(call_reg_rex_r); CODE(jmp_reg_rex_r);
CODE(lret_rex_w); CODE(lret_imm_rex_w); CODE(lcall_rex_w); CODE(ljmp_rex_w); CODE(ljmp_rex_wr);
CODE(iret_rex_w); CODE(syscall); CODE(sysexit_rex_w); CODE(into);
CODE(inc_mem); CODE(push_mem); CODE(movbe);
CODE(lcall_imm_cpl0); CODE(lcall_imm_cpl3); CODE(ljmp_imm_cpl0); CODE(ljmp_imm_cpl3);
CODE(task_jmp); CODE(task_call); CODE(task_iret); CODE(task_int);

/* KVM does not know how to emulate interrupts and IRET in protected mode, so that is an error of its own. */
static const struct insn insns[] = {
	E(ret,			SS,			LONG,		8, "target, rsp+8"),
	E(ret,			SS,			COMPAT,		4, "target, rsp+4"),
	E(ret_imm,		SS,			LONG,		8, "target, rsp+16"),
	E(ret_imm,		SS,			COMPAT,		4, "target, rsp+12"),
	E(call_rel,		SS,			LONG,		8, "target, rsp-8"),
	E(call_rel,		SS,			COMPAT,		4, "target, rsp-4"),
	E(call_reg,		SS | TRACKED,		LONG,		8, "target, rsp-8"),
	E(call_reg,		SS | TRACKED,		COMPAT,		4, "target, rsp-4"),
	E(call_reg_rex_r,	SS | TRACKED,		LONG,		8, "target, rsp-8"),
	E(call_mem,		SS | TRACKED,		LONG,		8, "target, rsp-8"),
	E(call_mem,		SS | TRACKED,		COMPAT,		4, "target, rsp-4"),
	E(jmp_reg,		TRACKED,		ALL,		8, "target"),
	E(jmp_reg_rex_r,	TRACKED,		LONG,		8, "target"),
	E(jmp_mem,		TRACKED,		ALL,		8, "target"),
	E(jmp_notrack,		TRACKED,		ALL,		8, "target"),
	E(lret,			SS | FAR,		LONG | COMPAT,	4, "target, rsp+8"),
	E(lret_rex_w,		SS | FAR,		LONG,		8, "target, rsp+16"),
	E(lret_imm,		SS | FAR,		LONG | COMPAT,	4, "target, rsp+16"),
	E(lret_imm_rex_w,	SS | FAR,		LONG,		8, "target, rsp+24"),
	E(lcall_mem,		SS | TRACKED | FAR,	ALL,		4, "target, rsp-8"),
	E(lcall_rex_w,		SS | TRACKED | FAR,	LONG,		8, "target, rsp-16"),
	E(lcall_imm_cpl0,	SS | TRACKED | FAR,	COMPAT0,	4, "target, rsp-8"),
	E(lcall_imm_cpl3,	SS | TRACKED | FAR,	COMPAT3,	4, "target, rsp-8"),
	E(ljmp_mem,		TRACKED | FAR,		ALL,		4, "target"),
	E(ljmp_rex_w,		TRACKED | FAR,		LONG,		8, "target"),
	E(ljmp_rex_wr,		TRACKED | FAR,		LONG,		8, "target"),
	E(ljmp_imm_cpl0,	TRACKED | FAR,		COMPAT0,	4, "target"),
	E(ljmp_imm_cpl3,	TRACKED | FAR,		COMPAT3,	4, "target"),
	E(iret,			SS | FAR,		ALL,		4, "internal error"),
	E(iret_rex_w,		SS | FAR,		LONG,		8, "internal error"),
	E(int,			SS | TRACKED | FAR,	ALL,		8, "internal error"),
	E(int3,			TRACKED | FAR,		ALL,		8, "internal error"),
	E(into,			TRACKED | FAR,		COMPAT,		8, "internal error"),
	E(syscall,		SS | TRACKED | FAR,	LONG,		8, "target, cs 8"),
	E(sysenter,		SS | TRACKED | FAR,	LONG,		8, "internal error"),
	E(sysenter,		SS | TRACKED | FAR,	COMPAT,		8, "target, cs 8"),
	E(sysexit_rex_w,	SS | FAR,		LONG0,		8, "target, cs 2b"),
	E(sysexit_rex_w,	SS | FAR,		LONG3,		8, "#GP"),
	E(enter,		0,			LONG,		8, "next, rsp-24"),
	E(enter,		0,			COMPAT,		4, "next, rsp-20"),
	E(leave,		0,			LONG,		8, "next, rsp+8"),
	E(leave,		0,			COMPAT,		4, "next, rsp+4"),
	/* They share their opcode with CALL and JMP; MOVBE has three bytes of it. */
	E(inc_mem,		0,			ALL,		8, "next"),
	E(push_mem,		0,			LONG,		8, "next, rsp-8"),
	E(push_mem,		0,			COMPAT,		4, "next, rsp-4"),
	E(movbe,		0,			ALL,		8, "next"),
	E(jmp_rel,		0,			ALL,		8, "target"),
	E(jmp_short,		0,			ALL,		8, "target"),
	E(jcc_rel,		0,			ALL,		8, "target"),
	E(jcc_not_taken,	0,			ALL,		8, "next"),
	E(jcc_short,		0,			ALL,		8, "target"),
	E(loop,			0,			ALL,		8, "target"),
	E(jrcxz,		0,			ALL,		8, "next"),
};

/* clang-format on */

/* The guest's CET. */
struct cet {
	const char *name;
	bool cr4;
	uint64_t s_cet, u_cet;
};

#define SHADOW (CET_SHSTK | CET_WRSS)
/* Every other bit that software may set. */
#define OTHERS (CET_WRSS | 0x38)

static const struct cet cets[] = {
	{ "without CR4.CET", false, 0, 0 },
	{ "CR4.CET, all off", true, 0, 0 },
	{ "S_CET SHSTK", true, SHADOW, 0 },
	{ "S_CET ENDBR", true, CET_ENDBR, 0 },
	{ "U_CET SHSTK", true, 0, SHADOW },
	{ "U_CET ENDBR", true, 0, CET_ENDBR },
	{ "all on", true, SHADOW | CET_ENDBR, SHADOW | CET_ENDBR },
	{ "all on without CR4.CET", false, SHADOW | CET_ENDBR, SHADOW | CET_ENDBR },
	{ "CR4.CET, other bits", true, OTHERS, OTHERS },
};

/* Without CET, only the first one applies. */
static unsigned int ncets(void)
{
	return with_cet ? ARRAY_SIZE(cets) : 1;
}

/* Whether the guest can have it; some are about IBT alone. */
static bool is_possible(const struct cet *cet)
{
	return cet_control(cet->s_cet) || cet_control(cet->u_cet) || !(cet->s_cet || cet->u_cet);
}

/* The rule: does CET affect an instruction that uses @uses at @cpl? */
static bool governed(const struct cet *cet, unsigned int uses, unsigned int cpl)
{
	uint64_t on = 0;

	if (!cet->cr4)
		return false;
	if (uses & FAR || cpl == 0)
		on |= cet->s_cet;
	if (uses & FAR || cpl == 3)
		on |= cet->u_cet;
	on = cet_control(on);
	return (uses & SS && on & CET_SHSTK) || (uses & TRACKED && on & CET_ENDBR);
}

static struct cpu *new_cpu(void)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args[0] = 1 };
	struct machine *m = machine_create(NULL);

	/* Then what KVM cannot emulate causes an exit at CPL3, too, while a refused instruction causes #UD. */
	if (ioctl(m->fd, KVM_ENABLE_CAP, &cap))
		tap_bail("KVM_CAP_EXIT_ON_EMULATION_FAILURE");
	return m->cpus[0];
}

static void set_cet(struct cpu *c, const struct cet *cet)
{
	struct kvm_sregs sregs;
	uint64_t top;

	if (!with_cet)
		return;
	cpu_cet(c, (cet->s_cet & CET_SHSTK ? GUEST_SHSTK : 0) | (cet->u_cet & CET_SHSTK ? GUEST_USER_SHSTK : 0));
	cpu_wrmsr(c, MSR_S_CET, cet_control(cet->s_cet));
	cpu_wrmsr(c, MSR_U_CET, cet_control(cet->u_cet));
	if (!cet->cr4) {
		cpu_get_sregs(c, &sregs);
		sregs.cr4 &= ~CR4_CET;
		cpu_set_sregs(c, &sregs);
	}
	/* The token that exceptions use may still be busy from the last one. */
	top = cpu_shadow_stack(c, CPU_SS_IST1_PAGE);
	*(uint64_t *)machine_at(c->machine, top) = top;
}

static void forget_events(struct cpu *c)
{
	struct kvm_vcpu_events none = { 0 };

	if (ioctl(c->io.vcpu, KVM_SET_VCPU_EVENTS, &none))
		tap_bail("KVM_SET_VCPU_EVENTS");
}

static void put(struct cpu *c, uint64_t *at, unsigned int width, uint64_t value)
{
	memcpy(machine_at(c->machine, *at), &value, width);
	*at += width;
}

/* The state before an instruction: the vCPU in @mode, and RSP, which is returned. */
static uint64_t prepare(struct cpu *c, const struct insn *insn, unsigned int mode, const struct cet *cet)
{
	static const uint16_t code[MODES] = { SEL_CODE64, SEL_USER64, SEL_CODE32, SEL_USER32 };
	const uint64_t target = (uintptr_t)e_target;
	unsigned int cpl = 1u << mode & CPL3 ? 3 : 0;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	uint64_t stack, pointer, at;

	forget_events(c);
	cpu_start_at(c, cpl, target, (uint64_t[3]) { 0 });
	set_cet(c, cet);

	cpu_get_sregs(c, &sregs);
	if (1u << mode & COMPAT) {
		sregs.cs.selector = code[mode];
		sregs.cs.l = 0;
		sregs.cs.db = 1;
		cpu_set_sregs(c, &sregs);
	}
	cpu_get_regs(c, &regs);
	stack = regs.rsp - 256;
	at = stack;
	put(c, &at, insn->width, target);
	put(c, &at, insn->width, code[mode]);
	put(c, &at, insn->width, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_IOPL3);
	put(c, &at, insn->width, stack);
	put(c, &at, insn->width, sregs.ss.selector);
	pointer = stack + 128;
	at = pointer;
	put(c, &at, 8, target);
	at = pointer + insn->width;
	put(c, &at, 2, code[mode]);

	cpu_wrmsr(c, 0xc0000081, 0x0020000800000000); /* STAR */
	cpu_wrmsr(c, 0xc0000082, target);	      /* LSTAR */
	cpu_wrmsr(c, 0x174, SEL_CODE64);	      /* SYSENTER_CS, ESP, EIP */
	cpu_wrmsr(c, 0x175, stack);
	cpu_wrmsr(c, 0x176, target);

	regs.rip = (uintptr_t)insn->code;
	/* OF for INTO. ZF is clear. */
	regs.rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_IOPL3 | 0x800;
	regs.rsp = stack;
	regs.rbp = stack;
	regs.rax = target;
	regs.rbx = pointer;
	regs.rcx = stack;  /* LOOP, and SYSEXIT's RSP */
	regs.rdx = target; /* SYSEXIT's RIP */
	cpu_set_regs(c, &regs);
	return stack;
}

#define PREFIX 5 /* bytes */

/* The result in words. It is a fault only if RIP is at the instruction and nothing else has changed. */
static const char *outcome(struct cpu *c, const struct insn *insn, uint64_t stack, unsigned int selector)
{
	const struct stop *s = cpu_run(c);
	static char text[120];
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	size_t n;

	cpu_get_regs(c, &regs);
	cpu_get_sregs(c, &sregs);
	switch (s->kind) {
	case STOP_CALL:
		n = snprintf(text, sizeof(text), "%s",
			     s->number == CALL_TARGET ? "target" :
			     s->number == CALL_NEXT   ? "next" :
							stop_text(c));
		break;
	case STOP_EXCEPTION:
		n = snprintf(text, sizeof(text), "%s", stop_text(c));
		if (s->frame->rip != (uintptr_t)insn->code + PREFIX)
			n += snprintf(text + n, sizeof(text) - n, ", rip%+lld",
				      (long long)(s->frame->rip - (uintptr_t)insn->code));
		regs.rsp = s->frame->rsp;
		sregs.cs.selector = s->frame->cs;
		break;
	case STOP_INTERNAL_ERROR:
		n = snprintf(text, sizeof(text), "internal error");
		if (c->io.run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION)
			n += snprintf(text + n, sizeof(text) - n, " %u", c->io.run->internal.suberror);
		break;
	default:
		return stop_text(c);
	}
	if (regs.rsp != stack)
		n += snprintf(text + n, sizeof(text) - n, ", rsp%+lld", (long long)(regs.rsp - stack));
	if (sregs.cs.selector != selector)
		snprintf(text + n, sizeof(text) - n, ", cs %x", sregs.cs.selector);
	return text;
}

static const char *try_insn(struct cpu *c, const struct insn *insn, unsigned int mode, const struct cet *cet)
{
	uint64_t stack = prepare(c, insn, mode, cet);
	struct kvm_sregs sregs;

	cpu_get_sregs(c, &sregs);
	return outcome(c, insn, stack, sregs.cs.selector);
}

/* Would this rule also explain it? @refused are the configurations in which KVM refused an instruction. */
static bool explains(unsigned int uses, unsigned int cpl, unsigned int refused)
{
	unsigned int i;

	for (i = 0; i < ncets(); i++)
		if (is_possible(&cets[i]) && governed(&cets[i], uses, cpl) != !!(refused & 1u << i))
			return false;
	return true;
}

/* The part that matters: FAR alone means nothing, nor does TRACKED without IBT. */
static unsigned int effective(unsigned int uses)
{
	if (!kvm_has_ibt())
		uses &= ~TRACKED;
	return uses == FAR ? 0 : uses;
}

static void check_insn(struct cpu *c, const struct insn *insn, unsigned int mode)
{
	/* AMD's CPUs do not know it in long mode. KVM makes an exception for 64-bit code. */
	const bool unknown = kvm_is_svm() && insn->code == e_sysenter && 1u << mode & COMPAT;
	unsigned int cpl = 1u << mode & CPL3 ? 3 : 0;
	unsigned int i, uses, refused = 0, wrong = 0;
	char name[80], key[160];

	snprintf(name, sizeof(name), "%s, %s", insn->name, mode_names[mode]);
	for (i = 0; i < ncets(); i++) {
		const char *got, *want = governed(&cets[i], insn->uses, cpl) || unknown ? "#UD" : insn->outcome;
		/* A change of CS is reported only if there is one. */
		const char *cs = strstr(insn->outcome, ", cs 8");
		char same[40];

		if (!is_possible(&cets[i]))
			continue;
		got = try_insn(c, insn, mode, &cets[i]);

		if (cs && cpl == 0 && 1u << mode & LONG && want == insn->outcome) {
			snprintf(same, sizeof(same), "%.*s", (int)(cs - insn->outcome), insn->outcome);
			want = same;
		}
		if (strcmp(got, want)) {
			tap_diag("%s, %s: got %s, wanted %s", name, cets[i].name, got, want);
			wrong++;
		}
		if (!strcmp(got, "#UD"))
			refused |= 1u << i;
		snprintf(key, sizeof(key), "%s, %s", name, cets[i].name);
		fact(key, got);
	}
	tap_ok(!wrong, "%s: %s", name,
	       unknown	  ? "unknown to AMD's CPUs" :
	       !with_cet  ? "emulated" :
	       insn->uses ? "refused where CET governs it" :
			    "always emulated");
	if (!with_cet || unknown)
		return;
	/* The configurations are sufficient to distinguish each rule from every other one. */
	for (uses = 0; uses <= (SS | TRACKED | FAR); uses++)
		if (effective(uses) == uses && uses != effective(insn->uses) && explains(uses, cpl, refused))
			break;
	tap_ok(uses > (SS | TRACKED | FAR), "%s: no other rule gives the same", name);
}

static void check_insns(void)
{
	struct cpu *c = new_cpu();
	unsigned int i, mode;

	for (i = 0; i < ARRAY_SIZE(insns); i++)
		for (mode = 0; mode < MODES; mode++)
			if (insns[i].modes & 1u << mode)
				check_insn(c, &insns[i], mode);
	machine_destroy(c->machine);
}

/*
 * Emulation without the prefix, as real guests can cause it: the operand or the stack is where there is no memory. If
 * KVM refuses, at CPL0 a VMM gets an exit even if it has not asked for these; at CPL3 the guest gets a #UD.
 */
static void check_mmio(void)
{
	const uint64_t mmio = 0x80000000;
	static const struct {
		struct insn insn;
		bool stack;
	} ways[] = {
		{ E(jmp_mem, TRACKED, LONG, 8, "target"), false },
		{ E(call_mem, SS | TRACKED, LONG, 8, "target, rsp-8"), false },
		{ E(ret, SS, LONG, 8, "target, rsp+8"), true },
	};
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	unsigned int i, j, mode;

	machine_map(m, mmio, mmio, PTE_NORMAL);
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		for (mode = 0; mode < 2; mode++)
			for (j = 0; j < ncets(); j++) {
				struct insn insn = ways[i].insn;
				bool refused = governed(&cets[j], insn.uses, mode ? 3 : 0);
				const char *got, *want = !refused ? insn.outcome : mode ? "#UD" : "internal error";
				uint64_t stack = prepare(c, &insn, mode, &cets[j]);
				const uint64_t target = (uintptr_t)e_target;
				struct kvm_sregs sregs;
				struct kvm_regs regs;
				unsigned int reads = 0;
				char key[120];

				if (!is_possible(&cets[j]))
					continue;
				cpu_get_sregs(c, &sregs);
				cpu_get_regs(c, &regs);
				regs.rip += PREFIX;
				if (ways[i].stack) {
					regs.rsp = mmio;
					stack = mmio;
				} else {
					regs.rbx = mmio;
				}
				cpu_set_regs(c, &regs);
				for (;;) {
					got = outcome(c, &insn, stack, sregs.cs.selector);
					if (c->stop.kind != STOP_MMIO || c->io.run->mmio.is_write || reads++)
						break;
					memcpy(c->io.run->mmio.data, &target, sizeof(target));
				}
				snprintf(key, sizeof(key), "%s with its %s in MMIO, %s, %s", insn.name,
					 ways[i].stack ? "stack" : "operand", mode_names[mode], cets[j].name);
				tap_ok(!strcmp(got, want) && reads == !refused, "%s: %s", key, want);
				if (strcmp(got, want))
					tap_diag("got %s", got);
				fact(key, got);
			}
	machine_destroy(m);
}

/*
 * Outside 64-bit mode SSP has 32 bits. A far JMP there, which does not use shadow stacks otherwise, must not be
 * emulated with a larger one.
 */
static const struct compat_case {
	const char *name;
	struct cet cet;
	unsigned int governs; /* modes */
} compat_cases[] = {
	{ "S_CET SHSTK", { "", true, SHADOW, 0 }, LONG0 },
	{ "U_CET SHSTK", { "", true, 0, SHADOW }, LONG3 },
	{ "both SHSTK", { "", true, SHADOW, SHADOW }, LONG },
	{ "SHSTK off", { "", true, 0, 0 }, 0 },
	{ "both SHSTK without CR4.CET", { "", false, SHADOW, SHADOW }, 0 },
};

static void try_compat(struct cpu *c, const struct compat_case *t, unsigned int mode, bool compat, uint64_t ssp)
{
	static const struct insn jump = E(ljmp_mem, TRACKED | FAR, LONG, 4, "");
	static const uint16_t selectors[2][2] = { { SEL_CODE64, SEL_CODE32 }, { SEL_USER64, SEL_USER32 } };
	unsigned int selector = selectors[mode][compat];
	char want[40] = "target", key[120];
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	uint64_t stack, at;
	const char *got;

	stack = prepare(c, &jump, mode, &t->cet);
	cpu_set_ssp(c, ssp);
	cpu_get_regs(c, &regs);
	at = regs.rbx + jump.width;
	put(c, &at, 2, selector);
	if (compat && t->governs & 1u << mode && ssp >> 32)
		strcpy(want, "#GP");
	else if (compat)
		snprintf(want, sizeof(want), "target, cs %x", selector);
	cpu_get_sregs(c, &sregs);
	got = outcome(c, &jump, stack, sregs.cs.selector);
	snprintf(key, sizeof(key), "far JMP, %s to %s, %s, SSP 0x%llx", mode_names[mode], compat ? "32-bit" : "64-bit",
		 t->name, (unsigned long long)ssp);
	tap_ok(!strcmp(got, want), "%s: %s", key, want);
	if (strcmp(got, want))
		tap_diag("got %s", got);
	fact(key, got);
}

static void check_compat(void)
{
	static const uint64_t ssps[] = { 0x7ffffff0, 0xfffffff8, 0x100000000, 0xffff800000000000 };
	struct cpu *c = new_cpu();
	unsigned int i, j, mode;

	for (i = 0; i < ARRAY_SIZE(compat_cases); i++)
		for (mode = 0; mode < 2; mode++)
			for (j = 0; j < ARRAY_SIZE(ssps); j++) {
				try_compat(c, &compat_cases[i], mode, false, ssps[j]);
				try_compat(c, &compat_cases[i], mode, true, ssps[j]);
			}
	machine_destroy(c->machine);
}

/* A 32-bit TSS, as far as task switches need it. */
struct tss32 {
	uint32_t link, stacks[6], cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint32_t es, cs, ss, ds, fs, gs, ldt, iomap, ssp;
};

/* With CET it must have room for SSP. */
#define TSS_LIMIT (sizeof(struct tss32) - 1)

static void tss_descriptor(struct cpu *c, unsigned int selector, uint64_t tss, unsigned int type)
{
	cpu_descriptor(c, selector,
		       TSS_LIMIT | (tss & 0xffffff) << 16 | (uint64_t)(0x80 | type) << 40 | (tss >> 24 & 0xff) << 56);
}

static struct kvm_segment flat(unsigned int selector, unsigned int type)
{
	return (struct kvm_segment) {
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
}

#define RFLAGS_NT 0x4000

/* A 32-bit task without paging, and one to switch to: IRET goes back to the one that its TSS links to */
static void make_tasks(struct cpu *c, uint64_t old, uint64_t new, bool iret)
{
	struct tss32 *t = machine_at(c->machine, new);

	*t = (struct tss32) {
		.eip = (uintptr_t)e_target,
		.eflags = RFLAGS_FIXED | RFLAGS_IF,
		.esp = cpu_stack(c, CPU_RSP0_PAGE, 1),
		.es = SEL_DATA,
		.cs = SEL_CODE32,
		.ss = SEL_DATA,
		.ds = SEL_DATA,
		.fs = SEL_DATA,
		.gs = SEL_DATA,
	};
	t = machine_at(c->machine, old);
	*t = (struct tss32) { .link = SEL_NEW_TSS };
	tss_descriptor(c, SEL_OLD_TSS, old, 0xb);
	tss_descriptor(c, SEL_NEW_TSS, new, iret ? 0xb : 9);
}

static void enter_task(struct cpu *c, uint64_t tss, uint64_t idt)
{
	struct kvm_sregs sregs;

	*(uint64_t *)machine_at(c->machine, idt + 8 * VECTOR_TASK) = (uint64_t)SEL_NEW_TSS << 16 | 0x85ull << 40;

	cpu_get_sregs(c, &sregs);
	sregs.cs = flat(SEL_CODE32, 0xb);
	sregs.ds = flat(SEL_DATA, 3);
	sregs.es = sregs.ds;
	sregs.ss = sregs.ds;
	sregs.fs = sregs.ds;
	sregs.gs = sregs.ds;
	sregs.tr = (struct kvm_segment) {
		.base = tss,
		.limit = TSS_LIMIT,
		.selector = SEL_OLD_TSS,
		.type = 0xb,
		.present = 1,
	};
	sregs.idt.base = idt;
	sregs.cr0 &= ~CR0_PG;
	sregs.cr4 &= ~CR4_PAE;
	sregs.cr3 = 0;
	sregs.efer = 0;
	cpu_set_sregs(c, &sregs);
}

static const char *try_task(struct cpu *c, const char *code, const struct cet *cet, uint64_t pages)
{
	uint64_t old = pages, new = pages + 0x100, idt = pages + PAGE;
	bool iret = code == e_task_iret;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	const struct stop *s;

	forget_events(c);
	cpu_start(c, e_target, 0);
	set_cet(c, cet);
	make_tasks(c, old, new, iret);
	enter_task(c, old, idt);
	cpu_get_regs(c, &regs);
	regs.rip = (uintptr_t)code;
	regs.rflags = RFLAGS_FIXED | RFLAGS_IF | (iret ? RFLAGS_NT : 0);
	cpu_set_regs(c, &regs);

	s = cpu_run(c);
	cpu_get_sregs(c, &sregs);
	if (s->kind == STOP_CALL && s->number == CALL_TARGET && sregs.tr.selector == SEL_NEW_TSS)
		return "new task";
	if (s->kind == STOP_INTERNAL_ERROR && (c->io.run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION ||
					       c->io.run->internal.ndata || sregs.tr.selector != SEL_OLD_TSS))
		return "another internal error";
	return stop_text(c);
}

static void check_tasks(void)
{
	static const struct {
		const char *name, *code;
	} ways[] = {
		{ "JMP", e_task_jmp },
		{ "CALL", e_task_call },
		{ "IRET", e_task_iret },
		{ "INT", e_task_int },
	};
	struct cpu *c = new_cpu();
	uint64_t pages = machine_alloc(c->machine, 2);
	unsigned int i, j;

	machine_touch(c->machine);
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		for (j = 0; j < ncets(); j++) {
			/* The features of both CPLs affect a task switch. */
			bool refused = governed(&cets[j], SS | TRACKED | FAR, 0);
			const char *want = refused ? "internal error" : "new task";
			const char *got;
			char key[120];

			if (!is_possible(&cets[j]))
				continue;
			got = try_task(c, ways[i].code, &cets[j], pages);
			snprintf(key, sizeof(key), "task switch by %s, %s", ways[i].name, cets[j].name);
			tap_ok(!strcmp(got, want), "%s: %s", key, want);
			if (strcmp(got, want))
				tap_diag("got %s", got);
			fact(key, got);
		}
	machine_destroy(c->machine);
}

/*
 * User space may set CR4.CET, and then a CPUID without CET: the vCPU keeps CR4. Nobody can tell any more whether CET
 * governs an instruction, so all that might use it are refused.
 */
static void check_lost_msrs(void)
{
	static const struct cet off = { "", true, 0, 0 };
	static const char * const codes[] = { e_ret, e_jmp_mem, e_lret, e_enter };
	unsigned int i, j, mode;

	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		for (j = 0; insns[j].code != codes[i]; j++)
			;
		for (mode = 0; mode < 2; mode++) {
			const struct insn *insn = &insns[j];
			struct cpu *c = new_cpu();
			uint64_t stack = prepare(c, insn, mode, &off);
			const char *got, *want = insn->uses ? "#UD" : insn->outcome;
			struct kvm_sregs sregs;
			char key[120];

			cpu_get_sregs(c, &sregs);
			cpuid_hide_shstk(c->cpuid);
			cpuid_hide_ibt(c->cpuid);
			if (ioctl(c->io.vcpu, KVM_SET_CPUID2, c->cpuid))
				tap_bail("KVM_SET_CPUID2");
			got = outcome(c, insn, stack, sregs.cs.selector);
			snprintf(key, sizeof(key), "%s, %s, CR4.CET without CPUID", insn->name, mode_names[mode]);
			tap_ok(!strcmp(got, want), "%s: %s", key, want);
			if (strcmp(got, want))
				tap_diag("got %s", got);
			fact(key, got);
			machine_destroy(c->machine);
		}
	}
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--without-cet")) {
			with_cet = false;
		} else if (!strcmp(argv[i], "--facts") && i + 1 < argc) {
			facts = fopen(argv[++i], "w");
			if (!facts)
				tap_bail("%s", argv[i]);
		} else {
			fprintf(stderr, "usage: emulator [--facts FILE] [--without-cet]\n");
			return 2;
		}
	}
	kvm_open("emulator");
	tap_ok(kvm_has_shstk() == with_cet && kvm_has_ibt() == (with_cet && !kvm_is_svm()), "KVM %s CET",
	       with_cet ? "offers" : "does not offer");
	if (with_cet && !kvm_has_ibt())
		tap_skip("KVM offers no IBT", "configurations with IBT");
	check_forced_emulation();
	check_insns();
	check_mmio();
	if (with_cet) {
		check_compat();
		check_lost_msrs();
	}
	check_tasks();
	if (facts && fclose(facts))
		tap_bail("facts");
	return tap_done();
}
