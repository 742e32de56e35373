/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest that counts, for keep-guests.t, in a firmware image of 64 KiB in place of a BIOS. It writes each number, in
 * hexadecimal, to the debug console, one per line. Each number is the one in memory plus one. The guest also stores
 * each number in a table in memory, and compares: if an entry has changed, it writes "bad", and stops.
 *
 * With FULL, it first writes to each page of its memory above 1 MiB, so that all pages exist and none is empty.
 */
#define NUMBER	0x1000
#define TABLE	0x2000
#define ENTRIES 0x1000
#define CONSOLE 0xe9
/*
 * The timer's count from one number to the next: 0 stands for 65536, or 55 ms, in which the guest halts and costs its
 * host no time. Writing a number takes milliseconds on an emulated host.
 */
#define COUNTS	0
#define TICK	8	/* the vector of its interrupt */

	.text
	.code16
start:
	cli
	xorl	%eax, %eax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0x800, %sp

	/* Disable the local APIC, so that the interrupt controller (8259) is connected to the CPU directly */
	movl	$0x1b, %ecx
	rdmsr
	btrl	$11, %eax
	wrmsr
	/* Set up interrupt controller and timer, like a BIOS, but enable no other interrupt */
	movw	$(tick - start), 4 * TICK
	movw	%cs, 4 * TICK + 2
	movb	$0x11, %al
	outb	%al, $0x20
	movb	$TICK, %al
	outb	%al, $0x21
	movb	$4, %al
	outb	%al, $0x21
	movb	$1, %al
	outb	%al, $0x21
	movb	$0xfe, %al
	outb	%al, $0x21
	movb	$0x34, %al
	outb	%al, $0x43
	movb	$COUNTS & 0xff, %al
	outb	%al, $0x40
	movb	$COUNTS >> 8, %al
	outb	%al, $0x40

#ifdef FULL
	/* A data segment without a limit */
	lgdtl	%cs:(gdtr - start)
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	movw	$8, %bx
	movw	%bx, %ds
	andb	$~1, %al
	movl	%eax, %cr0
	xorw	%bx, %bx
	movw	%bx, %ds

	/* The CMOS has the size above 16 MiB, in units of 64 KiB */
	xorl	%ebp, %ebp
	movb	$0x35, %al
	outb	%al, $0x70
	inb	$0x71, %al
	movb	%al, %ah
	movb	$0x34, %al
	outb	%al, $0x70
	inb	$0x71, %al
	movw	%ax, %bp
	shll	$16, %ebp
	addl	$16 << 20, %ebp
	movl	$1 << 20, %edi
fill:	movl	%edi, (%edi)
	addl	$0x1000, %edi
	cmpl	%ebp, %edi
	jb	fill
#endif

1:	movl	NUMBER, %ebx
	testl	%ebx, %ebx
	jz	2f
	movl	%ebx, %esi
	andl	$ENTRIES - 1, %esi
	cmpl	%ebx, TABLE(, %esi, 4)
	jne	bad
2:	incl	%ebx
	movl	%ebx, NUMBER
	movl	%ebx, %esi
	andl	$ENTRIES - 1, %esi
	movl	%ebx, TABLE(, %esi, 4)

	movw	$8, %cx
3:	roll	$4, %ebx
	movb	%bl, %al
	andb	$15, %al
	addb	$'0', %al
	cmpb	$'9', %al
	jbe	4f
	addb	$'a' - '9' - 1, %al
4:	outb	%al, $CONSOLE
	loop	3b
	movb	$'\n', %al
	outb	%al, $CONSOLE

	sti
	hlt
	cli
	jmp	1b

tick:	pushw	%ax
	movb	$0x20, %al
	outb	%al, $0x20
	popw	%ax
	iretw

bad:	movb	$'b', %al
	outb	%al, $CONSOLE
	movb	$'a', %al
	outb	%al, $CONSOLE
	movb	$'d', %al
	outb	%al, $CONSOLE
	movb	$'\n', %al
	outb	%al, $CONSOLE
5:	hlt
	jmp	5b

#ifdef FULL
	/* The segment is marked as accessed, because the CPU cannot do that in a ROM */
	.balign	8
gdt:	.quad	0, 0x00cf93000000ffff
gdtr:	.word	. - gdt - 1
	.long	0xf0000 + gdt - start
#endif

	.org	0xfff0
	ljmpw	$0xf000, $start
	.org	0x10000
