/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What one of the supported kernels lacks. No other file deals with differences between them.
 *
 * This file is included by cet.h and must not complete any type.
 */
#ifndef KVM_ONEREG_COMPAT_H
#define KVM_ONEREG_COMPAT_H

#include <linux/version.h>

#include <asm/cpufeatures.h>

#define ON_6_1 (KERNEL_VERSION(6, 2, 0) > LINUX_VERSION_CODE)

/* CPUID.(EAX=7,ECX=0):ECX[7]. 6.1 does not define it. */
#ifndef X86_FEATURE_SHSTK
#define X86_FEATURE_SHSTK (16 * 32 + 7)
#endif

/* 6.1 has no such macro, and uses static_call() directly. */
#ifndef kvm_x86_call
#define kvm_x86_call(op) static_call(kvm_x86_##op)
#endif

/*
 * Whether the host's kernel switches U_CET and PL3_SSP, XSAVES component 11, with the FPU state of its tasks and of
 * guests. A 6.1 kernel does not know CET: it runs with CR4.CET clear, and never reads or writes a CET MSR.
 */
#define HOST_SWITCHES_CET_USER (!ON_6_1)

/* IA32_XSS of the host. */
#if ON_6_1
#define kvm_host_xss() host_xss
#else
#define kvm_host_xss() kvm_host.xss
#endif

/* KVM runs on Hyper-V with enlightened VMCSs. */
#if ON_6_1 && (defined(CONFIG_HYPERV) || defined(CONFIG_HYPERV_MODULE))
#define kvm_is_using_evmcs() static_branch_unlikely(&enable_evmcs)
#elif ON_6_1
#define kvm_is_using_evmcs() false
#endif

/* The names of these operations in 6.1. */
#if ON_6_1
#define enable_virtualization_cpu  hardware_enable
#define disable_virtualization_cpu hardware_disable
#endif

/*
 * Whether KVM asks the vendor module about a CPU that comes online later, and keeps it offline if the answer is no.
 * 6.1 brings it online without VMX, and the first vCPU that is scheduled there runs into a BUG.
 */
#define KVM_CHECKS_LATE_CPUS (!ON_6_1)

/* SSP in the SMRAM image of a 64-bit CPU, at 0xff18. In 6.1 the image is a buffer of bytes, and SMM is always built. */
#if ON_6_1
#define KVM_HAS_SMM		  1
#define kvm_smram_image		  char
#define get_smram_ssp(smram)	  GET_SMSTATE(u64, smram, 0x7f18)
#define set_smram_ssp(smram, ssp) put_smstate(u64, smram, 0x7f18, ssp)
#else
#define KVM_HAS_SMM		  IS_ENABLED(CONFIG_KVM_SMM)
#define kvm_smram_image		  union kvm_smram
#define get_smram_ssp(smram)	  ((smram)->smram64.ssp)
#define set_smram_ssp(smram, val) ((smram)->smram64.ssp = (val))
#endif

#endif
