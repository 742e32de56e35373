/* SPDX-License-Identifier: GPL-2.0 */
/* What isolation-readers.c and the guest code in isolation-readers-code.S share. */
#ifndef TESTS_GUEST_ISOLATION_READERS_H
#define TESTS_GUEST_ISOLATION_READERS_H

#include "guest.h"

/* Numbers of g_call(). */
#define CALL_READY 1 /* waits for the next order */
#define CALL_ARMED 2 /* CR4.CET and S_CET.SH_STK_EN are set */
#define CALL_SEEN  3 /* its first value is SSP, or -1 if RDSSP does nothing */

/* Vectors. */
#define VECTOR_TO_CPL0	0x90
#define VECTOR_TO_CPL1	0x91
#define VECTOR_TO_CPL2	0x92
#define VECTOR_IST	0x93
#define VECTOR_INJECTED 0x94
#define VECTOR_STORE	0x95

/* Selectors: code of CPL1 and CPL2, and call gates to CPL0, CPL1 and CPL2. */
#define SEL_CODE_CPL1 (GDT_FREE + 0x00)
#define SEL_CODE_CPL2 (GDT_FREE + 0x08)
#define SEL_GATE(cpl) (GDT_FREE + 0x10 + 0x10 * (cpl))

#define MSR_SYSENTER_CS 0x174

#ifndef __ASSEMBLER__
/* Where a guest starts with nothing on its stacks. None of them returns. */
void read_arm(void);
void read_setssbsy(void);
void read_int_to_cpl0(void);
void read_int_to_cpl1(void);
void read_int_to_cpl2(void);
void read_int_ist(void);
void read_bp(void);
void read_ud(void);
void read_wait(void);
void read_gate_to_cpl0(void);
void read_gate_to_cpl1(void);
void read_gate_to_cpl2(void);
void read_user(void);
void read_iret(void);
void read_lret(void);
void read_sysret(void);
void read_sysexit(void);
void read_store(void);
/* The targets of the gates. */
void read_target(void);
#endif

#endif
