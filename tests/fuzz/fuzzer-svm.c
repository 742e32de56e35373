// SPDX-License-Identifier: GPL-2.0
/* The steps of a hypervisor under SVM: operations of nested-svm.c's L1, random VMCB fields, random code in L2. */
#include <stdlib.h>

#include "fuzz.h"
#include "l1.h"
#include "nested-svm.h"

static struct nested *n;

static GUEST uint64_t l2(uint64_t a, uint64_t b, uint64_t c)
{
	(void)b;
	(void)c;
	return svm_chain(a, CALL_L2);
}

static void prepare(void)
{
	const bool cet = random_below(2);

	n->current = random_below(2);
	svm_prepare(n, cet && kvm_has_shstk(), l2, 2, 0, 0);
}

struct machine *l1_create(bool irqchip)
{
	struct svm_config config = {
		.cpuid = fuzz_cpuid, .no_features = true, .npt = random_below(2), .irqchip = irqchip
	};
	const bool cet = random_below(3);

	free(n);
	if (kvm_has_shstk() && cet)
		config.features = GUEST_SHSTK;
	n = svm_create(&config);
	prepare();
	return n->m;
}

#define SEG_S (1ull << 20) /* in the low half of a segment's entry */

static const uint16_t fields[] = {
	VMCB_S_CET,	 VMCB_SSP, VMCB_ISST,	VMCB_S_CET, VMCB_SSP,	 VMCB_ISST,	VMCB_CR4,
	VMCB_CR4,	 VMCB_CR0, VMCB_RFLAGS, VMCB_CLEAN, VMCB_CLEAN,	 VMCB_EVENTINJ, VMCB_INTERCEPTS,
	VMCB_EXCEPTIONS, VMCB_NP,  VMCB_ASID,	VMCB_RSP,   VMCB_SEG(1), VMCB_SEG(2),	VMCB_CR3,
	VMCB_DR6,	 VMCB_DR7, VMCB_N_CR3,	VMCB_MSRPM,
};

/* Events that VMRUN injects. Newer kernels refuse the others themselves, older ones leave that to the CPU. */
static bool can_inject(uint64_t event)
{
	static const uint32_t exceptions = 0x500f7dfb | 1u << VECTOR_CP;

	switch (event >> 8 & 7) {
	case 0: /* an interrupt, an NMI, a software interrupt */
	case 2:
	case 4:
		return true;
	case 3:
		return (event & 0xff) < 32 && exceptions >> (event & 0xff) & 1;
	}
	return false;
}

static void change_field(struct fuzz *f, struct cpu *c)
{
	const unsigned int field = fields[random_below(ARRAY_SIZE(fields))];
	uint64_t value = fuzz_value(f, c);

	switch (field) {
	case VMCB_S_CET:
		value = msr_value(f, c, MSR_S_CET);
		break;
	case VMCB_SSP:
		if (random_below(3))
			value = l2_ssp(n) - 4 * random_below(16);
		break;
	case VMCB_CR4:
	case VMCB_CR0:
	case VMCB_RFLAGS:
		value = vmcb_get(n, field) ^
			(random_below(2) && field == VMCB_CR4 ? CR4_CET : 1ull << random_below(24));
		break;
	case VMCB_CLEAN:
		value = random_below(4) ? random_below(2) * CLEAN_CET : random_below(0x10000);
		break;
	case VMCB_EVENTINJ:
		value = INJECT_EXCEPTION(random_below(2) ? VECTOR_CP : random_below(32), random_below(8));
		if (random_one_in(4))
			value ^= 1ull << random_below(32);
		if (!can_inject(value))
			value = 0;
		break;
	case VMCB_INTERCEPTS:
	case VMCB_EXCEPTIONS:
		value = vmcb_get(n, field) ^ 1ull << random_below(32);
		break;
	case VMCB_SEG(1):
	case VMCB_SEG(2):
		/* Of a descriptor without S, Bochs does not load L: CS.L would be what its memory contained before. */
		value = (vmcb_get(n, field) ^ 1ull << random_below(32)) | SEG_S;
		break;
	case VMCB_DR7:
		value = vmcb_get(n, field) ^ 1ull << random_below(32);
		break;
	case VMCB_N_CR3:
	case VMCB_MSRPM:
		if (random_below(8))
			return;
		break;
	}
	/* In long mode, Bochs panics at this. */
	if (field == VMCB_RFLAGS)
		value &= ~(uint64_t)RFLAGS_VM;
	note(f, "field", field);
	note(f, "value", value);
	vmcb_put(n, field, value);
}

void l1_operation(struct fuzz *f, struct cpu *c)
{
	struct l1_mail *mail = n->mail;
	uint32_t msr;

	switch (random_below(8)) {
	case 0 ... 1:
		msr = fuzz_msr();
		mail->kind = random_below(2) && !msr_moves(msr) ? L1_RDMSR : L1_WRMSR;
		mail->a = msr;
		mail->b = msr_value(f, c, msr);
		return;
	case 2:
		mail->kind = L1_CHECK;
		return;
	case 3:
		prepare();
		if (random_below(2)) {
			fuzz_code(f, c, machine_at(n->m, f->code));
			note_bytes(f, "bytes", machine_at(n->m, f->code), PAGE);
			vmcb_put(n, VMCB_RIP, f->code);
		}
		break;
	case 4:
		svm_intercept_msr(n, 0x6a0 + random_below(9), random_below(2), random_below(2));
		break;
	}
	if (random_below(2))
		change_field(f, c);
	mail->kind = L1_RUN;
	mail->a = n->vmcbs[n->current];
	note(f, "inject", (uint32_t)vmcb_get(n, VMCB_EVENTINJ));
}

const struct l1_functions l1_functions = { svm_l1, svm_vmmcall, 0, L1_RUN };

struct l1_request *l1_request(void)
{
	return (struct l1_request *)n->mail;
}

void l1_note(struct fuzz *f, struct cpu *c)
{
	/* These kernels know 32 bits of an exit code. */
	note(f, "vmexit", (uint32_t)vmcb_get(n, VMCB_EXIT));
	/* If a CPU of QEMU's TCG, which has no shadow stacks, refuses L2, part of this comes from the host's kernel. */
	if ((uint32_t)vmcb_get(n, VMCB_EXIT) == UINT32_MAX && !kvm_has_shstk())
		note(f, "l2_rip", vmcb_get(n, VMCB_RIP));
	note(f, "s_cet", vmcb_get(n, VMCB_S_CET));
	note(f, "ssp", vmcb_get(n, VMCB_SSP));
	note(f, "isst", vmcb_get(n, VMCB_ISST));
	check_tag(f, c, "SSP of a VMCB", vmcb_get(n, VMCB_SSP));
}

void l1_vmcb_put(unsigned int field, uint64_t value)
{
	vmcb_put(n, field, value);
}
