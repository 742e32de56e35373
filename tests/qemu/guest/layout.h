/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where things are in the guest's memory, all of it below 640 KiB. drive.c and forget.c look at some of it too
 */
#define CPUS 2

#define PAGE_TABLES 0x1000
#define LAST_TABLE  (PAGE_TABLES + 0x3000)
/* How often each CPU went down and up its shadow stack while it waited: 64 bits each */
#define ROUNDS 0x6000
#define GUEST  0x10000
#define STACK  0x8000

/* Each CPU's shadow stacks. Two have several pages, so that more than one changes */
#define SHADOWS	       0x80000
#define SHADOW_SIZE    0x8000
#define SHADOW_BOOT    0x0000
#define SHADOW_FAULT   0x1000
#define SHADOW_SYSCALL 0x2000
#define SHADOW_USER    0x4000
#define SHADOW_END     (SHADOWS + CPUS * SHADOW_SIZE)

/* A second mapping of all of it, for reading */
#define SECOND_ADDRESS 0x200000

/* Of a CPU, where GS points to: what assembly uses */
#define CPU_RIGHT_RETURN 8
#define CPU_ESCAPES	 16
#define CPU_LANDINGS	 20
