/* SPDX-License-Identifier: GPL-2.0 */
/* Unload one set of modules, and load another. */
#ifndef SWAP_EXCHANGE_H
#define SWAP_EXCHANGE_H

#include <stdbool.h>

#include "model/kernel.h"
#include "model/loaded.h"
#include "swap/way-back.h"

/*
 * exchange_modules - load ways->to in place of what is loaded, or what there is a way back to
 * @keep_kvm: the loaded kvm is the right one, and stays
 *
 * Returns the exit status, and finish_swap() has the sentence. With --dry-run, only the steps are told.
 */
int exchange_modules(const struct kernel *kernel, struct running *running, struct ways *ways, bool keep_kvm);

#endif
