/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Control-flow Enforcement Technology (CET) for guests: shadow stacks (SHSTK) and indirect branch tracking
 * (IBT). Here is what is the same for every vendor; vmx/cet.h has the rest. Rules are those of the SDM,
 * volume 1 chapter 17 and volume 3, and of Linux 6.18 and later where they leave a choice to KVM.
 *
 * Included by KVM's x86.h, so it completes no type: that would change the CRCs of exported symbols.
 */
#ifndef KVM_ONEREG_CET_H
#define KVM_ONEREG_CET_H

#include <linux/percpu-defs.h>
#include <linux/types.h>

#include "compat.h"

struct kvm_vcpu;
struct x86_emulate_ctxt;

/*
 * Names the build. Exported by our kvm.ko alone, so that a vendor module can tell whether it runs with the kvm.ko
 * that it was built with.
 */
extern const char kvm_onereg_build[];

/* SDM volume 3, 6.15: control-protection exception. KVM's trace names it. */
#ifndef CP_VECTOR
#define CP_VECTOR 21
#endif

/**
 * kvm_cet_msr_to_save - Whether an MSR belongs in KVM_GET_MSR_INDEX_LIST
 * @msr: MSR index
 *
 * Return: false for a CET MSR, or IA32_XSS, that no guest can have; true for any other.
 */
bool kvm_cet_msr_to_save(u32 msr);

/**
 * kvm_cet_refuses_insn - Whether KVM's emulator must not execute an instruction
 * @ctxt: emulation context, the instruction decoded
 *
 * The emulator knows neither shadow stacks nor the IBT tracker. What would change or test them on this vCPU
 * is refused. Far transfers may change the privilege level, so what governs either level counts for them.
 *
 * Return: true if emulation must fail.
 */
bool kvm_cet_refuses_insn(struct x86_emulate_ctxt *ctxt);

/**
 * kvm_cet_refuses_compat_cs - Whether a far transfer to a code segment with L=0 must fail
 * @ctxt: emulation context
 * @cpl: privilege level after the transfer
 * @err_code: set to 0, the error code of the #GP, if so
 *
 * Outside 64-bit mode SSP has 32 bits: leaving with more is #GP(0) (SDM, far JMP).
 */
bool kvm_cet_refuses_compat_cs(struct x86_emulate_ctxt *ctxt, u8 cpl, u32 *err_code);

/**
 * kvm_cet_refuses_task_switch - Whether KVM must not emulate a task switch
 * @vcpu: the vCPU
 *
 * A task switch loads and checks SSP of the new task, which the emulator does not do. If it is refused,
 * vcpu->run tells user space of an emulation failure.
 */
bool kvm_cet_refuses_task_switch(struct kvm_vcpu *vcpu);

/**
 * kvm_onereg_xss - What IA32_XSS is in a CPU while no guest runs there
 *
 * This is the host's value, or that of the vCPU that is loaded there, if it has all of the host's bits and more.
 * Each XSAVES and XRSTORS of the host's kernel names the components that it saves or loads (RFBM), and they are among
 * those that the kernel has enabled itself. So bits that a guest adds do not matter to the host, and stay in the CPU
 * from the load of the vCPU to its put. The vendor module, which alone lets guests set any, writes the MSR and this
 * variable then. A value without a bit of the host's is switched at each VM entry and exit, as in the distro's KVM.
 *
 * Context: for the CPU that one is on, with preemption off.
 */
DECLARE_PER_CPU(u64, kvm_onereg_xss);

/* The host's IA32_XSS is known; no guest runs yet. */
void kvm_cet_init_xss(u64 host);

#endif
