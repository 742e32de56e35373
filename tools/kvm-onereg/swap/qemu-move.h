/* SPDX-License-Identifier: GPL-2.0 */
/* Save a QEMU's guest to a file, and restore it from there. */
#ifndef SWAP_QEMU_MOVE_H
#define SWAP_QEMU_MOVE_H

#include <stdbool.h>

#include "swap/guest.h"

/* All that can fail return NULL, or why it did */

/* Note guest->settings: what its migration is set to */
char *qemu_note_settings(struct guest *guest);
/* Connect to its monitor again */
char *qemu_connect(struct guest *guest);
/* "running", "paused", ...; NULL: it does not say */
/* Connect to a new process, for at most @ms, or until it has ended; NULL, or why not */
char *qemu_wait(struct guest *guest, int ms);
const char *qemu_state(struct guest *guest);
/* Stop it, and write its state to guest->file, which is on the disk then */
char *qemu_save(struct guest *guest);
/* Of a process that is being saved, or was: what qemu_save() changed is as before, and it runs if it @ran */
char *qemu_continue(struct guest *guest, bool run);
/* End its process, and wait for that */
char *qemu_end(struct guest *guest);
/* End its process by force, and wait for that */
void qemu_kill(struct guest *guest);
/*
 * Make the process that takes it: guest->pid, guest->time. It does nothing before qemu_restore(), for which *go is, and
 * ends if that is closed
 */
char *qemu_start(struct guest *guest, int *go);
/* Let it go on, and take the state from the file. It stays stopped */
char *qemu_restore(struct guest *guest, int go);
char *qemu_resume(struct guest *guest);

#endif
