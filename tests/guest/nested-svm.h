/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Nested SVM for tests: what L1 does there, and what the VMM asks it to do. nested-guest.h has what VMX has, too. The
 * VMCB of L2, "vmcb12", is ordinary memory of L1: the VMM writes and reads it directly.
 */
#ifndef TESTS_GUEST_NESTED_SVM_H
#define TESTS_GUEST_NESTED_SVM_H

#include "nested-guest.h"

#ifndef __ASSEMBLER__
/* Where the VMCB has what (AMD64 Architecture Programmer's Manual, volume 2, appendix B). */
#define VMCB_EXCEPTIONS 0x008 /* 32 bits; the first word of the next field is its upper half here */
#define VMCB_INTERCEPTS 0x00c /* two words: INTERCEPT_* */
#define VMCB_MSRPM	0x048
#define VMCB_ASID	0x058
#define VMCB_EXIT	0x070
#define VMCB_INFO1	0x078
#define VMCB_INFO2	0x080
#define VMCB_NP		0x090 /* bit 0: nested paging */
#define VMCB_EVENTINJ	0x0a8
#define VMCB_N_CR3	0x0b0
#define VMCB_CLEAN	0x0c0
#define VMCB_SEG(n)	(0x400 + 0x10 * (n)) /* ES, CS, SS, DS, FS, GS, GDTR, LDTR, IDTR, TR */
#define VMCB_EFER	0x4d0
#define VMCB_CR4	0x548
#define VMCB_CR3	0x550
#define VMCB_CR0	0x558
#define VMCB_DR7	0x560
#define VMCB_DR6	0x568
#define VMCB_RFLAGS	0x570
#define VMCB_RIP	0x578
#define VMCB_RSP	0x5d8
#define VMCB_S_CET	0x5e0
#define VMCB_SSP	0x5e8
#define VMCB_ISST	0x5f0
#define VMCB_RAX	0x5f8
#define VMCB_STAR	0x600 /* VMLOAD loads this and the next one */
#define VMCB_LSTAR	0x608
#define VMCB_G_PAT	0x668

#define CLEAN_CET (1ull << 12)

#define INTERCEPT_INTR	   (1ull << 0)
#define INTERCEPT_NMI	   (1ull << 1)
#define INTERCEPT_INIT	   (1ull << 3)
#define INTERCEPT_CPUID	   (1ull << 18)
#define INTERCEPT_HLT	   (1ull << 24)
#define INTERCEPT_MSR	   (1ull << 28)
#define INTERCEPT_SHUTDOWN (1ull << 31)
#define INTERCEPT_VMRUN	   (1ull << 32)
#define INTERCEPT_VMMCALL  (1ull << 33)

/*
 * Exit codes; where_text() has them as "exit 0x81". 0x40 + N: exception N, 0x60: interrupt, 0x61: NMI, 0x72: CPUID,
 * 0x78: HLT, 0x7c: MSR, 0x7f: shutdown, 0x81: VMMCALL, 0x400: nested page fault
 */
#define EXIT_INIT    0x63ull
#define EXIT_INVALID (-1ull)

/* EVENTINJ: a valid exception with an error code. */
#define INJECT_EXCEPTION(v, error) (0x80000000ull | 0x800 | 0x300 | (v) | (uint64_t)(error) << 32)

#define MSR_VM_HSAVE_PA 0xc0010117
#define EFER_SVME	0x1000

#define VECTOR_IRQ 0x40 /* svm_interrupt()'s */

enum l1_kind {
	L1_RDMSR, /* a: MSR */
	L1_WRMSR, /* a: MSR, b: value */
	L1_STORE, /* a: address, b: value */
	L1_RUN,	  /* a: VMCB */
	L1_CHECK, /* calls and returns, and an exception: status FAULT(VECTOR_UD), result the number of calls */
};

/* A request and its answer. In the guest's memory. */
struct l1_mail {
	uint64_t kind, a, b;
	uint64_t status, result;
	uint64_t hsave, host; /* pages: VM_HSAVE_PA, and L1's VMSAVE */
	uint64_t l2_page;     /* L2's CPU page */
};

/* L2's general registers but RAX and RSP, which are in the VMCB: RCX, RDX, RBX, RBP, RSI, RDI, R8 to R15. */
enum { L2_RCX, L2_RDX, L2_RBX, L2_RBP, L2_RSI, L2_RDI, L2_R8, L2_GPRS = 14 };

/* @features: cpu_cet()'s, of L1; 0 is without CR4.CET. */
struct svm_config {
	unsigned int features;
	bool no_features; /* features is 0, and that is meant */
	bool npt;	  /* L1 uses nested paging */
	bool irqchip;
	void (*cpuid)(struct kvm_cpuid2 *cpuid, unsigned int cpu);
};

struct nested *svm_create(const struct svm_config *config);
/* For a machine that was restored: what the VMM knows and the guest does not comes from @old. */
struct nested *svm_of(struct machine *m, const struct nested *old);

/* One operation in L1; returns its status. *@result may be NULL. Ends the program if L1 does not return. */
uint64_t l1(struct nested *n, enum l1_kind kind, uint64_t a, uint64_t b, uint64_t *result);

/* A field of the current VMCB. */
uint64_t vmcb_get(struct nested *n, unsigned int at);
void vmcb_put(struct nested *n, unsigned int at, uint64_t value);
void vmcb_set(struct nested *n, unsigned int at, uint64_t bits);
struct triple vmcb_triple(struct nested *n);
void vmcb_put_triple(struct nested *n, const struct triple *t);

/*
 * A fresh VMCB for an L2 which calls function(a, b, c) on its own stacks. It has shadow stacks if @cet; if not, the
 * three fields have odd values nonetheless, and CR4.CET is 0. Nothing is clean.
 */
void svm_prepare(struct nested *n, bool cet, uint64_t (*function)(uint64_t, uint64_t, uint64_t), uint64_t a, uint64_t b,
		 uint64_t c);
uint64_t *svm_gpr(struct nested *n, unsigned int number);
/* L1 intercepts L2's reads or writes of an MSR, or not any more. */
void svm_intercept_msr(struct nested *n, uint32_t msr, bool read, bool write);

/* L2 exited by an instruction of @length bytes. */
void svm_skip(struct nested *n, unsigned int length);
/* An interrupt, or INIT, for the vCPU; needs an irqchip. */
void svm_interrupt(struct nested *n);
void svm_init(struct nested *n);

/* Checks: after the last exit L1 has its own state, and can use it. */
void l1_intact(struct nested *n, const char *name);

/* Checks: a nested page fault that KVM and the CPU see differently. */
void check_page_fault_bits(struct nested *n, const char *name);

/* L1: the first function, and nested-svm-entry.S. */
void svm_l1(void);
void svm_enter_l2(uint64_t vmcb, uint64_t host);
extern uint64_t svm_gprs[L2_GPRS];

/* L2: VMMCALL in an endless loop; SYSCALL; an instruction whose return address is wrong, and where it leads to. */
void svm_vmmcall(void);
void svm_syscall(void);
void svm_bad_return(void);
void svm_elsewhere(void);
/* @depth calls, then g_call(@number); their number. */
uint64_t svm_chain(uint64_t depth, uint64_t number);

/* Groups of cases: with CET ... */
void test_exits(void);
void test_shared(void);
void test_clean_bit(void);
void test_checks(void);
void test_msrpm(void);
void test_filter(void);
void test_syscall(void);
void test_state(void);
void test_vmm_writes(void);
void test_smi(void);
void test_init(void);
void test_stress(void);
/* ... and without. */
void test_without(void);

/* KVM is the kernel's own, which is not always right. */
extern bool native;
extern unsigned int stress_rounds, stress_seed;
#endif

#endif
