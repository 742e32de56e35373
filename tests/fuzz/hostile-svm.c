// SPDX-License-Identifier: GPL-2.0
/* VMRUNs that the CPU or KVM refuses, or that give L2 an arbitrary CET state. */
#include "hostile.h"
#include "l1.h"
#include "nested-svm.h"

static const struct {
	uint16_t field;
	uint16_t msr; /* whose values are valid for the field, or 0 */
} states[] = {
	{ VMCB_S_CET, MSR_S_CET }, { VMCB_SSP, MSR_PL0_SSP }, { VMCB_ISST, MSR_INT_SSP_TAB },
	{ VMCB_CLEAN, 0 },	   { VMCB_EVENTINJ, 0 },      { VMCB_ASID, 0 },
	{ VMCB_EFER, 0 },	   { VMCB_DR6, 0 },	      { VMCB_DR7, 0 },
	{ VMCB_MSRPM, 0 },	   { VMCB_N_CR3, 0 },
};

/* They come first in states[]. */
#define CET_STATES 3

static void change(struct fuzz *f, struct cpu *c)
{
	const uint64_t cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	unsigned int i;

	switch (random_below(4)) {
	case 0: /* CR4.CET without CR0.WP */
		l1_vmcb_put(VMCB_CR0, CR0_PE | CR0_NE | CR0_ET | CR0_PG | random_below(2) * CR0_WP);
		l1_vmcb_put(VMCB_CR4, cr4 | random_below(2) * CR4_CET);
		break;
	case 1: /* the clean bits: what the CPU must load from the VMCB */
		l1_vmcb_put(VMCB_CLEAN, random_below(2) * CLEAN_CET);
		l1_vmcb_put(VMCB_S_CET, almost_valid(f, c, MSR_S_CET));
		break;
	default:
		i = random_below(random_below(2) ? CET_STATES : ARRAY_SIZE(states));
		l1_vmcb_put(states[i].field, states[i].msr   ? almost_valid(f, c, states[i].msr) :
					     random_below(2) ? fuzz_value(f, c) :
							       random_below(4));
	}
}

void bad_entry(struct fuzz *f, struct cpu *c)
{
	struct l1_request *r = l1_request();
	unsigned int changes = random_below(3);
	uint64_t *gprs = in_guest(c->machine, &svm_gprs[0]);

	/* The order itself, sometimes with a fresh VMCB. */
	do
		l1_operation(f, c);
	while (r->kind != L1_RUN);
	if (random_below(2)) {
		l1_vmcb_put(VMCB_RIP, (uintptr_t)assault);
		gprs[L2_RDI] = random_next();
		gprs[L2_RSI] = ASSAULTS;
		gprs[L2_RDX] = c->machine->cpus[1]->page;
	}
	while (changes--)
		change(f, c);
	note(f, "kind", r->kind);
	l1_obeys(c);
	note(f, "status", r->status);
	l1_note(f, c);
}
