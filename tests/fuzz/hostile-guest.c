// SPDX-License-Identifier: GPL-2.0
/* Hostile guests: what runs in them, at any CPL, as L1 or L2, and what happens to them meanwhile. */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "hostile.h"
#include "l1.h"

#define CALL_DONE 1

/* ---- The guest ---- */

/* Linear addresses that the VMM maps: to no memory at all, as a shadow stack; and to nothing. */
#define NO_MEMORY     0x700000ull
#define NO_MEMORY_GPA 0xd0000000ull
#define NOT_MAPPED    0x710000ull
#define NO_ADDRESS    0x8000000000000000ull

static inline __attribute__((always_inline)) uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Components 11 and 12 are behind the header, at various places: with bits set in it that they do not have. */
static struct {
	uint8_t legacy[512];
	uint64_t xstate_bv, xcomp_bv, reserved[6];
	uint64_t words[64];
} __attribute__((aligned(64))) image;

static const uint32_t guest_msrs[] = {
	MSR_U_CET,   MSR_S_CET,	      MSR_PL0_SSP, MSR_PL1_SSP, MSR_PL2_SSP,
	MSR_PL3_SSP, MSR_INT_SSP_TAB, MSR_XSS,	   0x6a1,	0x6a3,
};

#define SHADOW(page, offset) (cpu + ((page) + 1) * PAGE - 40 - (offset))

static inline __attribute__((always_inline)) uint64_t any_address(uint64_t *s, uint64_t cpu)
{
	const uint64_t r = next(s), low = r >> 32 & 0x7c;

	if (r % 8 == 0)
		return NO_MEMORY + low;
	if (r % 8 == 1)
		return NOT_MAPPED + low;
	if (r % 8 == 2)
		return NO_ADDRESS | low;
	if (r % 8 == 3)
		return SHADOW(CPU_SS_IST1_PAGE, low);
	if (r % 8 == 4)
		return SHADOW(CPU_SS_PAGE, 0x100 + low);
	if (r % 8 == 5)
		return SHADOW(CPU_SS_USER_PAGE, low);
	if (r % 8 == 6)
		return (uint64_t)&image + low;
	return r;
}

/* One bit of a value that may be valid. */
static inline __attribute__((always_inline)) uint64_t odd_value(uint64_t *s, uint64_t cpu, uint32_t msr)
{
	const uint64_t r = next(s), bit = 1ull << (r >> 40 & 63);

	if (msr == MSR_XSS)
		return (r & 3) << 11 | (r & 4 ? bit : 0);
	if (msr == MSR_U_CET || msr == MSR_S_CET)
		return (r & 8 ? CET_WRSS : 0) | (r & 3 ? bit : 0);
	return r & 3 ? SHADOW(CPU_SS_PL0_PAGE, 0) ^ bit : SHADOW(CPU_SS_PL0_PAGE, r >> 8 & 0xf8);
}

static GUEST uint64_t push(uint64_t n)
{
	return n ? push(n - 1) + 1 : 0;
}

static GUEST uint64_t push_at_cpl3(uint64_t n)
{
	return push(n & 7);
}

static inline __attribute__((always_inline)) void write_msr(uint64_t *s, uint64_t cpu)
{
	const uint64_t r = next(s);
	const uint32_t msr = guest_msrs[r % ARRAY_SIZE(guest_msrs)];
	uint64_t before = 0, value = odd_value(s, cpu, msr);

	g_rdmsr_safe(msr, &before);
	g_wrmsr_safe(msr, value);
	/* Or the next call would be the last thing that it does. */
	if (msr == MSR_S_CET)
		g_wrmsr_safe(msr, before);
}

static inline __attribute__((always_inline)) void forced_write_msr(uint64_t *s, uint64_t cpu)
{
	const uint32_t msr = guest_msrs[next(s) % (ARRAY_SIZE(guest_msrs) - 2)];
	uint64_t value = odd_value(s, cpu, msr);

	G_TRY_VARS(fault, error);
	/* Natively, such a U_CET makes the host's kernel complain. */
	if (msr == MSR_S_CET || (native && msr == MSR_U_CET))
		return;
	asm volatile(G_TRY(G_FORCED "wrmsr")
		     : G_TRY_OUT(fault, error)
		     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
		     : "memory");
}

static inline __attribute__((always_inline)) void restore_image(uint64_t *s, uint64_t cpu)
{
	const uint64_t r = next(s), mask = r & 0x10 ? 0x1800 : (uint32_t)(r >> 32);
	unsigned int i;

	G_TRY_VARS(fault, error);
	g_wrmsr_safe(MSR_XSS, (r & 3) << 11);
	image.xstate_bv = (r >> 2 & 3) << 11;
	image.xcomp_bv = 1ull << 63 | (r & 3) << 11;
	for (i = 0; i < 6; i++)
		image.reserved[i] = 0;
	if (r & 0x20)
		image.xstate_bv ^= 1ull << (r >> 8 & 63);
	if (r & 0x40)
		image.xcomp_bv ^= 1ull << (r >> 16 & 63);
	if (r >> 7 & 1 && r >> 8 & 1)
		image.reserved[r % 6] = 1ull << (r >> 24 & 63);
	for (i = 0; i < 8; i++)
		image.words[i] = odd_value(s, cpu, i ? MSR_PL0_SSP : MSR_U_CET);
	asm volatile(G_TRY("xrstors64 (%2)")
		     : G_TRY_OUT(fault, error)
		     : "r"(&image), "a"((uint32_t)mask), "d"(0)
		     : "memory");
}

static inline __attribute__((always_inline)) void save_image(uint64_t *s)
{
	G_TRY_VARS(fault, error);
	asm volatile(G_TRY("xsaves64 (%2)")
		     : G_TRY_OUT(fault, error)
		     : "r"(&image), "a"((uint32_t)next(s) & 0x1807), "d"(0)
		     : "memory");
}

#define ON_STACK(insn, address, value)                                                                     \
	do {                                                                                               \
		G_TRY_VARS(fault, error);                                                                  \
		asm volatile(G_TRY(insn) : G_TRY_OUT(fault, error) : "b"(address), "a"(value) : "memory"); \
	} while (0)

static inline __attribute__((always_inline)) void shadow_stack_instruction(uint64_t *s, uint64_t cpu)
{
	const uint64_t what = next(s) % 8, address = any_address(s, cpu), value = next(s);

	if (what == 0)
		ON_STACK("rstorssp (%%rbx)", address, value);
	else if (what == 1)
		ON_STACK("wrssq %%rax, (%%rbx)", address, value);
	else if (what == 2)
		ON_STACK("wrussq %%rax, (%%rbx)", address, value);
	else if (what == 3)
		ON_STACK("clrssbsy (%%rbx)", address, value);
	else if (what == 4)
		ON_STACK("setssbsy", address, value);
	else if (what == 5)
		ON_STACK("saveprevssp", address, value);
	else if (what == 6)
		ON_STACK("wrssd %%eax, (%%rbx)", address | 2, value);
	else
		ON_STACK("mov %%rax, (%%rbx)", address, value);
}

static inline __attribute__((always_inline)) void control_registers(uint64_t *s)
{
	const uint64_t r = next(s);
	uint64_t efer = 0;

	if (r % 4 == 0) {
		g_set_cr4(g_cr4() ^ CR4_CET);
	} else if (r % 4 == 1) {
		/* Both orders: one of the two is refused. */
		g_set_cr0(g_cr0() ^ CR0_WP);
		g_set_cr4(g_cr4() ^ CR4_CET);
		g_set_cr0(g_cr0() | CR0_WP);
	} else if (r % 4 == 2) {
		if (!g_rdmsr_safe(MSR_EFER, &efer))
			g_wrmsr_safe(MSR_EFER, efer ^ (r & 0x10 ? EFER_SCE : EFER_NXE));
	} else {
		g_set_cr4(g_cr4() ^ (1ull << (r >> 8 & 31) & ~(uint64_t)(CR4_PAE | CR4_VMXE)));
		g_set_cr4(g_cr4() | CR4_CET);
	}
}

static inline __attribute__((always_inline)) void vm_exit(uint64_t *s)
{
	const uint64_t r = next(s);
	uint64_t value;

	if (r % 3)
		asm volatile("cpuid" : : "a"(r & 0x10 ? 7 : 0xd), "c"(1) : "rbx", "rdx", "memory");
	else
		g_rdmsr_safe(guest_msrs[r >> 8 & 7], &value);
}

/* CPL0, in one function that does not return: what it does may take its shadow stack away. */
GUEST void assault(uint64_t seed, uint64_t n, uint64_t cpu)
{
	uint64_t s = seed | 1, i;

	for (i = 0; i < n; i++) {
		const uint64_t what = next(&s) % 16;

		if (what < 4)
			write_msr(&s, cpu);
		else if (what < 5)
			forced_write_msr(&s, cpu);
		else if (what < 7)
			restore_image(&s, cpu);
		else if (what < 8)
			save_image(&s);
		else if (what < 10)
			shadow_stack_instruction(&s, cpu);
		else if (what < 12)
			control_registers(&s);
		else if (what < 13)
			push(next(&s) % 16);
		else if (what < 14)
			g_user(push_at_cpl3, next(&s));
		else
			vm_exit(&s);
	}
	for (;;)
		g_call(CALL_DONE, i, 0, 0);
}

/* ---- The VMM ---- */

/* Those of alignment, of flags, of addresses, or any. */
static unsigned int odd_bit(void)
{
	switch (random_below(4)) {
	case 0:
		return random_below(4);
	case 1:
		return 4 + random_below(12);
	case 2:
		return 44 + random_below(20);
	default:
		return random_below(64);
	}
}

uint64_t almost_valid(struct fuzz *f, const struct cpu *c, uint32_t msr)
{
	const bool odd = random_below(4);
	uint64_t value = 0;

	switch (msr) {
	case MSR_U_CET:
	case MSR_S_CET:
		value = random_below(2) * (CET_SHSTK | CET_WRSS) | random_below(2) * CET_ENDBR;
		break;
	case MSR_XSS:
		value = (uint64_t)random_below(4) << 11;
		break;
	case MSR_INT_SSP_TAB:
		value = c->page + CPU_SSP_TABLE;
		break;
	case MSR_PL3_SSP:
		value = cpu_shadow_stack(c, CPU_SS_USER_PAGE);
		break;
	default:
		value = random_below(2) ? cpu_shadow_stack(c, CPU_SS_PAGE) : fuzz_value(f, c) & ~7ull;
	}
	if (!odd)
		return value;
	/* SSP is a multiple of 4. */
	return value ^
	       1ull << (msr >= MSR_PL0_SSP && msr <= MSR_PL3_SSP && random_below(2) ? random_below(3) : odd_bit());
}

static void map_bad_pages(struct machine *m)
{
	machine_map(m, NO_MEMORY, NO_MEMORY_GPA, PTE_SHADOW);
}

/* Keeps the current stack and shadow stack; @function is one of those above. */
static bool divert(struct cpu *c, uint64_t n)
{
	struct kvm_regs regs;

	if (ioctl(c->io.vcpu, KVM_GET_REGS, &regs))
		return false;
	regs.rip = (uintptr_t)assault;
	regs.rsp = (cpu_stack(c, CPU_STACK_PAGE, 2) & ~15ull) - 1024 - 8;
	regs.rdi = random_next();
	regs.rsi = n;
	regs.rdx = c->page;
	regs.rflags = RFLAGS_FIXED | RFLAGS_IF;
	return !ioctl(c->io.vcpu, KVM_SET_REGS, &regs);
}

static void start(struct cpu *c, uint64_t n)
{
	struct kvm_sregs sregs;
	uint64_t cet;

	cpu_usual_sregs(c, 0, &sregs);
	if (ioctl(c->io.vcpu, KVM_SET_SREGS, &sregs) || !divert(c, n))
		return;
	if (msrs_get(&c->io, MSR_S_CET, &cet) && cet & CET_SHSTK)
		set_reg(&c->io, ID_GUEST_SSP, cpu_shadow_stack(c, CPU_SS_PAGE) - 64);
}

void start_endless(struct cpu *c)
{
	start(c, ~0ull);
}

/* KVM_RUN, and what a VMM does at a stop. False if the guest cannot continue, or need not. */
static bool guest_goes_on(struct cpu *c)
{
	time_limit_once(3000);
	cpu_run(c);
	time_limit_once(0);
	if (c->io.run->flags & KVM_RUN_X86_SMM)
		COUNT(shared->in_smm);
	switch (c->stop.kind) {
	case STOP_CALL:
		return c->stop.number != CALL_DONE;
	case STOP_EXCEPTION:
		return c->stop.frame->vector == VECTOR_NMI;
	case STOP_SIGNAL:
		return random_below(2);
	case STOP_FAIL_ENTRY:
		shared->entry_refused |= !ssp_is_too_high(c);
		return false;
	default:
		return false;
	}
}

bool l1_obeys(struct cpu *c)
{
	unsigned int i;

	for (i = 0; i < 8 && guest_goes_on(c); i++)
		if (cpu_called(c, CALL_IDLE))
			return true;
	return false;
}

/* Brings L1 back to waiting for an order, wherever it is, unless L2 is active. */
static bool l1_revive(struct fuzz *f, struct cpu *c)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct l1_request *r = l1_request();

	if (l1_in_l2(c))
		return false;
	r->kind = 0; /* RDMSR */
	r->a = MSR_FS_BASE;
	if (l1_obeys(c))
		return true;
	ioctl(c->io.vcpu, KVM_SET_MP_STATE, &runnable);
	l1_restart(f, c);
	return l1_obeys(c);
}

#define STOPS_MAX 30

/* A vCPU that is not L1 starts anew. L2, and likewise L1, continues in its state, with other code. */
static void step_assault(struct fuzz *f, struct cpu *c)
{
	const bool l1 = f->nested && c == f->cpus[0];
	unsigned int i;

	if (l1 && l1_in_l2(c))
		COUNT(shared->in_l2);
	map_bad_pages(c->machine);
	if (l1) {
		if (!divert(c, ASSAULTS))
			return;
	} else {
		step_cet(f, c);
		start(c, ASSAULTS);
	}
	for (i = 0; i < STOPS_MAX && guest_goes_on(c); i++)
		;
}

/*
 * KVM has no INIT and SMI for a vCPU that runs but those of its APIC. NMI, SMI, INIT, SIPI; the count is of those that
 * were sent.
 */
void send_message(const struct cpu *c, unsigned int kind)
{
	static const uint8_t modes[MESSAGES] = { 4, 2, 5, 6 };
	struct kvm_msi msi = {
		.address_lo = 0xfee00000 | c->number << 12,
		.data = modes[kind] << 8 | (kind == 3 ? FUZZ_SMBASE(0) >> 12 & 0xff : 0),
	};

	if (ioctl(c->machine->fd, KVM_SIGNAL_MSI, &msi) <= 0)
		return;
	if (kind == 0)
		COUNT(shared->nmis);
	else if (kind == 1)
		COUNT(shared->smis);
	else if (kind == 2)
		COUNT(shared->inits);
}

/* Several at once, before the next KVM_RUN. INIT is rare, as it resets the guest's state. */
static void step_messages(struct fuzz *f, struct cpu *c)
{
	unsigned int n = 1 + random_below(4);

	if (!f->irqchip || vm_of(f, c))
		return;
	while (n--)
		send_message(c, random_one_in(6) ? 2 + random_below(2) : random_below(2));
	step_continue(f, c);
}

/* Removes a page that the next push, IRET or table walk needs; it comes back later with its contents. */
static void step_page(struct fuzz *f, struct cpu *c)
{
	const uint64_t page = random_below(4) ? c->page + random_below(CPU_PAGES) * PAGE : f->data;
	void *at = machine_at(c->machine, page);

	if (mprotect(at, PAGE, random_below(2) ? PROT_READ : PROT_NONE))
		return;
	step_continue(f, c);
	mprotect(at, PAGE, PROT_READ | PROT_WRITE);
}

/* After an INIT, L1 is in real mode, and its VMX operation has ended. */
static void step_revive(struct fuzz *f, struct cpu *c)
{
	if (f->nested && c == f->cpus[0])
		l1_revive(f, c);
	step_l1(f, c);
}

static void step_bad_entry(struct fuzz *f, struct cpu *c)
{
	if (!f->nested || c != f->cpus[0] || !l1_revive(f, c))
		step_l1(f, c);
	else
		bad_entry(f, c);
}

static const struct fuzz_step steps[] = {
	{ step_assault, "assault", 8 }, { step_bad_entry, "bad entry", 20 }, { step_l1, "l1", 8 },
	{ step_run, "run", 3 },		{ step_messages, "messages", 5 },    { step_page, "page", 3 },
	{ step_revive, "revive", 2 },
};

const struct fuzz_step *guest_random_step(void)
{
	return fuzz_step_of(steps, ARRAY_SIZE(steps));
}
