/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest that is deep in calls, on shadow stacks and with IBT, at CPL0 or CPL3: level 0 calls level 1, and so on to
 * level DEPTH, each by an indirect branch. Every level stops in the VMM when it is called and when it is back from the
 * next one; the last one may act in between (enum action).
 */
#ifndef TESTS_GUEST_CHAIN_H
#define TESTS_GUEST_CHAIN_H

#include "vmm.h"

#define DEPTH	    8
#define START_VALUE 1000

/* g_call() numbers; a is the level, b its SSP. */
#define CALL_DOWN   1
#define CALL_UP	    2
#define CALL_XSAVED 3  /* a = XCOMP_BV; the image is in chain_image */
#define CALL_RING   4  /* a = CS, b = SSP */
#define CALL_GADGET 66 /* the target of an attack */

enum action {
	RETURN,		/* none */
	CORRUPT_RETURN, /* returns to the gadget, which succeeds without shadow stacks */
	BAD_JUMP,	/* jumps to the gadget, which has no ENDBR64 and is reached without IBT */
	BREAKPOINT,
	UNDEFINED, /* UD2 */
	XSAVES,	   /* components 11 and 12; CPL0 */
	RING1,	   /* an interrupt to CPL1, CPL2; from CPL3 */
	RING2,
};

/* A description in a few words. */
extern const char * const action_names[];

/* Guest functions, for cpu_start(): the chain at CPL0, and at CPL3 called from CPL0. */
uint64_t chain_main_cpl0(uint64_t value);
uint64_t chain_main_cpl3(uint64_t value);

/* The guest's variables: use in_guest(). */
extern uint64_t chain_action;

struct cet_image {
	uint8_t legacy[512];
	uint64_t xstate_bv, xcomp_bv, reserved[6];
	/* Components 11 and 12, compacted. */
	uint64_t u_cet, pl3_ssp, pl0_ssp, pl1_ssp, pl2_ssp;
	uint8_t rest[256];
} __attribute__((aligned(64)));

extern struct cet_image chain_image;

/* A machine with such a guest, with all of CET and XSS enabled; it has not run yet. */
struct cpu *chain_start(struct machine **m, unsigned int cpl, enum action action);
/* The same, stopped in the last level, before it acts. *@base is the SSP of level 0, from which all others follow. */
struct cpu *chain_start_deep(struct machine **m, unsigned int cpl, enum action action, uint64_t *base);

/*
 * Runs to the next stop; true if it is that of a level, with everything as it should be. CALL_DOWN of level 0 sets
 * *@base.
 */
bool chain_is_at(struct cpu *c, unsigned int call, unsigned int level, uint64_t *base, unsigned int cpl);
/* Runs from the stop in @level to the end, and checks every SSP and the result. */
bool chain_unwinds(struct cpu *c, unsigned int level, uint64_t base, unsigned int cpl);
/* Continues, past the levels that have returned. */
void chain_run(struct cpu *c);

#endif
