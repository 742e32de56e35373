/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest without CET, in the 64 KiB that a machine finds below 4 GiB instead of a BIOS. It counts in a register and in
 * memory. What it says, and when it goes on, is as in tests/qemu/guest/io.h.
 */
#define COUNT 0x600
#define COM1  0x3f8

	.text
	.code16
	.globl start
start:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0x7000, %sp
	xorl	%ecx, %ecx
	movl	%ecx, COUNT
	movw	$first, %si
	call	say
	call	count
	movw	$second, %si
	call	say
	call	count
	movw	$end, %si
	call	say
1:	hlt
	jmp	1b

/* Until a byte comes */
count:
	incl	%ecx
	incl	COUNT
	movw	$COM1 + 5, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	count
	movw	$COM1, %dx
	inb	%dx, %al
	movw	$good, %si
	cmpl	COUNT, %ecx
	je	say
	movw	$bad, %si
say:
	lodsb	%cs:(%si), %al
	testb	%al, %al
	jz	1f
	outb	%al, $0xe9
	jmp	say
1:	ret

first:	.asciz	"wait CPL 3\n"
second:	.asciz	"wait CPL 0\n"
good:	.asciz	"ok it has counted on, and lost nothing\n"
bad:	.asciz	"not ok it has counted on, and lost nothing\n"
end:	.asciz	"end\n"

	.org	0xfff0
	jmp	start
	.org	0x10000
