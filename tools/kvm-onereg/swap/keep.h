/* SPDX-License-Identifier: GPL-2.0 */
/* Guests that a swap keeps: all of them, step by step. */
#ifndef SWAP_KEEP_H
#define SWAP_KEEP_H

#include <stdbool.h>

#include "model/hold.h"
#include "swap/guest.h"

/*
 * settle_guests - bring the guests of an unfinished swap to a phase from which it can go on or back
 * @act: do it; or only find out what will be done
 *
 * They are then SAVED, GONE, or have ended or run, and are then not in the journal any more. Notes say what became of
 * them. NULL, or why a guest is in no such phase.
 */
char *settle_guests(struct journal *journal, bool act);
/* Add each VM that @holders has to the journal, with what speaks against keeping it */
void find_guests(struct journal *journal, const struct holders *holders, const char *folder, bool with_cet);
/* Refuse guests for which there is no space */
void check_space(struct journal *journal);
bool is_kept(const struct journal *journal, int pid);

/* NULL, or why it failed: all guests then go on as before, but for those that *@failed names */
char *save_guests(struct journal *journal, char **failed);
/*
 * All guests that are GONE get new processes, in which they stay stopped. NULL, or why one failed. Then, with
 * @together, none has one: all are GONE; otherwise, all others have one
 */
char *restore_guests(struct journal *journal, bool together);
/* Those that were restored run again, if they did; NULL, or what failed */
char *resume_guests(struct journal *journal);
/* Saved ones whose processes are still there go on in them */
char *continue_guests(struct journal *journal);

/* Some guest has these features */
bool any_cet(const struct journal *journal);
bool any_nested(const struct journal *journal);
/* How many of them are somewhere between: the journal must stay */
int unsettled_guests(const struct journal *journal);
int waiting_guests(const struct journal *journal);

#endif
