/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CET on VMX: when it is offered, and where a vCPU's CET state lives.
 *
 *	S_CET, SSP, INT_SSP_TAB	VMCS guest fields, loaded and saved by hardware on every entry and exit
 *	PL0_SSP..PL2_SSP	struct vmx_cet, or the CPU's MSRs while guest state is loaded; switched here
 *	U_CET, PL3_SSP		the same; or, if the host's kernel switches these itself, the guest's FPU state (XSAVES
 *				component 11)
 *	IA32_XSS		struct kvm_vcpu_arch; bits that the guest adds to the host's are in the CPU while guest
 *				state is loaded
 *
 * Invariants, which docs/isolation.md explains:
 *
 * 1. In every VMCS of a vCPU, the VM-entry control and the VM-exit control "load CET state" are equal. With the first
 *    alone, the guest's S_CET would stay in the CPU while the host runs.
 * 2. While no guest state is loaded in a CPU, the MSRs that are switched here are 0 there, except PL3_SSP. So a vCPU
 *    whose values are 0 always has its own values, however the CPU reads them.
 * 3. The CPU reads and writes PL3_SSP only if U_CET.SHSTK_EN is set, or by XSAVES, XRSTORS, RDMSR and WRMSR. A vCPU
 *    for which one of these is possible is "live", and has its own PL3_SSP loaded.
 *
 * This file is included by KVM's vmcs.h, before most types are defined.
 */
#ifndef KVM_ONEREG_VMX_CET_H
#define KVM_ONEREG_VMX_CET_H

#include <linux/compiler.h>
#include <linux/percpu-defs.h>
#include <linux/types.h>

#include "../one_reg.h"

struct kvm_vcpu;
struct kvm_x86_ops;
struct msr_data;
struct nested_vmx_msrs;
struct vcpu_vmx;
struct vmcs12;

/* SDM volume 3, appendices A.1, A.4, A.5 and B.4. The distro's headers do not define these. */
#ifndef VM_EXIT_LOAD_CET_STATE
#define VM_EXIT_LOAD_CET_STATE	0x10000000
#define VM_ENTRY_LOAD_CET_STATE 0x00100000
#define GUEST_S_CET		0x6828
#define GUEST_SSP		0x682a
#define GUEST_INTR_SSP_TABLE	0x682c
#define HOST_S_CET		0x6c18
#define HOST_SSP		0x6c1a
#define HOST_INTR_SSP_TABLE	0x6c1c
#endif

/* IA32_VMX_BASIC: VM entry delivers hardware exceptions with or without an error code, as requested. */
#define VMX_CET_BASIC_ANY_ERROR_CODE BIT_ULL(56)

/*
 * Defined by src/cet.c in our kvm.ko. The distro's kvm.ko has neither this symbol nor the checks that CET needs there:
 * then the address is NULL, and guests do not get CET. Nor do they with a kvm.ko of another build, whose checks may
 * differ.
 */
extern const char kvm_onereg_build[] __weak;

/* Also defined by our kvm.ko, and not used with another one. */
DECLARE_PER_CPU(u64, kvm_onereg_xss) __weak;

/* The CET state that a VMCS holds for the guest or for the host. */
struct vmx_cet_state {
	u64 s_cet;
	u64 ssp;
	u64 ssp_tbl;
};

/* Fields of struct vmcs12, at offset 680, in mainline's layout: nested state can be migrated to mainline. */
struct vmcs12_cet {
	struct vmx_cet_state host;
	struct vmx_cet_state guest;
};

/**
 * struct vmx_cet - CET state of a vCPU, a member of struct vcpu_vmx
 * @shstk: the guest has shadow stacks: KVM offers them and its CPUID shows them
 * @ibt: the guest has indirect branch tracking
 * @live: an MSR that is switched here may be nonzero, so they are switched. Never cleared
 * @resident_on: the CPU whose PL3_SSP is the vCPU's, unless another vCPU has used it since; -1: none
 * @xrstors: XRSTORS may have written PL0..2_SSP, because bit 12 of IA32_XSS was set at some time
 * @supported_xss: what the guest may set in IA32_XSS
 * @msrs: the MSRs that are switched here; out of date while @live and guest state is loaded
 * @l1: L1's state when it last entered L2, or tried to
 * @passing: the state that a VM entry to L2, or a VM exit from it, leaves unchanged unless its controls load another
 */
struct vmx_cet {
	bool shstk;
	bool ibt;
	bool live;
	bool xrstors;
	int resident_on;
	u64 supported_xss;
	u64 msrs[5];
	struct vmx_cet_state l1;
	struct vmx_cet_state passing;
};

/**
 * vmx_cet_hardware_setup - Decide whether guests can have CET, and set it up
 * @ops: kvm-intel's operations, not yet copied
 *
 * Does nothing unless kvm_intel.cet=1. If something is missing, it says so in one log line, and leaves everything as in
 * the distro's KVM.
 *
 * Context: module load, after the capabilities of KVM and of nested VMX have been set up.
 */
void vmx_cet_hardware_setup(struct kvm_x86_ops *ops);

/* Write the host's CET state, which does not change, to the current VMCS. */
void vmx_cet_set_constant_host_state(void);

/* Print the CET state of the current VMCS, if it has any, in the format of KVM's dump_vmcs(). */
void vmx_cet_dump_vmcs(void);

/**
 * vmx_cet_get_msr, vmx_cet_set_msr - IA32_XSS (write), the CET MSRs and SSP of a vCPU
 * @vcpu: loaded vCPU
 * @msr: the access, by the guest or by user space
 *
 * Return: 0; 1 for a value or access that must fault; KVM_MSR_RET_UNSUPPORTED if the vCPU does not have the MSR.
 */
int vmx_cet_get_msr(struct kvm_vcpu *vcpu, struct msr_data *msr);
int vmx_cet_set_msr(struct kvm_vcpu *vcpu, struct msr_data *msr);

void __vmx_cet_load(struct vmx_cet *cet);
void __vmx_cet_save(struct vmx_cet *cet);

/* The vCPU's guest state is being loaded into the CPU, or saved from it. Preemption is off. */
static __always_inline void vmx_cet_load(struct vmx_cet *cet)
{
	if (unlikely(cet->live))
		__vmx_cet_load(cet);
}

static __always_inline void vmx_cet_save(struct vmx_cet *cet)
{
	if (unlikely(cet->live))
		__vmx_cet_save(cet);
}

/* ---- Nested VMX ---- */

/* Merge L1's intercepts for an MSR into L2's bitmap. */
typedef void (*vmx_cet_merge_fn)(struct vcpu_vmx *vmx, unsigned long *l1, unsigned long *l0, u32 msr, int types);

/* Offer L1 what it needs for CET, in its VMX capability MSRs. */
void vmx_cet_setup_nested_msrs(struct nested_vmx_msrs *msrs);

/* The offset in struct vmcs12 of a field that holds CET state, or -ENOENT. */
short vmcs12_cet_field_offset(unsigned long field);

/* Whether the fields of vmcs12 that a VM exit, or a VM entry, will load pass the checks of VM entry. */
bool vmx_cet_nested_host_state_valid(struct kvm_vcpu *vcpu, struct vmcs12 *vmcs12);
bool vmx_cet_nested_guest_state_valid(struct kvm_vcpu *vcpu, struct vmcs12 *vmcs12);

void __vmx_cet_merge_msr_bitmap(struct vcpu_vmx *vmx, unsigned long *l1, unsigned long *l0, vmx_cet_merge_fn merge);
void __vmx_cet_nested_leave_vmcs01(struct vmx_cet *cet);
void __vmx_cet_nested_load_vmcs02(struct vmx_cet *cet, struct vmcs12 *vmcs12);
void __vmx_cet_nested_save_vmcs02(struct vmx_cet *cet, struct vmcs12 *vmcs12);
void __vmx_cet_nested_load_vmcs01(struct vmx_cet *cet, struct vmcs12 *vmcs12);

static __always_inline bool vmx_cet_guest_has(const struct vmx_cet *cet)
{
	return unlikely(cet->shstk || cet->ibt);
}

/* L2's MSR bitmap is being rebuilt. At this point it intercepts the CET MSRs. */
static __always_inline void vmx_cet_merge_msr_bitmap(struct vmx_cet *cet, struct vcpu_vmx *vmx, unsigned long *l1,
						     unsigned long *l0, vmx_cet_merge_fn merge)
{
	if (vmx_cet_guest_has(cet))
		__vmx_cet_merge_msr_bitmap(vmx, l1, l0, merge);
}

/* L1 is about to enter L2; vmcs01 is current. */
static __always_inline void vmx_cet_nested_leave_vmcs01(struct vmx_cet *cet)
{
	if (vmx_cet_guest_has(cet))
		__vmx_cet_nested_leave_vmcs01(cet);
}

/* L2's state is being loaded; vmcs02 is current. */
static __always_inline void vmx_cet_nested_load_vmcs02(struct vmx_cet *cet, struct vmcs12 *vmcs12)
{
	if (vmx_cet_guest_has(cet))
		__vmx_cet_nested_load_vmcs02(cet, vmcs12);
}

/* L2's state is being saved; vmcs02 is current. */
static __always_inline void vmx_cet_nested_save_vmcs02(struct vmx_cet *cet, struct vmcs12 *vmcs12)
{
	if (vmx_cet_guest_has(cet))
		__vmx_cet_nested_save_vmcs02(cet, vmcs12);
}

/* L1 continues, with the host state of vmcs12, after a VM exit or a failed VM entry; vmcs01 is current. */
static __always_inline void vmx_cet_nested_load_vmcs01(struct vmx_cet *cet, struct vmcs12 *vmcs12)
{
	if (vmx_cet_guest_has(cet))
		__vmx_cet_nested_load_vmcs01(cet, vmcs12);
}

#endif
