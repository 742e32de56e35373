/* SPDX-License-Identifier: GPL-2.0 */
/* Guest code of isolation-readers.c: each function makes the CPU read CET state that no instruction names. */
#include "isolation-readers.h"

	.text

.macro	begin name
	.global	\name
	.type	\name, @function
\name:
.endm

/* Stops in the VMM, with SSP if there is one. */
.macro	stop number
	mov	$-1, %rdi
	rdsspq	%rdi
	mov	$\number, %eax
1:	outl	%eax, $PORT_CALL
	jmp	1b
.endm

.macro	set msr, high, low
	mov	$\msr, %ecx
	mov	$\high, %edx
	mov	$\low, %eax
	wrmsr
.endm

/* CPL0 without CALL and RET: there may be no shadow stack. */
begin read_arm
	mov	%cr4, %rax
	or	$CR4_CET, %rax
	mov	%rax, %cr4
	set	MSR_S_CET, 0, (CET_SHSTK | CET_WRSS)
	stop	CALL_ARMED

begin read_setssbsy
	setssbsy
	stop	CALL_SEEN

/* CPL3: these never come back. */
begin read_int_to_cpl0
	int	$VECTOR_TO_CPL0
begin read_int_to_cpl1
	int	$VECTOR_TO_CPL1
begin read_int_to_cpl2
	int	$VECTOR_TO_CPL2
begin read_int_ist
	int	$VECTOR_IST
begin read_store
	int	$VECTOR_STORE
begin read_bp
	int3
begin read_ud
	ud2
begin read_wait
	jmp	read_wait
begin read_gate_to_cpl0
	lcall	*gates(%rip)
begin read_gate_to_cpl1
	lcall	*(gates + 8)(%rip)
begin read_gate_to_cpl2
	lcall	*(gates + 16)(%rip)

	.balign	8
gates:
	.long	0, SEL_GATE(0) | 3
	.long	0, SEL_GATE(1) | 3
	.long	0, SEL_GATE(2) | 3

begin read_target
	endbr64
	stop	CALL_SEEN

/* CPL3: a branch to a place without ENDBR, and SSP. */
begin read_user
	lea	2f(%rip), %rax
	jmp	*%rax
2:	stop	CALL_SEEN

/*
 * From CPL0 to CPL3 in each possible way, with a shadow stack at CPL3 alone. RDI is a value of U_CET that fits the
 * guest's CPUID: KVM on 6.1 checks the first one that the guest writes. After that a guest without SHSTK in its CPUID
 * can set SH_STK_EN too.
 */
.macro	user_shadow_stack
	set	MSR_S_CET, 0, 0
	mov	$MSR_U_CET, %ecx
	xor	%edx, %edx
	mov	%edi, %eax
	wrmsr
	set	MSR_U_CET, 0, CET_SHSTK
.endm

begin read_iret
	user_shadow_stack
	mov	%rsp, %rax
	push	$SEL_USER_DATA
	push	%rax
	push	$(RFLAGS_FIXED | RFLAGS_IF | RFLAGS_IOPL3)
	push	$SEL_USER64
	lea	read_target(%rip), %rax
	push	%rax
	iretq

begin read_lret
	user_shadow_stack
	mov	%rsp, %rax
	push	$SEL_USER_DATA
	push	%rax
	push	$SEL_USER64
	lea	read_target(%rip), %rax
	push	%rax
	lretq

begin read_sysret
	user_shadow_stack
	set	MSR_STAR, 0x00200008, 0
	lea	read_target(%rip), %rcx
	mov	$(RFLAGS_FIXED | RFLAGS_IF | RFLAGS_IOPL3), %r11d
	sysretq

begin read_sysexit
	user_shadow_stack
	set	MSR_SYSENTER_CS, 0, SEL_CODE64
	lea	read_target(%rip), %rdx
	mov	%rsp, %rcx
	sysexitq

	.section .note.GNU-stack, "", @progbits
