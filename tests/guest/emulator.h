/* SPDX-License-Identifier: GPL-2.0 */
/* What emulator.c and its guest code share. */
#ifndef TESTS_GUEST_EMULATOR_H
#define TESTS_GUEST_EMULATOR_H

#define CALL_TARGET 1 /* the branch was taken */
#define CALL_NEXT   2 /* the branch was not taken */

/* For task switches: two 32-bit TSS, and a vector whose gate is a task gate. */
#define SEL_OLD_TSS 0x48
#define SEL_NEW_TSS 0x50
#define VECTOR_TASK 0x90

#endif
