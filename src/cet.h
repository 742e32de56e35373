/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Control-flow Enforcement Technology (CET) for guests: shadow stacks (SHSTK) and indirect branch tracking
 * (IBT). This file has what is the same for every vendor; vmx/cet.h has the rest. The rules are those of the SDM,
 * volume 1 chapter 17 and volume 3. Where the SDM leaves a choice to KVM, they are those of Linux 6.18 and later.
 *
 * This file is included by KVM's x86.h and must not complete any type: that would change the CRCs of exported symbols.
 */
#ifndef KVM_ONEREG_CET_H
#define KVM_ONEREG_CET_H

#include <linux/percpu-defs.h>
#include <linux/types.h>

#include "compat.h"

struct kvm_vcpu;
struct x86_emulate_ctxt;

/*
 * Identifies the build. Only our kvm.ko exports it, so a vendor module can check whether the loaded kvm.ko is the one
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
 * Return: false for a CET MSR or IA32_XSS if no guest can have it; true for every other MSR.
 */
bool kvm_cet_msr_to_save(u32 msr);

/**
 * kvm_cet_refuses_insn - Whether KVM's emulator must not execute an instruction
 * @ctxt: emulation context, the instruction decoded
 *
 * The emulator supports neither shadow stacks nor the IBT tracker. An instruction that would change or check them on
 * this vCPU is refused. A far transfer may change the privilege level, so the settings of both levels count for it.
 *
 * Return: true if emulation must fail.
 */
bool kvm_cet_refuses_insn(struct x86_emulate_ctxt *ctxt);

/**
 * kvm_cet_refuses_compat_cs - Whether a far transfer to a code segment with L=0 must fail
 * @ctxt: emulation context
 * @cpl: privilege level after the transfer
 * @err_code: if so, set to 0, the error code of the #GP
 *
 * Outside 64-bit mode SSP has 32 bits: leaving that mode with more causes #GP(0) (SDM, far JMP).
 */
bool kvm_cet_refuses_compat_cs(struct x86_emulate_ctxt *ctxt, u8 cpl, u32 *err_code);

/**
 * kvm_cet_refuses_task_switch - Whether KVM must not emulate a task switch
 * @vcpu: the vCPU
 *
 * A task switch loads and checks the SSP of the new task, which the emulator does not do. If the switch is refused,
 * vcpu->run reports an emulation failure to user space.
 */
bool kvm_cet_refuses_task_switch(struct kvm_vcpu *vcpu);

/**
 * kvm_onereg_xss - The value of IA32_XSS in a CPU while no guest runs there
 *
 * This is the host's value, or that of the vCPU that is loaded there, if it has all of the host's bits and more.
 * Each XSAVES and XRSTORS of the host's kernel names the components that it saves or loads (RFBM). These are always
 * components that the kernel has enabled itself. So bits that a guest adds do not affect the host, and stay in the CPU
 * from the load of the vCPU to its put. The vendor module writes the MSR and this variable at these points; it is the
 * only one that lets guests set such bits. A value that lacks a bit of the host's is switched at each VM entry and
 * exit, as in the distro's KVM.
 *
 * Context: only for the current CPU, with preemption off.
 */
DECLARE_PER_CPU(u64, kvm_onereg_xss);

/* Called when the host's IA32_XSS is known and no guest has run yet. */
void kvm_cet_init_xss(u64 host);

#endif
