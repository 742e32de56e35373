/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What C cannot say: the first instructions, the ways into CPL 0, and the two violations that CET prevents
 */
#include "layout.h"

	.section .entry, "ax"
	.globl	entry
entry:
	movl	$0x1b, %ecx		/* APIC_BASE: is it the first CPU? */
	rdmsr
	testb	$1, %ah
	jz	2f
	leaq	boot_stacks + STACK(%rip), %rsp
	leaq	bss(%rip), %rdi
	leaq	bss_end(%rip), %rcx
	subq	%rdi, %rcx
	xorl	%eax, %eax
	rep stosb
	call	main
2:	leaq	boot_stacks + 2 * STACK(%rip), %rsp
	call	main_of_second

	.text
	.altmacro
.macro vector number
vector_\number:
	endbr64
	.if	\number != 8 && \number != 10 && \number != 11 && \number != 12 && \number != 13 && \number != 14 && \number != 17 && \number != 21
	pushq	$0
	.endif
	pushq	$\number
	jmp	trap
.endm

	.set	number, 0
	.rept	32
	vector	%number
	.set	number, number + 1
	.endr
	vector	128

trap:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rbx
	pushq	%rbp
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, %rdi
	cld
	call	on_trap
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rbp
	popq	%rbx
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$16, %rsp
	iretq

.macro address number
	.quad	vector_\number
.endm

	.section .rodata
	.globl	vectors
	.balign	8
vectors:
	.set	number, 0
	.rept	32
	address	%number
	.set	number, number + 1
	.endr
	.quad	vector_128

	.text

/* enter_user(rip, rsp): does not come back */
	.globl	enter_user
enter_user:
	endbr64
	pushq	$0x1b			/* SS */
	pushq	%rsi
	pushq	$0x3202			/* IF, IOPL 3: user mode does I/O itself */
	pushq	$0x23			/* CS */
	pushq	%rdi
	iretq

/* Returns to another place than it was called from. The right return address is kept for the handler of #CP */
	.globl	forged_return, forged_return_at
forged_return:
	endbr64
	movq	(%rsp), %rax
	movq	%rax, %gs:CPU_RIGHT_RETURN
	leaq	1f(%rip), %rax
	movq	%rax, (%rsp)
forged_return_at:
	ret
1:	incl	%gs:CPU_ESCAPES
	pushq	%gs:CPU_RIGHT_RETURN
	ret

/* Jumps to a place without ENDBR */
	.globl	stray_jump, stray_jump_at
stray_jump:
	endbr64
	leaq	stray_jump_at(%rip), %rax
	jmp	*%rax
stray_jump_at:
	incl	%gs:CPU_LANDINGS
	ret

	.section .note.GNU-stack, "", @progbits
