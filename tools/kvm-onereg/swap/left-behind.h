/* SPDX-License-Identifier: GPL-2.0 */
/* What a new process will not have, although the old one has it. */
#ifndef SWAP_LEFT_BEHIND_H
#define SWAP_LEFT_BEHIND_H

#include "swap/guest.h"

/* Note what a restart of a guest's QEMU does not carry over. Changes nothing */
void note_left_behind(struct guest *guest);

#endif
