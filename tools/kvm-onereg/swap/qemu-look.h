/* SPDX-License-Identifier: GPL-2.0 */
/* A QEMU of its own: what its guest is, and whether it can be kept. */
#ifndef SWAP_QEMU_LOOK_H
#define SWAP_QEMU_LOOK_H

#include <stdbool.h>

#include "model/hold.h"
#include "swap/guest.h"

/* What --qmp PID=PATH or --qmp PATH says; the latter is for the process that listens there */
void add_given_socket(const char *argument);

/* Whether this process runs QEMU */
bool is_qemu(const struct holder *holder);
/*
 * look_at_qemu - find out all that its restart needs, and refuse it for each thing that prevents one
 * @holder: a process that runs QEMU
 * @with_cet: the modules that are to be loaded offer CET
 *
 * Stops nothing and changes nothing. guest->qmp stays connected, unless that fails.
 */
void look_at_qemu(const struct holder *holder, bool with_cet, struct guest *guest);

#endif
