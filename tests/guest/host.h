/* SPDX-License-Identifier: GPL-2.0 */
/* The emulated host that a test runs on: its MSRs, its CPUs, its modules. */
#ifndef TESTS_GUEST_HOST_H
#define TESTS_GUEST_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_HOST_CPUS 2

struct cpu;

/* S_CET of the host's kernel at the start; the test sets this. */
extern uint64_t host_s_cet;
/* Whether the host's kernel knows CET. A 6.1 kernel does not. */
extern bool host_has_cet;

/* The current value of an MSR of the host's CPU 0; needs the host's module msr. */
uint64_t host_rdmsr(uint32_t msr);
uint64_t host_rdmsr_on(unsigned int cpu, uint32_t msr);
/* The file to pread() from, at offset @msr, to read an MSR of @cpu. */
int host_msr_file(unsigned int cpu);
/* Both return false if it cannot be written. */
bool host_wrmsr(uint32_t msr, uint64_t value);
bool host_wrmsr_on(unsigned int cpu, uint32_t msr, uint64_t value);

/* Writes a word to a file in sysfs. Returns false, with a message, if that fails. */
bool host_put(const char *path, const char *word);

/* Takes a CPU of the host offline, or online again. Returns false, with a message, if that fails. */
bool host_set_online(unsigned int cpu, bool online);
bool host_is_online(unsigned int cpu);

/* The CPU on which a thread runs, or ran last; -1 if it is not known. */
int host_cpu_of(pid_t tid);
/* Binds a thread to a CPU; returns true if it runs there. 0 is the calling thread. */
bool host_move(pid_t tid, unsigned int cpu);

/* The usual S_CET of a kernel: IBT, if the kernel knows CET and the CPU has IBT, which AMD's do not have. */
uint64_t host_usual_s_cet(void);

/* Waits while files of VMs are still open. Both print a message if they fail. */
bool host_unload(const char *module);
/* With the parameters of the first time, and @more, unless that is NULL. The program must run in /host. */
bool host_load(const char *file, const char *more);
/* The same for kvm and the module of the CPU's vendor. @more is for the latter. */
bool host_unload_kvm(void);
bool host_load_kvm(const char *more);
/* The file in sysfs of a parameter of the vendor's module. */
const char *host_vendor_parameter(const char *name);

/*
 * What KVM logs about a VMCS or VMCB that the CPU refuses: runs @c, which must be in a state that VM entry refuses.
 * Empty if the entry does not fail so. The text is valid until the next call.
 */
const char *host_dump(struct cpu *c);
/*
 * The CR4 of the host that a VM exit loads, according to the dump of a VMCS by KVM; 0 if there is none. A VMCB does not
 * have it.
 */
uint64_t host_cr4(void);

#endif
