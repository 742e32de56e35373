/* SPDX-License-Identifier: GPL-2.0 */
/* A small VMM: a VM with one vCPU, its MSRs, and a real-mode guest. */
#ifndef TESTS_IOCTL_KVM_H
#define TESTS_IOCTL_KVM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/kvm.h>

#include "golden.h"
#include "tap.h"

/* What vm_create() adds to a bare VM with one vCPU. */
#define VM_CPUID   1 /* everything supported, without SHSTK and IBT */
#define VM_IRQCHIP 2 /* local APIC in the kernel */
#define VM_MEMORY  4 /* GUEST_MEMORY bytes at guest address 0 */
/* With VM_CPUID; the bits are set whether KVM supports them or not. */
#define VM_SHSTK     8
#define VM_IBT	     16
#define VM_CET_XSS   32 /* CPUID(0xD,1).ECX has bits 11 and 12 */
#define VM_NO_XSAVES 64

#define GUEST_MEMORY 0x10000u

struct vm {
	int fd;
	int vcpu;
	struct kvm_run *run;
	size_t run_size;
	uint8_t *memory;
};

/* /dev/kvm */
extern int kvm_dev;
/* The largest result of any of the three ioctls so far. */
extern int largest_one_reg_result;

/* Sets the name for messages and opens /dev/kvm, or ends the program with a skip. */
void kvm_open(const char *program);
bool host_is(const char *module);

void vm_create(struct vm *vm, unsigned int flags);
void vm_destroy(struct vm *vm);
/* KVM_SET_CPUID2 as vm_create() does it with @flags. */
struct outcome vm_set_cpuid(const struct vm *vm, unsigned int flags);
/* Puts the local APIC into x2APIC mode; false if KVM refuses. */
bool vm_enable_x2apic(struct vm *vm);

struct outcome xioctl(int fd, unsigned int nr, const void *arg);
struct outcome one_reg(int fd, unsigned int nr, uint64_t id, uint64_t addr);
struct outcome get_reg(const struct vm *vm, uint64_t id, uint64_t *value);
struct outcome set_reg(const struct vm *vm, uint64_t id, uint64_t value);

/* One MSR by KVM_GET_MSRS and KVM_SET_MSRS: true if KVM counted it as done. */
bool msrs_get(const struct vm *vm, uint32_t index, uint64_t *value);
bool msrs_set(const struct vm *vm, uint32_t index, uint64_t value);

/* KVM_GET_SUPPORTED_CPUID or KVM_GET_EMULATED_CPUID; to be freed. */
struct kvm_cpuid2 *kvm_cpuid(unsigned int nr);
/* KVM_GET_CPUID2; to be freed. */
struct kvm_cpuid2 *vcpu_cpuid(const struct vm *vm);
struct kvm_cpuid_entry2 *cpuid_entry(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index);

/* KVM_GET_MSR_INDEX_LIST or its feature variant; to be freed. */
struct kvm_msr_list *msr_list(unsigned int nr);
bool msr_listed(const struct kvm_msr_list *list, uint32_t index);

static inline uint64_t user_addr(const void *p)
{
	return (uintptr_t)p;
}

/*
 * Guest code. The guest starts at GUEST_CODE in real mode; its #GP handler is one HLT at
 * GUEST_GP. GUEST_SPIN increments the byte GUEST_COUNTER in an endless loop.
 */
#define GUEST_CODE    0x1000u
#define GUEST_GP      0x2000u
#define GUEST_COUNTER 0x3000u

enum guest_code { GUEST_HLT, GUEST_RDMSR, GUEST_WRMSR, GUEST_CPUID, GUEST_SPIN };

enum guest_end { GUEST_DONE, GUEST_GOT_GP, GUEST_OTHER_EXIT };

/* @ecx and @edx_eax: what the code starts with. */
void guest_load(struct vm *vm, enum guest_code code, uint32_t ecx, uint64_t edx_eax);
/* Runs until HLT; @value is what RDMSR returned. */
enum guest_end guest_run(struct vm *vm, uint64_t *value);
enum guest_end guest_rdmsr(struct vm *vm, uint32_t msr, uint64_t *value);
enum guest_end guest_wrmsr(struct vm *vm, uint32_t msr, uint64_t value);
/* The guest's result of CPUID; returns false if it does not get that far. */
bool guest_cpuid(struct vm *vm, uint32_t function, uint32_t index, struct kvm_cpuid_entry2 *entry);

/* A thread in KVM_RUN of a guest that spins. */
struct runner {
	struct vm *vm;
	pthread_t thread;
	int done;
	struct outcome result;
};

/* Returns when the guest is executing; false if it never does. */
bool runner_start(struct runner *r, struct vm *vm);
void runner_stop(struct runner *r);
bool guest_is_progressing(const struct vm *vm);

void sleep_ms(unsigned int ms);
/* True once task @tid of process @pid waits uninterruptibly, as on a mutex. */
bool wait_until_blocked(pid_t pid, pid_t tid);
/* False if @pid has not ended within a bounded number of polls. */
bool wait_for_exit(pid_t pid, int *status);

/* A module parameter: its first letter. */
bool module_param_get(const char *module, const char *name, char *value);
/* The same of kvm; set returns false if it cannot be written. */
bool kvm_param_get(const char *name, char *value);
bool kvm_param_set(const char *name, char value);

/* Pages with something inaccessible right behind them. */
struct pages {
	uint8_t *rw_end; /* the end of a writable page */
	uint8_t *ro_end; /* the end of a read-only page */
	uint8_t *none;	 /* an inaccessible page */
};

void pages_create(struct pages *p);

#endif
