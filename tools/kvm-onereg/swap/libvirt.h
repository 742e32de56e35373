/* SPDX-License-Identifier: GPL-2.0 */
/* A domain of libvirt: virsh saves and restores it. All that is known of libvirt is here. */
#ifndef SWAP_LIBVIRT_H
#define SWAP_LIBVIRT_H

#include <stdbool.h>

#include "model/hold.h"
#include "swap/guest.h"

/* Where the system's libvirtd puts what managedsave writes */
#define LIBVIRT_SAVES "/var/lib/libvirt/qemu/save"

/*
 * look_at_domain - find out whether a process is a domain's, and refuse that for each thing that prevents a save
 *
 * False if it is of no libvirtd. Changes nothing.
 */
bool look_at_domain(const struct holder *holder, bool with_cet, struct guest *guest);

/* All of these return NULL, or why they failed */

/* @first: it runs, and Ctrl-C lets it go on. Otherwise it was restored, and has to be saved again */
char *domain_save(struct guest *guest, bool first);
/* From its managed save; it stays stopped */
char *domain_restore(struct guest *guest);
char *domain_resume(struct guest *guest);
/*
 * The phase that a domain is really in: RUNNING, RESTORING if it is stopped, GONE if it is saved, or LOST. False if
 * libvirtd does not say
 */
bool domain_phase(struct guest *guest, enum phase *phase);

#endif
