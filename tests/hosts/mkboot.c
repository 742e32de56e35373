// SPDX-License-Identifier: GPL-2.0
/*
 * mkboot: prepares a Debian kernel so that an emulator can start it without a boot loader
 *
 *   mkboot kernel VMLINUZ DIR
 *	unpacks a bzImage: DIR/vmlinux (ELF, for QEMU's -kernel) and
 *	DIR/kernel.img, DIR/kernel.map (RAM image and its addresses, for Bochs)
 *
 *   mkboot bochs KERNELDIR INITRD MEGABYTES CMDLINE OPTROM OUT SEEN-AS RESERVED
 *	writes OUT/params.img and OUT/optrom.img, which start the kernel of
 *	KERNELDIR with INITRD, and prints the lines of a bochsrc.  They name
 *	the files as Bochs sees them in its chroot: SEEN-AS/kernel.img,
 *	SEEN-AS/initrd.img and so on.  If there is an OUT/library.img, it is put
 *	behind the MEGABYTES, in reserved memory; if not, RESERVED megabytes
 *	there are left for files.
 *
 *   mkboot library FILE DIR...
 *	makes FILE of what boot --prepare left in each DIR, see library.h
 *
 *   mkboot files FILE DIR
 *	makes FILE of all that is in DIR, see library.h
 *
 * The first two start the kernel at its PVH entry, so neither the self-decompression
 * nor a boot loader has to be emulated.
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"

/* Bochs hands out guest memory in 128 KiB blocks: images start on one */
#define IMAGE_ALIGN (2u << 20)

/* The BIOS puts the ACPI tables into the last 64 KiB of RAM */
#define ACPI_SIZE 0x10000u

#define ROM_BASE   0xd0000u
#define ROM_SIZE   512u
#define ROM_PARAMS 0x1f0u

/* Layout of the page with the start_info */
#define PARAMS_SIZE    4096u
#define CMDLINE_OFFSET 0x100u
#define MODULE_OFFSET  0xa00u
#define MEMMAP_OFFSET  0xb00u

#define XEN_ELFNOTE_PHYS32_ENTRY 18

enum e820 { RAM = 1, RESERVED = 2, ACPI = 3 };

/* Xen's public ABI, xen/interface/hvm/start_info.h */
struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct module_entry {
	uint64_t paddr, size, cmdline, reserved;
};

struct memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

struct blob {
	unsigned char *p;
	size_t size;
};

static struct blob map_file(const char *path)
{
	struct blob b;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", path);
	b.size = st.st_size;
	b.p = mmap(NULL, b.size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (b.p == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
	return b;
}

static char *join(const char *dir, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		err(1, "asprintf");
	return path;
}

static void write_file(const char *path, const void *p, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	const char *from = p;

	if (fd < 0)
		err(1, "%s", path);
	while (size) {
		ssize_t n = write(fd, from, size);

		if (n <= 0)
			err(1, "%s", path);
		from += n;
		size -= n;
	}
	if (close(fd))
		err(1, "%s", path);
}

static const char *decompressor(const unsigned char *p)
{
	static const struct {
		const char *tool, *magic;
		size_t len;
	} known[] = {
		{ "zstd", "\x28\xb5\x2f\xfd", 4 },
		{ "xz", "\xfd\x37zXZ\0", 6 },
		{ "gzip", "\x1f\x8b", 2 },
		{ "lz4", "\x02\x21\x4c\x18", 4 },
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!memcmp(p, known[i].magic, known[i].len))
			return known[i].tool;
	errx(1, "unknown compression of the kernel: %02x %02x %02x %02x", p[0], p[1], p[2], p[3]);
}

static void run_tool(const char *tool, const char *in, const char *out)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		int fd0 = open(in, O_RDONLY);
		int fd1 = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0644);

		if (fd0 < 0 || fd1 < 0 || dup2(fd0, 0) < 0 || dup2(fd1, 1) < 0)
			err(1, "%s", out);
		execlp(tool, tool, "-dc", NULL);
		err(1, "%s", tool);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		errx(1, "%s -dc failed", tool);
}

/* Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header" */
static void unpack(const char *vmlinuz, const char *vmlinux, const char *packed)
{
	struct blob bz = map_file(vmlinuz);
	uint32_t offset, length;
	unsigned int setup_sects;
	const char *tool;

	if (bz.size > SELFMAG && !memcmp(bz.p, ELFMAG, SELFMAG)) {
		write_file(vmlinux, bz.p, bz.size);
		return;
	}
	if (bz.size < 0x400 || memcmp(bz.p + 0x202, "HdrS", 4))
		errx(1, "%s: no bzImage", vmlinuz);
	setup_sects = bz.p[0x1f1] ? bz.p[0x1f1] : 4;
	memcpy(&offset, bz.p + 0x248, 4);
	memcpy(&length, bz.p + 0x24c, 4);
	offset += (setup_sects + 1) * 512;
	if (length < 16 || (uint64_t)offset + length > bz.size)
		errx(1, "%s: payload out of bounds", vmlinuz);
	tool = decompressor(bz.p + offset);
	/* The build appends the unpacked size, which only gzip has by itself */
	write_file(packed, bz.p + offset, strcmp(tool, "gzip") ? length - 4 : length);
	run_tool(tool, packed, vmlinux);
	unlink(packed);
}

static uint32_t pvh_entry(const struct blob *elf, const Elf64_Phdr *ph)
{
	size_t p = ph->p_offset, end = p + ph->p_filesz;

	while (p + sizeof(Elf64_Nhdr) <= end && end <= elf->size) {
		const Elf64_Nhdr *n = (const void *)(elf->p + p);
		size_t name = p + sizeof(*n);
		size_t desc = name + ((n->n_namesz + 3) & ~3u);
		uint32_t entry;

		if (n->n_type == XEN_ELFNOTE_PHYS32_ENTRY && !memcmp(elf->p + name, "Xen", 4)) {
			memcpy(&entry, elf->p + desc, 4);
			return entry;
		}
		p = desc + ((n->n_descsz + 3) & ~3u);
	}
	return 0;
}

static int do_kernel(const char *vmlinuz, const char *dir)
{
	char *vmlinux = join(dir, "vmlinux"), *map;
	uint64_t base = UINT64_MAX, end = 0, file_end = 0;
	const Elf64_Phdr *ph;
	const Elf64_Ehdr *eh;
	uint32_t entry = 0;
	unsigned char *img;
	struct blob elf;
	int i, n;

	unpack(vmlinuz, vmlinux, join(dir, "packed"));
	elf = map_file(vmlinux);
	eh = (const void *)elf.p;
	if (elf.size < sizeof(*eh) || memcmp(elf.p, ELFMAG, SELFMAG) ||
	    eh->e_phoff + eh->e_phnum * sizeof(*ph) > elf.size)
		errx(1, "%s: did not unpack to an ELF file", vmlinuz);
	ph = (const void *)(elf.p + eh->e_phoff);
	for (i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type == PT_NOTE && !entry)
			entry = pvh_entry(&elf, &ph[i]);
		if (ph[i].p_type != PT_LOAD)
			continue;
		if (ph[i].p_offset + ph[i].p_filesz > elf.size)
			errx(1, "%s: truncated", vmlinuz);
		if (ph[i].p_paddr < base)
			base = ph[i].p_paddr;
		if (ph[i].p_paddr + ph[i].p_memsz > end)
			end = ph[i].p_paddr + ph[i].p_memsz;
		if (ph[i].p_paddr + ph[i].p_filesz > file_end)
			file_end = ph[i].p_paddr + ph[i].p_filesz;
	}
	if (!entry)
		errx(1, "%s: no PVH entry", vmlinuz);
	if (base >= file_end || end > UINT32_MAX || base % IMAGE_ALIGN)
		errx(1, "%s: strange load addresses", vmlinuz);
	img = calloc(1, file_end - base);
	if (!img)
		err(1, "calloc");
	for (i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD)
			memcpy(img + ph[i].p_paddr - base, elf.p + ph[i].p_offset, ph[i].p_filesz);
	write_file(join(dir, "kernel.img"), img, file_end - base);
	n = asprintf(&map, "%#" PRIx64 " %#" PRIx64 " %#" PRIx32 " %#" PRIx64 "\n", base, end, entry,
		     (uint64_t)eh->e_entry);
	if (n < 0)
		err(1, "asprintf");
	write_file(join(dir, "kernel.map"), map, n);
	return 0;
}

/* Where everything is in the memory of a Bochs machine */
struct layout {
	unsigned long megs;
	uint32_t kernel, kernel_end, entry;
	uint32_t params, initrd, initrd_size;
	uint32_t ram_end; /* the library is behind it, if there is one */
	uint64_t library_size;
	uint32_t acpi;
};

static void read_kernel_map(const char *kernel, struct layout *l)
{
	FILE *f = fopen(join(kernel, "kernel.map"), "r");

	if (!f || fscanf(f, "%" SCNx32 " %" SCNx32 " %" SCNx32, &l->kernel, &l->kernel_end, &l->entry) != 3)
		err(1, "%s/kernel.map", kernel);
	fclose(f);
}

/* @megs: for the kernel; @library_size: what is to be kept behind that */
static void place(struct layout *l, unsigned long megs, uint64_t library_size, const char *initrd)
{
	struct stat st;

	if (megs < 64 || megs > 2048)
		errx(1, "%lu MB: out of 64 to 2048", megs);
	if (stat(initrd, &st))
		err(1, "%s", initrd);
	l->megs = megs;
	l->library_size = (library_size + IMAGE_ALIGN - 1) & ~(IMAGE_ALIGN - 1ull);
	if (l->library_size) {
		l->megs += (l->library_size >> 20) + 2;
		if (l->megs > 2048)
			errx(1, "%lu MB: too much memory", l->megs);
	}
	l->acpi = (l->megs << 20) - ACPI_SIZE;
	l->ram_end = l->library_size ? megs << 20 : l->acpi;
	l->params = (l->kernel_end + IMAGE_ALIGN - 1) & ~(IMAGE_ALIGN - 1);
	l->initrd_size = st.st_size;
	l->initrd = (l->ram_end - l->initrd_size) & ~(IMAGE_ALIGN - 1);
	if ((uint64_t)st.st_size > l->ram_end || l->initrd < l->params + PARAMS_SIZE)
		errx(1, "kernel and initramfs do not fit into %lu MB", l->megs);
}

static void write_params(const struct layout *l, const char *cmdline, const char *file)
{
	const struct memmap_entry map[] = {
		{ 0, 0x9f000, RAM, 0 },
		{ 0x9f000, 0x1000, RESERVED, 0 },
		{ 0xe8000, 0x18000, RESERVED, 0 },
		{ 0x100000, l->ram_end - 0x100000, RAM, 0 },
		{ l->acpi, ACPI_SIZE, ACPI, 0 },
		{ 0xfffc0000, 0x40000, RESERVED, 0 },
		{ l->ram_end, l->library_size, RESERVED, 0 },
	};
	const unsigned int entries = sizeof(map) / sizeof(*map) - !l->library_size;
	unsigned char page[PARAMS_SIZE] = { 0 };
	struct module_entry *m = (void *)(page + MODULE_OFFSET);
	struct start_info *s = (void *)page;

	if (strlen(cmdline) >= MODULE_OFFSET - CMDLINE_OFFSET)
		errx(1, "kernel parameters too long");
	*s = (struct start_info) {
		.magic = 0x336ec578,
		.version = 1,
		.nr_modules = 1,
		.modlist = l->params + MODULE_OFFSET,
		.cmdline = l->params + CMDLINE_OFFSET,
		.memmap = l->params + MEMMAP_OFFSET,
		.memmap_entries = entries,
	};
	*m = (struct module_entry) { .paddr = l->initrd, .size = l->initrd_size };
	memcpy(page + MEMMAP_OFFSET, map, entries * sizeof(*map));
	memcpy(page + CMDLINE_OFFSET, cmdline, strlen(cmdline) + 1);
	write_file(file, page, sizeof(page));
}

/* The option ROM, which is told where to jump */
static void write_rom(const struct layout *l, const char *optrom, const char *file)
{
	unsigned char image[ROM_SIZE], sum = 0;
	struct blob rom = map_file(optrom);
	size_t i;

	if (rom.size != ROM_SIZE)
		errx(1, "%s: not %u bytes", optrom, ROM_SIZE);
	memcpy(image, rom.p, ROM_SIZE);
	memcpy(image + ROM_PARAMS, &l->params, 4);
	memcpy(image + ROM_PARAMS + 4, &l->entry, 4);
	for (i = 0; i < ROM_SIZE - 1; i++)
		sum += image[i];
	image[ROM_SIZE - 1] = -sum;
	write_file(file, image, ROM_SIZE);
}

static int do_bochs(char **arg)
{
	const char *kernel = arg[0], *initrd = arg[1], *cmdline = arg[3];
	const char *optrom = arg[4], *out = arg[5], *seen_as = arg[6];
	unsigned long megs = strtoul(arg[2], NULL, 0), reserved = strtoul(arg[7], NULL, 0);
	struct layout l = { 0 };
	struct stat st;
	bool library = !stat(join(out, "library.img"), &st);

	read_kernel_map(kernel, &l);
	place(&l, megs, library ? (uint64_t)st.st_size : (uint64_t)reserved << 20, initrd);
	write_params(&l, cmdline, join(out, "params.img"));
	write_rom(&l, optrom, join(out, "optrom.img"));

	printf("memory: guest=%lu, host=%lu\n", l.megs, l.megs);
	printf("optromimage1: file=%s/optrom.img, address=%#x\n", seen_as, ROM_BASE);
	printf("optramimage1: file=%s/kernel.img, address=%#x\n", seen_as, l.kernel);
	printf("optramimage2: file=%s/initrd.img, address=%#x\n", seen_as, l.initrd);
	printf("optramimage3: file=%s/params.img, address=%#x\n", seen_as, l.params);
	if (library)
		printf("optramimage4: file=%s/library.img, address=%#x\n", seen_as, l.ram_end);
	return 0;
}

static uint64_t put(FILE *out, const char *dir, const char *name, uint64_t *size)
{
	struct blob b = map_file(join(dir, name));
	uint64_t at = (ftell(out) + 4095) & ~4095ull;

	if (fseek(out, at, SEEK_SET) || fwrite(b.p, 1, b.size, out) != b.size)
		err(1, "library");
	munmap((void *)b.p, b.size);
	*size = b.size;
	return at;
}

static int do_library(const char *file, char **dir, unsigned int n)
{
	struct library l = { .magic = LIBRARY_MAGIC, .entries = n };
	uint64_t size;
	unsigned int i;
	FILE *out, *f;

	out = fopen(file, "w");
	if (!out || n > LIBRARY_MAX || fwrite(&l, sizeof(l), 1, out) != 1)
		err(1, "%s", file);
	for (i = 0; i < n; i++) {
		struct library_entry *e = &l.entry[i];
		const char *name = strrchr(dir[i], '/');

		snprintf(e->name, sizeof(e->name), "%s", name ? name + 1 : dir[i]);
		f = fopen(join(dir[i], "kernel.map"), "r");
		if (!f || fscanf(f, "%" SCNx64 " %" SCNx64 " %*x %" SCNx64, &e->base, &e->end, &e->entry) != 3)
			err(1, "%s/kernel.map", dir[i]);
		fclose(f);
		e->kernel = put(out, dir[i], "kernel.img", &e->kernel_size);
		e->initrd = put(out, dir[i], "initrd.img", &e->initrd_size);
		f = fopen(join(dir[i], "cmdline"), "r");
		if (!f || !fgets(e->cmdline, sizeof(e->cmdline), f))
			err(1, "%s/cmdline", dir[i]);
		fclose(f);
		e->cmdline[strcspn(e->cmdline, "\n")] = '\0';
	}
	size = ftell(out);
	l.size = size;
	rewind(out);
	if (fwrite(&l, sizeof(l), 1, out) != 1 || fclose(out))
		err(1, "%s", file);
	return 0;
}

static FILE *files_out;

static void write_part(const void *p, size_t size)
{
	if (size && fwrite(p, size, 1, files_out) != 1)
		err(1, "files");
}

static int add_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct file f = { .mode = st->st_mode, .device = st->st_rdev, .path_size = strlen(path) + 1 };
	static const char zero[FILES_ALIGN];
	char target[4096];
	struct blob b = { 0 };

	if (!ftw->level)
		return 0;
	if (type == FTW_DNR || type == FTW_NS)
		errx(1, "%s: cannot be read", path);
	if (S_ISREG(st->st_mode) && st->st_size)
		b = map_file(path);
	f.size = b.size;
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlink(path, target, sizeof(target));

		if (n < 0 || n == sizeof(target))
			err(1, "%s", path);
		f.size = n;
	}
	write_part(&f, sizeof(f));
	write_part(path, f.path_size);
	write_part(b.p ? b.p : (void *)target, f.size);
	write_part(zero, -(f.path_size + f.size) % FILES_ALIGN);
	if (b.p)
		munmap(b.p, b.size);
	return 0;
}

static int do_files(const char *file, const char *dir)
{
	struct files header = { .magic = FILES_MAGIC };

	files_out = fopen(file, "w");
	if (!files_out)
		err(1, "%s", file);
	write_part(&header, sizeof(header));
	if (chdir(dir) || nftw(".", add_file, 16, FTW_PHYS))
		err(1, "%s", dir);
	header.size = ftell(files_out);
	rewind(files_out);
	write_part(&header, sizeof(header));
	if (fclose(files_out))
		err(1, "%s", file);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "kernel"))
		return do_kernel(argv[2], argv[3]);
	if (argc == 10 && !strcmp(argv[1], "bochs"))
		return do_bochs(argv + 2);
	if (argc >= 4 && !strcmp(argv[1], "library"))
		return do_library(argv[2], argv + 3, argc - 3);
	if (argc == 4 && !strcmp(argv[1], "files"))
		return do_files(argv[2], argv[3]);
	errx(2, "wrong arguments");
}
