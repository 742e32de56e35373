/* SPDX-License-Identifier: GPL-2.0 */
/* L1's way into L2 and back, and parts of L2 that cannot be written in C: see nested.h. */
#include "hypervisor.h"

	.text

	/* RDI: RUN_* */
	.global nested_enter_l2
	.type nested_enter_l2, @function
nested_enter_l2:
	endbr64
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	$HOST_RSP, %eax
	vmwrite	%rsp, %rax
	test	$RUN_OWN_SSP, %edi
	jz	1f
	xor	%ecx, %ecx
	rdsspq	%rcx
	mov	$HOST_SSP, %eax
	vmwrite	%rcx, %rax
1:	test	$RUN_RESUME, %edi
	mov	nested_gprs + 8 * 1, %rcx
	mov	nested_gprs + 8 * 2, %rdx
	mov	nested_gprs + 8 * 3, %rbx
	mov	nested_gprs + 8 * 4, %rbp
	mov	nested_gprs + 8 * 5, %rsi
	mov	nested_gprs + 8 * 6, %rdi
	mov	nested_gprs + 8 * 7, %r8
	mov	nested_gprs + 8 * 8, %r9
	mov	nested_gprs + 8 * 9, %r10
	mov	nested_gprs + 8 * 10, %r11
	mov	nested_gprs + 8 * 11, %r12
	mov	nested_gprs + 8 * 12, %r13
	mov	nested_gprs + 8 * 13, %r14
	mov	nested_gprs + 8 * 14, %r15
	mov	nested_gprs, %rax
	jnz	2f
	vmlaunch
	jmp	3f
2:	vmresume
3:	mov	$1, %eax
	jc	4f
	mov	$2, %eax
4:	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.global nested_exit
	.type nested_exit, @function
nested_exit:
	endbr64
	.global nested_exit_bare
nested_exit_bare:
	mov	%rax, nested_gprs
	mov	%rcx, nested_gprs + 8 * 1
	mov	%rdx, nested_gprs + 8 * 2
	mov	%rbx, nested_gprs + 8 * 3
	mov	%rbp, nested_gprs + 8 * 4
	mov	%rsi, nested_gprs + 8 * 5
	mov	%rdi, nested_gprs + 8 * 6
	mov	%r8, nested_gprs + 8 * 7
	mov	%r9, nested_gprs + 8 * 8
	mov	%r10, nested_gprs + 8 * 9
	mov	%r11, nested_gprs + 8 * 10
	mov	%r12, nested_gprs + 8 * 11
	mov	%r13, nested_gprs + 8 * 12
	mov	%r14, nested_gprs + 8 * 13
	mov	%r15, nested_gprs + 8 * 14
	cmpq	$0, nested_l1_cet
	je	1f
	mov	$MSR_S_CET, %ecx
	rdmsr
	mov	%eax, nested_seen
	mov	%edx, nested_seen + 4
	mov	$MSR_INT_SSP_TAB, %ecx
	rdmsr
	mov	%eax, nested_seen + 16
	mov	%edx, nested_seen + 20
	xor	%eax, %eax
	rdsspq	%rax
	mov	%rax, nested_seen + 8
1:	mov	$CALL_EXIT, %eax
	outl	%eax, $PORT_CALL
	xor	%eax, %eax
	jmp	4b

	.global nested_vmcall
	.type nested_vmcall, @function
nested_vmcall:
	endbr64
1:	vmcall
	jmp	1b

	/* RDI = depth, RSI = enum bottom, RDX = number of g_call() */
	.global nested_chain
	.type nested_chain, @function
nested_chain:
	endbr64
	test	%rdi, %rdi
	jz	1f
	dec	%rdi
	call	nested_chain
	inc	%rax
	ret
1:	xor	%eax, %eax
	cmp	$BOTTOM_CALL, %esi
	jne	2f
	mov	%edx, %eax
	outl	%eax, $PORT_CALL
	xor	%eax, %eax
	ret
2:	cmp	$BOTTOM_VMCALL, %esi
	jne	3f
	vmcall
	xor	%eax, %eax
	ret
3:	cmp	$BOTTOM_BAD_RETURN, %esi
	jne	4f
	movq	$nested_vmcall, (%rsp)
	.global nested_bad_return
nested_bad_return:
	ret
4:	cmp	$BOTTOM_BAD_JUMP, %esi
	jne	5f
	mov	$nested_bad_target, %eax
	jmp	*%rax
	.global nested_bad_target
nested_bad_target:
	nop
5:	ret

	/* L1 in 32-bit mode; the VMM gave it everything. */
	.code32
	.global nested_launch32
	.type nested_launch32, @function
nested_launch32:
	vmlaunch
	mov	$CALL_FAIL32, %eax
	outl	%eax, $PORT_CALL
	hlt

	.global nested_exit32
	.type nested_exit32, @function
nested_exit32:
	mov	$CALL_EXIT32, %eax
	outl	%eax, $PORT_CALL
	hlt

	.global nested_l2_32
	.type nested_l2_32, @function
nested_l2_32:
	vmcall
	hlt
	.code64

	.bss
	.balign	8
	.global nested_gprs
nested_gprs:
	.skip	15 * 8
	.global nested_l1_cet
nested_l1_cet:
	.skip	8
	.global nested_seen
nested_seen:
	.skip	3 * 8

	.section .note.GNU-stack, "", @progbits
