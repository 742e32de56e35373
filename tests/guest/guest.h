/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For code inside a guest of vmm.h, in C and (the constants) in assembler. Guest functions must not call libc, or
 * anything else that is not in this header, guest.S or the test itself.
 */
#ifndef TESTS_GUEST_GUEST_H
#define TESTS_GUEST_GUEST_H

/* Selectors. SYSCALL and SYSRET can use them: STAR = 0x0020000800000000. */
#define SEL_CODE64    0x08
#define SEL_DATA      0x10
#define SEL_CODE32    0x18
#define SEL_USER32    0x23
#define SEL_USER_DATA 0x2b
#define SEL_USER64    0x33
#define SEL_TSS	      0x38
#define GDT_FREE      0x48 /* from here to the end, the GDT is unused */

/*
 * The CPU page: the first page of what each vCPU has for itself; GS base points to it, at CPL0 and CPL3.
 * Behind it, one page each: stacks and shadow stacks (CPU_*_PAGE).
 */
#define CPU_TSS	      0x000
#define CPU_RSP0      (CPU_TSS + 4)
#define CPU_RSP(n)    (CPU_TSS + 4 + 8 * (n))
#define CPU_IST(n)    (CPU_TSS + 0x1c + 8 * (n))
#define CPU_SSP_TABLE 0x080 /* what INT_SSP_TAB points to: 8 entries */
#define CPU_USER_RSP  0x0c0 /* g_user() starts with this stack */
#define CPU_SAVED_SSP 0x0c8 /* g_user()'s: where its restore token is */
#define CPU_NUMBER    0x0d0 /* 0, 1, ... */
#define CPU_GDT	      0x100 /* room for 32 descriptors */
#define CPU_GDT_SIZE  0x100

#define CPU_STACK_PAGE	 1 /* two: what a guest starts on */
#define CPU_RSP0_PAGE	 3
#define CPU_IST1_PAGE	 4 /* every exception but #DF */
#define CPU_IST2_PAGE	 5 /* #DF */
#define CPU_USER_PAGE	 6 /* two */
#define CPU_SS_PAGE	 8 /* shadow stacks: what a guest starts on at CPL0 */
#define CPU_SS_PL0_PAGE	 9 /* entry from CPL3 */
#define CPU_SS_IST1_PAGE 10
#define CPU_SS_IST2_PAGE 11
#define CPU_SS_USER_PAGE 12 /* CPL3 */
#define CPU_PAGES	 13

/* The ports on which a guest speaks to the VMM. */
#define PORT_CALL      0xe9
#define PORT_EXCEPTION 0xea

/* Numbers of the calls that the library itself makes; a test's own numbers are lower. */
#define CALL_RETURNED 0x10000 /* the guest's first function returned */
/* Of hypervisors, for VMX and for SVM. */
#define CALL_IDLE 0x100 /* L1 waits for an operation */
#define CALL_EXIT 0x101 /* L1 right after an exit of L2, nothing done yet */
#define CALL_L2	  0x110 /* L2's own, and up */

/* int $VECTOR_USER_RETURN ends g_user(). */
#define VECTOR_USER_RETURN 0x80

/* The value of R9 at an instruction that may fault: R10 then has the address to continue at. */
#define TRY_MAGIC 0x5452594d41474943
/* The value of R9 after a fault. */
#define FAULT(vector) (0x100 + (vector))

#define MSR_U_CET	0x6a0
#define MSR_S_CET	0x6a2
#define MSR_PL0_SSP	0x6a4
#define MSR_PL1_SSP	0x6a5
#define MSR_PL2_SSP	0x6a6
#define MSR_PL3_SSP	0x6a7
#define MSR_INT_SSP_TAB 0x6a8
#define MSR_XSS		0xda0
#define MSR_EFER	0xc0000080
#define MSR_STAR	0xc0000081
#define MSR_LSTAR	0xc0000082
#define MSR_FS_BASE	0xc0000100
#define MSR_GS_BASE	0xc0000101

#define CET_SHSTK      0x001 /* SH_STK_EN */
#define CET_WRSS       0x002
#define CET_ENDBR      0x004
#define CET_SUPPRESS   0x400
#define CET_WAIT_ENDBR 0x800 /* the tracker waits for ENDBRANCH */

#define XSS_CET_U 0x0800
#define XSS_CET_S 0x1000

#define CR0_PE	       0x00000001u
#define CR0_MP	       0x00000002u
#define CR0_ET	       0x00000010u
#define CR0_NE	       0x00000020u
#define CR0_WP	       0x00010000u
#define CR0_AM	       0x00040000u
#define CR0_PG	       0x80000000u
#define CR4_PSE	       0x00000010u
#define CR4_PAE	       0x00000020u
#define CR4_MCE	       0x00000040u
#define CR4_OSFXSR     0x00000200u
#define CR4_OSXMMEXCPT 0x00000400u
#define CR4_VMXE       0x00002000u
#define CR4_OSXSAVE    0x00040000u
#define CR4_CET	       0x00800000u
#define EFER_SCE       0x001
#define EFER_LME       0x100
#define EFER_LMA       0x400
#define EFER_NXE       0x800

#define RFLAGS_FIXED 0x2
#define RFLAGS_IF    0x200
#define RFLAGS_IOPL3 0x3000
#define RFLAGS_VM    0x20000

#define VECTOR_DB  1
#define VECTOR_NMI 2
#define VECTOR_BP  3
#define VECTOR_UD  6
#define VECTOR_DF  8
#define VECTOR_GP  13
#define VECTOR_PF  14
#define VECTOR_CP  21

#define CP_RET		1
#define CP_ENDBRANCH	3
#define CP_RSTORSSP	4
#define CP_SETSSBSY	5
#define PF_SHADOW_STACK 0x40

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stdint.h>

/* What a handler in guest.S leaves for the VMM on the exception's stack. */
struct exception_frame {
	uint64_t ssp; /* of the handler; 0 without shadow stack */
	uint64_t cr2;
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* For guest functions that must exist as such: never inlined, never cloned. */
#define GUEST __attribute__((noinline, noclone, used))

/* Stops in the VMM with STOP_CALL; the result is the RAX that the VMM sets. Inline, so it needs no stack. */
static inline __attribute__((always_inline)) uint64_t g_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
	asm volatile("outl %%eax, %1" : "+a"(number) : "i"(PORT_CALL), "D"(a), "S"(b), "d"(c) : "memory");
	return number;
}

static inline void g_wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline uint64_t g_rdmsr(uint32_t msr)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return low | (uint64_t)high << 32;
}

/*
 * SYSCALL at CPL0, to the next instruction. On a shadow stack, which the guest has for this instruction only, it copies
 * SSP to PL3_SSP and sets it to 0. U_CET stays as it is.
 */
static inline void g_syscall(void)
{
	g_wrmsr(MSR_EFER, g_rdmsr(MSR_EFER) | EFER_SCE);
	g_wrmsr(MSR_STAR, (uint64_t)SEL_CODE64 << 32);
	asm volatile("lea 1f(%%rip), %%rax; mov %%rax, %%rdx; shr $32, %%rdx; mov %0, %%ecx; wrmsr\n"
		     "mov %2, %%eax; xor %%edx, %%edx; mov %1, %%ecx; wrmsr\n"
		     "syscall\n"
		     "1: xor %%eax, %%eax; xor %%edx, %%edx; mov %1, %%ecx; wrmsr\n"
		     :
		     : "i"(MSR_LSTAR), "i"(MSR_S_CET), "i"(CET_SHSTK)
		     : "rax", "rcx", "rdx", "r11", "memory");
}

/*
 * An instruction that may fault: asm volatile(G_TRY("instruction") : G_TRY_OUT(fault, error), ... : ... : "memory").
 * @fault becomes 0 or FAULT(vector), @error (uint64_t both) the error code. Any CPL; on shadow stacks too.
 */
#define G_TRY(insn)                              \
	"movabs $0x5452594d41474943, %%r9\n\t"   \
	"lea 667f(%%rip), %%r10\n\t" insn "\n\t" \
	"xor %%r9d, %%r9d\n\t"                   \
	"xor %%r10d, %%r10d\n"                   \
	"667:"
#define G_TRY_OUT(fault, error) "=&r"(fault), "=&r"(error)
/* Declares the two, bound to their registers. */
#define G_TRY_VARS(fault, error)           \
	register uint64_t fault asm("r9"); \
	register uint64_t error asm("r10")

/* KVM's prefix, needs kvm.force_emulation_prefix=1: it emulates the instruction behind it. */
#define G_FORCED "ud2\n\t.ascii \"kvm\"\n\t"

static inline uint64_t g_wrmsr_safe(uint32_t msr, uint64_t value)
{
	G_TRY_VARS(fault, error);

	asm volatile(G_TRY("wrmsr")
		     : G_TRY_OUT(fault, error)
		     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
		     : "memory");
	return fault;
}

static inline uint64_t g_rdmsr_safe(uint32_t msr, uint64_t *value)
{
	G_TRY_VARS(fault, error);
	uint32_t low, high;

	asm volatile(G_TRY("rdmsr") : G_TRY_OUT(fault, error), "=&a"(low), "=&d"(high) : "c"(msr) : "memory");
	*value = low | (uint64_t)high << 32;
	return fault;
}

static inline uint64_t g_cr0(void)
{
	uint64_t v;

	asm volatile("mov %%cr0, %0" : "=r"(v));
	return v;
}

static inline uint64_t g_cr4(void)
{
	uint64_t v;

	asm volatile("mov %%cr4, %0" : "=r"(v));
	return v;
}

static inline uint64_t g_set_cr4(uint64_t v)
{
	G_TRY_VARS(fault, error);

	asm volatile(G_TRY("mov %2, %%cr4") : G_TRY_OUT(fault, error) : "r"(v) : "memory");
	return fault;
}

static inline uint64_t g_set_cr0(uint64_t v)
{
	G_TRY_VARS(fault, error);

	asm volatile(G_TRY("mov %2, %%cr0") : G_TRY_OUT(fault, error) : "r"(v) : "memory");
	return fault;
}

/* 0 without shadow stack. */
static inline __attribute__((always_inline)) uint64_t g_rdssp(void)
{
	uint64_t ssp = 0;

	asm volatile("rdsspq %0" : "+r"(ssp));
	return ssp;
}

/* The number of the vCPU, starting at 0. */
static inline uint64_t g_cpu(void)
{
	uint64_t n;

	asm volatile("mov %%gs:%c1, %0" : "=r"(n) : "i"(CPU_NUMBER));
	return n;
}

/*
 * From CPL0: calls @function(@argument) at CPL3, on the user stack, and returns what it returned. With shadow stacks
 * at CPL0, S_CET must have CET_WRSS. While at CPL3, an interrupt or exception without IST comes in right below this
 * call's frame. Does not nest.
 */
uint64_t g_user(uint64_t (*function)(uint64_t), uint64_t argument);

/* guest.S */
void g_start(void);
extern char g_exception_stubs[], g_exception_end[]; /* 256 of 16 bytes, and what they share */
void g_user_return(void);
#endif

#endif
