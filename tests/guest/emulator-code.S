/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The instructions that emulator.c has KVM emulate, each behind KVM's prefix for that. RAX = e_target, RBX points to a
 * far pointer to it, RSP to an interrupt frame that leads there; where an instruction falls through, it is to e_next.
 */
#include "guest.h"
#include "emulator.h"

	.text

	/* These mean the same in 32-bit code. */
	.balign	16
	.global	e_target
e_target:
	endbr64
	mov	$CALL_TARGET, %eax
	outl	%eax, $PORT_CALL
	ud2

	.balign	16
e_next:
	mov	$CALL_NEXT, %eax
	outl	%eax, $PORT_CALL
	ud2

	.macro	start name
	.balign	16
	.global	e_\name
e_\name:
	ud2
	.ascii	"kvm"
	.endm

	.macro	forced name, insn:vararg
	start	\name
	.byte	\insn
	jmp	e_next
	.endm

	.macro	forced_rel name, opcode:vararg
	start	\name
	.byte	\opcode
	.long	e_target - . - 4
	jmp	e_next
	.endm

	/* A displacement of 8 bits leads over the first of the two jumps. */
	.macro	forced_short name, opcode
	start	\name
	.byte	\opcode, 5
	.byte	0xe9
	.long	e_next - . - 4
	.byte	0xe9
	.long	e_target - . - 4
	.endm

	.macro	forced_far name, opcode, selector
	start	\name
	.byte	\opcode
	.long	e_target
	.word	\selector
	jmp	e_next
	.endm

	/* The same bytes in 64-bit and 32-bit code. */
	forced		ret,		0xc3
	forced		ret_imm,	0xc2, 8, 0
	forced		call_reg,	0xff, 0xd0
	forced		call_mem,	0xff, 0x13
	forced		jmp_reg,	0xff, 0xe0
	forced		jmp_mem,	0xff, 0x23
	forced		jmp_notrack,	0x3e, 0xff, 0xe0
	forced		lret,		0xcb
	forced		lret_imm,	0xca, 8, 0
	forced		iret,		0xcf
	forced		int,		0xcd, VECTOR_USER_RETURN
	forced		int3,		0xcc
	forced		sysenter,	0x0f, 0x34
	forced		enter,		0xc8, 16, 0, 0
	forced		leave,		0xc9
	forced		inc_mem,	0xff, 0x03
	forced		push_mem,	0xff, 0x33
	forced		movbe,		0x0f, 0x38, 0xf0, 0x03
	forced		ljmp_mem,	0xff, 0x2b
	forced		lcall_mem,	0xff, 0x1b
	forced_rel	call_rel,	0xe8
	forced_rel	jmp_rel,	0xe9
	forced_rel	jcc_rel,	0x0f, 0x85
	forced_rel	jcc_not_taken,	0x0f, 0x84
	forced_short	jmp_short,	0xeb
	forced_short	jcc_short,	0x75
	forced_short	loop,		0xe2
	forced_short	jrcxz,		0xe3

	/* 64-bit code only. REX.R is the fourth bit of a register in ModRM, but not a bit of an opcode extension. */
	forced		call_reg_rex_r,	0x44, 0xff, 0xd0
	forced		jmp_reg_rex_r,	0x44, 0xff, 0xe0
	forced		lret_rex_w,	0x48, 0xcb
	forced		lret_imm_rex_w,	0x48, 0xca, 8, 0
	forced		lcall_rex_w,	0x48, 0xff, 0x1b
	forced		ljmp_rex_w,	0x48, 0xff, 0x2b
	forced		ljmp_rex_wr,	0x4c, 0xff, 0x2b
	forced		iret_rex_w,	0x48, 0xcf
	forced		syscall,	0x0f, 0x05
	forced		sysexit_rex_w,	0x48, 0x0f, 0x35

	/* 32-bit code only. */
	forced		into,		0xce
	forced_far	lcall_imm_cpl0,	0x9a, SEL_CODE32
	forced_far	lcall_imm_cpl3,	0x9a, SEL_USER32
	forced_far	ljmp_imm_cpl0,	0xea, SEL_CODE32
	forced_far	ljmp_imm_cpl3,	0xea, SEL_USER32

	/* Task switches, in 32-bit code. They exit to KVM by themselves. */
	.code32
	.global	e_task_jmp, e_task_call, e_task_iret, e_task_int
e_task_jmp:
	ljmp	$SEL_NEW_TSS, $0
	jmp	e_next
e_task_call:
	lcall	$SEL_NEW_TSS, $0
	jmp	e_next
e_task_iret:
	iret
	jmp	e_next
e_task_int:
	int	$VECTOR_TASK
	jmp	e_next

	.section .note.GNU-stack, "", @progbits
