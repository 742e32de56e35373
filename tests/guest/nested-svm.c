// SPDX-License-Identifier: GPL-2.0
/* What nested-svm.h declares: L1, and how the VMM gives it orders. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested-svm.h"

/* The guest's. */
static struct l1_mail mail;

/*
 * L1
 */
#define CHECK_DEPTH 3

static GUEST uint64_t calls(uint64_t depth)
{
	return depth ? calls(depth - 1) + 1 : 0;
}

static GUEST uint64_t exception(void)
{
	G_TRY_VARS(fault, error);

	asm volatile(G_TRY("ud2") : G_TRY_OUT(fault, error) : : "memory");
	return fault;
}

static GUEST void operation(struct l1_mail *n)
{
	n->status = 0;
	switch (n->kind) {
	case L1_RDMSR:
		n->status = g_rdmsr_safe(n->a, &n->result);
		break;
	case L1_WRMSR:
		n->status = g_wrmsr_safe(n->a, n->b);
		break;
	case L1_STORE:
		*(volatile uint64_t *)n->a = n->b;
		break;
	case L1_RUN:
		svm_enter_l2(n->a, n->host);
		break;
	case L1_CHECK:
		n->result = calls(CHECK_DEPTH);
		n->status = exception();
		break;
	}
}

GUEST void svm_l1(void)
{
	g_wrmsr(MSR_EFER, g_rdmsr(MSR_EFER) | EFER_SVME);
	g_wrmsr(MSR_VM_HSAVE_PA, mail.hsave);
	for (;;) {
		g_call(CALL_IDLE, 0, 0, 0);
		operation(&mail);
	}
}

GUEST uint64_t svm_chain(uint64_t depth, uint64_t number)
{
	if (depth)
		return svm_chain(depth - 1, number) + 1;
	g_call(number, g_rdssp(), 0, 0);
	return 0;
}

/*
 * The VMM
 */
#define TABLE_ENTRY (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)
#define LARGE	    0x80
#define LARGE_PAGE  0x200000ull

/* The first 2 MiB by pages, the rest as a large one. */
static void make_npt(struct nested *n)
{
	uint64_t pml4 = machine_alloc(n->m, 4), address;
	uint64_t *table = machine_at(n->m, pml4);

	table[0] = (pml4 + PAGE) | TABLE_ENTRY;
	table[512] = (pml4 + 2 * PAGE) | TABLE_ENTRY;
	table[1024] = (pml4 + 3 * PAGE) | TABLE_ENTRY;
	for (address = 0; address < LARGE_PAGE; address += PAGE)
		table[3 * 512 + address / PAGE] = address | TABLE_ENTRY;
	for (address = LARGE_PAGE; address < RAM_SIZE; address += LARGE_PAGE)
		table[1024 + address / LARGE_PAGE] = address | TABLE_ENTRY | LARGE;
	n->npt = pml4;
}

struct nested *nested_of(struct machine *m)
{
	struct nested *n = nested_new(m);

	n->mail = in_guest(m, &mail);
	return n;
}

struct nested *svm_of(struct machine *m, const struct nested *old)
{
	struct nested *n = nested_of(m), fresh = *n;

	*n = *old;
	n->m = fresh.m;
	n->c = fresh.c;
	n->mail = fresh.mail;
	n->l2.machine = m;
	return n;
}

#define MSR_APIC_BASE	0x1b
#define MSR_X2APIC_EOI	0x80b
#define MSR_X2APIC_SPIV 0x80f

/* Runs L1, which handles interrupts. */
static void run_l1(struct nested *n)
{
	cpu_run(n->c);
	while (n->c->stop.kind == STOP_SIGNAL ||
	       (n->c->stop.kind == STOP_EXCEPTION &&
		(n->c->stop.frame->vector == VECTOR_IRQ || n->c->stop.frame->vector == VECTOR_NMI))) {
		if (n->c->stop.kind == STOP_EXCEPTION) {
			n->l1_interrupts++;
			if (n->c->stop.frame->vector == VECTOR_IRQ)
				cpu_wrmsr(n->c, MSR_X2APIC_EOI, 0);
		}
		cpu_run(n->c);
	}
}

/* x2APIC mode, enabled. */
static void enable_apic(struct nested *n)
{
	uint64_t base;

	if (l1(n, L1_RDMSR, MSR_APIC_BASE, 0, &base) || l1(n, L1_WRMSR, MSR_APIC_BASE, base | 0xc00, NULL) ||
	    l1(n, L1_WRMSR, MSR_X2APIC_SPIV, 0x1ff, NULL))
		tap_bail("L1 cannot enable its APIC");
}

struct nested *svm_create(const struct svm_config *config)
{
	static const struct svm_config usual;
	struct machine_config machine = { .cpus = 2 };
	unsigned int features;
	struct nested *n;

	if (!config)
		config = &usual;
	machine.cpuid = config->cpuid;
	machine.irqchip = config->irqchip;
	n = nested_of(machine_create(&machine));
	n->vmcbs[0] = machine_alloc(n->m, 2);
	n->vmcbs[1] = n->vmcbs[0] + PAGE;
	n->msrpm = machine_alloc(n->m, 2);
	n->mail->hsave = machine_alloc(n->m, 1);
	n->mail->host = machine_alloc(n->m, 1);
	n->mail->l2_page = n->m->cpus[1]->page;
	n->l2.page = n->mail->l2_page;
	if (config->npt)
		make_npt(n);
	features = config->features || config->no_features ? config->features : GUEST_SHSTK;
	if (features)
		cpu_cet(n->c, features);
	n->l1_cet = features & GUEST_SHSTK;
	*in_guest(n->m, &nested_l1_cet) = cpu_has_shstk(n->c);
	cpu_start(n->c, svm_l1, 0);
	cpu_run(n->c);
	if (!cpu_called(n->c, CALL_IDLE))
		tap_bail("L1 does not start: %s", stop_text(n->c));
	if (config->irqchip)
		enable_apic(n);
	return n;
}

static void order(struct nested *n, enum l1_kind kind, uint64_t a, uint64_t b)
{
	n->mail->kind = kind;
	n->mail->a = a;
	n->mail->b = b;
}

uint64_t l1(struct nested *n, enum l1_kind kind, uint64_t a, uint64_t b, uint64_t *result)
{
	order(n, kind, a, b);
	run_l1(n);
	if (!cpu_called(n->c, CALL_IDLE))
		tap_bail("L1 does not come back from operation %u (0x%llx): %s", kind, (unsigned long long)a,
			 stop_text(n->c));
	if (result)
		*result = n->mail->result;
	return n->mail->status;
}

uint64_t vmcb_get(struct nested *n, unsigned int at)
{
	uint64_t value;

	memcpy(&value, machine_at(n->m, n->vmcbs[n->current] + at), sizeof(value));
	return value;
}

void vmcb_put(struct nested *n, unsigned int at, uint64_t value)
{
	memcpy(machine_at(n->m, n->vmcbs[n->current] + at), &value, sizeof(value));
}

void vmcb_set(struct nested *n, unsigned int at, uint64_t bits)
{
	vmcb_put(n, at, vmcb_get(n, at) | bits);
}

struct triple vmcb_triple(struct nested *n)
{
	return (struct triple) { vmcb_get(n, VMCB_S_CET), vmcb_get(n, VMCB_SSP), vmcb_get(n, VMCB_ISST) };
}

void vmcb_put_triple(struct nested *n, const struct triple *t)
{
	vmcb_put(n, VMCB_S_CET, t->s_cet);
	vmcb_put(n, VMCB_SSP, t->ssp);
	vmcb_put(n, VMCB_ISST, t->table);
}

uint64_t *svm_gpr(struct nested *n, unsigned int number)
{
	return in_guest(n->m, &svm_gprs[0]) + number;
}

void svm_intercept_msr(struct nested *n, uint32_t msr, bool read, bool write)
{
	uint8_t *byte = machine_at(n->m, n->msrpm + msr / 4);
	unsigned int shift = msr % 4 * 2;

	*byte = (*byte & ~(3 << shift)) | (read | write << 1) << shift;
}

static void put_segment(struct nested *n, unsigned int number, unsigned int selector, unsigned int attributes,
			uint32_t limit, uint64_t base)
{
	vmcb_put(n, VMCB_SEG(number), selector | attributes << 16 | (uint64_t)limit << 32);
	vmcb_put(n, VMCB_SEG(number) + 8, base);
}

#define ODD_SSP	  0x12340ull
#define ODD_TABLE 0x56780ull

void svm_prepare(struct nested *n, bool cet, uint64_t (*function)(uint64_t, uint64_t, uint64_t), uint64_t a, uint64_t b,
		 uint64_t c)
{
	const struct triple off = { CET_WRSS, ODD_SSP, ODD_TABLE },
			    on = { CET_SHSTK | CET_WRSS, l2_ssp(n), l2_table(n) };
	struct kvm_sregs sregs;
	unsigned int i;

	cpu_get_sregs(n->c, &sregs);
	memset(machine_at(n->m, n->vmcbs[n->current]), 0, PAGE);
	memset(machine_at(n->m, n->msrpm), 0, 2 * PAGE);
	nested_fresh_tokens(n);
	vmcb_put(n, VMCB_INTERCEPTS, INTERCEPT_MSR | INTERCEPT_VMRUN | INTERCEPT_VMMCALL);
	vmcb_put(n, VMCB_MSRPM, n->msrpm);
	vmcb_put(n, VMCB_ASID, 1);
	if (n->npt) {
		vmcb_put(n, VMCB_NP, 1);
		vmcb_put(n, VMCB_N_CR3, n->npt);
	}
	for (i = 0; i < 6; i++)
		put_segment(n, i, i == 1 ? SEL_CODE64 : SEL_DATA, i == 1 ? 0xa9b : 0xc93, 0xffffffff,
			    i == 5 ? n->l2.page : 0);
	put_segment(n, 6, 0, 0, CPU_GDT_SIZE - 1, n->l2.page + CPU_GDT);
	put_segment(n, 8, 0, 0, 256 * 16 - 1, n->m->idt);
	put_segment(n, 9, SEL_TSS, 0x8b, 0x67, n->l2.page + CPU_TSS);
	vmcb_put(n, VMCB_EFER, sregs.efer);
	vmcb_put(n, VMCB_CR4, (sregs.cr4 & ~(uint64_t)CR4_CET) | (cet ? CR4_CET : 0));
	vmcb_put(n, VMCB_CR3, sregs.cr3);
	vmcb_put(n, VMCB_CR0, sregs.cr0 | CR0_WP);
	vmcb_put(n, VMCB_DR7, 0x400);
	vmcb_put(n, VMCB_DR6, 0xffff0ff0);
	vmcb_put(n, VMCB_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
	vmcb_put(n, VMCB_G_PAT, 0x0007040600070406);
	vmcb_put(n, VMCB_RIP, (uintptr_t)g_start);
	vmcb_put(n, VMCB_RSP, cpu_stack(&n->l2, CPU_STACK_PAGE, 2));
	vmcb_put_triple(n, cet ? &on : &off);
	memset(svm_gpr(n, 0), 0, L2_GPRS * 8);
	*svm_gpr(n, L2_RBX) = (uintptr_t)function;
	*svm_gpr(n, L2_RDI) = a;
	*svm_gpr(n, L2_RSI) = b;
	*svm_gpr(n, L2_RDX) = c;
}

enum place nested_go(struct nested *n)
{
	cpu_run(n->c);
	if (cpu_called(n->c, CALL_IDLE))
		return AT_IDLE;
	if (!cpu_called(n->c, CALL_EXIT))
		return AT_STOP;
	n->after = triple_of(n->c);
	n->l1_sees = *in_guest(n->m, &nested_seen);
	run_l1(n);
	if (!cpu_called(n->c, CALL_IDLE))
		return AT_STOP;
	n->exit = vmcb_get(n, VMCB_EXIT);
	n->info1 = vmcb_get(n, VMCB_INFO1);
	return AT_EXIT;
}

enum place nested_enter(struct nested *n)
{
	n->own = triple_of(n->c);
	/* In svm_enter_l2(), two calls deeper: operation() and this one. */
	if (n->l1_cet)
		n->own.ssp -= 16;
	memset(in_guest(n->m, &nested_seen), 0, sizeof(nested_seen));
	order(n, L1_RUN, n->vmcbs[n->current], 0);
	return nested_go(n);
}

void svm_skip(struct nested *n, unsigned int length)
{
	vmcb_put(n, VMCB_RIP, vmcb_get(n, VMCB_RIP) + length);
}

enum place nested_leave(struct nested *n)
{
	struct kvm_regs regs;

	cpu_get_regs(n->c, &regs);
	regs.rip = (uintptr_t)svm_vmmcall;
	cpu_set_regs(n->c, &regs);
	return nested_go(n);
}

static void message(struct nested *n, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = data };

	if (ioctl(n->m->fd, KVM_SIGNAL_MSI, &msi) <= 0)
		tap_bail("KVM_SIGNAL_MSI");
}

void svm_interrupt(struct nested *n)
{
	message(n, VECTOR_IRQ);
}

void svm_init(struct nested *n)
{
	message(n, 5 << 8);
}

const char *where_text(const struct nested *n, enum place where)
{
	static char text[80];

	if (where == AT_STOP)
		return stop_text(n->c);
	if (where == AT_IDLE)
		return "no exit";
	snprintf(text, sizeof(text), n->exit == EXIT_INVALID ? "exit -1" : "exit 0x%llx", (unsigned long long)n->exit);
	return text;
}

void l1_intact(struct nested *n, const char *name)
{
	struct triple sees = n->own;
	uint64_t status, result;

	same_triple(&n->after, &n->own, "%s: the exit gives L1 its own state", name);
	/* RDSSP does nothing without shadow stacks. */
	if (!n->l1_cet)
		sees.ssp = 0;
	same_triple(&n->l1_sees, &sees, "%s: which L1 sees too", name);
	status = l1(n, L1_CHECK, 0, 0, &result);
	tap_ok(status == FAULT(VECTOR_UD) && result == CHECK_DEPTH, "%s: and can use", name);
}
