/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Access to single registers of an x86 vCPU: ids for KVM_GET_ONE_REG, KVM_SET_ONE_REG and KVM_GET_REG_LIST.
 *
 * The ABI is that of Linux 6.18 and later. This header works with any <linux/kvm.h>, and can be included
 * before or after it. With an older one, it adds what is missing; with a newer one, no value changes.
 * Unlike the macros there, the builders are plain constant expressions: they can be used in case labels,
 * static initialisers, C89 to C23, C++ and 32-bit code.
 *
 * The three ioctls, on a vCPU file descriptor
 * -------------------------------------------
 *
 *   ioctl               number      argument
 *   KVM_GET_ONE_REG     0x4010aeab  struct kvm_one_reg  { __u64 id; __u64 addr; }
 *   KVM_SET_ONE_REG     0x4010aeac  struct kvm_one_reg
 *   KVM_GET_REG_LIST    0xc008aeb0  struct kvm_reg_list { __u64 n; __u64 reg[]; }
 *
 * In C++ use the numbers: some versions of <linux/kvm.h> give struct kvm_reg_list a different size in C++,
 * and KVM_GET_REG_LIST therefore a different number.
 *
 * addr is the user-space address of the 8-byte value, widened to 64 bits; no alignment is required.
 * The ioctls are available if KVM_CHECK_EXTENSION(KVM_CAP_ONE_REG) returns 1, on /dev/kvm or a VM. Probe
 * with that: kernels without them return EINVAL, as for an invalid id.
 *
 * Each returns 0, or -1 with errno:
 *
 *   errno   KVM_GET_ONE_REG, KVM_SET_ONE_REG                       KVM_GET_REG_LIST
 *   EFAULT  the argument, or the value at addr, is not accessible  n or reg[] is not accessible
 *   EINVAL  the id is malformed, or this vCPU does not have the
 *           register; SET: the value is invalid, or the register
 *           is read-only
 *   E2BIG                                                          n was too small: n now holds
 *                                                                  the number of registers
 *   EIO     the VM is dead, or belongs to another process          the same
 *   EINTR   killed while waiting for KVM_RUN to return             the same
 *
 * SET reads the value before it checks the register; GET stores the value only on success. So with a bad
 * addr and an unknown MSR, SET fails with EFAULT and GET with EINVAL. A failed SET changes nothing.
 * All three wait while another thread is in KVM_RUN on the same vCPU.
 *
 * KVM_GET_REG_LIST lists the KVM-defined registers that exist for this vCPU, and always stores their
 * number in n. It does not list MSRs: KVM_GET_MSR_INDEX_LIST does.
 *
 * The id
 * ------
 *
 *   bits    holds
 *   63:56   0x20, KVM_REG_X86
 *   55:52   log2 of the size in bytes: 3, KVM_REG_SIZE_U64, for all registers that exist today
 *   51:40   0
 *   39:32   type: 2 = MSR, 3 = KVM-defined ("synthetic")
 *   31:0    index: for an MSR, the number that RDMSR takes; otherwise see below
 *
 * Type 2 behaves like KVM_GET_MSRS and KVM_SET_MSRS, for listed MSRs and others, but returns an errno where
 * those return a short count. MSR filters and KVM_CAP_X86_USER_SPACE_MSR do not apply.
 *
 * The index space of KVM-defined registers (type 3)
 * -------------------------------------------------
 *
 *   index                    owner
 *   0x00000000 - 0x7fffffff  mainline Linux. An index has mainline's meaning here, or does not exist
 *                            here. 0 is GUEST_SSP.
 *   0x80000000 - 0xfeffffff  kvm-onereg. None is defined today.
 *   0xff000000 - 0xffffffff  local experiments; never part of a release.
 *
 * KVM_REG_GUEST_SSP: the shadow-stack pointer of the vCPU. It exists if the vCPU has shadow stacks: KVM
 * offers them, and the guest's CPUID has CPUID(7,0).ECX[7]. Values must be canonical for the host's linear
 * address width, with bits 1:0 clear; 0 is valid. KVM offers shadow stacks if the module parameter
 * kvm_intel.cet or kvm_amd.cet is 1; otherwise the register does not exist, and the list is empty.
 *
 * Order of restore
 * ----------------
 *
 * KVM_SET_CPUID2 comes first: it decides which registers exist. Then come the special registers, nested
 * state, general registers, XSAVE and XCRs, the MSRs (by KVM_SET_MSRS or type 2), KVM-defined registers,
 * and KVM_SET_VCPU_EVENTS. KVM-defined registers only need to come after KVM_SET_CPUID2; KVM does not check
 * them against other state before KVM_RUN.
 */
#ifndef _UAPI_ASM_X86_KVM_ONEREG_H
#define _UAPI_ASM_X86_KVM_ONEREG_H

#include <linux/types.h>
#include <asm/kvm.h>

/* Types, bits 39:32. SYNTHETIC_MSR is the name that the original discussion used. */
#ifndef KVM_X86_REG_TYPE_MSR
#define KVM_X86_REG_TYPE_MSR		2
#endif
#ifndef KVM_X86_REG_TYPE_KVM
#define KVM_X86_REG_TYPE_KVM		3
#endif
#define KVM_X86_REG_TYPE_SYNTHETIC_MSR	KVM_X86_REG_TYPE_KVM

/* KVM-defined registers, and the start of the ranges of their index space. */
#ifndef KVM_REG_GUEST_SSP
#define KVM_REG_GUEST_SSP		0
#endif
#define KVM_SYNTHETIC_GUEST_SSP		KVM_REG_GUEST_SSP
#define KVM_X86_REG_KVM_ONEREG_BASE	0x80000000U
#define KVM_X86_REG_KVM_LOCAL_BASE	0xff000000U

/*
 * Builders. @type and @index may be any integer expressions without side effects: they are evaluated more
 * than once. An index has 32 bits and is never sign-extended. The result has type __u64. A KVM-defined index
 * that no register has gets size 0, as any unknown type does, and every kernel rejects it.
 *
 * KVM_X86_REG_ID(type, index)   any id
 * KVM_X86_REG_MSR(index)        an MSR
 * KVM_X86_REG_KVM(index)        a KVM-defined register
 * KVM_X86_REG_ENCODE, KVM_X86_REG_SYNTHETIC_MSR: the original discussion's names for the first and the last
 */
#undef KVM_X86_KVM_REG_SIZE
#undef KVM_X86_REG_TYPE_SIZE
#undef KVM_X86_REG_ID
#undef KVM_X86_REG_MSR
#undef KVM_X86_REG_KVM

#define KVM_X86_KVM_REG_SIZE(index)	\
	((__u32)(index) == KVM_REG_GUEST_SSP ? (__u64)3 << 52 : (__u64)0)

#define KVM_X86_REG_TYPE_SIZE(type, index)						\
	(((__u64)(__u8)(type) << 32) |							\
	 ((type) == KVM_X86_REG_TYPE_MSR ? (__u64)3 << 52 :				\
	  (type) == KVM_X86_REG_TYPE_KVM ? KVM_X86_KVM_REG_SIZE(index) : (__u64)0))

#define KVM_X86_REG_ID(type, index)							\
	(((__u64)0x20 << 56) | KVM_X86_REG_TYPE_SIZE(type, index) | (__u64)(__u32)(index))

#define KVM_X86_REG_MSR(index)		KVM_X86_REG_ID(KVM_X86_REG_TYPE_MSR, index)
#define KVM_X86_REG_KVM(index)		KVM_X86_REG_ID(KVM_X86_REG_TYPE_KVM, index)

#define KVM_X86_REG_ENCODE(type, index)		KVM_X86_REG_ID(type, index)
#define KVM_X86_REG_SYNTHETIC_MSR(index)	KVM_X86_REG_KVM(index)

#endif /* _UAPI_ASM_X86_KVM_ONEREG_H */
