// SPDX-License-Identifier: GPL-2.0
/* The steps of a hypervisor under VMX: operations of nested-vmx.c's L1, random VMCS fields, random code in L2. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fuzz.h"
#include "nested-vmx.h"
#include "l1.h"

static struct nested *n;
/* What L1 writes to a VMCS that it has made anew, and the registers of L2 then. */
static struct l1_field usual[9];
static unsigned int nusual;
static uint64_t usual_gprs[L2_GPRS];
/* L1 has made it anew, and has not written them yet. */
static bool renewed;

static void remember_usual(bool cet)
{
	static const uint32_t fields[] = { GUEST_RIP, GUEST_RSP,       ENTRY_CONTROLS, EXIT_CONTROLS, GUEST_S_CET,
					   GUEST_SSP, GUEST_SSP_TABLE, HOST_S_CET,     HOST_SSP_TABLE };

	for (nusual = 0; nusual < (cet ? ARRAY_SIZE(usual) : 2); nusual++)
		usual[nusual] = (struct l1_field) { fields[nusual], 1, vmread(n, fields[nusual]) };
	memcpy(usual_gprs, in_guest(n->m, &nested_gprs[0]), sizeof(usual_gprs));
	renewed = false;
}

struct machine *l1_create(bool irqchip)
{
	static const unsigned int features[] = { GUEST_SHSTK | GUEST_IBT, GUEST_SHSTK, GUEST_IBT, 0 };
	struct nested_config config = { .cpuid = fuzz_cpuid, .prepare = fuzz_capabilities, .irqchip = irqchip };
	unsigned int of_l1 = features[random_below(ARRAY_SIZE(features))],
		     of_l2 = features[random_below(ARRAY_SIZE(features))];

	free(n);
	if (kvm_has_shstk())
		config.features = of_l1;
	n = nested_create(&config);
	nested_prepare(n, config.features ? of_l2 : 0, nested_chain, 2, BOTTOM_CALL, CALL_L2);
	remember_usual(config.features && of_l2);
	return n->m;
}

static const uint32_t fields[] = {
	GUEST_S_CET,
	GUEST_S_CET,
	GUEST_SSP,
	GUEST_SSP,
	GUEST_SSP,
	GUEST_SSP_TABLE,
	GUEST_SSP_TABLE,
	HOST_S_CET,
	HOST_SSP,
	HOST_SSP,
	HOST_SSP_TABLE,
	GUEST_CR4,
	GUEST_CR0,
	HOST_CR4,
	HOST_CR4,
	HOST_CR0,
	HOST_CR0,
	ENTRY_CONTROLS,
	EXIT_CONTROLS,
	PIN_CONTROLS,
	PROC_CONTROLS,
	PROC2_CONTROLS,
	EXCEPTION_BITMAP,
	ENTRY_INTR_INFO,
	ENTRY_ERROR_CODE,
	ENTRY_LENGTH,
	CR0_MASK,
	CR4_MASK,
	CR4_SHADOW,
	GUEST_RFLAGS,
	GUEST_RSP,
	GUEST_ACTIVITY,
	GUEST_ACCESS(1),
	GUEST_ACCESS(2),
	GUEST_CR3,
	LINK_POINTER,
	EXIT_QUALIFICATION,
	EXIT_INTR_INFO,
	GUEST_DR7,
	HOST_RIP,
	0x2806 /* GUEST_IA32_EFER */,
	0x2c02 /* HOST_IA32_EFER */,
};

/* The value of a field with a bit changed, or a value that it may have, or any. */
static void change_field(struct fuzz *f, struct cpu *c, struct l1_mail *mail)
{
	const uint32_t field = fields[random_below(ARRAY_SIZE(fields))];
	uint64_t value = fuzz_value(f, c);

	switch (field) {
	case GUEST_S_CET:
	case HOST_S_CET:
		value = msr_value(f, c, MSR_S_CET);
		break;
	case GUEST_SSP:
	case HOST_SSP:
		if (random_below(3))
			value = l2_ssp(n) - 4 * random_below(16);
		break;
	case ENTRY_INTR_INFO:
		value = INTR_VALID | (random_below(4) ? INTR_HARD : random_below(8) << 8) |
			random_below(2) * INTR_CODE | (random_below(2) ? VECTOR_CP : random_below(32));
		break;
	case ENTRY_CONTROLS:
		value = 0x13ff | ENTRY_IA32E | random_below(2) * ENTRY_LOAD_CET;
		break;
	case EXIT_CONTROLS:
		value = 0x36fff | random_below(2) * EXIT_LOAD_CET;
		break;
	case EXCEPTION_BITMAP:
		value = random_below(2) << VECTOR_CP | random_below(2) << VECTOR_PF |
			random_below(2) << random_below(32);
		break;
	case CR4_MASK:
	case CR4_SHADOW:
		value = random_below(2) * CR4_CET;
		break;
	case GUEST_CR4:
	case HOST_CR4:
		value = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_VMXE | random_below(2) * CR4_CET;
		break;
	case GUEST_CR0:
	case HOST_CR0:
		value = CR0_PE | CR0_NE | CR0_ET | CR0_PG | random_below(4) * CR0_WP;
		break;
	}
	mail->kind = L1_VMWRITE;
	mail->a = field;
	mail->b = value;
}

/* Otherwise, changes would accumulate until no VM entry succeeds. */
static void renew(struct l1_mail *mail)
{
	renewed = !renewed;
	mail->kind = renewed ? L1_INIT : L1_FIELDS;
	if (renewed)
		return;
	memcpy(mail->fields, usual, sizeof(usual));
	mail->nfields = nusual;
	nested_fresh_tokens(n);
	memcpy(in_guest(n->m, &nested_gprs[0]), usual_gprs, sizeof(usual_gprs));
}

void l1_operation(struct fuzz *f, struct cpu *c)
{
	struct l1_mail *mail = n->mail;
	static const uint8_t rare[] = { L1_CR0,	    L1_CR4,  L1_VMXON,	L1_VMXOFF,   L1_VMCLEAR,
					L1_VMPTRLD, L1_INIT, L1_INVEPT, L1_INTERRUPT };
	uint32_t msr;

	if (renewed || random_one_in(10)) {
		renew(mail);
		return;
	}
	switch (random_below(12)) {
	case 0:
		msr = fuzz_msr();
		mail->kind = random_below(2) && !msr_moves(msr) ? L1_RDMSR : L1_WRMSR;
		mail->a = msr;
		mail->b = msr_value(f, c, msr);
		break;
	case 1 ... 4:
		change_field(f, c, mail);
		break;
	case 5:
		mail->kind = L1_VMREAD;
		mail->a = fields[random_below(ARRAY_SIZE(fields))];
		break;
	case 6:
		mail->kind = rare[random_below(sizeof(rare))];
		mail->a = random_below(4) ? mail->vmcs : fuzz_value(f, c);
		if (mail->kind == L1_CR4)
			mail->a = CR4_PAE | CR4_OSFXSR | CR4_OSXSAVE | CR4_VMXE | random_below(2) * CR4_CET;
		if (mail->kind == L1_CR0)
			mail->a = CR0_PE | CR0_NE | CR0_ET | CR0_PG | random_below(4) * CR0_WP;
		break;
	case 7:
		mail->kind = L1_SKIP;
		break;
	case 8: /* L2 has new code */
		fuzz_code(f, c, machine_at(n->m, f->code));
		note_bytes(f, "bytes", machine_at(n->m, f->code), PAGE);
		mail->kind = L1_VMWRITE;
		mail->a = GUEST_RIP;
		mail->b = f->code;
		break;
	default:
		mail->kind = L1_RUN;
		mail->a = random_below(2) * RUN_RESUME + (random_below(4) ? RUN_OWN_SSP : 0);
		break;
	}
}

const struct l1_functions l1_functions = { nested_l1, nested_vmcall, CR4_VMXE, L1_RUN };

struct l1_request *l1_request(void)
{
	return (struct l1_request *)n->mail;
}

/* In nested state, which begins with vmcs12 after its header. Mainline fixes the offsets. */
#define VMCS12(offset, type) (*(const type *)((const uint8_t *)s + 128 + (offset)))

/* Accesses to control and debug registers, I/O, failed entries. After other exits, the field is what the CPU left. */
static bool has_qualification(uint32_t reason)
{
	return reason == 28 || reason == 29 || reason == 30 || reason >> 31;
}

void l1_note(struct fuzz *f, struct cpu *c)
{
	static uint64_t buffer[NESTED_SIZE / 8];
	struct kvm_nested_state *s = (void *)buffer;

	memset(buffer, 0, sizeof(buffer));
	s->size = sizeof(buffer);
	if (note_result(f, "nested", ioctl(c->io.vcpu, KVM_GET_NESTED_STATE, s)) || s->size < 0x1000)
		return;
	note(f, "reason", VMCS12(812, uint32_t));
	if (has_qualification(VMCS12(812, uint32_t)))
		note(f, "qualification", VMCS12(408, uint64_t));
	note(f, "intr", VMCS12(816, uint32_t));
	note(f, "vectoring", VMCS12(824, uint32_t));
	note(f, "host_s_cet", VMCS12(680, uint64_t));
	note(f, "guest_s_cet", VMCS12(704, uint64_t));
	note(f, "guest_ssp", VMCS12(712, uint64_t));
	note(f, "guest_table", VMCS12(720, uint64_t));
	check_tag(f, c, "SSP of a VMCS", VMCS12(712, uint64_t));
}
