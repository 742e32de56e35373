/* SPDX-License-Identifier: GPL-2.0 */
/* Names of registers and feature bits, from the kernel's headers (names.awk) and <asm/kvm_onereg.h>. */
#ifndef MODEL_NAMES_H
#define MODEL_NAMES_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>

enum cpuid_register { EAX, EBX, ECX, EDX };

/* MSRs whose bits have names. Of VMX's controls: with and without TRUE_, and for both halves, they are the same. */
enum msr_bits { PINBASED, PROCBASED, PROCBASED2, PROCBASED3, EXIT, ENTRY, ARCH_CAPABILITIES };

/* The name to print, or NULL. MSRs' come without "MSR_", KVM-defined registers' without "KVM_REG_". */
const char *msr_name(__u32 index);
const char *kvm_register_name(__u32 index);
const char *cpuid_bit_name(__u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit);
const char *xfeature_name(unsigned int bit);
const char *msr_bit_name(enum msr_bits which, unsigned int bit);

/*
 * The index of the register called @name, in any case, with or without "MSR_" and "IA32_" in front. False if there is
 * none, or several that differ in more than these.
 */
bool msr_find(const char *name, __u32 *index);
bool kvm_register_find(const char *name, __u32 *index);

/* The names most like @name, as "A, B or C", or NULL if none is near. */
char *names_like(const char *name);

/* All names, one a line, for completion. */
void names_print(FILE *to);

#endif
