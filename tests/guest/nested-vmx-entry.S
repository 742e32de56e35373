/* SPDX-License-Identifier: GPL-2.0 */
/* L1's way into L2 and back, and parts of L2 that cannot be written in C: see nested-vmx.h. */
#include "nested-vmx.h"
#include "guest-macros.S"

	.text

	/* RDI: RUN_* */
	.global nested_enter_l2
	.type nested_enter_l2, @function
nested_enter_l2:
	endbr64
	push_callee_saved
	mov	$HOST_RSP, %eax
	vmwrite	%rsp, %rax
	test	$RUN_OWN_SSP, %edi
	jz	1f
	xor	%ecx, %ecx
	rdsspq	%rcx
	mov	$HOST_SSP, %eax
	vmwrite	%rcx, %rax
1:	test	$RUN_RESUME, %edi
	load_registers nested_gprs + 8
	mov	nested_gprs, %rax
	jnz	2f
	vmlaunch
	jmp	3f
2:	vmresume
3:	mov	$1, %eax
	jc	4f
	mov	$2, %eax
4:	pop_callee_saved
	ret

	.global nested_exit
	.type nested_exit, @function
nested_exit:
	endbr64
	.global nested_exit_bare
nested_exit_bare:
	mov	%rax, nested_gprs
	store_registers nested_gprs + 8
	note_seen
	mov	$CALL_EXIT, %eax
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

	.section .note.GNU-stack, "", @progbits
