/* SPDX-License-Identifier: GPL-2.0 */
/* The part of a guest that cannot be written in C: see guest.h. */
#include "guest.h"
#include "guest-macros.S"

	.text

/* RBX = function, RDI, RSI, RDX = its arguments. The first instruction of a guest, CPL0 or CPL3. */
	.global g_start
	.type g_start, @function
g_start:
	endbr64
	call	*%rbx
	mov	%rax, %rdi
	mov	$CALL_RETURNED, %eax
1:	outl	%eax, $PORT_CALL
	jmp	1b

/* Vectors 8, 10 to 14, 17, 21, 29 and 30 have an error code of the CPU's. */
#define WITH_ERROR_CODE	0x60227d00

	.balign	16
	.global g_exception_stubs
g_exception_stubs:
	vector = 0
	.rept	256
	.balign	16
	endbr64
	.if	vector >= 32 || !((WITH_ERROR_CODE >> (vector & 31)) & 1)
	push	$0
	.endif
	push	$vector
	jmp	exception
	vector = vector + 1
	.endr

exception:
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%cr2, %rax
	push	%rax
	xor	%eax, %eax
	rdsspq	%rax
	push	%rax
	mov	%rsp, %rdi
	cld
	/* The VMM may change the stack before it lets the guest continue. */
	outl	%eax, $PORT_EXCEPTION
	add	$16, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	add	$16, %rsp
	iretq
	.global g_exception_end
g_exception_end:

	.global g_user
	.type g_user, @function
g_user:
	endbr64
	push_callee_saved
	pushfq
	push	%gs:CPU_RSP0
	mov	%rsp, %gs:CPU_RSP0
	/*
	 * Going to CPL3 forgets this CPL's SSP. A restore token on top of this shadow stack leads back to it.
	 */
	xor	%eax, %eax
	rdsspq	%rax
	test	%rax, %rax
	jz	1f
	lea	1(%rax), %rcx
	sub	$8, %rax
	wrssq	%rcx, (%rax)
1:	mov	%rax, %gs:CPU_SAVED_SSP
	mov	%rdi, %rbx
	mov	%rsi, %rdi
	push	$SEL_USER_DATA
	push	%gs:CPU_USER_RSP
	push	$(RFLAGS_FIXED | RFLAGS_IF | RFLAGS_IOPL3)
	push	$SEL_USER64
	lea	in_user(%rip), %rax
	push	%rax
	iretq

in_user:
	endbr64
	call	*%rbx
	int	$VECTOR_USER_RETURN

	.global g_user_return
	.type g_user_return, @function
g_user_return:
	endbr64
	mov	%gs:CPU_SAVED_SSP, %rcx
	test	%rcx, %rcx
	jz	1f
	/* Free the shadow stack that this interrupt came in on: SSP is at its token, as the entry pushed nothing. */
	rdsspq	%rdx
	clrssbsy (%rdx)
	rstorssp (%rcx)
	/* Remove the token that RSTORSSP left. */
	mov	$1, %ecx
	incsspq	%rcx
1:	mov	%gs:CPU_RSP0, %rsp
	pop	%gs:CPU_RSP0
	popfq
	pop_callee_saved
	ret

	.section .note.GNU-stack, "", @progbits
