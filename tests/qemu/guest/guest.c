// SPDX-License-Identifier: GPL-2.0
/*
 * A guest without an operating system that lives on shadow stacks and IBT, at CPL 3 and at CPL 0
 *
 * It calls itself some levels deep, waits there to be migrated, and goes all the way back. On the way back each level
 * compares its shadow stack pointer with what it was, and the return address that lies there with its own. Before
 * and after each migration it tries what CET forbids: each attempt must give the #CP that belongs to it.
 *
 * Faults have a stack and a shadow stack of their own (IST), so that a lost shadow stack pointer is reported too.
 */
#include <stddef.h>

#include "io.h"
#include "layout.h"

#define CODE		0x08
#define TASK		0x28

#define VECTOR_DF	8
#define VECTOR_GP	13
#define VECTOR_PF	14
#define VECTOR_CP	21
#define VECTOR_SYSCALL	0x80

#define CP_RETURN	1
#define CP_ENDBRANCH	3

#define MSR_U_CET	0x6a0
#define MSR_S_CET	0x6a2
#define MSR_PL0_SSP	0x6a4
#define MSR_PL1_SSP	0x6a5
#define MSR_PL2_SSP	0x6a6
#define MSR_PL3_SSP	0x6a7
#define MSR_INT_SSP_TAB	0x6a8
#define MSR_XSS		0xda0

#define CET_SHSTK	(1UL << 0)
#define CET_ENDBR	(1UL << 2)
#define CET_WAIT_ENDBR	(1UL << 11)
#define CR4_CET		(1UL << 23)
#define XSS_CET		0x1800UL

#define PAGE_SIZE	0x1000
#define PAGE_PRESENT	(1UL << 0)
#define PAGE_WRITABLE	(1UL << 1)
#define PAGE_USER	(1UL << 2)

#define USER_DEPTH	8
#define KERNEL_DEPTH	6
#define CHURN		300

enum { SYS_REMEMBER, SYS_COMPARE, SYS_DEEP, SYS_STOP };

struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, zero;
};

struct __attribute__((packed)) table {
	uint16_t limit;
	uint64_t base;
};

struct __attribute__((packed)) tss {
	uint32_t zero;
	uint64_t rsp[3], zero2, ist[7], zero3;
	uint16_t zero4, iomap;
};

/* entry.S */
extern const uint64_t vectors[33];
extern char forged_return_at[], stray_jump_at[];
void __attribute__((noreturn)) enter_user(void (*rip)(void), void *rsp);
void forged_return(void);
void stray_jump(void);

char boot_stack[STACK], syscall_stack[STACK], fault_stack[STACK], user_stack[STACK];
uint64_t right_return;
volatile uint32_t escapes, landings;

static struct gate idt[VECTOR_SYSCALL + 1];
static struct tss tss;
static uint64_t gdt[] = {
	0,
	0x00af9b000000ffff,	/* CODE */
	0x00cf93000000ffff,
	0x00cff3000000ffff,	/* of user mode, as enter_user() has it */
	0x00affb000000ffff,
	0, 0,			/* TASK */
};

static uint64_t ist_ssp[8];
static volatile uint32_t caught_returns, caught_jumps, right_levels;

static const struct {
	uint32_t index;
	const char *name;
} msrs[] = {
	{ MSR_U_CET, "U_CET" }, { MSR_S_CET, "S_CET" }, { MSR_PL0_SSP, "PL0_SSP" }, { MSR_PL1_SSP, "PL1_SSP" },
	{ MSR_PL2_SSP, "PL2_SSP" }, { MSR_PL3_SSP, "PL3_SSP" }, { MSR_INT_SSP_TAB, "INT_SSP_TAB" }, { MSR_XSS, "XSS" },
};

#define MSRS (sizeof(msrs) / sizeof(msrs[0]))

static uint64_t remembered[MSRS];

static inline uint64_t rdmsr(uint32_t index)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a" (low), "=d" (high) : "c" (index));
	return low | (uint64_t)high << 32;
}

static inline void wrmsr(uint32_t index, uint64_t value)
{
	asm volatile("wrmsr" : : "c" (index), "a" ((uint32_t)value), "d" ((uint32_t)(value >> 32)) : "memory");
}

static inline void out8(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a" (value), "Nd" (port));
}

struct cpuid {
	uint32_t a, b, c, d;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	asm volatile("cpuid" : "=a" (r.a), "=b" (r.b), "=c" (r.c), "=d" (r.d) : "a" (leaf), "c" (subleaf));
	return r;
}

static inline uint64_t *ssp_now(void)
{
	uint64_t *ssp = NULL;

	asm volatile("rdsspq %0" : "+r" (ssp));
	return ssp;
}

static inline void syscall(long number)
{
	asm volatile("int $0x80" : : "D" (number) : "memory");
}

static void say_where(const char *place, uint32_t depth)
{
	struct line line = { .size = 0 };

	add_text(&line, "say ");
	add_text(&line, place);
	add_text(&line, ": ");
	add_number(&line, depth);
	add_text(&line, " calls deep, shadow stack pointer ");
	add_hex(&line, (uintptr_t)ssp_now());
	send_line(&line);
}

static void __attribute__((noreturn)) stop(void)
{
	tell("end", "");
	for (;;)
		asm volatile("cli; hlt");
}

static void __attribute__((noreturn)) unexpected(const struct frame *f)
{
	struct line line = { .size = 0 };
	uint64_t cr2;

	add_text(&line, "not ok exception ");
	add_number(&line, f->vector);
	add_text(&line, ", error ");
	add_hex(&line, f->error);
	add_text(&line, ", CPL ");
	add_number(&line, f->cs & 3);
	add_text(&line, ", at ");
	add_hex(&line, f->rip);
	if (f->vector == VECTOR_PF) {
		asm volatile("movq %%cr2, %0" : "=r" (cr2));
		add_text(&line, ", address ");
		add_hex(&line, cr2);
	}
	send_line(&line);
	stop();
}

static void check_at(const char *place, int good, const char *text)
{
	struct line line = { .size = 0 };

	add_text(&line, good ? "ok " : "not ok ");
	add_text(&line, place);
	add_text(&line, ": ");
	add_text(&line, text);
	send_line(&line);
}

/* Both deeds of entry.S, with the outcome that CET wants: #CP where they are done, and nothing after it */
static void misbehave(const char *place)
{
	void (*volatile deed)(void) = forged_return;
	uint32_t returns = caught_returns, jumps = caught_jumps, landed = landings;

	deed();
	check_at(place, caught_returns == returns + 1 && !escapes, "a forged return address gives #CP (near return)");
	deed = stray_jump;
	deed();
	check_at(place, caught_jumps == jumps + 1 && landings == landed + 1, "a jump past ENDBR gives #CP (ENDBRANCH)");
}

/* Keeps pages of the shadow stack changing while they are sent away. Returns how many levels came back right */
static uint32_t __attribute__((noinline)) churn(uint32_t depth)
{
	uint64_t *ssp = ssp_now();
	uint32_t right = depth > 1 ? churn(depth - 1) : 0;

	return right + (ssp_now() == ssp && *ssp == (uintptr_t)__builtin_return_address(0));
}

/*
 * Bochs does not undo a change of CPL when a VM exit stops the delivery of an interrupt or exception on its way to the
 * shadow stack. In a new QEMU no page is mapped yet and that would be so: read all of them first, through their
 * second address, as user mode cannot read a shadow stack of the supervisor.
 */
static inline void touch_pages(void)
{
	volatile uint8_t *page;

	for (page = (uint8_t *)SECOND_ADDRESS; page < (uint8_t *)SECOND_ADDRESS + SHADOW_END; page += PAGE_SIZE)
		*page;
}

static void wait_here(const char *place)
{
	uint64_t *ssp = ssp_now();
	uint32_t wrong = 0;

	tell("wait ", place);
	while (!byte_came()) {
		touch_pages();
		wrong += churn(CHURN) != CHURN;
	}
	touch_pages();
	check_at(place, !wrong, "all calls and returns on the way were right");
	check_at(place, ssp_now() == ssp, "the shadow stack pointer is what it was");
}

static void __attribute__((noinline)) chain(uint32_t depth, void (*bottom)(void))
{
	void (*volatile next)(uint32_t depth, void (*bottom)(void)) = chain;
	void (*volatile last)(void) = bottom;
	uint64_t *ssp = ssp_now();

	if (depth > 1)
		next(depth - 1, bottom);
	else
		last();
	right_levels += ssp_now() == ssp && *ssp == (uintptr_t)__builtin_return_address(0);
}

static void go_deep(const char *place, uint32_t depth, void (*bottom)(void))
{
	right_levels = 0;
	chain(depth, bottom);
	check_at(place, right_levels == depth, "all levels returned to where they were called from");
}

static void remember(void)
{
	uint32_t i;

	for (i = 0; i < MSRS; i++)
		remembered[i] = rdmsr(msrs[i].index);
}

static void compare(const char *place)
{
	uint32_t i, same = 0;
	uint64_t cr4;

	for (i = 0; i < MSRS; i++) {
		if (rdmsr(msrs[i].index) == remembered[i])
			same++;
		else
			tell("say changed: ", msrs[i].name);
	}
	check_at(place, same == MSRS, "all CET MSRs and XSS are what they were");
	asm volatile("movq %%cr4, %0" : "=r" (cr4));
	check_at(place, cr4 & CR4_CET, "CR4.CET is set");
}

static void kernel_bottom(void)
{
	misbehave("CPL 0, before");
	remember();
	say_where("CPL 0", KERNEL_DEPTH);
	wait_here("CPL 0");
	compare("CPL 0");
	misbehave("CPL 0, after");
}

static void user_bottom(void)
{
	misbehave("CPL 3, before");
	syscall(SYS_REMEMBER);
	say_where("CPL 3", USER_DEPTH);
	wait_here("CPL 3");
	syscall(SYS_COMPARE);
	misbehave("CPL 3, after");
	/* The second place to wait: at CPL 0, with this shadow stack left behind in PL3_SSP */
	syscall(SYS_DEEP);
}

static void user(void)
{
	go_deep("CPL 3", USER_DEPTH, user_bottom);
	syscall(SYS_STOP);
}

static void on_syscall(long number)
{
	uint32_t levels = right_levels;

	switch (number) {
	case SYS_REMEMBER:
		remember();
		break;
	case SYS_COMPARE:
		compare("CPL 3");
		break;
	case SYS_DEEP:
		go_deep("CPL 0", KERNEL_DEPTH, kernel_bottom);
		right_levels = levels;
		break;
	default:
		stop();
	}
}

static void on_forbidden(struct frame *f)
{
	if (f->rip == (uintptr_t)forged_return_at && f->error == CP_RETURN) {
		caught_returns++;
		*(uint64_t *)f->rsp = right_return;
	} else if (f->rip == (uintptr_t)stray_jump_at && f->error == CP_ENDBRANCH) {
		caught_jumps++;
		/* User mode would find itself still waiting for an ENDBR */
		if (f->cs & 3)
			wrmsr(MSR_U_CET, rdmsr(MSR_U_CET) & ~CET_WAIT_ENDBR);
	} else {
		unexpected(f);
	}
}

void on_trap(struct frame *f);
void on_trap(struct frame *f)
{
	if (f->vector == VECTOR_SYSCALL)
		on_syscall(f->rdi);
	else if (f->vector == VECTOR_CP)
		on_forbidden(f);
	else
		unexpected(f);
}

static void set_gate(uint32_t vector, uint64_t to, uint8_t ist, uint8_t type)
{
	idt[vector] = (struct gate) {
		.offset_low = to, .offset_middle = to >> 16, .offset_high = to >> 32,
		.selector = CODE, .ist = ist, .type = type,
	};
}

static void set_up_traps(void)
{
	struct table idtr = { sizeof(idt) - 1, (uintptr_t)idt };
	struct table gdtr = { sizeof(gdt) - 1, (uintptr_t)gdt };
	uint64_t base = (uintptr_t)&tss;
	uint32_t i;

	for (i = 0; i < 32; i++)
		set_gate(i, vectors[i], i == VECTOR_DF || i == VECTOR_GP || i == VECTOR_PF || i == VECTOR_CP, 0x8e);
	/* A trap gate: interrupts stay on */
	set_gate(VECTOR_SYSCALL, vectors[32], 0, 0xef);

	tss.rsp[0] = (uintptr_t)syscall_stack + STACK;
	tss.ist[0] = (uintptr_t)fault_stack + STACK;
	tss.iomap = sizeof(tss);
	gdt[TASK / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89UL << 40 | (base >> 24 & 0xff) << 56;
	gdt[TASK / 8 + 1] = base >> 32;
	asm volatile("lgdt %0; lidt %1; ltr %w2" : : "m" (gdtr), "m" (idtr), "r" (TASK));
	/* No interrupt is used */
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
}

/* A token at the end of a page of the supervisor's: where the shadow stack starts. Returns its address */
static uint64_t shadow_token(uint64_t page)
{
	uint64_t *token = (uint64_t *)(page + PAGE_SIZE - sizeof(*token));

	*token = (uintptr_t)token;
	return (uintptr_t)token;
}

static void set_up_shadow_stacks(void)
{
	uint64_t *entries = (uint64_t *)LAST_TABLE, page;

	wrmsr(MSR_PL0_SSP, shadow_token(SHADOW_BOOT));
	wrmsr(MSR_PL1_SSP, 0x111111111110);
	wrmsr(MSR_PL2_SSP, 0x222222222220);
	wrmsr(MSR_PL3_SSP, SHADOW_END);
	ist_ssp[1] = shadow_token(SHADOW_FAULT);
	wrmsr(MSR_INT_SSP_TAB, (uintptr_t)ist_ssp);
	/* An old QEMU shows CET, and no XSAVE state of it */
	if ((cpuid(0xd, 1).c & XSS_CET) == XSS_CET)
		wrmsr(MSR_XSS, XSS_CET);
	wrmsr(MSR_U_CET, CET_SHSTK | CET_ENDBR);
	shadow_token(SHADOW_SYSCALL);
	/* A shadow stack's page is one that is dirty and not writable; all are dirty here */
	for (page = SHADOW_BOOT; page < SHADOW_END; page += PAGE_SIZE) {
		entries[page / PAGE_SIZE] &= ~PAGE_WRITABLE;
		if (page < SHADOW_USER)
			entries[page / PAGE_SIZE] &= ~PAGE_USER;
		asm volatile("invlpg (%0)" : : "r" (page) : "memory");
	}
}

static void set_up_second_addresses(void)
{
	uint64_t *tables = (uint64_t *)(LAST_TABLE - PAGE_SIZE), *entries = (uint64_t *)(LAST_TABLE + PAGE_SIZE), i;

	for (i = 0; i < 512; i++)
		entries[i] = i * PAGE_SIZE | PAGE_USER | PAGE_PRESENT;
	tables[SECOND_ADDRESS / 0x200000] = (uintptr_t)entries | PAGE_USER | PAGE_PRESENT;
}

static int has_cet(void)
{
	return cpuid(7, 0).c >> 7 & cpuid(7, 0).d >> 20 & 1;
}

void __attribute__((noreturn)) main(void);
void __attribute__((noreturn)) main(void)
{
	uint64_t cr4;

	set_up_traps();
	check(has_cet(), "the guest has shadow stacks and IBT");
	if (!has_cet())
		stop();
	set_up_second_addresses();
	set_up_shadow_stacks();
	asm volatile("movq %%cr4, %0" : "=r" (cr4));
	asm volatile("movq %0, %%cr4" : : "r" (cr4 | CR4_CET));
	/* Between the two nothing can be called, as there is no shadow stack yet; and main() could not return */
	asm volatile("wrmsr; setssbsy" : : "c" (MSR_S_CET), "a" (CET_SHSTK | CET_ENDBR), "d" (0) : "memory");
	wrmsr(MSR_PL0_SSP, SHADOW_SYSCALL + PAGE_SIZE - sizeof(uint64_t));
	enter_user(user, user_stack + STACK);
}
