/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Option ROM for Bochs that starts a kernel without a boot loader.
 *
 * The BIOS far-calls offset 3 after its own set-up, when the ACPI tables
 * exist.  The ROM does not return: it goes to flat 32-bit protected mode and
 * jumps to the kernel's PVH entry with %ebx pointing to the start_info.
 * Kernel, initramfs and start_info are in RAM already (optramimageN).
 *
 * mkboot fills in the two addresses at ROM_PARAMS and the checksum byte.
 */
#define ROM_BASE	0xd0000
#define ROM_SIZE	512
#define ROM_PARAMS	0x1f0

	.section .note.GNU-stack,"",@progbits
	.section .rom,"ax"
	.code16
rom:	.byte	0x55, 0xaa, ROM_SIZE / 512
	jmp	1f
	.org	0x10
1:	cli
	cld
	/* A20 on, without the fast-reset bit */
	in	$0x92, %al
	or	$2, %al
	and	$0xfe, %al
	out	%al, $0x92
	lgdtl	%cs:(gdtr - rom)
	mov	%cr0, %eax
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$8, $(ROM_BASE + flat - rom)

	.code32
flat:	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%eax, %fs
	mov	%eax, %gs
	mov	ROM_BASE + ROM_PARAMS, %ebx
	mov	ROM_BASE + ROM_PARAMS + 4, %eax
	jmp	*%eax

	.align	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdtr:	.word	gdtr - gdt - 1
	.long	ROM_BASE + gdt - rom

	.org	ROM_PARAMS
	.long	0			/* start_info */
	.long	0			/* PVH entry */
	.org	ROM_SIZE - 1
	.byte	0			/* makes the sum of all bytes 0 */
