// SPDX-License-Identifier: GPL-2.0
/* What nested-vmx.h declares: L1, and how the VMM gives it orders. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested-vmx.h"

/* The guest's. */
static struct l1_mail mail;

/*
 * L1
 */
static inline uint64_t vmx_status(uint64_t fault, uint32_t flags)
{
	if (fault)
		return fault;
	return flags & 1 ? FAIL_INVALID : flags & 0x100 ? FAIL_VALID : DONE;
}

static GUEST uint64_t do_vmread(uint64_t field, uint64_t *value)
{
	G_TRY_VARS(fault, error);
	uint32_t flags = 0;

	asm volatile(G_TRY("vmread %4, %3\n\tsetc %%al\n\tsetz %%ah")
		     : G_TRY_OUT(fault, error), "+&a"(flags), "=&r"(*value)
		     : "r"(field)
		     : "memory");
	return vmx_status(fault, flags);
}

static GUEST uint64_t do_vmwrite(uint64_t field, uint64_t value)
{
	G_TRY_VARS(fault, error);
	uint32_t flags = 0;

	asm volatile(G_TRY("vmwrite %3, %4\n\tsetc %%al\n\tsetz %%ah")
		     : G_TRY_OUT(fault, error), "+&a"(flags)
		     : "r"(value), "r"(field)
		     : "memory");
	return vmx_status(fault, flags);
}

/* VMXON, VMCLEAR, VMPTRLD */
#define DO_REGION(insn)                                                   \
	static GUEST uint64_t do_##insn(uint64_t address)                 \
	{                                                                 \
		G_TRY_VARS(fault, error);                                 \
		uint32_t flags = 0;                                       \
		asm volatile(G_TRY(#insn " %3\n\tsetc %%al\n\tsetz %%ah") \
			     : G_TRY_OUT(fault, error), "+&a"(flags)      \
			     : "m"(address)                               \
			     : "memory");                                 \
		return vmx_status(fault, flags);                          \
	}
DO_REGION(vmxon)
DO_REGION(vmclear)
DO_REGION(vmptrld)

static GUEST uint64_t do_vmxoff(void)
{
	G_TRY_VARS(fault, error);
	uint32_t flags = 0;

	asm volatile(G_TRY("vmxoff\n\tsetc %%al\n\tsetz %%ah") : G_TRY_OUT(fault, error), "+&a"(flags) : : "memory");
	return vmx_status(fault, flags);
}

static GUEST uint64_t do_invept(void)
{
	G_TRY_VARS(fault, error);
	const uint64_t none[2] = { 0, 0 }, all = 2;
	uint32_t flags = 0;

	asm volatile(G_TRY("invept %3, %4\n\tsetc %%al\n\tsetz %%ah")
		     : G_TRY_OUT(fault, error), "+&a"(flags)
		     : "m"(none), "r"(all)
		     : "memory");
	return vmx_status(fault, flags);
}

/* A 4-KiB region with KVM's revision. */
static GUEST void format_region(uint64_t address)
{
	uint64_t *p = (uint64_t *)address;
	unsigned int i;

	for (i = 0; i < 512; i++)
		p[i] = 0;
	p[0] = g_rdmsr(MSR_VMX_BASIC) & 0x7fffffff;
}

static GUEST uint64_t vmcs_init(void)
{
	/* ES, CS, SS, DS, FS, GS, LDTR, TR */
	static const uint16_t selectors[8] = {
		SEL_DATA, SEL_CODE64, SEL_DATA, SEL_DATA, SEL_DATA, SEL_DATA, 0, SEL_TSS
	};
	static const uint32_t access[8] = { 0xc093, 0xa09b, 0xc093, 0xc093, 0xc093, 0xc093, 0x10000, 0x8b };
	const struct l1_mail *n = &mail;
	uint64_t cr0 = g_cr0(), cr4 = g_cr4(), cr3, bad = 0;
	unsigned int i;

	asm volatile("mov %%cr3, %0" : "=r"(cr3));
	bad |= do_vmclear(n->vmcs);
	format_region(n->vmcs);
	bad |= do_vmptrld(n->vmcs);
#define W(field, value) (bad |= do_vmwrite(field, value))
	W(PIN_CONTROLS, (uint32_t)g_rdmsr(MSR_VMX_TRUE_PIN));
	W(PROC_CONTROLS, (uint32_t)g_rdmsr(MSR_VMX_TRUE_PROC) | PROC_BITMAPS | (n->eptp ? PROC_SECOND : 0));
	W(PROC2_CONTROLS, n->eptp ? PROC2_EPT : 0);
	W(EXIT_CONTROLS, (uint32_t)g_rdmsr(MSR_VMX_TRUE_EXIT) | EXIT_HOST64);
	W(ENTRY_CONTROLS, (uint32_t)g_rdmsr(MSR_VMX_TRUE_ENTRY) | ENTRY_IA32E);
	W(MSR_BITMAP, n->bitmap);
	if (n->eptp)
		W(EPT_POINTER, n->eptp);
	W(LINK_POINTER, -1ull);
	W(EXCEPTION_BITMAP, 0);
	W(CR0_MASK, 0);
	W(CR4_MASK, 0);
	for (i = 0; i < 8; i++) {
		W(GUEST_SEL(i), selectors[i]);
		W(GUEST_LIMIT(i), i == 7 ? 0x67 : 0xffffffff);
		W(GUEST_ACCESS(i), access[i]);
		W(GUEST_BASE(i), i == 5 ? n->l2_page : i == 7 ? n->l2_page + CPU_TSS : 0);
		if (i < 6)
			W(HOST_SEL(i), selectors[i]);
	}
	W(HOST_SEL(6), SEL_TSS);
	W(GUEST_GDT_BASE, n->l2_page + CPU_GDT);
	W(GUEST_GDT_LIMIT, CPU_GDT_SIZE - 1);
	W(GUEST_IDT_BASE, n->idt);
	W(GUEST_IDT_LIMIT, 256 * 16 - 1);
	W(GUEST_CR0, cr0);
	W(GUEST_CR3, cr3);
	W(GUEST_CR4, cr4);
	W(GUEST_DR7, 0x400);
	W(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	W(HOST_CR0, cr0);
	W(HOST_CR3, cr3);
	W(HOST_CR4, cr4);
	W(HOST_GS_BASE, n->page);
	W(HOST_TR_BASE, n->page + CPU_TSS);
	W(HOST_GDT_BASE, n->page + CPU_GDT);
	W(HOST_IDT_BASE, n->idt);
	W(HOST_RIP, (uintptr_t)nested_exit);
#undef W
	return bad;
}

/*
 * An operation is at most two calls deep, counted from nested_l1(): operation(), and one more. If LOAD_CET was clear on
 * entry, L2 is on the same shadow stack. It was entered two calls deep, in nested_enter_l2(), and what it has pushed is
 * right below. So the parts of operation() are inline: a third call would overwrite that.
 */

/* Reads or writes a field, as @f says. */
static inline __attribute__((always_inline)) uint64_t do_field(struct l1_field *f)
{
	return f->write ? do_vmwrite(f->field, f->value) : do_vmread(f->field, &f->value);
}

static inline __attribute__((always_inline)) uint64_t do_fields(struct l1_mail *n)
{
	uint64_t bad = DONE;
	unsigned int i;

	for (i = 0; i < n->nfields; i++)
		bad |= do_field(&n->fields[i]);
	return bad;
}

/* Moves L2's RIP over the instruction that exited. */
static inline __attribute__((always_inline)) uint64_t skip(uint64_t *rip)
{
	uint64_t length, bad;

	bad = do_vmread(GUEST_RIP, rip);
	bad |= do_vmread(EXIT_LENGTH, &length);
	return bad | do_vmwrite(GUEST_RIP, *rip + length);
}

/* What needs no VMX operation. */
static inline __attribute__((always_inline)) uint64_t plain_operation(struct l1_mail *n)
{
	switch (n->kind) {
	case L1_RDMSR:
		return g_rdmsr_safe(n->a, &n->result);
	case L1_WRMSR:
		return g_wrmsr_safe(n->a, n->b);
	case L1_CR0:
		return g_set_cr0(n->a);
	case L1_CR4:
		return g_set_cr4(n->a);
	case L1_STORE:
		*(volatile uint64_t *)n->a = n->b;
		break;
	}
	return DONE;
}

static inline __attribute__((always_inline)) uint64_t vmx_operation(struct l1_mail *n)
{
	switch (n->kind) {
	case L1_VMXON:
		format_region(n->vmxon);
		return do_vmxon(n->vmxon);
	case L1_VMXOFF:
		return do_vmxoff();
	case L1_VMCLEAR:
		return do_vmclear(n->a);
	case L1_VMPTRLD:
		return do_vmptrld(n->a);
	case L1_VMREAD:
		return do_vmread(n->a, &n->result);
	case L1_VMWRITE:
		return do_vmwrite(n->a, n->b);
	case L1_FIELDS:
		return do_fields(n);
	case L1_INIT:
		return vmcs_init();
	case L1_SKIP:
		return skip(&n->result);
	case L1_INVEPT:
		return do_invept();
	default:
		return plain_operation(n);
	}
}

static GUEST void operation(struct l1_mail *n)
{
	switch (n->kind) {
	case L1_RUN:
		n->status = nested_enter_l2(n->a);
		break;
	case L1_RDSSP:
		n->status = DONE;
		n->result = g_rdssp();
		break;
	case L1_INTERRUPT:
		n->status = DONE;
		asm volatile("int %0" : : "i"(VECTOR_L1) : "memory");
		break;
	default:
		n->status = vmx_operation(n);
	}
}

GUEST void nested_l1(void)
{
	for (;;) {
		g_call(CALL_IDLE, 0, 0, 0);
		operation(&mail);
	}
}

/*
 * The VMM
 */
static uint64_t vmx_capability(uint32_t msr)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = msr };

	if (ioctl(kvm_dev, KVM_GET_MSRS, &msrs) != 1)
		tap_bail("KVM_GET_MSRS 0x%x: does KVM offer VMX?", msr);
	return msrs.entry.data;
}

bool nested_has_cet(void)
{
	return vmx_capability(MSR_VMX_TRUE_ENTRY) >> 32 & ENTRY_LOAD_CET;
}

struct nested *nested_of(struct machine *m)
{
	struct nested *n = nested_new(m);

	n->mail = in_guest(m, &mail);
	n->l2.page = n->mail->l2_page;
	return n;
}

static void make_ept(struct nested *n)
{
	const uint64_t rwx = 7, large = 1 << 7, write_back = 6 << 3;
	uint64_t pml4 = machine_alloc(n->m, 3), address;
	uint64_t *table = machine_at(n->m, pml4);

	table[0] = (pml4 + PAGE) | rwx;
	table[512] = (pml4 + 2 * PAGE) | rwx;
	for (address = 0; address < RAM_SIZE; address += 0x200000)
		table[1024 + address / 0x200000] = address | rwx | large | write_back;
	n->mail->eptp = pml4 | 3 << 3 | 6;
}

struct nested *nested_create_off(const struct nested_config *config)
{
	static const struct nested_config usual = { .features = GUEST_SHSTK | GUEST_IBT };
	struct machine_config machine = { .cpus = 2 };
	struct nested *n;

	if (!config)
		config = &usual;
	machine.cpuid = config->cpuid;
	machine.irqchip = config->irqchip;
	n = nested_of(machine_create(&machine));
	n->mail->vmxon = machine_alloc(n->m, 1);
	n->mail->vmcs = machine_alloc(n->m, 1);
	n->mail->bitmap = machine_alloc(n->m, 1);
	n->mail->page = n->c->page;
	n->mail->l2_page = n->m->cpus[1]->page;
	n->l2.page = n->mail->l2_page;
	n->mail->idt = n->m->idt;
	make_ept(n);
	cpu_wrmsr(n->c, MSR_FEATURE_CONTROL, 5);
	if (config->msr)
		cpu_wrmsr(n->c, config->msr, cpu_rdmsr(n->c, config->msr) & ~config->clear);
	if (config->prepare)
		config->prepare(n->c);
	if (config->features)
		cpu_cet(n->c, config->features);
	*in_guest(n->m, &nested_l1_cet) = !!(config->features & GUEST_SHSTK);
	cpu_start(n->c, nested_l1, 0);
	cpu_run(n->c);
	if (!cpu_called(n->c, CALL_IDLE))
		tap_bail("L1 does not start: %s", stop_text(n->c));
	return n;
}

struct nested *nested_create(const struct nested_config *config)
{
	struct nested *n = nested_create_off(config);
	struct kvm_sregs sregs;

	cpu_get_sregs(n->c, &sregs);
	l1(n, L1_CR4, sregs.cr4 | CR4_VMXE, 0);
	if (!n->status)
		l1(n, L1_VMXON, 0, 0);
	if (n->status)
		tap_bail("L1 cannot start VMX operation: 0x%llx", (unsigned long long)n->status);
	return n;
}

static void order(struct nested *n, enum l1_kind kind, uint64_t a, uint64_t b)
{
	n->mail->kind = kind;
	n->mail->a = a;
	n->mail->b = b;
}

/* L1 only: a signal that is meant for L2 may be late. */
static void run_l1(struct nested *n)
{
	unsigned int i;

	for (i = 0; i < 10; i++) {
		cpu_run(n->c);
		if (n->c->stop.kind != STOP_SIGNAL)
			return;
	}
}

uint64_t l1(struct nested *n, enum l1_kind kind, uint64_t a, uint64_t b)
{
	order(n, kind, a, b);
	run_l1(n);
	if (!cpu_called(n->c, CALL_IDLE))
		tap_bail("L1 does not come back from operation %u (0x%llx): %s", kind, (unsigned long long)a,
			 stop_text(n->c));
	n->status = n->mail->status;
	return n->mail->result;
}

uint64_t vmread(struct nested *n, uint32_t field)
{
	uint64_t value = l1(n, L1_VMREAD, field, 0);

	if (n->status)
		tap_bail("VMREAD 0x%x: 0x%llx", field, (unsigned long long)n->status);
	return value;
}

void vmwrite(struct nested *n, uint32_t field, uint64_t value)
{
	l1(n, L1_VMWRITE, field, value);
	if (n->status)
		tap_bail("VMWRITE 0x%x: 0x%llx", field, (unsigned long long)n->status);
}

void vmfields(struct nested *n, struct l1_field fields[], unsigned int nfields)
{
	if (nfields > L1_FIELDS_MAX)
		tap_bail("too many fields");
	memcpy(n->mail->fields, fields, nfields * sizeof(fields[0]));
	n->mail->nfields = nfields;
	l1(n, L1_FIELDS, 0, 0);
	if (n->status)
		tap_bail("VMREAD and VMWRITE: 0x%llx", (unsigned long long)n->status);
	memcpy(fields, n->mail->fields, nfields * sizeof(fields[0]));
}

void set_bits(struct nested *n, uint32_t field, uint64_t bits)
{
	vmwrite(n, field, vmread(n, field) | bits);
}

void clear_bits(struct nested *n, uint32_t field, uint64_t bits)
{
	vmwrite(n, field, vmread(n, field) & ~bits);
}

struct triple triple_now(struct nested *n)
{
	return triple_of(n->c);
}

static void set_triple(struct nested *n, const struct triple *t)
{
	if (cpu_has_cet(n->c))
		cpu_wrmsr(n->c, MSR_S_CET, t->s_cet);
	if (cpu_has_shstk(n->c)) {
		cpu_set_ssp(n->c, t->ssp);
		cpu_wrmsr(n->c, MSR_INT_SSP_TAB, t->table);
	}
}

void nested_prepare(struct nested *n, unsigned int features, uint64_t (*function)(uint64_t, uint64_t, uint64_t),
		    uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t *gprs = in_guest(n->m, &nested_gprs[0]);

	memset(machine_at(n->m, n->mail->bitmap), 0, PAGE);
	nested_fresh_tokens(n);
	l1(n, L1_INIT, 0, 0);
	if (n->status)
		tap_bail("L1 cannot initialise its VMCS");
	vmwrite(n, GUEST_RIP, (uintptr_t)g_start);
	vmwrite(n, GUEST_RSP, cpu_stack(&n->l2, CPU_STACK_PAGE, 2));
	memset(gprs, 0, L2_GPRS * sizeof(*gprs));
	gprs[L2_RBX] = (uintptr_t)function;
	gprs[L2_RDI] = a;
	gprs[L2_RSI] = b;
	gprs[L2_RDX] = c;
	n->repair = false;
	n->launched = false;
	if (!features)
		return;
	set_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
	set_bits(n, EXIT_CONTROLS, EXIT_LOAD_CET);
	vmwrite(n, GUEST_S_CET,
		(features & GUEST_SHSTK ? CET_SHSTK | CET_WRSS : 0) | (features & GUEST_IBT ? CET_ENDBR : 0));
	vmwrite(n, GUEST_SSP, features & GUEST_SHSTK ? l2_ssp(n) : 0);
	vmwrite(n, GUEST_SSP_TABLE, features & GUEST_SHSTK ? l2_table(n) : 0);
	vmwrite(n, HOST_S_CET, cpu_rdmsr(n->c, MSR_S_CET));
	vmwrite(n, HOST_SSP_TABLE, n->c->page + CPU_SSP_TABLE);
}

/* L1 is right after an exit. */
static void look(struct nested *n)
{
	struct kvm_sregs sregs;

	n->after = triple_now(n);
	n->l1_sees = *in_guest(n->m, &nested_seen);
	cpu_get_sregs(n->c, &sregs);
	n->after_cr0 = sregs.cr0;
	n->after_cr4 = sregs.cr4;
	if (n->repair) {
		sregs.cr0 |= CR0_WP;
		if (n->own.s_cet)
			sregs.cr4 |= CR4_CET;
		cpu_set_sregs(n->c, &sregs);
		set_triple(n, &n->own);
	}
}

enum place nested_go(struct nested *n)
{
	struct l1_field of_exit[] = {
		{ .field = EXIT_REASON },
		{ .field = EXIT_QUALIFICATION },
		{ .field = EXIT_INTR_INFO },
		{ .field = EXIT_ERROR_CODE },
	};

	cpu_run(n->c);
	if (cpu_called(n->c, CALL_IDLE)) {
		n->error = n->mail->status == FAIL_VALID ? vmread(n, INSTRUCTION_ERROR) : 0;
		n->status = n->error ? FAIL_VALID : n->mail->status;
		return AT_IDLE;
	}
	if (!cpu_called(n->c, CALL_EXIT))
		return AT_STOP;
	look(n);
	run_l1(n);
	if (!cpu_called(n->c, CALL_IDLE))
		return AT_STOP;
	vmfields(n, of_exit, ARRAY_SIZE(of_exit));
	n->reason = of_exit[0].value;
	n->launched |= !(n->reason & 0x80000000);
	n->qualification = of_exit[1].value;
	n->intr_info = of_exit[2].value;
	n->error_code = of_exit[3].value;
	return AT_EXIT;
}

static enum place enter(struct nested *n, unsigned int flags)
{
	n->own = triple_now(n);
	/* In nested_enter_l2(), two calls deeper: operation() and this one. */
	if (n->own.s_cet & CET_SHSTK)
		n->own.ssp -= 16;
	order(n, L1_RUN, flags | (n->launched ? RUN_RESUME : 0), 0);
	return nested_go(n);
}

enum place nested_enter_as_is(struct nested *n)
{
	return enter(n, 0);
}

enum place nested_enter(struct nested *n)
{
	return enter(n, cpu_has_shstk(n->c) && cpu_rdmsr(n->c, MSR_S_CET) & CET_SHSTK ? RUN_OWN_SSP : 0);
}

void nested_skip(struct nested *n)
{
	l1(n, L1_SKIP, 0, 0);
	if (n->status)
		tap_bail("L1 cannot skip L2's instruction");
}

enum place nested_leave(struct nested *n)
{
	struct kvm_regs regs;

	cpu_get_regs(n->c, &regs);
	regs.rip = (uintptr_t)nested_vmcall;
	cpu_set_regs(n->c, &regs);
	return nested_go(n);
}

const char *load_cet_text(bool entry, bool exit)
{
	return entry && exit ? "both" : entry ? "entry" : exit ? "exit" : "neither";
}

const char *where_text(const struct nested *n, enum place where)
{
	static char text[80];

	switch (where) {
	case AT_EXIT:
		if (n->reason == REASON_EXCEPTION)
			snprintf(text, sizeof(text), "exit 0, vector %u", (unsigned int)n->intr_info & 255);
		else
			snprintf(text, sizeof(text), n->reason > 0xff ? "exit 0x%llx" : "exit %llu",
				 (unsigned long long)n->reason);
		return text;
	case AT_IDLE:
		if (n->status == FAIL_VALID)
			snprintf(text, sizeof(text), "vmfail %llu", (unsigned long long)n->error);
		else
			snprintf(text, sizeof(text), "status 0x%llx", (unsigned long long)n->status);
		return text;
	case AT_STOP:
		break;
	}
	return stop_text(n->c);
}
