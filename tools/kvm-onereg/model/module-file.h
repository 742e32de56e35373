/* SPDX-License-Identifier: GPL-2.0 */
/* The files of the three modules of KVM, and whose they are. */
#ifndef MODEL_MODULE_FILE_H
#define MODEL_MODULE_FILE_H

#include <stdbool.h>
#include <stddef.h>

enum whose { MISSING, DAMAGED, BUILTIN, OURS, DISTRO, NATIVE, FOREIGN, MIXED };
extern const char * const whose_names[];

#define MODULES 3
enum { KVM, KVM_INTEL, KVM_AMD };
/* With '-', as files; loaded modules have '_'. */
extern const char * const file_names[MODULES];
extern const char * const loaded_names[MODULES];

/* A module file. Information that it does not have is NULL. */
struct module {
	enum whose whose; /* MISSING, DAMAGED, OURS, DISTRO, FOREIGN */
	char *file;
	bool not_configured; /* it is MISSING because the kernel's configuration does not have it */
	bool prebuilt;	     /* of a package kvm-onereg-modules-KERNEL, not built here */
	char *version, *origin, *srcversion, *vermagic, *depends, *signer;
	char **parameters; /* names, ended by NULL */
	char *build_id;	   /* in hexadecimal; ask build_id_of() for it */
	bool build_id_read;
};

/* Read the information in a module file, once per run; @file is used as it is. */
struct module read_module(const char *file);
const char *build_id_of(struct module *module);
/* The file that read_module() read, unpacked and as it is; NULL if it cannot be read or unpacked. */
const unsigned char *module_contents(const struct module *module, size_t *size);
const unsigned char *module_packed_contents(const struct module *module, size_t *size);

#endif
