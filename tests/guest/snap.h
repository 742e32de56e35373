/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The full state of a vCPU and its machine, as a VMM would save it: taken with KVM's ioctls, put into a new machine
 * with them, in any order, with parts left out or falsified.
 */
#ifndef TESTS_GUEST_SNAP_H
#define TESTS_GUEST_SNAP_H

#include "vmm.h"

/* In the usual order. KVM_SET_CPUID2 goes before all of them. */
enum part {
	PART_SREGS, /* KVM_GET_SREGS2 */
	PART_REGS,
	PART_XCRS,
	PART_XSAVE,
	PART_MSRS,    /* of KVM_GET_MSR_INDEX_LIST, those that can be read */
	PART_ONE_REG, /* of KVM_GET_REG_LIST */
	PART_EVENTS,
	PART_MP_STATE,
	PART_DEBUGREGS,
	PARTS
};

#define SNAP_MSRS  512
#define SNAP_REGS  8
#define SNAP_XSAVE 0x3000

struct snapshot {
	struct kvm_cpuid2 cpuid;
	struct kvm_cpuid_entry2 cpuid_entries[MAX_CPUID];
	struct kvm_sregs2 sregs;
	struct kvm_regs regs;
	struct kvm_xcrs xcrs;
	uint8_t xsave[SNAP_XSAVE];
	struct kvm_msrs msrs;
	struct kvm_msr_entry msr_entries[SNAP_MSRS];
	uint64_t nregs, reg_ids[SNAP_REGS], reg_values[SNAP_REGS];
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	struct kvm_debugregs debugregs;
	/* The library's own: the layout of the guest. */
	uint64_t cr3, idt, free, page;
	/* Memory comes last. */
	uint8_t present[RAM_SIZE / PAGE];
	uint8_t ram[RAM_SIZE];
};

/* Takes one of a vCPU that is not in KVM_RUN. The caller frees it. */
struct snapshot *snapshot_take(struct cpu *c);
struct snapshot *snapshot_copy(const struct snapshot *s);

/* The value of an MSR or of the KVM-defined register SSP, to read or falsify; ends the program if it is not there. */
uint64_t *snapshot_msr(struct snapshot *s, uint32_t msr);
uint64_t *snapshot_ssp(struct snapshot *s);
/* Removes it. */
void snapshot_drop_msr(struct snapshot *s, uint32_t msr);

/* A new machine with the snapshot's memory and CPUID; cpus[0] has nothing else yet. */
struct machine *snapshot_machine(const struct snapshot *s);
/* The same of a machine with @n vCPUs, each of which has a snapshot. */
struct machine *snapshot_machines(const struct snapshot *s[], unsigned int n);
/* One part: 0 or a negative errno. MSRs: -EINVAL if not all were taken; *@msr, if given, is the one that was not. */
int snapshot_put(const struct snapshot *s, struct cpu *c, enum part part, uint32_t *msr);
/* All, without the parts in @without (bits 1 << PART_*); ends the program if KVM refuses anything. */
struct machine *snapshot_restore(const struct snapshot *s, unsigned int without);
struct machine *snapshot_restore_order(const struct snapshot *s, const enum part order[PARTS]);

/*
 * Compares the state of a vCPU (not memory), except the TSC and the like. Returns NULL if equal, else a text about the
 * first difference.
 */
const char *snapshot_difference(const struct snapshot *a, const struct snapshot *b);

bool snapshot_save(const struct snapshot *s, const char *path);
struct snapshot *snapshot_load(const char *path);
/* The same, in NAME.CPL. */
bool snapshot_save_cpl(const struct snapshot *s, const char *name, unsigned int cpl);
struct snapshot *snapshot_load_cpl(const char *name, unsigned int cpl);
/* For one from another kernel: drops the MSRs that this KVM does not list, and the capabilities of nested VMX. */
void snapshot_adapt(struct snapshot *s);

/* The guest continues in a new machine, and the old one is destroyed; *@m changes. Returns its vCPU. */
struct cpu *migrate(struct machine **m);

const char *part_name(enum part part);

#endif
