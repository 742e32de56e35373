/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A VMM for tests, and bare-metal guests that are functions of the same program.
 *
 * How to write a guest test
 * -------------------------
 *
 * A test is one file, NAME.c here; the Makefile has it in its list of programs. It has guest functions and the VMM side
 * next to each other, and includes this header:
 *
 *	static uint64_t seen;
 *
 *	static GUEST uint64_t leaf(uint64_t a)
 *	{
 *		g_call(1, a, g_rdssp(), 0);	// stops in the VMM: STOP_CALL number 1, with three values
 *		seen = a;
 *		return a + 1;
 *	}
 *
 *	static GUEST void main_of_guest(uint64_t a)
 *	{
 *		g_user(leaf, a);		// calls leaf() at CPL3
 *		asm volatile("ud2");		// every exception stops in the VMM too
 *	}
 *
 *	int main(void)
 *	{
 *		struct machine *m;
 *		struct cpu *c;
 *
 *		vmm_open("NAME");
 *		m = machine_create(NULL);
 *		c = m->cpus[0];
 *		cpu_cet(c, GUEST_SHSTK | GUEST_IBT);	// CET at CPL0 and CPL3, before or after cpu_start()
 *		cpu_start(c, main_of_guest, 41);
 *		check_stop(c, "call 1", "leaf() runs at CPL3");
 *		tap_ok(c->stop.a == 41, "...");
 *		check_stop(c, "#UD", "leaf() returned");
 *		tap_ok(*in_guest(m, &seen) == 41, "...");
 *		machine_destroy(m);
 *		return tap_done();
 *	}
 *
 * How it works: machine_create() copies this whole program as it is then, code and data, into the guest's memory at the
 * very addresses that it has here (0x200000 and up), and the guest's linear addresses are its physical addresses. So a
 * function or variable has the same address in both; the guest's variables are copies: in_guest(m, &variable) is the
 * guest's copy, as the VMM accesses it.
 *
 * In guest functions: no libc, no floating point, no stack protector (compiler options ensure the last two). With
 * GUEST, the compiler keeps a function as one, with a CALL and a RET. Functions whose address is taken start with
 * ENDBR64.
 *
 * The guest: 64-bit mode, 4-KiB pages, everything user-accessible and writable but shadow-stack pages, page 0 unmapped,
 * CR0.WP, IF=1 (there is no interrupt, but Bochs holds back those of the host while IF=0), IOPL 3 at CPL3. No SMEP,
 * SMAP.
 * Each vCPU has a GDT (selectors in guest.h), TSS, stacks, shadow stacks, INT_SSP_TAB; GS base points to its CPU page.
 * The IDT is shared: every vector stops in the VMM and goes back where it came from if the VMM lets the vCPU run on;
 * they use IST 1, #DF uses IST 2. int $0x80 ends g_user().
 *
 * Run it: tests/hosts/boot -H vmx -k $(tests/debian/kernel path native) -p kvm_intel.cet=1 -- build/tests/guest/NAME
 * A case, NAME.t: see snapshot.t. Checks use tests/ioctl/tap.h. If the set-up fails, the program ends (tap_bail()).
 */
#ifndef TESTS_GUEST_VMM_H
#define TESTS_GUEST_VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/kvm.h>

#include "guest.h"
#include "kvm.h" /* of tests/ioctl */
#include "tap.h"

#define PAGE	  0x1000ull
#define RAM_SIZE  0x400000ull /* at 0; this program is in the upper half */
#define MAX_CPUS  4
#define MAX_CPUID 256

struct machine;

/* What to create. NULL means the same as a zeroed one: one vCPU, with all of CPUID that KVM supports. */
struct machine_config {
	unsigned int cpus;
	bool irqchip; /* KVM_CREATE_IRQCHIP; only then is there INIT */
	/* May edit what KVM_SET_CPUID2 gets; find_cpuid() helps. */
	void (*cpuid)(struct kvm_cpuid2 *cpuid, unsigned int cpu);
	/* No copy of the program, no tables: for the target of a restore. The vCPUs have CPUID. */
	bool blank;
	/* Not even CPUID is set. */
	bool no_cpuid;
};

enum stop_kind {
	STOP_CALL,	/* g_call() */
	STOP_EXCEPTION, /* a vector of the IDT */
	STOP_HLT,
	STOP_SHUTDOWN,
	STOP_FAIL_ENTRY,
	STOP_INTERNAL_ERROR,
	STOP_DEBUG, /* KVM_SET_GUEST_DEBUG */
	STOP_MMIO,
	STOP_SIGNAL, /* EINTR */
	STOP_FAILED, /* KVM_RUN: another errno */
	STOP_OTHER,  /* see run->exit_reason */
};

struct stop {
	enum stop_kind kind;
	uint64_t number, a, b, c;      /* STOP_CALL */
	struct exception_frame *frame; /* STOP_EXCEPTION, in the guest's memory */
	int err;		       /* STOP_FAILED */
};

struct cpu {
	struct vm io; /* for the functions of kvm.h; only vcpu, run and fd (the VM's) are set */
	struct machine *machine;
	unsigned int number;
	uint64_t page;	  /* CPU page; its stacks are behind it, see guest.h */
	struct stop stop; /* its last stop */
	struct kvm_cpuid2 *cpuid;
};

struct machine {
	int fd;
	uint8_t *ram;
	uint64_t free; /* the next page for machine_alloc() */
	uint64_t cr3, idt;
	unsigned int slots;
	unsigned int ncpus;
	struct cpu *cpus[MAX_CPUS];
	struct cpu *toucher; /* machine_touch()'s */
};

/* kvm_open(), and ends the program as a skip if KVM does not offer shadow stacks. */
void vmm_open(const char *program);

/* The CET MSRs, and behind these CET_MSRS IA32_XSS. Guests have them too. */
#define CET_MSRS     7
#define CET_MSRS_XSS (CET_MSRS + 1)
extern const uint32_t cet_msrs[CET_MSRS_XSS];

/* From now on SIGUSR1 does nothing but end the KVM_RUN that a thread is in. */
void signals_end_run(void);
/* Interrupts a guest that may not return: STOP_SIGNAL after @ms milliseconds. 0 disables this. */
void time_limit(unsigned int ms);
/* The same in microseconds. */
void time_limit_us(unsigned int us);
/* One signal after @us microseconds; 0: none. */
void time_limit_once(unsigned int us);

/* A part of a program, which its arguments name. */
struct test_part {
	const char *name;
	void (*test)(void);
};

/* The one of @n @parts called @name; ends the program if there is none. */
const struct test_part *find_test_part(const struct test_part *parts, unsigned int n, const char *name);
/* CPUID(7,0) of KVM_GET_SUPPORTED_CPUID. */
bool kvm_has_shstk(void);
bool kvm_has_ibt(void);
/*
 * The bits of U_CET and S_CET that guests can have: all, or those of shadow stacks if KVM does not offer IBT, as on
 * AMD. A guest has a copy, as of any variable.
 */
extern uint64_t cet_control_bits;
/* A value of U_CET or S_CET that is not 0, but has no effect on the code of tests. */
#define CET_HARMLESS (cet_control_bits & CET_ENDBR ?: CET_WRSS)
/* The bits of a value of S_CET or U_CET that guests can have. */
#define cet_control(value) ((value) & cet_control_bits)
/* Where an indirect branch to a place without ENDBR64 ends: @want, but without IBT "call 66", a gadget there. */
const char *stop_by_ibt(const char *want);
/* Whether KVM is kvm-amd: by the CPU's vendor. */
bool kvm_is_svm(void);
/* Checks that guests can use G_FORCED. */
void check_forced_emulation(void);

/* For programs that create many machines: keeps the memory of two that were destroyed, and zeroes it for the next. */
extern bool machines_keep_memory;
struct machine *machine_create(const struct machine_config *config);
void machine_destroy(struct machine *m);
/* For a caller that closes file descriptors itself: leaves only cpus[]. Do not call machine_touch() after it. */
void machine_end_touching(struct machine *m);

#define find_cpuid(cpuid, leaf, index) cpuid_entry(cpuid, leaf, index)
/* Hides bits from CPUID(7,0); for machine_config.cpuid. */
void cpuid_hide_shstk(struct kvm_cpuid2 *cpuid);
void cpuid_hide_ibt(struct kvm_cpuid2 *cpuid);

/* Memory of the guest: zeroed pages, identity-mapped as the rest. Below 2 MiB. */
uint64_t machine_alloc(struct machine *m, unsigned int pages);
/* A further memslot. @space 1 is SMM's; physical address @gpa shows @memory. */
void machine_slot(struct machine *m, unsigned int space, uint64_t gpa, void *memory, uint64_t size, uint32_t flags);
void *machine_at(struct machine *m, uint64_t gpa);
#define in_guest(m, pointer) ((typeof(pointer))machine_at(m, (uintptr_t)(pointer)))

/* Page-table bits. */
#define PTE_P		0x01ull
#define PTE_W		0x02ull
#define PTE_U		0x04ull
#define PTE_A		0x20ull
#define PTE_D		0x40ull
#define PTE_NORMAL	(PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)
#define PTE_SHADOW	(PTE_P | PTE_A | PTE_D) /* a shadow stack of CPL<3 */
#define PTE_USER_SHADOW (PTE_SHADOW | PTE_U)

/* Maps one page; any canonical linear address. @bits 0 unmaps. Flushing the guest's TLB is up to the caller. */
void machine_map(struct machine *m, uint64_t linear, uint64_t gpa, uint64_t bits);
/* An interrupt gate in the IDT, to SEL_CODE64 or to another selector. */
void machine_gate(struct machine *m, unsigned int vector, uint64_t handler, unsigned int dpl, unsigned int ist);
void machine_gate_to(struct machine *m, unsigned int vector, unsigned int selector, uint64_t handler, unsigned int dpl,
		     unsigned int ist);
/* An 8-byte descriptor in a vCPU's GDT. */
void cpu_descriptor(struct cpu *c, unsigned int selector, uint64_t descriptor);
#define DESC_CODE64 0x00af9b000000ffffull
#define DESC_CODE32 0x00cf9b000000ffffull
#define DESC_DATA   0x00cf93000000ffffull
#define DESC_DPL1   0x0000200000000000ull
#define DESC_DPL2   0x0000400000000000ull
#define DESC_DPL3   0x0000600000000000ull

/* The linear address of a stack of this vCPU, where it starts (its upper end). */
uint64_t cpu_stack(const struct cpu *c, unsigned int page, unsigned int pages);
/* The same for shadow stacks; where there is a token, it is at this address. */
uint64_t cpu_shadow_stack(const struct cpu *c, unsigned int page);
/*
 * Makes a page a shadow stack with a token, as for PL0_SSP and INT_SSP_TAB; returns the address as cpu_shadow_stack()
 * does.
 */
uint64_t machine_shadow_stack(struct machine *m, uint64_t page, bool user, bool token);

/*
 * On SVM, reads from all pages that the machine has allocated inside the guest, and writes it back, on a vCPU of its
 * own, so that the nested page tables have them. machine_create() and snapshot_restore() call it. Do it again for pages
 * that the delivery of an INT n uses: if a nested page fault interrupts the delivery, KVM must know the length of the
 * instruction; the emulator gives a wrong one, and on CPUs, which give none, KVM refuses to find it out if the guest
 * uses shadow stacks. On VMX, the VMCS has the length, and this does nothing.
 */
void machine_touch(struct machine *m);

/*
 * CPL0 or CPL3, function(a, b, c) on the vCPU's own stacks, by KVM_SET_SREGS and KVM_SET_REGS. When it returns:
 * "call 65536", c->stop.a is what it returned.
 */
#define cpu_start(c, function, ...)	 cpu_start_at(c, 0, (uintptr_t)(function), (uint64_t[3]) { __VA_ARGS__ })
#define cpu_start_user(c, function, ...) cpu_start_at(c, 3, (uintptr_t)(function), (uint64_t[3]) { __VA_ARGS__ })
void cpu_start_at(struct cpu *c, unsigned int cpl, uint64_t function, const uint64_t arguments[3]);
/* The registers and special registers for that, not yet set. @function may be 0. */
struct kvm_regs cpu_usual_regs(const struct cpu *c, unsigned int cpl, uint64_t function);
void cpu_usual_sregs(struct cpu *c, unsigned int cpl, struct kvm_sregs *sregs);

/*
 * CET by KVM_SET_MSRS, KVM_SET_ONE_REG and CR4, for the CPL that cpu_start() takes next, or took. Features for CPL0 and
 * CPL3 apart; IBT only if KVM offers it. WRSS comes with SHSTK; sets PL0_SSP, PL3_SSP and INT_SSP_TAB, too, with SHSTK.
 */
#define GUEST_SHSTK	 1u /* CPL0 */
#define GUEST_IBT	 2u
#define GUEST_USER_SHSTK 4u
#define GUEST_USER_IBT	 8u
#define GUEST_ALL	 (GUEST_SHSTK | GUEST_IBT | GUEST_USER_SHSTK | GUEST_USER_IBT)
void cpu_cet(struct cpu *c, unsigned int features);

/*
 * Runs until the guest stops, and completes the stop: registers are those after a g_call(), and a following
 * KVM_RUN goes on. Faults of G_TRY() are dealt with inside.
 */
const struct stop *cpu_run(struct cpu *c);
/* Sets the result of the g_call() in which it stopped. */
void cpu_answer(struct cpu *c, uint64_t value);

/* It stopped in g_call(@number). */
bool cpu_called(const struct cpu *c, uint64_t number);

/*
 * A stop in words: "call 7", "#UD", "#CP(1)", "#PF(0x46)", "vector 128", "hlt", "shutdown", "fail entry",
 * "internal error", "debug", "mmio", "signal", "KVM_RUN: EINVAL", "exit 5".
 */
const char *stop_text(const struct cpu *c);
/* Runs, and checks that it stops as @want says. Returns false if not. */
bool check_stop(struct cpu *c, const char *want, const char *fmt, ...) __printf(3, 4);

/* These end the program if they fail. */
void cpu_get_regs(struct cpu *c, struct kvm_regs *regs);
void cpu_set_regs(struct cpu *c, const struct kvm_regs *regs);
void cpu_get_sregs(struct cpu *c, struct kvm_sregs *sregs);
void cpu_set_sregs(struct cpu *c, const struct kvm_sregs *sregs);
uint64_t cpu_rdmsr(struct cpu *c, uint32_t msr);
void cpu_wrmsr(struct cpu *c, uint32_t msr, uint64_t value);
uint64_t cpu_ssp(struct cpu *c);
void cpu_set_ssp(struct cpu *c, uint64_t ssp);
/* KVM_SET_GUEST_DEBUG: KVM_GUESTDBG_* */
void cpu_debug(struct cpu *c, uint32_t control);

#endif
