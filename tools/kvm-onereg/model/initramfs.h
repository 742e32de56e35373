/* SPDX-License-Identifier: GPL-2.0 */
/* The modules of KVM in a kernel's initramfs. */
#ifndef MODEL_INITRAMFS_H
#define MODEL_INITRAMFS_H

#include "model/module-file.h"

/* One of the three modules in it, the one that modprobe would load there. */
struct packed_module {
	bool there;
	char *build_id, *version, *origin; /* NULL: it has none, or it could not be unpacked */
};

struct initramfs {
	char *file;	  /* below the root; NULL: this kernel has none */
	char *why_unread; /* why it could not be examined; NULL if it could */
	bool dracut;	  /* who made it */
	struct packed_module module[MODULES];
	char *modprobe_d; /* its /etc/modprobe.d/kvm-onereg.conf, or NULL */
};

/*
 * read_initramfs - read the image that the boot loader gives to a kernel
 *
 * /boot/initrd.img-KERNEL (initramfs-tools; Debian's dracut takes this name too) or dracut's initramfs-KERNEL.img: any
 * number of cpio archives, the last of them packed. It is read once, as a stream, and only what is wanted is kept.
 */
struct initramfs read_initramfs(const char *release);

#endif
