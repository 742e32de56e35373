/* SPDX-License-Identifier: GPL-2.0 */
/* What one of the supported kernels lacks: the only file that knows of differences between them. */
#ifndef KVM_ONEREG_COMPAT_H
#define KVM_ONEREG_COMPAT_H

#include <asm/cpufeatures.h>

/* 6.1 has no name for it: CPUID.(EAX=7,ECX=0):ECX[7]. */
#ifndef X86_FEATURE_SHSTK
#define X86_FEATURE_SHSTK	(16 * 32 + 7)
#endif

/* 6.1 writes it out. */
#ifndef kvm_x86_call
#define kvm_x86_call(op)	static_call(kvm_x86_##op)
#endif

#endif
