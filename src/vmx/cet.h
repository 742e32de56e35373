/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CET on VMX: what the VMCS holds. ../vendor/cet.h has the rest.
 *
 *	S_CET, SSP, INT_SSP_TAB	VMCS guest fields, loaded and saved by hardware on every entry and exit
 *
 * Invariant: in every VMCS of a vCPU, the VM-entry control and the VM-exit control "load CET state" are equal. With the
 * first alone, the guest's S_CET would stay in the CPU while the host runs.
 *
 * This file is included by KVM's vmcs.h, before most types are defined.
 */
#ifndef KVM_ONEREG_VMX_CET_H
#define KVM_ONEREG_VMX_CET_H

#include "../vendor/cet.h"

struct kvm_vcpu;
struct kvm_x86_ops;
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
 * @common: what SVM has as well
 * @l1: L1's state when it last entered L2, or tried to
 * @passing: the state that a VM entry to L2, or a VM exit from it, leaves unchanged unless its controls load another
 * @entering: L1 has executed VMLAUNCH or VMRESUME, and the CPU has not tried this entry yet
 * @refused: the CPU tried it, and loaded nothing
 */
struct vmx_cet {
	struct kvm_cet common;
	struct vmx_cet_state l1;
	struct vmx_cet_state passing;
	bool entering;
	bool refused;
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

/* ---- Nested VMX ---- */

/* Merge L1's intercepts for an MSR into L2's bitmap. */
typedef void (*vmx_cet_merge_fn)(struct vcpu_vmx *vmx, unsigned long *l1, unsigned long *l0, u32 msr, int types);

/* Offer L1 what it needs for CET, in its VMX capability MSRs. */
void vmx_cet_setup_nested_msrs(struct nested_vmx_msrs *msrs);

/* The offset in struct vmcs12 of a field that holds CET state, or -ENOENT. */
short vmcs12_cet_field_offset(unsigned long field);

/*
 * Whether CR0 and CR4 of a host or guest in vmcs12 are consistent: CR4.CET requires CR0.WP (SDM, "Checks on Host
 * Control Registers, MSRs, and SSP", and the same for guests). Not every kernel checks that itself.
 */
bool vmx_cet_cr_valid(unsigned long cr0, unsigned long cr4);

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
	return kvm_cet_guest_has(&cet->common);
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

/*
 * L2 has exited, or a VM entry @failed. This is a failure of L1's VMLAUNCH or VMRESUME only if L2 has not run since: a
 * VMM can give an L2 that runs a state that the CPU refuses, and L2's CET state is in the CPU all the same.
 */
static __always_inline void vmx_cet_nested_exited(struct vmx_cet *cet, bool failed)
{
	cet->refused = cet->entering && failed;
	cet->entering = false;
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
