/* SPDX-License-Identifier: GPL-2.0 */
/* For guest.S, nested-vmx-entry.S and nested-svm-entry.S, which include it. */

	/* What a C function may not change. */
	.macro	push_callee_saved
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	.endm
	.macro	pop_callee_saved
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	.endm

	/* All general registers except RAX and RSP; in memory, in the order of enum L2_*. */
	.macro	load_registers from
	mov	\from + 8 * 0, %rcx
	mov	\from + 8 * 1, %rdx
	mov	\from + 8 * 2, %rbx
	mov	\from + 8 * 3, %rbp
	mov	\from + 8 * 4, %rsi
	mov	\from + 8 * 5, %rdi
	mov	\from + 8 * 6, %r8
	mov	\from + 8 * 7, %r9
	mov	\from + 8 * 8, %r10
	mov	\from + 8 * 9, %r11
	mov	\from + 8 * 10, %r12
	mov	\from + 8 * 11, %r13
	mov	\from + 8 * 12, %r14
	mov	\from + 8 * 13, %r15
	.endm
	.macro	store_registers to
	mov	%rcx, \to + 8 * 0
	mov	%rdx, \to + 8 * 1
	mov	%rbx, \to + 8 * 2
	mov	%rbp, \to + 8 * 3
	mov	%rsi, \to + 8 * 4
	mov	%rdi, \to + 8 * 5
	mov	%r8, \to + 8 * 6
	mov	%r9, \to + 8 * 7
	mov	%r10, \to + 8 * 8
	mov	%r11, \to + 8 * 9
	mov	%r12, \to + 8 * 10
	mov	%r13, \to + 8 * 11
	mov	%r14, \to + 8 * 12
	mov	%r15, \to + 8 * 13
	.endm

	/* nested_seen becomes what L1 reads after an exit. Changes RAX, RCX and RDX. */
	.macro	note_seen
	cmpq	$0, nested_l1_cet
	je	9f
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
9:
	.endm
