/* SPDX-License-Identifier: GPL-2.0 */
/* Nested VMX for tests: what L1 does there, and what the VMM asks it to do. nested-guest.h has what SVM has, too. */
#ifndef TESTS_GUEST_NESTED_VMX_H
#define TESTS_GUEST_NESTED_VMX_H

#include "nested-guest.h"

/* Numbers of g_call(). */
#define CALL_EXIT32 0x102 /* CALL_EXIT in 32-bit mode */
#define CALL_FAIL32 0x103 /* VMLAUNCH failed in 32-bit mode */

#define VECTOR_L1 0x82

#define RUN_RESUME  1 /* VMRESUME, not VMLAUNCH */
#define RUN_OWN_SSP 2 /* HOST_SSP becomes what L1 needs to continue */

#define S_CET_NOTRACK 0x10 /* NO_TRACK_EN */

/* nested_chain()'s */
#define BOTTOM_NOTHING	  0
#define BOTTOM_CALL	  1
#define BOTTOM_VMCALL	  2
#define BOTTOM_BAD_RETURN 3
#define BOTTOM_BAD_JUMP	  4

/* VMCS fields. */
#define GUEST_SEL(n)	   (0x0800 + 2 * (n)) /* ES, CS, SS, DS, FS, GS, LDTR, TR */
#define HOST_SEL(n)	   (0x0c00 + 2 * (n)) /* the same but LDTR: TR is 6 */
#define MSR_BITMAP	   0x2004
#define EXIT_STORE_LIST	   0x2006
#define EXIT_LOAD_LIST	   0x2008
#define ENTRY_LOAD_LIST	   0x200a
#define EPT_POINTER	   0x201a
#define GUEST_PHYSICAL	   0x2400
#define LINK_POINTER	   0x2800
#define PIN_CONTROLS	   0x4000
#define PROC_CONTROLS	   0x4002
#define EXCEPTION_BITMAP   0x4004
#define EXIT_CONTROLS	   0x400c
#define EXIT_STORE_COUNT   0x400e
#define EXIT_LOAD_COUNT	   0x4010
#define ENTRY_CONTROLS	   0x4012
#define ENTRY_LOAD_COUNT   0x4014
#define ENTRY_INTR_INFO	   0x4016
#define ENTRY_ERROR_CODE   0x4018
#define ENTRY_LENGTH	   0x401a
#define PROC2_CONTROLS	   0x401e
#define INSTRUCTION_ERROR  0x4400
#define EXIT_REASON	   0x4402
#define EXIT_INTR_INFO	   0x4404
#define EXIT_ERROR_CODE	   0x4406
#define EXIT_LENGTH	   0x440c
#define GUEST_LIMIT(n)	   (0x4800 + 2 * (n))
#define GUEST_GDT_LIMIT	   0x4810
#define GUEST_IDT_LIMIT	   0x4812
#define GUEST_ACCESS(n)	   (0x4814 + 2 * (n))
#define CR0_MASK	   0x6000
#define CR4_MASK	   0x6002
#define CR4_SHADOW	   0x6006
#define EXIT_QUALIFICATION 0x6400
#define GUEST_CR0	   0x6800
#define GUEST_CR3	   0x6802
#define GUEST_CR4	   0x6804
#define GUEST_BASE(n)	   (0x6806 + 2 * (n))
#define GUEST_GDT_BASE	   0x6816
#define GUEST_IDT_BASE	   0x6818
#define GUEST_ACTIVITY	   0x4826
#define GUEST_DR7	   0x681a
#define GUEST_RSP	   0x681c
#define GUEST_RIP	   0x681e
#define GUEST_RFLAGS	   0x6820
#define GUEST_SYSENTER_EIP 0x6826
#define GUEST_S_CET	   0x6828
#define GUEST_SSP	   0x682a
#define GUEST_SSP_TABLE	   0x682c
#define HOST_CR0	   0x6c00
#define HOST_CR3	   0x6c02
#define HOST_CR4	   0x6c04
#define HOST_GS_BASE	   0x6c08
#define HOST_TR_BASE	   0x6c0a
#define HOST_GDT_BASE	   0x6c0c
#define HOST_IDT_BASE	   0x6c0e
#define HOST_RSP	   0x6c14
#define HOST_RIP	   0x6c16
#define HOST_S_CET	   0x6c18
#define HOST_SSP	   0x6c1a
#define HOST_SSP_TABLE	   0x6c1c

/* Controls. */
#define PIN_NMI_EXITING	     0x00000008u
#define PROC_BITMAPS	     0x10000000u /* use MSR bitmaps */
#define PROC_SECOND	     0x80000000u
#define PROC2_EPT	     0x00000002u
#define ENTRY_IA32E	     0x00000200u
#define ENTRY_LOAD_CET	     0x00100000u
#define EXIT_HOST64	     0x00000200u
#define EXIT_LOAD_CET	     0x10000000u
#define BASIC_ANY_ERROR_CODE (1ull << 56)

/* Exits, and errors of VMX instructions. */
#define REASON_EXCEPTION     0
#define REASON_VMCALL	     18
#define REASON_EPT_VIOLATION 48
#define VMFAIL_FIELD	     12

#define INTR_VALID	    0x80000000u
#define INTR_CODE	    0x00000800u /* with error code */
#define INTR_EXTERNAL	    0x000u
#define INTR_NMI	    0x200u
#define INTR_HARD	    0x300u /* hardware exception */
#define INTR_SOFT	    0x400u
#define INTR_SOFT_EXCEPTION 0x600u

#define MSR_FEATURE_CONTROL 0x3a
#define MSR_VMX_BASIC	    0x480
#define MSR_VMX_EXIT	    0x483
#define MSR_VMX_ENTRY	    0x484
#define MSR_VMX_CR4_FIXED1  0x489
#define MSR_VMX_TRUE_PIN    0x48d
#define MSR_VMX_TRUE_PROC   0x48e
#define MSR_VMX_TRUE_EXIT   0x48f
#define MSR_VMX_TRUE_ENTRY  0x490
#define MSR_VMX_LAST	    0x491

#ifndef __ASSEMBLER__
#include "host.h"

enum l1_kind {
	L1_RDMSR, /* a: MSR */
	L1_WRMSR, /* a: MSR, b: value */
	L1_CR0,	  /* a: value */
	L1_CR4,
	L1_RDSSP,
	L1_VMXON, /* the region of the machine */
	L1_VMXOFF,
	L1_VMCLEAR, /* a: address */
	L1_VMPTRLD,
	L1_VMREAD,    /* a: field */
	L1_VMWRITE,   /* a: field, b: value */
	L1_FIELDS,    /* those of the mail */
	L1_INIT,      /* VMCLEAR, VMPTRLD and all fields of the machine's VMCS */
	L1_RUN,	      /* a: RUN_* */
	L1_SKIP,      /* over L2's instruction that exited */
	L1_STORE,     /* a: address, b: value */
	L1_INVEPT,    /* all */
	L1_INTERRUPT, /* int $VECTOR_L1, which an IRET ends */
};

/* The result of an operation, or of an entry of L2. A fault in L1 is FAULT(vector). */
#define DONE	     0
#define FAIL_INVALID 1
#define FAIL_VALID   2

/* Read, or written with @value. */
struct l1_field {
	uint64_t field, write, value;
};

#define L1_FIELDS_MAX 24

/* A request and its answer, and what L1 needs to know about the machine. In the guest's memory. */
struct l1_mail {
	uint64_t kind, a, b;
	uint64_t status, result;
	uint64_t vmxon, vmcs, bitmap, eptp;
	uint64_t page, l2_page; /* CPU pages */
	uint64_t idt;
	uint64_t nfields;
	struct l1_field fields[L1_FIELDS_MAX];
};

/* L2's general registers, in this order: RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8 to R15. */
enum { L2_RAX, L2_RCX, L2_RDX, L2_RBX, L2_RBP, L2_RSI, L2_RDI, L2_R8, L2_GPRS = 15 };

struct nested_config {
	void (*cpuid)(struct kvm_cpuid2 *cpuid, unsigned int cpu);
	unsigned int features;		/* cpu_cet()'s, of L1 */
	uint32_t msr;			/* a VMX capability that the VMM changes, or 0 */
	uint64_t clear;			/* these bits of it */
	bool irqchip;			/* in KVM */
	void (*prepare)(struct cpu *c); /* before L1 runs for the first time */
};

/* VMX instructions are allowed, CR4.VMXE is set, VMXON is done. */
struct nested *nested_create(const struct nested_config *config);
/* The same, but L1 has done nothing yet. */
struct nested *nested_create_off(const struct nested_config *config);
/* KVM offers LOAD_CET to L1. */
bool nested_has_cet(void);

/* One operation in L1; returns its result. These end the program if L1 does not return. */
uint64_t l1(struct nested *n, enum l1_kind kind, uint64_t a, uint64_t b);
uint64_t vmread(struct nested *n, uint32_t field);
void vmwrite(struct nested *n, uint32_t field, uint64_t value);
/* Several at once, which takes much less time. */
void vmfields(struct nested *n, struct l1_field fields[], unsigned int nfields);

/*
 * A fresh VMCS for an L2 which calls function(a, b, c) on its own stacks. @features, cpu_cet()'s for CPL0, is what L2
 * gets by LOAD_CET; LOAD_CET on exit gives L1 its own values, @repair is off. With 0, nothing of CET but CR4.CET as L1
 * has it.
 */
void nested_prepare(struct nested *n, unsigned int features, uint64_t (*function)(uint64_t, uint64_t, uint64_t),
		    uint64_t a, uint64_t b, uint64_t c);
void set_bits(struct nested *n, uint32_t field, uint64_t bits);
void clear_bits(struct nested *n, uint32_t field, uint64_t bits);
/* nested_enter() sets HOST_SSP to L1's own; this leaves it as it is. */
enum place nested_enter_as_is(struct nested *n);
void nested_skip(struct nested *n);

struct triple triple_now(struct nested *n);
/* Which controls have LOAD_CET: "both", "entry", "exit" or "neither". */
const char *load_cet_text(bool entry, bool exit);

/* L1: the first function, and nested-vmx-entry.S. */
void nested_l1(void);
uint64_t nested_enter_l2(uint64_t flags);
void nested_exit(void);
void nested_exit_bare(void); /* the same code without an ENDBR */
void nested_launch32(void);
void nested_exit32(void);
void nested_l2_32(void);
/* L2: VMCALL in an endless loop. */
void nested_vmcall(void);
/* depth calls, then what @bottom says (BOTTOM_*), then as many returns: the result is their number. Any level. */
uint64_t nested_chain(uint64_t depth, uint64_t bottom, uint64_t number);
/* Where its faults happen. */
extern char nested_bad_return[], nested_bad_target[];

extern uint64_t nested_gprs[L2_GPRS];

/* KVM's count of this vCPU's exits. */
uint64_t exits_of(struct nested *n);

/* For struct nested_config. */
void hide_shstk(struct kvm_cpuid2 *cpuid, unsigned int cpu);
void hide_ibt(struct kvm_cpuid2 *cpuid, unsigned int cpu);
void hide_cet(struct kvm_cpuid2 *cpuid, unsigned int cpu);

/* Groups of cases: with CET ... */
void test_capabilities(void);
void test_vmxon(void);
void test_fields(void);
void test_triples(void);
void test_checks(void);
void test_checks32(void);
void test_injection(void);
void test_interception(void);
void test_msr_bitmap(void);
void test_snapshot(void);
void test_foreign(void);
void test_cpuid(void);
void test_pending(void);
void test_msr_lists(void);
void test_two(void);
void test_readers(void);
void test_crs(void);
void test_filter(void);
void test_syscall(void);
void test_smi(void);
void test_partial(void);
void test_no_ept(void);
void test_many(void);
void test_late(void);
/* ... and without. */
void test_capabilities_without(void);
void test_fields_without(void);
void test_entries_without(void);
void test_state_without(void);

/*
 * Files: test_snapshot() saves what it has to SAVE.state and SAVE.image, for another kernel; test_foreign() and
 * test_state_without() read LOAD.state and LOAD.image. NULL for none.
 */
extern const char *save_files, *load_files;

/* KVM is the kernel's own, which is not always right: results that may differ are facts, but not checks. */
extern bool native;
#endif

#endif
