/* SPDX-License-Identifier: GPL-2.0 */
/* For a process of the host that has a shadow stack itself, and reads its state in the CPU. */
#ifndef TESTS_GUEST_USER_SHADOW_STACK_H
#define TESTS_GUEST_USER_SHADOW_STACK_H

#include <stdint.h>
#include <sys/syscall.h>

#define ARCH_SHSTK_ENABLE 0x5001
#define ARCH_SHSTK_STATUS 0x5005
#define ARCH_SHSTK_SHSTK  1ul

/* Not by a function: it would return with a shadow stack that does not have its return address. */
static inline __attribute__((always_inline)) long own_arch_prctl(long option, unsigned long argument)
{
	long ret;

	asm volatile("syscall" : "=a"(ret) : "0"(SYS_arch_prctl), "D"(option), "S"(argument) : "rcx", "r11", "memory");
	return ret;
}

/*
 * An MSR of the CPU, from the file of the module msr, and SSP at the same depth: in the kernel, the SSP of who called
 * it is in PL3_SSP.
 */
static inline __attribute__((always_inline)) uint64_t own_msr(int fd, uint64_t msr, uint64_t *ssp)
{
	register uint64_t offset asm("r10") = msr;
	uint64_t value = ~0ull;
	long ret;

	*ssp = 0;
	asm volatile("rdsspq %0" : "+r"(*ssp));
	asm volatile("syscall"
		     : "=a"(ret)
		     : "0"(SYS_pread64), "D"(fd), "S"(&value), "d"(sizeof(value)), "r"(offset)
		     : "rcx", "r11", "memory");
	return ret == sizeof(value) ? value : ~0ull;
}

#endif
