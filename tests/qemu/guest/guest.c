// SPDX-License-Identifier: GPL-2.0
/*
 * A guest without an operating system that lives on shadow stacks and IBT (on AMD's CPUs, or if it has no more: on one
 * of them), at CPL 3 and at CPL 0, on one CPU or two
 *
 * It calls itself some levels deep, waits there to be migrated, and goes all the way back. On the way back each level
 * compares its shadow stack pointer with what it was, and the return address that lies there with its own. Before
 * and after each migration it tries what CET forbids: each attempt must give the #CP that belongs to it.
 *
 * A second CPU does the same at the same time, on stacks of its own, with other values in its MSRs. While the first one
 * waits at CPL 3, it waits at CPL 0, and the other way round.
 *
 * Faults have a stack and a shadow stack of their own (IST), so that a lost shadow stack pointer is reported too.
 */
#include <stddef.h>

#include "io.h"
#include "layout.h"

#define CODE	  0x08
#define USER_DATA 0x1b
#define TASK(cpu) (0x28 + 16 * (cpu))

#define VECTOR_DF      8
#define VECTOR_GP      13
#define VECTOR_PF      14
#define VECTOR_CP      21
#define VECTOR_SYSCALL 0x80

#define CP_RETURN    1
#define CP_ENDBRANCH 3

#define MSR_APIC_BASE	0x1b
#define MSR_X2APIC_ICR	0x830
#define MSR_GS_BASE	0xc0000101
#define MSR_U_CET	0x6a0
#define MSR_S_CET	0x6a2
#define MSR_PL0_SSP	0x6a4
#define MSR_PL1_SSP	0x6a5
#define MSR_PL2_SSP	0x6a6
#define MSR_PL3_SSP	0x6a7
#define MSR_INT_SSP_TAB 0x6a8
#define MSR_XSS		0xda0

#define CET_SHSTK      (1UL << 0)
#define CET_WRSS       (1UL << 1)
#define CET_ENDBR      (1UL << 2)
#define CET_WAIT_ENDBR (1UL << 11)

#define VENDOR_AMD 0x444d4163 /* CPUID 0 ECX: "cAMD" */
#define CR4_CET	   (1UL << 23)
#define XSS_CET_U  0x800UL
#define XSS_CET	   0x1800UL
#define X2APIC	   0xc00UL
#define ICR_INIT   0xc4500 /* to all others */
#define ICR_SIPI   0xc4600
#define ROM_VECTOR 0xf0

#define FW_CFG	    0x510
#define FW_CFG_CPUS 5

#define PAGE_SIZE     0x1000
#define PAGE_PRESENT  (1UL << 0)
#define PAGE_WRITABLE (1UL << 1)
#define PAGE_USER     (1UL << 2)

#define USER_DEPTH(cpu)	  (8 + 3 * (cpu))
#define KERNEL_DEPTH(cpu) (6 - (cpu))
/* A page has 512 entries */
#define CHURN_LEAST 300
#define CHURN_MORE  300

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

#define MSRS 8

/* GS points to it; entry.S knows the first four */
struct cpu {
	struct cpu *self;
	uint64_t right_return;
	volatile uint32_t escapes, landings;
	volatile uint32_t caught_returns, caught_jumps, right_levels;
	/* The number of places where it has waited or waits; whether it has finished */
	volatile uint32_t waits, done;
	uint32_t number;
	uint64_t remembered[MSRS], ist_ssp[8];
	struct tss tss;
};

/* entry.S */
extern const uint64_t vectors[33];
extern char forged_return_at[], stray_jump_at[];
void __attribute__((noreturn)) enter_user(void (*rip)(void), void *rsp);
void forged_return(void);
void stray_jump(void);

char boot_stacks[CPUS][STACK], syscall_stacks[CPUS][STACK], fault_stacks[CPUS][STACK], user_stacks[CPUS][STACK];

static struct cpu cpus[CPUS];
static uint32_t cpu_count;
/* The number of places that it should leave */
static volatile uint32_t released;

static struct gate idt[VECTOR_SYSCALL + 1];
static uint64_t gdt[] = {
	0,
	0x00af9b000000ffff, /* CODE */
	0x00cf93000000ffff,
	0x00cff3000000ffff, /* of user mode, as enter_user() has it */
	0x00affb000000ffff,
	/* TASK */
	0,
	0,
	0,
	0,
};

static const struct {
	uint32_t index;
	const char *name;
} msrs[MSRS] = {
	{ MSR_U_CET, "U_CET" },
	{ MSR_S_CET, "S_CET" },
	{ MSR_PL0_SSP, "PL0_SSP" },
	{ MSR_PL1_SSP, "PL1_SSP" },
	{ MSR_PL2_SSP, "PL2_SSP" },
	{ MSR_PL3_SSP, "PL3_SSP" },
	{ MSR_INT_SSP_TAB, "INT_SSP_TAB" },
	{ MSR_XSS, "XSS" },
};

static inline struct cpu *this_cpu(void)
{
	struct cpu *c;

	asm("movq %%gs:0, %0" : "=r"(c));
	return c;
}

static inline uint64_t rdmsr(uint32_t index)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return low | (uint64_t)high << 32;
}

static inline void wrmsr(uint32_t index, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline void out8(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

struct cpuid {
	uint32_t a, b, c, d;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(subleaf));
	return r;
}

static inline uint64_t *ssp_now(void)
{
	uint64_t *ssp = NULL;

	asm volatile("rdsspq %0" : "+r"(ssp));
	return ssp;
}

static inline void syscall(long number)
{
	asm volatile("int $0x80" : : "D"(number) : "memory");
}

static void add_place(struct line *line, const char *place)
{
	if (this_cpu()->number)
		add_text(line, "second CPU, ");
	add_text(line, place);
	add_text(line, ": ");
}

static void say_where(const char *place, uint32_t depth)
{
	struct line line = { .size = 0 };

	add_text(&line, "say ");
	add_place(&line, place);
	add_number(&line, depth);
	add_text(&line, " calls deep, shadow stack pointer ");
	add_hex(&line, (uintptr_t)ssp_now());
	send_line(&line);
}

static inline void relax(void)
{
	asm volatile("pause");
}

/* The first CPU speaks last */
static void __attribute__((noreturn)) stop(void)
{
	uint32_t i;

	this_cpu()->done = 1;
	if (!this_cpu()->number) {
		for (i = 1; i < cpu_count; i++)
			while (!cpus[i].done)
				relax();
		tell("end", "");
	}
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
	add_text(&line, this_cpu()->number ? ", on the second CPU" : ", on the first CPU");
	if (f->vector == VECTOR_PF) {
		asm volatile("movq %%cr2, %0" : "=r"(cr2));
		add_text(&line, ", address ");
		add_hex(&line, cr2);
	}
	send_line(&line);
	/*
	 * Otherwise, Bochs would hold back interrupts of the host while this CPU waits for the other one, which
	 * continues by itself
	 */
	asm volatile("sti");
	if (!this_cpu()->number)
		released = -1;
	stop();
}

static void check_at(const char *place, int good, const char *text)
{
	struct line line = { .size = 0 };

	add_text(&line, good ? "ok " : "not ok ");
	add_place(&line, place);
	add_text(&line, text);
	send_line(&line);
}

/* What the CPU has: shadow stacks, IBT, the MSR XSS; whether it is of AMD */
static int has_ss, has_ibt, has_xss, is_amd;

/* For U_CET and S_CET */
static inline __attribute__((always_inline)) uint32_t cet_controls(uint32_t number)
{
	return (has_ss ? CET_SHSTK : 0) | (has_ibt ? CET_ENDBR : 0) | (has_ss && number ? CET_WRSS : 0);
}

/*
 * Both violations of entry.S: with CET, each ends in a #CP where it is committed, and has no effect. AMD's CPUs do
 * not track jumps.
 */
static void misbehave(const char *place)
{
	void (* volatile violation)(void) = forged_return;
	struct cpu *c = this_cpu();
	uint32_t returns = c->caught_returns, jumps = c->caught_jumps, landed = c->landings, escaped = c->escapes;

	violation();
	if (has_ss)
		check_at(place, c->caught_returns == returns + 1 && !c->escapes,
			 "a forged return address gives #CP (near return)");
	else
		check_at(place, c->caught_returns == returns && c->escapes == escaped + 1,
			 "a forged return address is free");
	violation = stray_jump;
	violation();
	if (!has_ibt)
		check_at(place, c->caught_jumps == jumps && c->landings == landed + 1, "a jump past ENDBR is free");
	else
		check_at(place, c->caught_jumps == jumps + 1 && c->landings == landed + 1,
			 "a jump past ENDBR gives #CP (ENDBRANCH)");
}

/*
 * Keeps pages of the shadow stack changing while they are sent away: each round goes down another way, so a page of an
 * earlier one has wrong return addresses. Reads nothing of it: RET is the first to find a page that is not there yet.
 * Returns how many levels came back right.
 */
static uint32_t __attribute__((noinline)) churn(uint32_t depth, uint64_t way)
{
	uint64_t *ssp = ssp_now();
	uint32_t right = 0;

	way = way >> 1 | way << 63;
	/* Two calls, each with its own place to return to */
	if (depth > 1 && way & 1) {
		right = churn(depth - 1, way);
		asm volatile("nopw 1(%rax)");
	} else if (depth > 1) {
		right = churn(depth - 1, way);
		asm volatile("nopw 2(%rax)");
	}
	return right + (ssp_now() == ssp);
}

/*
 * On AMD, KVM would have to know the length of an INT n whose delivery a nested page fault interrupts. In a new QEMU no
 * page is mapped yet: read all of them first, through their second address, as user mode cannot read a shadow stack of
 * the supervisor. But not the one between FROM and TO.
 */
static inline void touch_pages(uint64_t from, uint64_t to)
{
	uint64_t page;

	for (page = 0; is_amd && page < SHADOW_END; page += PAGE_SIZE)
		if (page < from || page >= to)
			*(volatile uint8_t *)(SECOND_ADDRESS + page);
}

/* Also changes this shadow stack by WRSS, far below the part in use. Returns 1 if what it found was right */
static int write_below(uint64_t from, uint64_t old, uint64_t new)
{
	uint64_t *entry = (uint64_t *)from;
	int right = *entry == old;

	asm volatile("wrssq %1, %0" : "=m"(*entry) : "r"(new));
	return right;
}

static int may_go_on(uint32_t wait)
{
	if (!this_cpu()->number && released < wait && byte_came())
		released = wait;
	return released >= wait;
}

static void wait_here(const char *place, uint64_t shadow, uint64_t shadow_end, int has_wrss)
{
	struct cpu *c = this_cpu();
	volatile uint64_t *rounds = (uint64_t *)ROUNDS + c->number;
	uint32_t i, depth, wrong = 0, wait = c->waits + 1;
	uint64_t *ssp = ssp_now();

	shadow += SHADOWS + c->number * SHADOW_SIZE;
	shadow_end += SHADOWS + c->number * SHADOW_SIZE;
	*rounds = 0;
	c->waits = wait;
	if (!c->number) {
		for (i = 1; i < cpu_count; i++)
			while (cpus[i].waits < wait && !cpus[i].done)
				relax();
		tell("wait ", place);
	}
	while (!may_go_on(wait)) {
		if (!(*rounds % 16))
			touch_pages(shadow, shadow_end);
		depth = CHURN_LEAST + *rounds * 37 % CHURN_MORE;
		wrong += churn(depth, (*rounds + 1) * 0x9e3779b97f4a7c15) != depth;
		if (has_wrss)
			wrong += !write_below(shadow, *rounds, *rounds + 1);
		++*rounds;
	}
	touch_pages(0, 0);
	check_at(place, !wrong, "all calls and returns on the way were right");
	check_at(place, ssp_now() == ssp, "the shadow stack pointer is what it was");
}

static void __attribute__((noinline)) chain(uint32_t depth, void (*bottom)(void))
{
	void (* volatile next)(uint32_t depth, void (*bottom)(void)) = chain;
	void (* volatile last)(void) = bottom;
	uint64_t *ssp = ssp_now();

	if (depth > 1)
		next(depth - 1, bottom);
	else
		last();
	this_cpu()->right_levels += ssp_now() == ssp && (!has_ss || *ssp == (uintptr_t)__builtin_return_address(0));
}

static void go_deep(const char *place, uint32_t depth, void (*bottom)(void))
{
	this_cpu()->right_levels = 0;
	chain(depth, bottom);
	check_at(place, this_cpu()->right_levels == depth, "all levels returned to where they were called from");
}

/* Of MSRS, 0 if the CPU does not have it */
static uint64_t read_state(uint32_t i)
{
	switch (msrs[i].index) {
	case MSR_U_CET:
	case MSR_S_CET:
		break;
	case MSR_XSS:
		if (!has_xss)
			return 0;
		break;
	default:
		if (!has_ss)
			return 0;
	}
	return rdmsr(msrs[i].index);
}

static void remember(void)
{
	uint32_t i;

	for (i = 0; i < MSRS; i++)
		this_cpu()->remembered[i] = read_state(i);
}

static void compare(const char *place)
{
	uint32_t i, same = 0;
	uint64_t cr4;

	for (i = 0; i < MSRS; i++) {
		if (read_state(i) == this_cpu()->remembered[i])
			same++;
		else
			tell("say changed: ", msrs[i].name);
	}
	check_at(place, same == MSRS, "all CET MSRs and XSS are what they were");
	asm volatile("movq %%cr4, %0" : "=r"(cr4));
	check_at(place, cr4 & CR4_CET, "CR4.CET is set");
}

static void kernel_bottom(void)
{
	misbehave("CPL 0, before");
	remember();
	say_where("CPL 0", KERNEL_DEPTH(this_cpu()->number));
	wait_here("CPL 0", SHADOW_SYSCALL, SHADOW_USER, this_cpu()->number);
	compare("CPL 0");
	misbehave("CPL 0, after");
}

/* The first place to wait of the first CPU, the second of the second */
static void wait_in_user_mode(void)
{
	misbehave("CPL 3, before");
	syscall(SYS_REMEMBER);
	say_where("CPL 3", USER_DEPTH(this_cpu()->number));
	wait_here("CPL 3", SHADOW_USER, SHADOW_SIZE, this_cpu()->number);
	syscall(SYS_COMPARE);
	misbehave("CPL 3, after");
}

/* The other place is at CPL 0, with this shadow stack stored in PL3_SSP */
static void user_bottom(void)
{
	if (this_cpu()->number)
		syscall(SYS_DEEP);
	wait_in_user_mode();
	if (!this_cpu()->number)
		syscall(SYS_DEEP);
}

static void user(void)
{
	go_deep("CPL 3", USER_DEPTH(this_cpu()->number), user_bottom);
	syscall(SYS_STOP);
}

static void on_syscall(long number)
{
	uint32_t levels = this_cpu()->right_levels;

	switch (number) {
	case SYS_REMEMBER:
		remember();
		break;
	case SYS_COMPARE:
		compare("CPL 3");
		break;
	case SYS_DEEP:
		go_deep("CPL 0", KERNEL_DEPTH(this_cpu()->number), kernel_bottom);
		this_cpu()->right_levels = levels;
		break;
	default:
		stop();
	}
}

static void on_forbidden(struct frame *f)
{
	if (f->rip == (uintptr_t)forged_return_at && f->error == CP_RETURN) {
		this_cpu()->caught_returns++;
		*(uint64_t *)f->rsp = this_cpu()->right_return;
	} else if (f->rip == (uintptr_t)stray_jump_at && f->error == CP_ENDBRANCH) {
		this_cpu()->caught_jumps++;
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
		.offset_low = to,
		.offset_middle = to >> 16,
		.offset_high = to >> 32,
		.selector = CODE,
		.ist = ist,
		.type = type,
	};
}

static void set_up_traps(void)
{
	uint32_t i;

	for (i = 0; i < 32; i++)
		set_gate(i, vectors[i], i == VECTOR_DF || i == VECTOR_GP || i == VECTOR_PF || i == VECTOR_CP, 0x8e);
	/* A trap gate: interrupts stay on */
	set_gate(VECTOR_SYSCALL, vectors[32], 0, 0xef);
	/* No interrupts are used */
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
}

/* The data of each CPU, and the tables that they share */
static void set_up_cpu(uint32_t number)
{
	struct table idtr = { sizeof(idt) - 1, (uintptr_t)idt };
	struct table gdtr = { sizeof(gdt) - 1, (uintptr_t)gdt };
	struct cpu *c = &cpus[number];
	uint64_t base = (uintptr_t)&c->tss;

	c->self = c;
	c->number = number;
	c->tss.rsp[0] = (uintptr_t)syscall_stacks[number + 1];
	c->tss.ist[0] = (uintptr_t)fault_stacks[number + 1];
	c->tss.iomap = sizeof(c->tss);
	gdt[TASK(number) / 8] = (sizeof(c->tss) - 1) | (base & 0xffffff) << 16 | 0x89UL << 40 |
				(base >> 24 & 0xff) << 56;
	gdt[TASK(number) / 8 + 1] = base >> 32;
	/* GS with a selector that IRET to user mode leaves as it is */
	asm volatile("lgdt %0; lidt %1; ltr %w2; movl %3, %%gs"
		     :
		     : "m"(gdtr), "m"(idtr), "r"(TASK(number)), "r"(USER_DATA));
	wrmsr(MSR_GS_BASE, base - offsetof(struct cpu, tss));
}

/* A token at the end of a page of the supervisor's: where the shadow stack starts. Returns its address */
static uint64_t shadow_token(uint64_t page)
{
	uint64_t *token = (uint64_t *)(page + PAGE_SIZE - sizeof(*token));

	*token = (uintptr_t)token;
	return (uintptr_t)token;
}

static void set_up_shadow_stacks(uint32_t number)
{
	uint64_t *entries = (uint64_t *)LAST_TABLE, base = SHADOWS + number * SHADOW_SIZE, page;
	struct cpu *c = &cpus[number];

	wrmsr(MSR_U_CET, cet_controls(number));
	/* An old QEMU shows CET, but not its XSAVE state */
	if ((cpuid(0xd, 1).c & XSS_CET) == XSS_CET)
		wrmsr(MSR_XSS, number ? XSS_CET_U : XSS_CET);
	if (!has_ss)
		return;
	wrmsr(MSR_PL0_SSP, shadow_token(base + SHADOW_BOOT));
	wrmsr(MSR_PL1_SSP, 0x111111111110 + (number << 16));
	wrmsr(MSR_PL2_SSP, 0x222222222220 + (number << 16));
	wrmsr(MSR_PL3_SSP, base + SHADOW_SIZE);
	c->ist_ssp[1] = shadow_token(base + SHADOW_FAULT);
	wrmsr(MSR_INT_SSP_TAB, (uintptr_t)c->ist_ssp);
	shadow_token(base + SHADOW_USER - PAGE_SIZE);
	/* A shadow stack's page is one that is dirty and not writable; all are dirty here */
	for (page = base; page < base + SHADOW_SIZE; page += PAGE_SIZE) {
		entries[page / PAGE_SIZE] &= ~PAGE_WRITABLE;
		if (page < base + SHADOW_USER)
			entries[page / PAGE_SIZE] &= ~PAGE_USER;
		asm volatile("invlpg (%0)" : : "r"(page) : "memory");
	}
}

/* Enters user mode on this CPU */
static inline void __attribute__((noreturn, always_inline)) live(uint32_t number)
{
	uint64_t cr4;

	set_up_shadow_stacks(number);
	asm volatile("movq %%cr4, %0" : "=r"(cr4));
	asm volatile("movq %0, %%cr4" : : "r"(cr4 | CR4_CET));
	/* Between the two nothing can be called, as there is no shadow stack yet; and the caller could not return */
	if (has_ss) {
		asm volatile("wrmsr; setssbsy" : : "c"(MSR_S_CET), "a"(cet_controls(number)), "d"(0) : "memory");
		wrmsr(MSR_PL0_SSP, SHADOWS + number * SHADOW_SIZE + SHADOW_USER - sizeof(uint64_t));
	} else {
		wrmsr(MSR_S_CET, cet_controls(number));
	}
	enter_user(user, user_stacks[number + 1]);
}

void __attribute__((noreturn)) main_of_second(void);
void __attribute__((noreturn)) main_of_second(void)
{
	set_up_cpu(1);
	live(1);
}

static void set_up_second_addresses(void)
{
	uint64_t *tables = (uint64_t *)(LAST_TABLE - PAGE_SIZE), *entries = (uint64_t *)(LAST_TABLE + PAGE_SIZE), i;

	for (i = 0; i < 512; i++)
		entries[i] = i * PAGE_SIZE | PAGE_USER | PAGE_PRESENT;
	tables[SECOND_ADDRESS / 0x200000] = (uintptr_t)entries | PAGE_USER | PAGE_PRESENT;
}

static void look_at_cpu(void)
{
	has_ss = cpuid(7, 0).c >> 7 & 1;
	has_ibt = cpuid(7, 0).d >> 20 & 1;
	has_xss = cpuid(0xd, 1).a >> 3 & 1;
	is_amd = cpuid(0, 0).c == VENDOR_AMD;
}

static uint32_t count_cpus(void)
{
	asm volatile("outw %0, %1" : : "a"((uint16_t)FW_CFG_CPUS), "Nd"((uint16_t)FW_CFG));
	return in8(FW_CFG + 1);
}

void __attribute__((noreturn)) main(void);
void __attribute__((noreturn)) main(void)
{
	set_up_traps();
	set_up_cpu(0);
	look_at_cpu();
	/* All that the CPUs of this vendor can have */
	if (is_amd)
		check(has_ss, "the guest has shadow stacks");
	else
		check(has_ss && has_ibt, "the guest has shadow stacks and IBT");
	if (!has_ss && !has_ibt)
		stop();
	set_up_second_addresses();
	cpu_count = count_cpus();
	if (cpu_count > CPUS)
		cpu_count = CPUS;
	if (cpu_count > 1) {
		wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | X2APIC);
		wrmsr(MSR_X2APIC_ICR, ICR_INIT);
		wrmsr(MSR_X2APIC_ICR, ICR_SIPI | ROM_VECTOR);
	}
	live(0);
}
