// SPDX-License-Identifier: GPL-2.0
/* What kvm.ko must know about CET, whatever the vendor. cet.h documents the functions. */
#include <linux/export.h>
#include <linux/kvm_host.h>

#include "cpuid.h"
#include "x86.h"

#include "cet.h"
#include "generated.h"
#include "one_reg.h"

const char kvm_onereg_build[] = KVM_ONEREG_BUILD;
EXPORT_SYMBOL_GPL(kvm_onereg_build);

DEFINE_PER_CPU(u64, kvm_onereg_xss);
EXPORT_PER_CPU_SYMBOL_GPL(kvm_onereg_xss);

void kvm_cet_init_xss(u64 host)
{
	int cpu;

	for_each_possible_cpu(cpu)
		per_cpu(kvm_onereg_xss, cpu) = host;
}

bool kvm_cet_msr_to_save(u32 msr)
{
	switch (msr) {
	case MSR_IA32_XSS:
		return kvm_caps.supported_xss;
	case MSR_IA32_U_CET:
	case MSR_IA32_S_CET:
		return kvm_cpu_cap_has(X86_FEATURE_SHSTK) || kvm_cpu_cap_has(X86_FEATURE_IBT);
	case MSR_IA32_PL0_SSP ... MSR_IA32_INT_SSP_TAB:
		return kvm_cpu_cap_has(X86_FEATURE_SHSTK);
	default:
		return true;
	}
}

/*
 * Read S_CET, U_CET or SSP of the vCPU; false if it has no such state. Only the VMM can read SSP. The others are read
 * as the guest: on Linux 6.1, a VMM reads 0 from an MSR in KVM's list that the vCPU does not have.
 */
static bool kvm_cet_read_state(struct kvm_vcpu *vcpu, u32 msr, u64 *val)
{
	return !__kvm_get_msr(vcpu, msr, val, msr == MSR_KVM_INTERNAL_GUEST_SSP);
}

/* How an instruction uses CET. */
#define USES_SHSTK BIT(0) /* pushes to, pops from or switches the shadow stack */
#define USES_IBT   BIT(1) /* an indirect branch, or a far one that counts as such */
#define IS_FAR	   BIT(2) /* may end at another privilege level */

static unsigned int kvm_cet_classify_group5(u8 modrm)
{
	switch (modrm >> 3 & 7) {
	case 2: /* CALL near */
		return USES_SHSTK | USES_IBT;
	case 3: /* CALL far */
		return USES_SHSTK | USES_IBT | IS_FAR;
	case 4: /* JMP near */
		return USES_IBT;
	case 5: /* JMP far */
		return USES_IBT | IS_FAR;
	default:
		return 0;
	}
}

static unsigned int kvm_cet_classify_one_byte(u8 opcode, u8 modrm)
{
	switch (opcode) {
	case 0xc2: /* RET near */
	case 0xc3:
	case 0xe8: /* CALL near, relative */
		return USES_SHSTK;
	case 0xca: /* RET far */
	case 0xcb:
	case 0xcf: /* IRET */
		return USES_SHSTK | IS_FAR;
	case 0x9a: /* CALL far */
	case 0xcd: /* INT n */
		return USES_SHSTK | USES_IBT | IS_FAR;
	case 0xcc: /* INT3 */
	case 0xce: /* INTO */
	case 0xea: /* JMP far */
		return USES_IBT | IS_FAR;
	case 0xff:
		return kvm_cet_classify_group5(modrm);
	default:
		return 0;
	}
}

static unsigned int kvm_cet_classify_two_byte(u8 opcode)
{
	switch (opcode) {
	case 0x05: /* SYSCALL */
	case 0x34: /* SYSENTER */
		return USES_SHSTK | USES_IBT | IS_FAR;
	case 0x35: /* SYSEXIT */
		return USES_SHSTK | IS_FAR;
	default:
		return 0;
	}
}

static unsigned int kvm_cet_classify(const struct x86_emulate_ctxt *ctxt)
{
	switch (ctxt->opcode_len) {
	case 1:
		return kvm_cet_classify_one_byte(ctxt->b, ctxt->modrm);
	case 2:
		return kvm_cet_classify_two_byte(ctxt->b);
	default:
		return 0;
	}
}

bool kvm_cet_refuses_insn(struct x86_emulate_ctxt *ctxt)
{
	struct kvm_vcpu *vcpu = ctxt->vcpu;
	u64 s_cet = 0, u_cet = 0;
	unsigned int uses;
	bool user;

	if (likely(!kvm_read_cr4_bits(vcpu, X86_CR4_CET)))
		return false;

	uses = kvm_cet_classify(ctxt);
	if (!uses)
		return false;

	user = ctxt->ops->cpl(ctxt) == 3;
	if ((user || uses & IS_FAR) && !kvm_cet_read_state(vcpu, MSR_IA32_U_CET, &u_cet))
		return true;
	if ((!user || uses & IS_FAR) && !kvm_cet_read_state(vcpu, MSR_IA32_S_CET, &s_cet))
		return true;

	return (uses & USES_SHSTK && (u_cet | s_cet) & CET_SHSTK_EN) ||
	       (uses & USES_IBT && (u_cet | s_cet) & CET_ENDBR_EN);
}

bool kvm_cet_refuses_compat_cs(struct x86_emulate_ctxt *ctxt, u8 cpl, u32 *err_code)
{
	struct kvm_vcpu *vcpu = ctxt->vcpu;
	u64 cet, ssp;

	/* Outside IA-32e mode SSP never has more than 32 bits. */
	if (likely(!kvm_read_cr4_bits(vcpu, X86_CR4_CET)) || !is_long_mode(vcpu))
		return false;

	if (kvm_cet_read_state(vcpu, cpl == 3 ? MSR_IA32_U_CET : MSR_IA32_S_CET, &cet)) {
		if (!(cet & CET_SHSTK_EN))
			return false;
		if (kvm_cet_read_state(vcpu, MSR_KVM_INTERNAL_GUEST_SSP, &ssp) && !(ssp >> 32))
			return false;
	}

	*err_code = 0;
	return true;
}

bool kvm_cet_refuses_task_switch(struct kvm_vcpu *vcpu)
{
	u64 u_cet, s_cet;

	if (likely(!kvm_read_cr4_bits(vcpu, X86_CR4_CET)))
		return false;

	/* The privilege level of the new task is not known yet. */
	if (kvm_cet_read_state(vcpu, MSR_IA32_U_CET, &u_cet) && kvm_cet_read_state(vcpu, MSR_IA32_S_CET, &s_cet) &&
	    !((u_cet | s_cet) & (CET_SHSTK_EN | CET_ENDBR_EN)))
		return false;

	vcpu->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	vcpu->run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	vcpu->run->internal.ndata = 0;
	return true;
}
