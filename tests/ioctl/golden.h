/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ABI in literal numbers, deliberately independent of every header: a test
 * that built its ids with the macros under test would agree with any mistake
 * in them.
 */
#ifndef TESTS_IOCTL_GOLDEN_H
#define TESTS_IOCTL_GOLDEN_H

#define GET_ONE_REG  0x4010aeabu
#define SET_ONE_REG  0x4010aeacu
#define GET_REG_LIST 0xc008aeb0u
#define CAP_ONE_REG  70

#define ID_TSC		  0x2030000200000010ull
#define ID_EFER		  0x20300002c0000080ull
#define ID_LSTAR	  0x20300002c0000082ull
#define ID_KERNEL_GS_BASE 0x20300002c0000102ull
#define ID_UNKNOWN	  0x20300002deadbeefull
#define ID_GUEST_SSP	  0x2030000300000000ull

/* Type 2, 64 bits, for MSRs whose index a test only knows at run time. */
#define ID_MSR_BASE 0x2030000200000000ull

#define MSR_UNKNOWN	 0xdeadbeefu
#define MSR_INTERNAL_SSP 0x4b564dffu
#define MSR_OLD_SSP	 0x4b564d09u

#endif
