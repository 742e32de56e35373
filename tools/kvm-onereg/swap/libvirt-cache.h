/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libvirt asks QEMU what KVM offers, and keeps the answer. It looks at KVM again when libvirtd starts; while libvirtd
 * runs it notices when QEMU or QEMU's folder of modules has changed, but not when other modules of KVM are loaded: it
 * would report, and give domains with host-model, what the previous ones offered.
 */
#ifndef SWAP_LIBVIRT_CACHE_H
#define SWAP_LIBVIRT_CACHE_H

#include <stdbool.h>

/* The folder that libvirt looks at each time: with a new time of it, all daemons ask again, without a restart */
#define QEMU_MODULES "/usr/lib/x86_64-linux-gnu/qemu"

/* Is libvirt's driver for QEMU installed? */
bool has_libvirt(void);
/* Other modules are loaded: make libvirt ask again; a note if that cannot be done */
void renew_libvirt(void);

#endif
