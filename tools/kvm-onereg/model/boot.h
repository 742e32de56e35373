/* SPDX-License-Identifier: GPL-2.0 */
/* Which kernel the boot loader takes next. */
#ifndef MODEL_BOOT_H
#define MODEL_BOOT_H

#include "model/kernel.h"

struct next_boot {
	char *release;		     /* NULL: no kernel is installed, or it is not known */
	const struct kernel *kernel; /* the same; NULL if it has no modules here */
	char *by;		     /* what decides: "GRUB", "GRUB, once", "systemd-boot", "the newest" */
};

/*
 * boots_next - read the boot loader's own files
 *
 * GRUB: what /boot/grub/grub.cfg and grubenv (grub-reboot, grub-set-default) select, submenus included. systemd-boot:
 * what bootctl reports. Where neither can be read, the newest kernel by version, as grub-mkconfig would put it first.
 * @all: find_kernels()
 */
struct next_boot boots_next(struct kernel *all);

#endif
