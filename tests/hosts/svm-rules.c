// SPDX-License-Identifier: GPL-2.0
/*
 * svm-rules - a host module for svm-cet.t: VMRUN, #VMEXIT and the state of shadow stacks
 *
 * It executes VMRUN itself, without KVM, with interrupts off, and compares what the CPU does with AMD's rules. The
 * results are lines in the kernel log, "svm-rules: ok N - TEXT" or "svm-rules: not ok N - TEXT", and the last one is
 * "svm-rules: 1..N". It runs when it is loaded, and leaves the CPU as it was.
 *
 * The guest has 2 MB of memory, of which a few pages are there. Page N of pages[] is guest-physical and linear address
 * N << 12. It has no IDT except where a test says so; all exceptions are intercepted.
 */
#include <linux/io.h>
#include <linux/kdebug.h>
#include <linux/linkage.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <asm/asm.h>
#include <asm/msr.h>
#include <asm/processor.h>

#define SHSTK	  BIT_ULL(0)
#define WR_SHSTK  BIT_ULL(1)
#define CR4_CET	  BIT_ULL(23)
#define CR0_WP	  BIT_ULL(16)
#define U_CET	  0x6a0
#define S_CET	  0x6a2
#define PL0_SSP	  0x6a4
#define PL1_SSP	  0x6a5
#define PL2_SSP	  0x6a6
#define PL3_SSP	  0x6a7
#define ISST_ADDR 0x6a8
#define XSS	  0xda0
#define HSAVE_PA  0xc0010117
#define EFER_SVME BIT_ULL(12)
#define XSS_CET_U BIT_ULL(11)
#define INTR	  0x60
#define VMMCALL	  0x81
#define NPF	  0x400
#define EXCEPTION 0x40
#define INVALID	  (~0ULL)
#define NOT_CANON 0x0000800000000000ULL
#define CANONICAL 0xffff800000001000ULL
#define CLEAN_CET BIT(12)
/* Of a nested page fault */
#define NPF_P	  BIT_ULL(0)
#define NPF_W	  BIT_ULL(1)
#define NPF_U	  BIT_ULL(2)
#define NPF_SS	  BIT_ULL(6)
#define NPF_FINAL BIT_ULL(32)
#define PAGE_BITS 0x63 /* present, writable, accessed, dirty */
#define SS_BITS	  0x61 /* dirty and not writable: a shadow stack */
#define NESTED	  0x67

/* Offsets in a VMCB */
enum {
	INTERCEPT_EXCEPTIONS = 0x8,
	INTERCEPT1 = 0xc,
	INTERCEPT2 = 0x10,
	ASID = 0x58,
	INT_CTL = 0x60,
	EXITCODE = 0x70,
	EXITINFO1 = 0x78,
	EXITINFO2 = 0x80,
	EXITINTINFO = 0x88,
	NESTED_CTL = 0x90,
	EVENTINJ = 0xa8,
	NESTED_CR3 = 0xb0,
	CLEAN = 0xc0,
	NRIP = 0xc8,
	ES = 0x400,
	CS = 0x410,
	SS = 0x420,
	DS = 0x430,
	IDTR = 0x480,
	GDTR = 0x460,
	EFER = 0x4d0,
	CR4 = 0x548,
	CR3 = 0x550,
	CR0 = 0x558,
	DR7 = 0x560,
	DR6 = 0x568,
	RFLAGS = 0x570,
	RIP = 0x578,
	RSP = 0x5d8,
	SAVE_S_CET = 0x5e0,
	SAVE_SSP = 0x5e8,
	SAVE_ISST = 0x5f0,
	RAX = 0x5f8,
	PAT = 0x668
};

/* The guest's pages: four levels of tables, code, stack, two of a shadow stack, GDT and IDT, all the others */
enum { PML4 = 1, PDPT, PD, PT, CODE, STACK, SHADOW_LOW, SHADOW, TABLES, NPAGES };

#define AT(page)  ((u64)(page) << PAGE_SHIFT)
#define SSP_TOP	  (AT(SHADOW) + 0x800)
#define STACK_TOP (AT(STACK) + 0x800)

static u64 *pages[NPAGES];

/* Nested tables; the last one has the guest's pages. */
static u64 *nested[4];

/* VMCBs; the third is kept for a test of one that has never run. */
static void *vmcbs[3];

static void *hsave, *xsave;

/* A shadow stack for the host, and its writable mapping */
static u64 *host_shadow, *host_shadow_alias;

/* What svm_rules_vmrun() takes and gives; the offsets are in its code. */
struct run {
	u64 vmcb;
	u64 rbx, rcx, rdx, rsi;
	/* S_CET while VMRUN is executed, before and after. With SHSTK, SSP comes from the token at that address. */
	u64 host_s_cet, host_s_cet_after;
	u64 token, host_ssp, host_ssp_after;
	/* EFLAGS.IF */
	u64 host_if;
};

static struct run run;

asmlinkage void svm_rules_vmrun(struct run *r);

/* Not called: their addresses say where the guest's programs are in svm_rules_guest. */
typedef void guest_code(void);
asmlinkage guest_code svm_rules_guest, svm_rules_guest_end;
asmlinkage guest_code svm_rules_read, svm_rules_write, svm_rules_rdmsr, svm_rules_wrmsr;
asmlinkage guest_code svm_rules_call, svm_rules_called, svm_rules_ret, svm_rules_int3, svm_rules_after_int3;
asmlinkage guest_code svm_rules_int4, svm_rules_after_int4, svm_rules_spin, svm_rules_exit;

__asm__(".pushsection .text\n"
	".globl svm_rules_vmrun\n"
	".type svm_rules_vmrun, @function\n"
	"svm_rules_vmrun:\n"
	"	push %rbx\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rdi, %r15\n"
	"	clgi\n"
	"	mov $0x6a2, %ecx\n"
	"	mov 40(%r15), %eax\n"
	"	xor %edx, %edx\n"
	"	wrmsr\n"
	"	test $1, %al\n"
	"	jz 1f\n"
	"	mov 56(%r15), %r14\n"
	"	rstorssp (%r14)\n"
	"1:	xor %r13d, %r13d\n"
	"	rdsspq %r13\n"
	"	mov %r13, 64(%r15)\n"
	"	mov (%r15), %rax\n"
	"	mov 8(%r15), %rbx\n"
	"	mov 16(%r15), %rcx\n"
	"	mov 24(%r15), %rdx\n"
	"	mov 32(%r15), %rsi\n"
	"	cmpl $0, 80(%r15)\n"
	"	je 2f\n"
	"	sti\n"
	"2:	vmrun %rax\n"
	"	cli\n"
	"	mov %rbx, 8(%r15)\n"
	"	mov %rcx, 16(%r15)\n"
	"	mov %rdx, 24(%r15)\n"
	"	mov %rsi, 32(%r15)\n"
	"	mov $0x6a2, %ecx\n"
	"	rdmsr\n"
	"	mov %eax, 48(%r15)\n"
	"	mov %edx, 52(%r15)\n"
	"	xor %r13d, %r13d\n"
	"	rdsspq %r13\n"
	"	mov %r13, 72(%r15)\n"
	"	xor %eax, %eax\n"
	"	xor %edx, %edx\n"
	"	wrmsr\n"
	"	stgi\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %rbx\n" ASM_RET ".size svm_rules_vmrun, . - svm_rules_vmrun\n"
	".popsection\n");

/* The guest's programs. Each ends with a #VMEXIT. */
__asm__(".pushsection .rodata\n"
	"svm_rules_guest:\n"
	/* SSP in RBX, S_CET in RSI, ISST_ADDR in RDX:RCX's low halves put together in RDX */
	"svm_rules_read:\n"
	"	xor %ebx, %ebx\n"
	"	rdsspq %rbx\n"
	"	mov $0x6a2, %ecx\n"
	"	rdmsr\n"
	"	mov %eax, %esi\n"
	"	mov $0x6a8, %ecx\n"
	"	rdmsr\n"
	"	shl $32, %rdx\n"
	"	or %rax, %rdx\n"
	"	vmmcall\n"
	/* ISST_ADDR from RBX, S_CET from ESI */
	"svm_rules_write:\n"
	"	mov %rbx, %rdx\n"
	"	shr $32, %rdx\n"
	"	mov %ebx, %eax\n"
	"	mov $0x6a8, %ecx\n"
	"	wrmsr\n"
	"	xor %edx, %edx\n"
	"	mov %esi, %eax\n"
	"	mov $0x6a2, %ecx\n"
	"	wrmsr\n"
	"	vmmcall\n"
	"svm_rules_rdmsr:\n"
	"	rdmsr\n"
	"	vmmcall\n"
	"svm_rules_wrmsr:\n"
	"	wrmsr\n"
	"	vmmcall\n"
	"svm_rules_call:\n"
	/* Not to the next instruction: that would leave the shadow stack alone. */
	"	call svm_rules_exit\n"
	"svm_rules_called:\n"
	"	vmmcall\n"
	"svm_rules_ret:\n"
	"	ret\n"
	"svm_rules_int3:\n"
	"	int3\n"
	"svm_rules_after_int3:\n"
	"	vmmcall\n"
	"svm_rules_int4:\n"
	"	int	$4\n"
	"svm_rules_after_int4:\n"
	"	vmmcall\n"
	"svm_rules_spin:\n"
	"	dec %rbx\n"
	"	jnz svm_rules_spin\n"
	"svm_rules_exit:\n"
	"	vmmcall\n"
	"svm_rules_guest_end:\n"
	".popsection\n");

/* Debug traps that the host took while guests ran. */
static int traps;

static int trapped(struct notifier_block *self, unsigned long event, void *data)
{
	if (event != DIE_DEBUG)
		return NOTIFY_DONE;
	traps++;
	return NOTIFY_STOP;
}

static struct notifier_block trap_notifier = { .notifier_call = trapped };

static int points;

static void __printf(2, 3) check(bool good, const char *format, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, format);
	vscnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	pr_info("svm-rules: %sok %d - %s\n", good ? "" : "not ", ++points, text);
}

static void check_u64(u64 got, u64 want, const char *text)
{
	check(got == want, "%s", text);
	if (got != want)
		pr_info("svm-rules: # got %llx, expected %llx\n", got, want);
}

static u64 *q(void *vmcb, int offset)
{
	return vmcb + offset;
}

static u32 *d(void *vmcb, int offset)
{
	return vmcb + offset;
}

static void set_segment(void *vmcb, int offset, u16 selector, u16 attributes)
{
	*(u16 *)(vmcb + offset) = selector;
	*(u16 *)(vmcb + offset + 2) = attributes;
	*d(vmcb, offset + 4) = 0xffffffff;
	*q(vmcb, offset + 8) = 0;
}

static u64 guest_address(guest_code *code)
{
	return AT(CODE) + ((u64)code - (u64)svm_rules_guest);
}

/* A guest in 64-bit mode with a supervisor shadow stack */
static void init_vmcb(void *vmcb)
{
	memset(vmcb, 0, PAGE_SIZE);
	*d(vmcb, INTERCEPT_EXCEPTIONS) = ~0;
	*d(vmcb, INTERCEPT1) = BIT(0) | BIT(1) | BIT(31); /* INTR, NMI, shutdown */
	*d(vmcb, INTERCEPT2) = BIT(0) | BIT(1);		  /* VMRUN, VMMCALL */
	*q(vmcb, ASID) = 1 | BIT_ULL(32);		  /* flush all */
	*q(vmcb, INT_CTL) = BIT_ULL(24);		  /* V_INTR_MASKING */
	*q(vmcb, NESTED_CTL) = 1;
	*q(vmcb, NESTED_CR3) = __pa(nested[0]);
	set_segment(vmcb, ES, 0x10, 0xc93);
	set_segment(vmcb, CS, 0x8, 0xa9b);
	set_segment(vmcb, SS, 0x10, 0xc93);
	set_segment(vmcb, DS, 0x10, 0xc93);
	set_segment(vmcb, GDTR, 0, 0);
	*d(vmcb, GDTR + 4) = 0x1f;
	*q(vmcb, GDTR + 8) = AT(TABLES);
	set_segment(vmcb, IDTR, 0, 0);
	*d(vmcb, IDTR + 4) = 0xff;
	*q(vmcb, IDTR + 8) = AT(TABLES) + 0x100;
	*q(vmcb, EFER) = EFER_SVME | BIT_ULL(11) | BIT_ULL(10) | BIT_ULL(8); /* NXE, LMA, LME */
	*q(vmcb, CR4) = CR4_CET | BIT_ULL(5);				     /* PAE */
	*q(vmcb, CR3) = AT(PML4);
	*q(vmcb, CR0) = 0x80000031 | CR0_WP; /* PG, NE, ET, PE */
	*q(vmcb, DR7) = 0x400;
	*q(vmcb, DR6) = 0xffff0ff0;
	*q(vmcb, RFLAGS) = 2;
	*q(vmcb, RSP) = STACK_TOP;
	*q(vmcb, PAT) = 0x0007040600070406;
	*q(vmcb, SAVE_S_CET) = SHSTK;
	*q(vmcb, SAVE_SSP) = SSP_TOP;
	*q(vmcb, SAVE_ISST) = 0x5000;
}

/* Run a program of the guest; the exit code. The clean bits are as the caller left them. */
static u64 enter(void *vmcb, guest_code *code)
{
	*q(vmcb, RIP) = guest_address(code);
	*q(vmcb, EXITCODE) = 0x12345678;
	run.vmcb = __pa(vmcb);
	run.token = (u64)host_shadow + 0x800;
	host_shadow_alias[0x800 / 8] = (run.token + 8) | 1;
	svm_rules_vmrun(&run);
	return *q(vmcb, EXITCODE);
}

static void set_cet(void *vmcb, u64 s_cet, u64 ssp, u64 isst)
{
	*q(vmcb, SAVE_S_CET) = s_cet;
	*q(vmcb, SAVE_SSP) = ssp;
	*q(vmcb, SAVE_ISST) = isst;
}

/* What the guest read, and whether it ran */
static bool guest_read(u64 s_cet, u64 ssp, u64 isst)
{
	return run.rsi == s_cet && run.rbx == ssp && run.rdx == isst;
}

static bool has_cet(void *vmcb, u64 s_cet, u64 ssp, u64 isst)
{
	return *q(vmcb, SAVE_S_CET) == s_cet && *q(vmcb, SAVE_SSP) == ssp && *q(vmcb, SAVE_ISST) == isst;
}

static void test_cpuid(void)
{
	u32 eax, ebx, ecx, edx, i;
	bool good = true;
	u64 value;

	cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
	check(ecx & BIT(7), "CPUID: shadow stacks");
	check(!(edx & BIT(20)), "CPUID: no indirect branch tracking");
	cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx);
	check((ecx & 0x1800) == 0x1800, "CPUID: XSS bits 11 and 12");
	check(eax & BIT(3), "CPUID: XSAVES");
	cpuid_count(0xd, 11, &eax, &ebx, &ecx, &edx);
	check(eax == 16 && (ecx & 1), "CPUID: CET_U has 16 bytes, and is of XSS");
	cpuid_count(0xd, 12, &eax, &ebx, &ecx, &edx);
	check(eax == 24 && (ecx & 1), "CPUID: CET_S has 24 bytes, and is of XSS");
	cpuid(0x8000000a, &eax, &ebx, &ecx, &edx);
	check(edx & BIT(0), "CPUID: nested paging");
	check(edx & BIT(3), "CPUID: NRIP");
	check(edx & BIT(5), "CPUID: clean bits");
	check(!(edx & BIT(19)), "CPUID: no supervisor shadow stack check");
	cpuid(1, &eax, &ebx, &ecx, &edx);
	check(((eax >> 8 & 15) + (eax >> 20 & 255)) == 0x19, "CPUID: family 19h");

	for (i = 2; i < 64; i++)
		good &= wrmsrl_safe(U_CET, BIT_ULL(i)) && wrmsrl_safe(S_CET, BIT_ULL(i));
	check(good, "WRMSR: bits 2 to 63 of U_CET and S_CET fault");
	check(!wrmsrl_safe(U_CET, SHSTK | WR_SHSTK) && !rdmsrl_safe(U_CET, &value) && value == 3,
	      "WRMSR: bits 0 and 1 of U_CET can be set");
	wrmsrl(U_CET, 0);
	check(!wrmsrl_safe(S_CET, WR_SHSTK) && !rdmsrl_safe(S_CET, &value) && value == 2, "WRMSR: bit 1 of S_CET, too");
	wrmsrl(S_CET, 0);

	rdmsrl(MSR_IA32_SYSENTER_ESP, value);
	check(!wrmsrl_safe(MSR_IA32_SYSENTER_ESP, NOT_CANON | 0x12345678), "WRMSR: SYSENTER_ESP is not checked");
	i = 0;
	rdmsrl(MSR_IA32_SYSENTER_ESP, value);
	check_u64(value, 0x12345678, "WRMSR: SYSENTER_ESP has 32 bits");
}

/* Whether XRSTORS of that U_CET faults */
static bool xrstors_faults(u64 u_cet)
{
	u64 *area = xsave;
	int fault = 1;

	memset(area, 0, PAGE_SIZE);
	area[512 / 8] = XSS_CET_U;
	area[520 / 8] = XSS_CET_U | BIT_ULL(63);
	area[576 / 8] = u_cet;
	asm volatile("1: xrstors64 (%[area])\n"
		     "	mov $0, %[fault]\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)
		     : [fault] "+r"(fault)
		     : [area] "r"(area), "a"((u32)XSS_CET_U), "d"(0)
		     : "memory");
	return fault;
}

static void test_xrstors(void)
{
	u64 xss, value;
	int i;
	bool good = true;

	rdmsrl(XSS, xss);
	wrmsrl(XSS, xss | XSS_CET_U);
	check(!xrstors_faults(WR_SHSTK), "XRSTORS: U_CET with bit 1");
	rdmsrl(U_CET, value);
	check_u64(value, WR_SHSTK, "XRSTORS: ... is loaded");
	for (i = 2; i < 64; i++)
		good &= xrstors_faults(BIT_ULL(i));
	check(good, "XRSTORS: bits 2 to 63 of U_CET fault");
	wrmsrl(U_CET, 0);
	wrmsrl(XSS, xss);
}

static void test_swap(void)
{
	void *vmcb = vmcbs[0];
	u64 value;

	init_vmcb(vmcb);
	run.host_s_cet = WR_SHSTK;
	wrmsrl(ISST_ADDR, 0x7777000);
	check_u64(enter(vmcb, svm_rules_read), VMMCALL, "swap: a guest with a shadow stack runs");
	check_u64(run.rsi, SHSTK, "VMRUN loads S_CET");
	check_u64(run.rbx, SSP_TOP, "VMRUN loads SSP");
	check_u64(run.rdx, 0x5000, "VMRUN loads ISST_ADDR");
	check_u64(run.host_s_cet_after, WR_SHSTK, "#VMEXIT loads the host's S_CET");
	rdmsrl(ISST_ADDR, value);
	check_u64(value, 0x7777000, "#VMEXIT loads the host's ISST_ADDR");
	check(has_cet(vmcb, SHSTK, SSP_TOP, 0x5000), "#VMEXIT saves what the guest did not change");

	run.rbx = CANONICAL;
	run.rsi = SHSTK | WR_SHSTK;
	check_u64(enter(vmcb, svm_rules_write), VMMCALL, "swap: the guest writes S_CET and ISST_ADDR");
	check_u64(*q(vmcb, SAVE_S_CET), 3, "#VMEXIT saves S_CET");
	check_u64(*q(vmcb, SAVE_ISST), CANONICAL, "#VMEXIT saves ISST_ADDR");
	check_u64(run.host_s_cet_after, WR_SHSTK, "#VMEXIT loads the host's S_CET after that");
	rdmsrl(ISST_ADDR, value);
	check_u64(value, 0x7777000, "#VMEXIT loads the host's ISST_ADDR after that");

	check_u64(enter(vmcb, svm_rules_call), VMMCALL, "swap: the guest calls");
	check_u64(*q(vmcb, SAVE_SSP), SSP_TOP - 8, "#VMEXIT saves SSP");
	check_u64(pages[SHADOW][0x7f8 / 8], guest_address(svm_rules_called),
		  "the return address is on the shadow stack");

	run.host_s_cet = SHSTK;
	check_u64(enter(vmcb, svm_rules_call), VMMCALL, "swap: the same with a shadow stack in the host");
	check_u64(run.host_ssp, run.token, "the host has one");
	check_u64(run.host_ssp_after, run.host_ssp, "#VMEXIT loads the host's SSP");
	check_u64(run.host_s_cet_after, SHSTK, "#VMEXIT loads the host's S_CET, with SH_STK_EN");
	check_u64(*q(vmcb, SAVE_SSP), SSP_TOP - 16, "#VMEXIT saves the guest's SSP");
	run.host_s_cet = 0;

	/* Without CR4.CET the state is swapped as well. */
	init_vmcb(vmcb);
	*q(vmcb, CR4) &= ~CR4_CET;
	set_cet(vmcb, 3, 0x4444, 0x8888);
	check_u64(enter(vmcb, svm_rules_read), VMMCALL, "swap: a guest without CR4.CET runs");
	check(run.rsi == 3 && run.rdx == 0x8888, "VMRUN loads S_CET and ISST_ADDR without CR4.CET");
	check(has_cet(vmcb, 3, 0x4444, 0x8888), "#VMEXIT saves the three without CR4.CET");
	wrmsrl(ISST_ADDR, 0);
}

static void test_not_swapped(void)
{
	static const u32 msrs[] = { U_CET, PL0_SSP, PL1_SSP, PL2_SSP, PL3_SSP };
	void *vmcb = vmcbs[0];
	u64 value;
	int i;

	init_vmcb(vmcb);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		u64 before = msrs[i] == U_CET ? WR_SHSTK : 0x1000 * i;
		u64 after = msrs[i] == U_CET ? SHSTK : 0x100000 + 0x1000 * i;

		wrmsrl(msrs[i], before);
		run.rcx = msrs[i];
		enter(vmcb, svm_rules_rdmsr);
		check_u64(*q(vmcb, RAX) | run.rdx << 32, before, "the guest has the host's U_CET or PLx_SSP");
		run.rcx = msrs[i];
		run.rdx = 0;
		*q(vmcb, RAX) = after;
		enter(vmcb, svm_rules_wrmsr);
		rdmsrl(msrs[i], value);
		check_u64(value, after, "the host has the guest's U_CET or PLx_SSP");
		wrmsrl(msrs[i], 0);
	}
	run.rcx = U_CET;
	run.rdx = 0;
	*q(vmcb, RAX) = BIT(2);
	check_u64(enter(vmcb, svm_rules_wrmsr), EXCEPTION + 13, "the guest's WRMSR of U_CET with bit 2 faults");
	run.rcx = S_CET;
	run.rdx = 0;
	*q(vmcb, RAX) = BIT(2);
	check_u64(enter(vmcb, svm_rules_wrmsr), EXCEPTION + 13, "the guest's WRMSR of S_CET with bit 2 faults");
}

static void test_vmload(void)
{
	void *vmcb = vmcbs[0];
	u64 pa = __pa(vmcb), s_cet, isst;

	init_vmcb(vmcb);
	wrmsrl(S_CET, WR_SHSTK);
	wrmsrl(ISST_ADDR, 0x9000);
	set_cet(vmcb, 0x1111, 0x2222, 0x3333);
	asm volatile("vmsave %%rax" : : "a"(pa) : "memory");
	check(has_cet(vmcb, 0x1111, 0x2222, 0x3333), "VMSAVE has no CET state");
	asm volatile("vmload %%rax" : : "a"(pa) : "memory");
	rdmsrl(S_CET, s_cet);
	rdmsrl(ISST_ADDR, isst);
	check(s_cet == WR_SHSTK && isst == 0x9000, "VMLOAD has no CET state");
	wrmsrl(S_CET, 0);
	wrmsrl(ISST_ADDR, 0);
}

static void test_clean(void)
{
	void *a = vmcbs[0], *fresh = vmcbs[2];

	/* Nothing is remembered of a VMCB that did not run. */
	init_vmcb(fresh);
	*d(fresh, CLEAN) = CLEAN_CET;
	set_cet(fresh, SHSTK, SSP_TOP - 64, 0x1000);
	enter(fresh, svm_rules_read);
	check(guest_read(SHSTK, SSP_TOP - 64, 0x1000), "clean bit: a new VMCB is read");

	init_vmcb(a);
	enter(a, svm_rules_read);
	set_cet(a, 3, SSP_TOP - 8, 0x6000);
	*d(a, CLEAN) = ~CLEAN_CET;
	enter(a, svm_rules_read);
	check(guest_read(3, SSP_TOP - 8, 0x6000), "clean bit clear: changes are seen, whatever the others are");

	*d(a, CLEAN) = CLEAN_CET;
	set_cet(a, SHSTK, SSP_TOP - 8, 0x6000);
	enter(a, svm_rules_read);
	check(guest_read(3, SSP_TOP - 8, 0x6000), "clean bit set: S_CET is not seen");
	check(has_cet(a, 3, SSP_TOP - 8, 0x6000), "... and what is saved is what was used");
	set_cet(a, 3, SSP_TOP, 0x6000);
	enter(a, svm_rules_read);
	check(guest_read(3, SSP_TOP - 8, 0x6000), "clean bit set: SSP is not seen");
	set_cet(a, 3, SSP_TOP - 8, 0x7000);
	enter(a, svm_rules_read);
	check(guest_read(3, SSP_TOP - 8, 0x6000), "clean bit set: ISST_ADDR is not seen");
	*d(a, CLEAN) = 0;
	set_cet(a, SHSTK, SSP_TOP, 0x7000);
	enter(a, svm_rules_read);
	check(guest_read(SHSTK, SSP_TOP, 0x7000), "clean bit clear again: all are seen");

	/* What a guest changes needs no mark. */
	run.rbx = 0xa000;
	run.rsi = 3;
	*d(a, CLEAN) = CLEAN_CET;
	enter(a, svm_rules_write);
	enter(a, svm_rules_call);
	enter(a, svm_rules_read);
	check(guest_read(3, SSP_TOP - 8, 0xa000), "clean bit set: the guest's own changes stay");
}

/* The state of each VMCB is its own. */
static void test_two_vmcbs(void)
{
	void *a = vmcbs[0], *b = vmcbs[1];

	init_vmcb(a);
	set_cet(a, 3, SSP_TOP - 8, 0xa000);
	enter(a, svm_rules_read);
	*d(a, CLEAN) = CLEAN_CET;
	init_vmcb(b);
	set_cet(b, SHSTK, SSP_TOP - 32, 0xb000);
	enter(b, svm_rules_read);
	*d(b, CLEAN) = CLEAN_CET;
	enter(a, svm_rules_read);
	check(guest_read(3, SSP_TOP - 8, 0xa000), "two VMCBs: the first keeps its state");
	enter(b, svm_rules_read);
	check(guest_read(SHSTK, SSP_TOP - 32, 0xb000), "two VMCBs: the second, too");
	set_cet(a, SHSTK, SSP_TOP, 0xc000);
	set_cet(b, 3, SSP_TOP - 8, 0xd000);
	enter(a, svm_rules_read);
	check(guest_read(3, SSP_TOP - 8, 0xa000), "two VMCBs: changes of the first are not seen");
	enter(b, svm_rules_read);
	check(guest_read(SHSTK, SSP_TOP - 32, 0xb000), "two VMCBs: nor of the second");
	set_cet(a, SHSTK, SSP_TOP, 0xc000);
	*d(a, CLEAN) = 0;
	enter(a, svm_rules_read);
	check(guest_read(SHSTK, SSP_TOP, 0xc000), "two VMCBs: one is marked, and its changes are seen");
	set_cet(b, 3, SSP_TOP - 8, 0xd000);
	enter(b, svm_rules_read);
	check(guest_read(SHSTK, SSP_TOP - 32, 0xb000), "two VMCBs: those of the other are not");
	*d(b, CLEAN) = 0;
}

/* VMRUN refuses it, and changes neither the VMCB nor the host. */
static bool refused(u64 s_cet, u64 ssp, u64 isst)
{
	void *vmcb = vmcbs[0];

	set_cet(vmcb, s_cet, ssp, isst);
	*d(vmcb, CLEAN) = 0;
	run.host_s_cet = SHSTK;
	enter(vmcb, svm_rules_exit);
	run.host_s_cet = 0;
	return *q(vmcb, EXITCODE) == INVALID && run.host_ssp == run.token && run.host_ssp_after == run.token &&
	       run.host_s_cet_after == SHSTK && has_cet(vmcb, s_cet, ssp, isst);
}

static bool accepted(u64 s_cet, u64 ssp, u64 isst)
{
	set_cet(vmcbs[0], s_cet, ssp, isst);
	*d(vmcbs[0], CLEAN) = 0;
	return enter(vmcbs[0], svm_rules_exit) == VMMCALL;
}

static void test_checks(void)
{
	void *vmcb = vmcbs[0];
	bool good = true, without = true;
	int i;

	for (i = 2; i < 64; i++) {
		init_vmcb(vmcb);
		good &= refused(BIT_ULL(i), SSP_TOP, 0);
		init_vmcb(vmcb);
		*q(vmcb, CR4) &= ~CR4_CET;
		without &= refused(BIT_ULL(i), SSP_TOP, 0);
	}
	check(good, "VMRUN refuses bits 2 to 63 of S_CET");
	check(without, "VMRUN refuses them without CR4.CET");
	init_vmcb(vmcb);
	check(accepted(3, SSP_TOP, 0), "VMRUN accepts bits 0 and 1 of S_CET");
	init_vmcb(vmcb);
	check(refused(SHSTK, NOT_CANON, 0), "VMRUN refuses an SSP that is not canonical");
	init_vmcb(vmcb);
	check(refused(SHSTK, SSP_TOP + 1, 0), "VMRUN refuses an SSP with bit 0");
	init_vmcb(vmcb);
	check(refused(SHSTK, SSP_TOP + 2, 0), "VMRUN refuses an SSP with bit 1");
	init_vmcb(vmcb);
	check(accepted(SHSTK, SSP_TOP + 4, 0), "VMRUN accepts an SSP with bit 2");
	init_vmcb(vmcb);
	check(accepted(SHSTK, 0xfffffffffffffff8, 0), "VMRUN accepts a high SSP");
	init_vmcb(vmcb);
	check(refused(SHSTK, SSP_TOP, NOT_CANON), "VMRUN refuses an ISST_ADDR that is not canonical");
	init_vmcb(vmcb);
	check(accepted(SHSTK, SSP_TOP, CANONICAL | 7), "VMRUN accepts any canonical ISST_ADDR");
	init_vmcb(vmcb);
	*q(vmcb, CR0) &= ~CR0_WP;
	check(refused(SHSTK, SSP_TOP, 0), "VMRUN refuses CR4.CET without CR0.WP");
	init_vmcb(vmcb);
	*q(vmcb, CR0) &= ~CR0_WP;
	*q(vmcb, CR4) &= ~CR4_CET;
	check(accepted(SHSTK, SSP_TOP, 0), "VMRUN accepts that without CR4.CET");

	/* A refused VMRUN does not change what is cached: with the clean bit, VMRUN checks the accepted values. */
	init_vmcb(vmcb);
	accepted(SHSTK, SSP_TOP, 0x1000);
	check(refused(BIT(2), SSP_TOP, 0x1000), "VMRUN refuses a VMCB that it has accepted before");
	*d(vmcb, CLEAN) = CLEAN_CET;
	enter(vmcb, svm_rules_read);
	check(guest_read(SHSTK, SSP_TOP, 0x1000), "a refused VMCB does not change what is remembered");
	*d(vmcb, CLEAN) = 0;
}

static void set_present(int page, bool present)
{
	nested[3][page] = present ? __pa(pages[page]) | NESTED : 0;
}

static void test_nested_faults(void)
{
	void *vmcb = vmcbs[0];

	init_vmcb(vmcb);
	set_present(STACK, false);
	check_u64(enter(vmcb, svm_rules_call), NPF, "CALL: the stack is missing in the nested tables");
	check_u64(*q(vmcb, EXITINFO1), NPF_W | NPF_U | NPF_FINAL, "... an ordinary write");
	check(*q(vmcb, SAVE_SSP) == SSP_TOP && *q(vmcb, RSP) == STACK_TOP, "... SSP and RSP are those before the CALL");
	set_present(STACK, true);

	init_vmcb(vmcb);
	set_present(SHADOW, false);
	check_u64(enter(vmcb, svm_rules_call), NPF, "CALL: the shadow stack is missing in the nested tables");
	check_u64(*q(vmcb, EXITINFO1), NPF_W | NPF_U | NPF_SS | NPF_FINAL, "... a write to a shadow stack: bit 6");
	check_u64(*q(vmcb, EXITINFO2) & PAGE_MASK, AT(SHADOW), "... at its address");
	check(*q(vmcb, SAVE_SSP) == SSP_TOP && *q(vmcb, RSP) == STACK_TOP, "... SSP and RSP are those before the CALL");
	init_vmcb(vmcb);
	check_u64(enter(vmcb, svm_rules_ret), NPF, "RET: the shadow stack is missing in the nested tables");
	check_u64(*q(vmcb, EXITINFO1), NPF_U | NPF_SS | NPF_FINAL, "... a read of a shadow stack: bit 6");
	check(*q(vmcb, SAVE_SSP) == SSP_TOP && *q(vmcb, RSP) == STACK_TOP, "... SSP and RSP are those before the RET");
	nested[3][SHADOW] = __pa(pages[SHADOW]) | (NESTED & ~2);
	init_vmcb(vmcb);
	check_u64(enter(vmcb, svm_rules_call), NPF, "CALL: the shadow stack is read-only in the nested tables");
	check_u64(*q(vmcb, EXITINFO1), NPF_P | NPF_W | NPF_U | NPF_SS | NPF_FINAL, "... present, write, bit 6");
	set_present(SHADOW, true);
	*q(vmcb, CLEAN) = 0;
	check_u64(enter(vmcb, svm_rules_call), VMMCALL, "CALL: it is there again");
	check(*q(vmcb, SAVE_SSP) == SSP_TOP - 8 && *q(vmcb, RSP) == STACK_TOP - 8, "... SSP and RSP moved by 8");
}

/* RET pops the shadow stack before it compares. */
static void test_bad_ret(void)
{
	void *vmcb = vmcbs[0];

	init_vmcb(vmcb);
	pages[STACK][0x800 / 8] = guest_address(svm_rules_exit);
	pages[SHADOW][0x800 / 8] = guest_address(svm_rules_read);
	check_u64(enter(vmcb, svm_rules_ret), EXCEPTION + 21, "RET to another address: #CP is intercepted");
	check_u64(*q(vmcb, EXITINFO1), 1, "... a near RET");
	check_u64(*q(vmcb, SAVE_SSP), SSP_TOP, "... SSP is that before the RET");
	check_u64(*q(vmcb, RSP), STACK_TOP, "... RSP, too");
}

/* An event pushes three times, here beyond the start of a page after the first time. */
static void test_half_pushed(void)
{
	void *vmcb = vmcbs[0];

	init_vmcb(vmcb);
	*d(vmcb, INTERCEPT_EXCEPTIONS) &= ~BIT(3);
	*q(vmcb, SAVE_SSP) = AT(SHADOW) + 8;
	set_present(SHADOW_LOW, false);
	check_u64(enter(vmcb, svm_rules_int3), NPF, "INT3: the second push finds no shadow stack");
	check_u64(*q(vmcb, EXITINFO1), NPF_W | NPF_U | NPF_SS | NPF_FINAL, "... a write to a shadow stack: bit 6");
	check_u64(*q(vmcb, EXITINFO2) & PAGE_MASK, AT(SHADOW_LOW), "... at its address");
	check_u64(*q(vmcb, SAVE_SSP), AT(SHADOW) + 8, "... SSP is that before the INT3");
	check_u64(*q(vmcb, RIP), guest_address(svm_rules_int3), "... RIP, too");
	check_u64(*d(vmcb, EXITINTINFO), 0x80000303, "... and EXITINTINFO has an exception");

	/* The same with a software interrupt, which loads another CS before that */
	init_vmcb(vmcb);
	*q(vmcb, SAVE_SSP) = AT(SHADOW) + 8;
	check_u64(enter(vmcb, svm_rules_int4), NPF, "INT 4: the second push finds no shadow stack");
	check_u64(*d(vmcb, EXITINTINFO), 0x80000404, "... EXITINTINFO has a software interrupt");
	check_u64(*q(vmcb, NRIP), guest_address(svm_rules_after_int4), "... NRIP is that of the INT 4");
	check_u64(*q(vmcb, RIP), guest_address(svm_rules_int4), "... RIP is that before it");
	check_u64(*(u16 *)(vmcb + CS), 8, "... CS, too");
	check_u64(*q(vmcb, SAVE_SSP), AT(SHADOW) + 8, "... SSP, too");
	set_present(SHADOW_LOW, true);
	*d(vmcb, EVENTINJ) = *d(vmcb, EXITINTINFO);
	check_u64(enter(vmcb, svm_rules_int4), VMMCALL, "... injected again, it is delivered");
	check_u64(*q(vmcb, SAVE_SSP), AT(SHADOW) - 16, "... and has pushed three times");
	check_u64(pages[SHADOW_LOW][0xff8 / 8], guest_address(svm_rules_after_int4),
		  "... the address behind the INT 4");
	check_u64(pages[STACK][0x7d8 / 8], guest_address(svm_rules_after_int4), "... on the stack, too");
	check_u64(*(u16 *)(vmcb + CS), 0x18, "... and CS is the gate's");
}

static void test_single_steps(void)
{
	void *vmcb = vmcbs[0];

	init_vmcb(vmcb);
	*q(vmcb, RFLAGS) = 0x102;
	run.rbx = 2;
	check_u64(enter(vmcb, svm_rules_spin), EXCEPTION + 1, "a single step: #DB is intercepted");
	check_u64(*q(vmcb, DR6) & 0xf00f, 0x4000, "... and DR6.BS is set");

	/* One that does not come to its end */
	init_vmcb(vmcb);
	*q(vmcb, RFLAGS) = 0x102;
	check_u64(enter(vmcb, svm_rules_exit), VMMCALL, "a single step of an intercepted instruction");
	check_u64(traps, 0, "... does not trap in the host");
}

static void test_injection(void)
{
	void *vmcb = vmcbs[0];
	u64 *stack = pages[STACK], *shadow = pages[SHADOW];
	int i;

	/* INT3 as an exception, INT 3 as a software interrupt */
	for (i = 3; i <= 4; i++) {
		init_vmcb(vmcb);
		*d(vmcb, INTERCEPT_EXCEPTIONS) &= ~BIT(3);
		*d(vmcb, EVENTINJ) = BIT(31) | i << 8 | 3;
		*q(vmcb, NRIP) = guest_address(svm_rules_after_int3);
		stack[0x7d8 / 8] = 0;
		shadow[0x7f0 / 8] = 0;
		check_u64(enter(vmcb, svm_rules_int3), VMMCALL, "an injected INT3 or INT 3 is delivered");
		check_u64(*d(vmcb, EVENTINJ), 0, "... the exit clears EVENTINJ");
		check_u64(stack[0x7d8 / 8], *q(vmcb, NRIP) ? guest_address(svm_rules_after_int3) : 0,
			  "... and returns to NRIP");
		check_u64(shadow[0x7f0 / 8], guest_address(svm_rules_after_int3), "... on the shadow stack, too");
		check_u64(*q(vmcb, SAVE_SSP), SSP_TOP - 24, "... which has three more entries");
	}
}

static void test_interrupts(void)
{
	void *vmcb = vmcbs[0];

	init_vmcb(vmcb);
	run.host_if = 1;
	run.rbx = 100 * 1000 * 1000;
	check_u64(enter(vmcb, svm_rules_spin), INTR, "an interrupt ends a guest with IF=0, if the host has IF=1");
	run.host_if = 0;
	check(run.rbx, "... before it has counted to its end");

	/* It is still pending. */
	init_vmcb(vmcb);
	*q(vmcb, RFLAGS) = 0x202;
	run.rbx = 1000;
	check_u64(enter(vmcb, svm_rules_spin), VMMCALL, "it does not end a guest with IF=1, if the host has IF=0");
}

static void run_tests(void)
{
	u64 efer, u_cet, s_cet, isst, pl[4], sysenter, old_hsave, cr4;
	unsigned long flags;
	int i;

	if (register_die_notifier(&trap_notifier))
		return;
	local_irq_save(flags);
	rdmsrl(MSR_EFER, efer);
	rdmsrl(HSAVE_PA, old_hsave);
	rdmsrl(U_CET, u_cet);
	rdmsrl(S_CET, s_cet);
	rdmsrl(ISST_ADDR, isst);
	rdmsrl(MSR_IA32_SYSENTER_ESP, sysenter);
	for (i = 0; i < 4; i++)
		rdmsrl(PL0_SSP + i, pl[i]);
	cr4 = __read_cr4();
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(HSAVE_PA, __pa(hsave));
	/* The kernel's own function would complain. */
	asm volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_CET) : "memory");

	test_cpuid();
	test_xrstors();
	test_swap();
	test_not_swapped();
	test_vmload();
	test_clean();
	test_two_vmcbs();
	test_checks();
	test_nested_faults();
	test_bad_ret();
	test_half_pushed();
	test_single_steps();
	test_injection();
	test_interrupts();

	asm volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
	wrmsrl(U_CET, u_cet);
	wrmsrl(S_CET, s_cet);
	wrmsrl(ISST_ADDR, isst);
	wrmsrl(MSR_IA32_SYSENTER_ESP, sysenter);
	for (i = 0; i < 4; i++)
		wrmsrl(PL0_SSP + i, pl[i]);
	wrmsrl(HSAVE_PA, old_hsave);
	wrmsrl(MSR_EFER, efer);
	local_irq_restore(flags);
	unregister_die_notifier(&trap_notifier);
	pr_info("svm-rules: 1..%d\n", points);
}

static void init_guest(void)
{
	u64 *tables = pages[TABLES];
	int i;

	for (i = 0; i < 3; i++)
		nested[i][0] = __pa(nested[i + 1]) | NESTED;
	for (i = 1; i < NPAGES; i++) {
		set_present(i, true);
		pages[PT][i] = AT(i) | (i == SHADOW || i == SHADOW_LOW ? SS_BITS : PAGE_BITS);
	}
	pages[PML4][0] = AT(PDPT) | PAGE_BITS;
	pages[PDPT][0] = AT(PD) | PAGE_BITS;
	pages[PD][0] = AT(PT) | PAGE_BITS;
	memcpy(pages[CODE], (void *)svm_rules_guest, (u64)svm_rules_guest_end - (u64)svm_rules_guest);
	tables[1] = 0x00af9b000000ffff; /* code */
	tables[2] = 0x00cf93000000ffff; /* data */
	tables[3] = tables[1];
	/* Interrupt gates to svm_rules_exit, one of them with another selector */
	tables[0x130 / 8] = (guest_address(svm_rules_exit) & 0xffff) | 8 << 16 | 0x8e00ULL << 32 |
			    (guest_address(svm_rules_exit) >> 16) << 48;
	tables[0x140 / 8] = tables[0x130 / 8] | 0x18 << 16;
}

/* Dirty and not writable; vmap() would complain about that. */
static bool map_host_shadow(void)
{
	struct page *page = virt_to_page(host_shadow_alias);
	unsigned int level;
	pte_t *pte;

	host_shadow = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	pte = host_shadow ? lookup_address((unsigned long)host_shadow, &level) : NULL;
	if (!pte || level != PG_LEVEL_4K)
		return false;
	*(u64 *)pte = (*(u64 *)pte & ~2ULL) | 0x61;
	asm volatile("invlpg (%0)" : : "r"(host_shadow) : "memory");
	return true;
}

static int __init svm_rules_init(void)
{
	void **all[3 + ARRAY_SIZE(nested) + ARRAY_SIZE(vmcbs) + NPAGES];
	int i, n = 0;
	bool good = true;

	all[n++] = &hsave;
	all[n++] = &xsave;
	all[n++] = (void **)&host_shadow_alias;
	for (i = 0; i < ARRAY_SIZE(nested); i++)
		all[n++] = (void **)&nested[i];
	for (i = 0; i < ARRAY_SIZE(vmcbs); i++)
		all[n++] = &vmcbs[i];
	for (i = 0; i < NPAGES; i++)
		all[n++] = (void **)&pages[i];
	for (i = 0; i < n; i++) {
		*all[i] = (void *)get_zeroed_page(GFP_KERNEL);
		good &= !!*all[i];
	}
	if (!good) {
		pr_info("svm-rules: no memory\n");
	} else if (!boot_cpu_has(X86_FEATURE_SVM) || !boot_cpu_has(X86_FEATURE_SHSTK)) {
		pr_info("svm-rules: no SVM or no shadow stacks\n");
	} else if (map_host_shadow()) {
		init_guest();
		run_tests();
	}
	vunmap(host_shadow);
	for (i = 0; i < n; i++)
		free_page((unsigned long)*all[i]);
	return good ? 0 : -ENOMEM;
}

static void __exit svm_rules_exit_module(void) { }

module_init(svm_rules_init);
module_exit(svm_rules_exit_module);
MODULE_DESCRIPTION("VMRUN, #VMEXIT and shadow stacks");
MODULE_LICENSE("GPL");
