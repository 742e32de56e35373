/* SPDX-License-Identifier: GPL-2.0 */
/* Modules as bytes: what an unpacked ELF file holds. */
#ifndef MODEL_ELF_FILE_H
#define MODEL_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Every section is within the file, so nothing is truncated. */
bool elf_complete(const unsigned char *elf, size_t size);
/* In hexadecimal; or NULL. The second is for notes alone, as /sys/module/NAME/notes has them. */
char *elf_build_id(const unsigned char *elf, size_t size);
char *notes_build_id(const unsigned char *notes, size_t size);
/* The value of "KEY=..." in .modinfo, or NULL. */
char *elf_modinfo(const unsigned char *elf, size_t size, const char *key);

#endif
