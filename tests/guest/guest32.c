// SPDX-License-Identifier: GPL-2.0
/*
 * guest32: a guest in 32-bit protected mode, on shadow stacks and with IBT, at CPL0 and CPL3: migrated at each level of
 * a call chain. Returns pop 4 bytes, SSP stays below 4 GiB, and both faults come.
 */
#include <stdlib.h>
#include <string.h>

#include "smram.h"
#include "snap.h"

/* ---- the guest ---- */

#define CALL_DOWN   1 /* a = level, b = SSP */
#define CALL_UP	    2
#define CALL_DONE   3
#define CALL_FAULT  100 /* + vector; a = error code, b = SSP */
#define CALL_GADGET 66

#define DEPTH 4

enum action { RETURN, CORRUPT_RETURN, BAD_JUMP, JUMP_ENDBR64 };

uint32_t action32;

void start32(void);
void cp32(void);
void pf32(void);
void gp32(void);

/*
 * Level N stops, calls level N + 1 by an indirect branch, stops, and returns. The handlers report as calls do: they run
 * on the stack and shadow stack that they interrupted, if that was at CPL0.
 */
__asm__(".pushsection .text\n"
	".code32\n"
	".global start32, cp32, pf32, gp32, level32_0\n"
	"start32:\n"
	"	endbr32\n"
	"	mov	$level32_0, %eax\n"
	"	call	*%eax\n"
	"	mov	$3, %eax\n"
	"	out	%eax, $0xe9\n"
	"	ud2\n"
	".altmacro\n"
	".macro	level n, next\n"
	"level32_\\n:\n"
	"	endbr32\n"
	"	mov	$\\n, %edi\n"
	"	xor	%esi, %esi\n"
	"	rdsspd	%esi\n"
	"	mov	$1, %eax\n"
	"	out	%eax, $0xe9\n"
	"	mov	$level32_\\next, %eax\n"
	"	call	*%eax\n"
	"	mov	$\\n, %edi\n"
	"	xor	%esi, %esi\n"
	"	rdsspd	%esi\n"
	"	mov	$2, %eax\n"
	"	out	%eax, $0xe9\n"
	"	ret\n"
	".endm\n"
	".set	n, 0\n"
	".rept	4\n"
	"level	%n, %(n + 1)\n"
	".set	n, n + 1\n"
	".endr\n"
	".noaltmacro\n"
	"level32_4:\n"
	"	endbr32\n"
	"	mov	$4, %edi\n"
	"	xor	%esi, %esi\n"
	"	rdsspd	%esi\n"
	"	mov	$1, %eax\n"
	"	out	%eax, $0xe9\n"
	"	mov	action32, %eax\n"
	"	cmp	$1, %eax\n"
	"	je	1f\n"
	"	cmp	$2, %eax\n"
	"	je	2f\n"
	"	cmp	$3, %eax\n"
	"	je	3f\n"
	"	ret\n"
	"1:	movl	$gadget32, (%esp)\n"
	"	ret\n"
	"2:	mov	$gadget32, %eax\n"
	"	jmp	*%eax\n"
	"3:	mov	$wide32, %eax\n"
	"	jmp	*%eax\n"
	"wide32:\n"
	"	endbr64\n"
	"gadget32:\n"
	"	mov	$66, %eax\n"
	"	out	%eax, $0xe9\n"
	"	ud2\n"
	".irp	vector, 13, 14, 21\n"
	"handler32_\\vector:\n"
	"	endbr32\n"
	"	pop	%edi\n"
	"	xor	%esi, %esi\n"
	"	rdsspd	%esi\n"
	"	mov	$100 + \\vector, %eax\n"
	"	out	%eax, $0xe9\n"
	"	iret\n"
	".endr\n"
	".set	gp32, handler32_13\n"
	".set	pf32, handler32_14\n"
	".set	cp32, handler32_21\n"
	".code64\n"
	".popsection");

/* ---- the VMM ---- */

#define TSS32_ESP0 4
#define TSS32_SS0  8

/* PAE has no write and user bits in its first level, so that gets a page of its own. */
static uint64_t make_pdpt(struct machine *m)
{
	uint64_t pdpt = machine_alloc(m, 1), pml4e, pdpte;

	memcpy(&pml4e, machine_at(m, m->cr3), 8);
	memcpy(&pdpte, machine_at(m, pml4e & ~(PAGE - 1)), 8);
	pdpte = (pdpte & ~(PAGE - 1)) | PTE_P;
	memcpy(machine_at(m, pdpt), &pdpte, 8);
	return pdpt;
}

static void gate32(struct machine *m, uint64_t idt, unsigned int vector, void (*handler)(void))
{
	uint64_t at = (uintptr_t)handler;
	uint64_t gate = (at & 0xffff) | SEL_CODE32 << 16 | 0x8e00ull << 32 | (at >> 16) << 48;

	memcpy(machine_at(m, idt + 8 * vector), &gate, sizeof(gate));
}

static void hide_long_mode(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	(void)cpu;
	find_cpuid(cpuid, 0x80000001, 0)->edx &= ~(1u << 29);
}

/* Like cpu_cet(), but without INT_SSP_TAB, which exists in long mode only. */
static void cet32(struct cpu *c, unsigned int cpl)
{
	const uint64_t control = cet_control(CET_SHSTK | CET_WRSS | CET_ENDBR);

	cpu_wrmsr(c, MSR_S_CET, control);
	cpu_wrmsr(c, MSR_U_CET, control);
	cpu_wrmsr(c, MSR_PL0_SSP, cpu_shadow_stack(c, CPU_SS_PL0_PAGE));
	cpu_set_ssp(c, cpu_shadow_stack(c, cpl ? CPU_SS_USER_PAGE : CPU_SS_PAGE));
}

static struct cpu *start_with(struct machine **machine, unsigned int cpl, enum action action,
			      const struct machine_config *config)
{
	struct machine *m = machine_create(config);
	struct cpu *c = m->cpus[0];
	uint64_t idt = machine_alloc(m, 1);
	uint32_t esp0 = cpu_stack(c, CPU_RSP0_PAGE, 1), ss0 = SEL_DATA;
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = (uintptr_t)start32,
		.rsp = cpl ? cpu_stack(c, CPU_USER_PAGE, 2) : cpu_stack(c, CPU_STACK_PAGE, 2),
		.rflags = RFLAGS_FIXED | RFLAGS_IF | (cpl ? RFLAGS_IOPL3 : 0),
	};

	*machine = m;
	gate32(m, idt, VECTOR_GP, gp32);
	gate32(m, idt, VECTOR_PF, pf32);
	gate32(m, idt, VECTOR_CP, cp32);
	memcpy(machine_at(m, c->page + CPU_TSS + TSS32_ESP0), &esp0, sizeof(esp0));
	memcpy(machine_at(m, c->page + CPU_TSS + TSS32_SS0), &ss0, sizeof(ss0));

	cpu_usual_sregs(c, cpl, &sregs);
	sregs.efer = 0;
	sregs.cr3 = make_pdpt(m);
	sregs.cr4 |= CR4_CET;
	sregs.idt.base = idt;
	sregs.idt.limit = 8 * 32 - 1;
	sregs.cs.selector = cpl ? SEL_USER32 : SEL_CODE32;
	sregs.cs.l = 0;
	sregs.cs.db = 1;
	cpu_set_sregs(c, &sregs);
	cpu_set_regs(c, &regs);
	cet32(c, cpl);
	*in_guest(m, &action32) = action;
	return c;
}

static struct cpu *start(struct machine **m, unsigned int cpl, enum action action)
{
	return start_with(m, cpl, action, NULL);
}

static bool is_at(struct cpu *c, unsigned int call, unsigned int level, uint64_t *base, unsigned int cpl)
{
	struct kvm_sregs sregs;

	cpu_run(c);
	cpu_get_sregs(c, &sregs);
	if (call == CALL_DOWN && level == 0)
		*base = c->stop.b;
	return cpu_called(c, call) && c->stop.a == level && *base && c->stop.b == *base - 4 * level &&
	       cpu_ssp(c) == c->stop.b && !(cpu_ssp(c) >> 32) && sregs.cs.dpl == cpl && !sregs.cs.l && sregs.cs.db &&
	       !(sregs.efer & EFER_LMA) && sregs.cr4 & CR4_CET;
}

static void migrate_everywhere(unsigned int cpl)
{
	uint64_t base = 0;
	struct machine *m;
	struct cpu *c = start(&m, cpl, RETURN);
	int level;

	for (level = 0; level <= DEPTH; level++) {
		tap_ok(is_at(c, CALL_DOWN, level, &base, cpl), "32 bits, CPL%u: migrated at each level: calls level %d",
		       cpl, level);
		c = migrate(&m);
	}
	for (level = DEPTH - 1; level >= 0; level--) {
		tap_ok(is_at(c, CALL_UP, level, &base, cpl),
		       "32 bits, CPL%u: migrated at each level: back in level %d, SSP 4 higher", cpl, level);
		c = migrate(&m);
	}
	check_stop(c, "call 3", "32 bits, CPL%u: migrated at each level: returns", cpl);
	machine_destroy(m);
}

static struct snapshot *take_deep(unsigned int cpl, enum action action)
{
	uint64_t base = 0;
	struct machine *m;
	struct cpu *c = start(&m, cpl, action);
	struct snapshot *s;
	unsigned int level;

	for (level = 0; level <= DEPTH; level++)
		if (!is_at(c, CALL_DOWN, level, &base, cpl))
			tap_bail("the guest does not reach level %u: %s", level, stop_text(c));
	s = snapshot_take(c);
	machine_destroy(m);
	return s;
}

enum change { NOTHING, SSP_PLUS_4, SSP_0, NO_CONTROL, NO_SHSTK, NO_ENDBR };

static const char * const changes[] = {
	[NOTHING] = "as it was",
	[SSP_PLUS_4] = "falsified: SSP + 4",
	[SSP_0] = "falsified: SSP 0",
	[NO_CONTROL] = "falsified: no S_CET or U_CET",
	[NO_SHSTK] = "falsified: no SH_STK_EN",
	[NO_ENDBR] = "falsified: no ENDBR_EN",
};

static const char * const actions[] = {
	[RETURN] = "returns",
	[CORRUPT_RETURN] = "corrupts a return",
	[BAD_JUMP] = "jumps to no ENDBR32",
	[JUMP_ENDBR64] = "jumps to ENDBR64",
};

#define FAULT_CP "call 121"
#define FAULT_PF "call 114"

static void falsify(struct snapshot *s, enum change what, uint32_t control)
{
	switch (what) {
	case NOTHING:
		break;
	case SSP_PLUS_4:
		*snapshot_ssp(s) += 4;
		break;
	case SSP_0:
		*snapshot_ssp(s) = 0;
		break;
	case NO_CONTROL:
		snapshot_drop_msr(s, control);
		break;
	case NO_SHSTK:
		*snapshot_msr(s, control) &= ~(uint64_t)(CET_SHSTK | CET_WRSS);
		break;
	case NO_ENDBR:
		*snapshot_msr(s, control) &= ~(uint64_t)CET_ENDBR;
		break;
	}
}

static void registers_are_necessary(unsigned int cpl)
{
	static const struct {
		enum action action;
		enum change change;
		const char *want[2]; /* at CPL0, CPL3 */
		uint64_t error[2];
	} tests[] = {
		{ CORRUPT_RETURN, NOTHING, { FAULT_CP, FAULT_CP }, { CP_RET, CP_RET } },
		{ BAD_JUMP, NOTHING, { FAULT_CP, FAULT_CP }, { CP_ENDBRANCH, CP_ENDBRANCH } },
		{ JUMP_ENDBR64, NOTHING, { FAULT_CP, FAULT_CP }, { CP_ENDBRANCH, CP_ENDBRANCH } },
		{ RETURN, SSP_PLUS_4, { FAULT_CP, FAULT_CP }, { CP_RET, CP_RET } },
		/* The handler at CPL0 would use the same shadow stack. */
		{ RETURN, SSP_0, { "shutdown", FAULT_PF }, { 0, PF_SHADOW_STACK | 4 } },
		{ CORRUPT_RETURN, NO_CONTROL, { "call 66", "call 66" }, { 0 } },
		{ BAD_JUMP, NO_CONTROL, { "call 66", "call 66" }, { 0 } },
		{ CORRUPT_RETURN, NO_SHSTK, { "call 66", "call 66" }, { 0 } },
		{ BAD_JUMP, NO_ENDBR, { "call 66", "call 66" }, { 0 } },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		const char *want = tests[i].want[!!cpl];
		uint64_t error = tests[i].error[!!cpl];
		struct snapshot *s;
		struct machine *m;
		struct cpu *c;

		if (!kvm_has_ibt() && (tests[i].action == BAD_JUMP || tests[i].action == JUMP_ENDBR64)) {
			if (tests[i].change != NOTHING) {
				tap_skip("KVM offers no IBT", "32 bits, CPL%u, %s; %s", cpl, changes[tests[i].change],
					 actions[tests[i].action]);
				continue;
			}
			want = stop_by_ibt(want);
			error = 0;
		}
		s = take_deep(cpl, tests[i].action);
		falsify(s, tests[i].change, cpl ? MSR_U_CET : MSR_S_CET);
		m = snapshot_restore(s, 0);
		c = m->cpus[0];
		if (check_stop(c, want, "32 bits, CPL%u, %s; %s: %s", cpl, changes[tests[i].change],
			       actions[tests[i].action], want) &&
		    error)
			tap_ok(c->stop.a == error, "32 bits: with error code 0x%x", (unsigned int)error);
		machine_destroy(m);
		free(s);
	}
}

/* Without long mode SMRAM has the 32-bit layout, and no SSP: SMI and RSM leave it where it is. */
static void no_long_mode(unsigned int cpl)
{
	const struct machine_config config = { .cpuid = hide_long_mode };
	uint64_t base = 0;
	struct kvm_sregs sregs;
	struct machine *m;
	struct cpu *c = start_with(&m, cpl, RETURN, &config);
	int level;
	bool ok;

	tap_ok(!msrs_set(&c->io, MSR_INT_SSP_TAB, PAGE), "no long mode: KVM_SET_MSRS refuses INT_SSP_TAB");
	tap_ok(msrs_set(&c->io, MSR_INT_SSP_TAB, 0), "no long mode: ... but for 0, as for any MSR of the list");
	for (ok = true, level = 0; ok && level <= DEPTH; level++)
		ok = is_at(c, CALL_DOWN, level, &base, cpl);
	tap_ok(ok, "no long mode, CPL%u: goes down", cpl);
	smram_create(c);
	smram_smi(c);
	cpu_get_sregs(c, &sregs);
	tap_ok(!(sregs.cr4 & CR4_CET) && cpu_ssp(c) == base - 4 * DEPTH, "no long mode, CPL%u: in SMM, SSP stays", cpl);
	tap_ok(!smram_get(SMRAM_SSP), "no long mode, CPL%u: SMRAM has no SSP", cpl);
	/* Reserved there. */
	smram_put(SMRAM_SSP, 1);
	for (level = DEPTH - 1; ok && level >= 0; level--)
		ok = is_at(c, CALL_UP, level, &base, cpl);
	tap_ok(ok, "no long mode, CPL%u: RSM; unwinds", cpl);
	machine_destroy(m);
}

int main(void)
{
	unsigned int cpl;

	vmm_open("guest32");
	for (cpl = 0; cpl <= 3; cpl += 3) {
		migrate_everywhere(cpl);
		registers_are_necessary(cpl);
		no_long_mode(cpl);
	}
	return tap_done();
}
