// SPDX-License-Identifier: GPL-2.0
/* Entries of L2 under VMX that fail at each stage: of the controls, the host state, the guest state, the MSR lists. */
#include <string.h>

#include "hostile.h"
#include "nested-vmx.h"
#include "l1.h"

#define GUEST_EFER 0x2806
#define HOST_EFER  0x2c02

static bool order(struct cpu *c, enum l1_kind kind, uint64_t a, uint64_t b)
{
	struct l1_request *r = l1_request();

	r->kind = kind;
	r->a = a;
	r->b = b;
	return l1_obeys(c);
}

static bool field(struct cpu *c, uint32_t field, uint64_t value)
{
	return order(c, L1_VMWRITE, field, value);
}

/* MSRs that a list may, or must not, have. */
static const uint32_t listed[] = {
	MSR_S_CET,	 MSR_S_CET, MSR_U_CET,	 MSR_PL0_SSP, MSR_PL1_SSP, MSR_PL3_SSP,
	MSR_INT_SSP_TAB, MSR_XSS,   MSR_FS_BASE, 0x802,	      0x9e,
};

static uint64_t make_list(struct fuzz *f, struct cpu *c)
{
	const uint64_t at = f->data + PAGE;
	uint64_t *list = machine_at(c->machine, at);
	unsigned int i;

	for (i = 0; i < 8; i++) {
		uint32_t msr = listed[random_below(ARRAY_SIZE(listed))];

		/* See forced_write_msr(). */
		if (native && msr == MSR_U_CET)
			msr = MSR_FS_BASE;
		list[2 * i] = random_one_in(12) ? random_next() : msr;
		list[2 * i + 1] = almost_valid(f, c, msr);
	}
	return random_one_in(8) ? fuzz_value(f, c) : at;
}

static const uint16_t areas[][2] = {
	{ ENTRY_LOAD_LIST, ENTRY_LOAD_COUNT },
	{ EXIT_LOAD_LIST, EXIT_LOAD_COUNT },
	{ EXIT_STORE_LIST, EXIT_STORE_COUNT },
};

static const struct {
	uint16_t field;
	uint16_t msr; /* whose values are valid for the field, or 0 */
} states[] = {
	{ HOST_S_CET, MSR_S_CET },
	{ HOST_SSP, MSR_PL0_SSP },
	{ HOST_SSP_TABLE, MSR_INT_SSP_TAB },
	{ GUEST_S_CET, MSR_S_CET },
	{ GUEST_SSP, MSR_PL0_SSP },
	{ GUEST_SSP_TABLE, MSR_INT_SSP_TAB },
	{ GUEST_ACTIVITY, 0 },
	{ LINK_POINTER, 0 },
	{ GUEST_RFLAGS, 0 },
	{ ENTRY_INTR_INFO, 0 },
	{ EPT_POINTER, 0 },
	{ MSR_BITMAP, 0 },
	{ HOST_RIP, 0 },
	{ HOST_EFER, 0 },
	{ GUEST_EFER, 0 },
};

/* They come first in states[]. */
#define CET_STATES 6

/* @own_ssp: L1 may write its own SSP to HOST_SSP before it enters L2. */
static bool change(struct fuzz *f, struct cpu *c, bool *own_ssp)
{
	const uint64_t cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_VMXE;
	const uint64_t cr0 = CR0_PE | CR0_NE | CR0_ET | CR0_PG;
	const bool host = random_below(2);
	unsigned int i;

	switch (random_below(6)) {
	case 0:
		i = random_below(ARRAY_SIZE(areas));
		return field(c, areas[i][0], make_list(f, c)) &&
		       field(c, areas[i][1], random_one_in(8) ? 513 : random_below(5));
	case 1: /* CR4.CET without CR0.WP, in either */
		return field(c, host ? HOST_CR0 : GUEST_CR0, cr0 | random_below(2) * CR0_WP) &&
		       field(c, host ? HOST_CR4 : GUEST_CR4, cr4 | random_below(2) * CR4_CET);
	case 2:
		return field(c, ENTRY_CONTROLS, 0x13ff | ENTRY_IA32E | random_below(2) * ENTRY_LOAD_CET) &&
		       field(c, EXIT_CONTROLS, 0x36fff | random_below(2) * EXIT_LOAD_CET);
	default:
		i = random_below(random_below(2) ? CET_STATES : ARRAY_SIZE(states));
		*own_ssp &= states[i].field != HOST_SSP;
		return field(c, states[i].field,
			     states[i].msr   ? almost_valid(f, c, states[i].msr) :
			     random_below(2) ? fuzz_value(f, c) :
					       random_below(4));
	}
}

/* The fields that a change may have broken for good. */
static bool renew(struct cpu *c)
{
	const struct cpu *l2 = c->machine->cpus[1];
	uint64_t *gprs = in_guest(c->machine, &nested_gprs[0]);

	gprs[L2_RDI] = random_next();
	gprs[L2_RSI] = ASSAULTS;
	gprs[L2_RDX] = l2->page;
	/* It may be on already. */
	return order(c, L1_VMXON, 0, 0) && order(c, L1_INIT, 0, 0) &&
	       field(c, GUEST_RIP, random_one_in(4) ? (uintptr_t)nested_vmcall : (uintptr_t)assault) &&
	       field(c, GUEST_RSP, cpu_stack(l2, CPU_STACK_PAGE, 2) - 8) &&
	       field(c, GUEST_S_CET, random_below(2) * (CET_SHSTK | CET_WRSS)) &&
	       field(c, GUEST_SSP, cpu_shadow_stack(l2, CPU_SS_PAGE)) &&
	       field(c, GUEST_SSP_TABLE, l2->page + CPU_SSP_TABLE) &&
	       field(c, ENTRY_CONTROLS, 0x13ff | ENTRY_IA32E | ENTRY_LOAD_CET) &&
	       field(c, EXIT_CONTROLS, 0x36fff | EXIT_LOAD_CET) && field(c, HOST_SSP_TABLE, c->page + CPU_SSP_TABLE);
}

void bad_entry(struct fuzz *f, struct cpu *c)
{
	unsigned int changes = random_below(3);
	struct l1_request *r = l1_request();
	bool own_ssp = random_below(8);

	if (random_below(2) && !renew(c))
		return;
	while (changes--)
		if (!change(f, c, &own_ssp))
			return;
	note(f, "kind", L1_RUN);
	order(c, L1_RUN, random_one_in(4) * RUN_RESUME + (own_ssp ? RUN_OWN_SSP : 0), 0);
	note(f, "status", r->status);
	l1_note(f, c);
}
