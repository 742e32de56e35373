/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where things are in the guest's memory, all of it below 640 KiB
 */
#define PAGE_TABLES	0x1000
#define LAST_TABLE	(PAGE_TABLES + 0x3000)
#define GUEST		0x10000
#define STACK		0x8000

/* Shadow stacks of a page each; the user's has more, so that several pages of it change */
#define SHADOW_BOOT	0x80000
#define SHADOW_SYSCALL	0x81000
#define SHADOW_FAULT	0x82000
#define SHADOW_USER	0x84000
#define SHADOW_END	0x88000

/* All of it once more, to read */
#define SECOND_ADDRESS	0x200000
