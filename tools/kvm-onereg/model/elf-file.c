// SPDX-License-Identifier: GPL-2.0
/* ELF files of 64 bits. */
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "model/elf-file.h"

static bool inside(size_t size, Elf64_Off offset, size_t length)
{
	return offset <= size && length <= size - offset;
}

static bool read_header(const unsigned char *elf, size_t size, Elf64_Ehdr *header)
{
	if (size < sizeof(*header) || memcmp(elf, ELFMAG, SELFMAG) || elf[EI_CLASS] != ELFCLASS64)
		return false;
	memcpy(header, elf, sizeof(*header));
	return true;
}

/* False if there is no such section, or it is not complete */
static bool read_section(const unsigned char *elf, size_t size, unsigned int n, Elf64_Shdr *section)
{
	Elf64_Ehdr header;

	if (!read_header(elf, size, &header) || n >= header.e_shnum || header.e_shentsize != sizeof(*section) ||
	    !inside(size, header.e_shoff, (n + 1) * sizeof(*section)))
		return false;
	memcpy(section, elf + header.e_shoff + n * sizeof(*section), sizeof(*section));
	return section->sh_type == SHT_NOBITS || inside(size, section->sh_offset, section->sh_size);
}

bool elf_complete(const unsigned char *elf, size_t size)
{
	Elf64_Ehdr header;
	Elf64_Shdr section;

	if (!read_header(elf, size, &header) || !header.e_shnum)
		return false;
	for (unsigned int n = 0; n < header.e_shnum; n++)
		if (!read_section(elf, size, n, &section))
			return false;
	return true;
}

static char *hex(const unsigned char *bytes, size_t size)
{
	char *string = allocate(2, size + 1);

	for (size_t i = 0; i < size; i++)
		sprintf(string + 2 * i, "%02x", bytes[i]);
	return string;
}

char *notes_build_id(const unsigned char *notes, size_t size)
{
	while (size >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr header;
		size_t name, descriptor;

		memcpy(&header, notes, sizeof(header));
		notes += sizeof(header);
		size -= sizeof(header);
		name = (header.n_namesz + 3ul) & ~3ul;
		descriptor = (header.n_descsz + 3ul) & ~3ul;
		if (name > size || header.n_descsz > size - name)
			break;
		if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 && !memcmp(notes, "GNU", 4))
			return hex(notes + name, header.n_descsz);
		if (descriptor > size - name)
			break;
		notes += name + descriptor;
		size -= name + descriptor;
	}
	return NULL;
}

char *elf_build_id(const unsigned char *elf, size_t size)
{
	Elf64_Ehdr header;
	Elf64_Shdr section;

	if (!read_header(elf, size, &header))
		return NULL;
	for (unsigned int n = 0; n < header.e_shnum; n++) {
		char *id;

		if (!read_section(elf, size, n, &section) || section.sh_type != SHT_NOTE)
			continue;
		id = notes_build_id(elf + section.sh_offset, section.sh_size);
		if (id)
			return id;
	}
	return NULL;
}

char *elf_modinfo(const unsigned char *elf, size_t size, const char *key)
{
	size_t length = strlen(key);
	Elf64_Shdr names, section;
	Elf64_Ehdr header;

	if (!read_header(elf, size, &header) || !read_section(elf, size, header.e_shstrndx, &names) ||
	    names.sh_type == SHT_NOBITS)
		return NULL;
	for (unsigned int n = 0; n < header.e_shnum; n++) {
		const char *at, *end;

		if (!read_section(elf, size, n, &section) || section.sh_type == SHT_NOBITS ||
		    !inside(names.sh_size, section.sh_name, sizeof(".modinfo")) ||
		    memcmp(elf + names.sh_offset + section.sh_name, ".modinfo", sizeof(".modinfo")))
			continue;
		at = (const char *)elf + section.sh_offset;
		end = at + section.sh_size;
		for (; at < end; at += strnlen(at, end - at) + 1) {
			size_t n = strnlen(at, end - at);

			if (n > length && at[length] == '=' && !memcmp(at, key, length))
				return format("%.*s", (int)(n - length - 1), at + length + 1);
		}
	}
	return NULL;
}
