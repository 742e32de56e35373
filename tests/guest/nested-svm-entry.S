/* SPDX-License-Identifier: GPL-2.0 */
/* L1's way into L2 and back, and parts of L2 that cannot be written in C: see nested-svm.h. */
#include "nested-svm.h"
#include "guest-macros.S"

	.text

	/* RDI: VMCB, RSI: a page for L1's own VMSAVE */
	.global svm_enter_l2
	.type svm_enter_l2, @function
svm_enter_l2:
	endbr64
	push_callee_saved
	mov	%rdi, vmcb
	mov	%rsi, host
	mov	%rsi, %rax
	vmsave	%rax
	mov	vmcb, %rax
	vmload	%rax
	load_registers svm_gprs
	vmrun	%rax
	store_registers svm_gprs
	note_seen
	mov	$CALL_EXIT, %eax
	outl	%eax, $PORT_CALL
	mov	vmcb, %rax
	vmsave	%rax
	mov	host, %rax
	vmload	%rax
	stgi
	pop_callee_saved
	ret

	.global svm_vmmcall
	.type svm_vmmcall, @function
svm_vmmcall:
	endbr64
1:	vmmcall
	jmp	1b

	/* SYSCALL at CPL0, to where LSTAR says */
	.global svm_syscall
	.type svm_syscall, @function
svm_syscall:
	endbr64
	syscall

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
vmcb:
	.skip	8
host:
	.skip	8

	.section .note.GNU-stack, "", @progbits
