/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The 64 KiB that a machine finds below 4 GiB instead of a BIOS: it goes to 64-bit mode, copies the guest to RAM
 * and jumps there. QEMU's own firmware and its option ROMs would take longer than all of the rest.
 */
#include "layout.h"

/* It is below 1 MiB too, where it is still there once paging is on */
#define ROM		0xf0000
#define IN_ROM(symbol)	(ROM + (symbol) - start)

	.text
	.code16
	.globl start
start:
	cli
	lgdtl	%cs:(gdtr - start)
	movl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$24, $IN_ROM(start32)

	.code32
start32:
	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	cld
	/* The rest is done already when the second CPU arrives: its SIPI leads to the ROM */
	movl	$0x1b, %ecx		/* APIC_BASE: is it the first? */
	rdmsr
	testb	$1, %ah
	jz	2f
	movl	$IN_ROM(guest), %esi
	movl	$GUEST, %edi
	movl	$(guest_end - guest + 3) / 4, %ecx
	rep movsl

	/* The first 2 MiB one to one, in pages of 4 KiB, for user mode too; the guest makes shadow stacks of some */
	xorl	%eax, %eax
	movl	$PAGE_TABLES, %edi
	movl	$0x4000 / 4, %ecx
	rep stosl
	movl	$PAGE_TABLES + 0x1007, PAGE_TABLES
	movl	$PAGE_TABLES + 0x2007, PAGE_TABLES + 0x1000
	movl	$LAST_TABLE + 7, PAGE_TABLES + 0x2000
	movl	$LAST_TABLE, %edi
	movl	$0x67, %eax
1:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$0x1000, %eax
	cmpl	$0x200067, %eax
	jne	1b

2:	movl	$PAGE_TABLES, %eax
	movl	%eax, %cr3
	movl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	$0xc0000080, %ecx	/* EFER.LME */
	movl	$0x100, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$0x80010021, %eax	/* PG, WP, NE, PE */
	movl	%eax, %cr0
	ljmpl	$8, $GUEST

	.balign	8
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* 64-bit code, where the guest has it too */
	.quad	0x00cf93000000ffff	/* data */
	.quad	0x00cf9b000000ffff	/* 32-bit code */
gdtr:	.word	gdtr - gdt - 1
	.long	IN_ROM(gdt)

	.balign	8
guest:	.incbin	"guest.payload"
guest_end:

	.code16
	.org	0xfff0
	jmp	start
	.org	0x10000
