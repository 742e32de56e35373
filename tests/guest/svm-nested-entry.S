/* SPDX-License-Identifier: GPL-2.0 */
/* L1's way into L2 and back, and parts of L2 that cannot be written in C: see svm-nested.h. */
#include "svm-nested.h"

	.text

	/* What SVM switches: S_CET, SSP, INT_SSP_TAB */
	.macro	see where
	cmpq	$0, svm_l1_cet_msrs
	je	9f
	mov	$MSR_S_CET, %ecx
	rdmsr
	mov	%eax, \where
	mov	%edx, \where + 4
	mov	$MSR_INT_SSP_TAB, %ecx
	rdmsr
	mov	%eax, \where + 16
	mov	%edx, \where + 20
	xor	%eax, %eax
	rdsspq	%rax
	mov	%rax, \where + 8
9:
	.endm

	/* RDI: VMCB, RSI: a page for L1's own VMSAVE */
	.global svm_enter_l2
	.type svm_enter_l2, @function
svm_enter_l2:
	endbr64
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rdi, vmcb
	mov	%rsi, host
	mov	%rsi, %rax
	vmsave	%rax
	see	svm_before
	mov	vmcb, %rax
	vmload	%rax
	mov	svm_gprs + 8 * 0, %rcx
	mov	svm_gprs + 8 * 1, %rdx
	mov	svm_gprs + 8 * 2, %rbx
	mov	svm_gprs + 8 * 3, %rbp
	mov	svm_gprs + 8 * 4, %rsi
	mov	svm_gprs + 8 * 5, %rdi
	mov	svm_gprs + 8 * 6, %r8
	mov	svm_gprs + 8 * 7, %r9
	mov	svm_gprs + 8 * 8, %r10
	mov	svm_gprs + 8 * 9, %r11
	mov	svm_gprs + 8 * 10, %r12
	mov	svm_gprs + 8 * 11, %r13
	mov	svm_gprs + 8 * 12, %r14
	mov	svm_gprs + 8 * 13, %r15
	vmrun	%rax
	mov	%rcx, svm_gprs + 8 * 0
	mov	%rdx, svm_gprs + 8 * 1
	mov	%rbx, svm_gprs + 8 * 2
	mov	%rbp, svm_gprs + 8 * 3
	mov	%rsi, svm_gprs + 8 * 4
	mov	%rdi, svm_gprs + 8 * 5
	mov	%r8, svm_gprs + 8 * 6
	mov	%r9, svm_gprs + 8 * 7
	mov	%r10, svm_gprs + 8 * 8
	mov	%r11, svm_gprs + 8 * 9
	mov	%r12, svm_gprs + 8 * 10
	mov	%r13, svm_gprs + 8 * 11
	mov	%r14, svm_gprs + 8 * 12
	mov	%r15, svm_gprs + 8 * 13
	see	svm_seen
	mov	$CALL_EXIT, %eax
	outl	%eax, $PORT_CALL
	mov	vmcb, %rax
	vmsave	%rax
	mov	host, %rax
	vmload	%rax
	stgi
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.global svm_vmmcall
	.type svm_vmmcall, @function
svm_vmmcall:
	endbr64
1:	vmmcall
	jmp	1b

	/* #CP, if shadow stacks are on; the return address is somewhere else. */
	.global svm_bad_return
	.type svm_bad_return, @function
svm_bad_return:
	endbr64
	movq	$svm_elsewhere, (%rsp)
	ret

	.global svm_elsewhere
	.type svm_elsewhere, @function
svm_elsewhere:
	endbr64
	ud2

	.bss
	.balign	8
	.global svm_gprs
svm_gprs:
	.skip	14 * 8
	.global svm_l1_cet_msrs
svm_l1_cet_msrs:
	.skip	8
	.global svm_before
svm_before:
	.skip	3 * 8
	.global svm_seen
svm_seen:
	.skip	3 * 8
vmcb:
	.skip	8
host:
	.skip	8

	.section .note.GNU-stack, "", @progbits
