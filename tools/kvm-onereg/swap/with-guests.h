/* SPDX-License-Identifier: GPL-2.0 */
/* A swap that keeps guests. */
#ifndef SWAP_WITH_GUESTS_H
#define SWAP_WITH_GUESTS_H

#include <stdbool.h>

#include "model/kernel.h"
#include "model/loaded.h"
#include "model/unfinished.h"
#include "swap/way-back.h"

/*
 * swap_with_guests - save all guests, exchange the modules, and restore the guests
 * @unfinished: a swap that was interrupted, and goes on or back with this; or one that is not there
 * @folder: for the guests' states
 * @there: what is loaded, if that needs no exchange, and guests that are saved only need to be restored; or NULL
 *
 * Returns the exit status, and finish_swap() has the sentence.
 */
int swap_with_guests(const struct kernel *kernel, struct running *running, struct ways *ways, bool keep_kvm,
		     const struct unfinished *unfinished, const char *folder, const char *there);

#endif
