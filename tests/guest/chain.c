// SPDX-License-Identifier: GPL-2.0
#include <string.h>

#include "chain.h"

/* ---- the guest ---- */

uint64_t chain_action;
struct cet_image chain_image;

void gadget(void);
void corrupt_return(void);
void bad_jump(void);
void ring_entry(void);

/*
 * The gadget has no ENDBR64. The entry of rings 1 and 2 stops, with the null selector in SS that the interrupt left,
 * and goes back to ring 3.
 */
__asm__(".pushsection .text\n"
	".global gadget, corrupt_return, bad_jump, ring_entry\n"
	"corrupt_return:\n"
	"	lea	gadget(%rip), %rax\n"
	"	mov	%rax, (%rsp)\n"
	"	ret\n"
	"bad_jump:\n"
	"	lea	gadget(%rip), %rax\n"
	"	jmp	*%rax\n"
	"gadget:\n"
	"	mov	$66, %eax\n"
	"	out	%eax, $0xe9\n"
	"	ud2\n"
	"ring_entry:\n"
	"	endbr64\n"
	"	xor	%esi, %esi\n"
	"	rdsspq	%rsi\n"
	"	mov	$4, %eax\n"
	"	out	%eax, $0xe9\n"
	"	iretq\n"
	".popsection");

static inline __attribute__((always_inline)) void act(void)
{
	switch (chain_action) {
	case CORRUPT_RETURN:
		corrupt_return();
		break;
	case BAD_JUMP:
		bad_jump();
		break;
	case BREAKPOINT:
		asm volatile("int3");
		break;
	case UNDEFINED:
		asm volatile("ud2");
		break;
	case XSAVES:
		asm volatile("xsaves64 %0" : "+m"(chain_image) : "a"(XSS_CET_U | XSS_CET_S), "d"(0) : "memory");
		g_call(CALL_XSAVED, chain_image.xcomp_bv, 0, 0);
		break;
	case RING1:
		asm volatile("int $0x81" : : : "rax", "rsi", "memory");
		break;
	case RING2:
		asm volatile("int $0x82" : : : "rax", "rsi", "memory");
		break;
	default:
		break;
	}
}

typedef uint64_t level_fn(uint64_t value);
static level_fn * const levels[];

/* Each level is a separate function, so it has its own return address. It is called by an indirect branch. */
#define LEVEL(n)                                        \
	static GUEST uint64_t level##n(uint64_t value)  \
	{                                               \
		g_call(CALL_DOWN, n, g_rdssp(), value); \
		if (n == DEPTH)                         \
			act();                          \
		else                                    \
			value = levels[n + 1](value);   \
		g_call(CALL_UP, n, g_rdssp(), value);   \
		return value + 1;                       \
	}

LEVEL(0)
LEVEL(1)
LEVEL(2)
LEVEL(3)
LEVEL(4)
LEVEL(5)
LEVEL(6)
LEVEL(7)
LEVEL(8)

static level_fn * const levels[] = { level0, level1, level2, level3, level4, level5, level6, level7, level8 };

GUEST uint64_t chain_main_cpl0(uint64_t value)
{
	return levels[0](value);
}

GUEST uint64_t chain_main_cpl3(uint64_t value)
{
	return g_user(level0, value);
}

/* ---- the VMM ---- */

/* DPL 1 and 2; entered from CPL3 by int $0x81 and int $0x82. */
#define SEL_RING1 (GDT_FREE + 1)
#define SEL_RING2 (GDT_FREE + 8 + 2)
static void add_rings(struct machine *m)
{
	struct cpu *c = m->cpus[0];
	unsigned int ring;

	cpu_descriptor(c, SEL_RING1, DESC_CODE64 | DESC_DPL1);
	cpu_descriptor(c, SEL_RING2, DESC_CODE64 | DESC_DPL2);
	for (ring = 1; ring <= 2; ring++) {
		uint64_t shadow = machine_alloc(m, 1), stack = machine_alloc(m, 1) + PAGE;

		memcpy(machine_at(m, c->page + CPU_RSP(ring)), &stack, sizeof(stack));
		machine_gate_to(m, 0x80 + ring, ring == 1 ? SEL_RING1 : SEL_RING2, (uintptr_t)ring_entry, 3, 0);
		cpu_wrmsr(c, ring == 1 ? MSR_PL1_SSP : MSR_PL2_SSP, machine_shadow_stack(m, shadow, false, true));
	}
	machine_touch(m);
}

struct cpu *chain_start(struct machine **m, unsigned int cpl, enum action action)
{
	struct cpu *c;

	*m = machine_create(NULL);
	c = (*m)->cpus[0];
	cpu_cet(c, GUEST_ALL);
	cpu_wrmsr(c, MSR_XSS, XSS_CET_U | XSS_CET_S);
	add_rings(*m);
	cpu_start(c, cpl ? chain_main_cpl3 : chain_main_cpl0, START_VALUE);
	*in_guest(*m, &chain_action) = action;
	return c;
}

bool chain_is_at(struct cpu *c, unsigned int call, unsigned int level, uint64_t *base, unsigned int cpl)
{
	struct kvm_sregs sregs;

	cpu_run(c);
	cpu_get_sregs(c, &sregs);
	if (call == CALL_DOWN && level == 0)
		*base = c->stop.b;
	return cpu_called(c, call) && c->stop.a == level && *base && c->stop.b == *base - 8 * level &&
	       c->stop.b == cpu_ssp(c) && sregs.cs.dpl == cpl && (sregs.cr4 & CR4_CET);
}

bool chain_unwinds(struct cpu *c, unsigned int level, uint64_t base, unsigned int cpl)
{
	do {
		if (!chain_is_at(c, CALL_UP, level, &base, cpl))
			return false;
	} while (level--);
	cpu_run(c);
	return !strcmp(stop_text(c), "call 65536") && c->stop.a == START_VALUE + DEPTH + 1;
}

struct cpu *chain_start_deep(struct machine **m, unsigned int cpl, enum action action, uint64_t *base)
{
	struct cpu *c = chain_start(m, cpl, action);
	unsigned int level;

	for (level = 0; level <= DEPTH; level++)
		if (!chain_is_at(c, CALL_DOWN, level, base, cpl))
			tap_bail("the guest does not reach level %u: %s", level, stop_text(c));
	return c;
}

void chain_run(struct cpu *c)
{
	do {
		cpu_run(c);
	} while (cpu_called(c, CALL_UP));
}

const char * const action_names[] = {
	[RETURN] = "returns",
	[CORRUPT_RETURN] = "corrupts a return",
	[BAD_JUMP] = "jumps to no ENDBR64",
	[BREAKPOINT] = "int3",
	[UNDEFINED] = "UD2",
	[XSAVES] = "XSAVES",
	[RING1] = "enters ring 1",
	[RING2] = "enters ring 2",
};
