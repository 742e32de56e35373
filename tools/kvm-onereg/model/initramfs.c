// SPDX-License-Identifier: GPL-2.0
/*
 * The initramfs. Its format is in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. It is read
 * here, and not with lsinitramfs or lsinitrd, as these write all of it to a disk, and are not there on each host that
 * has an image.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/unpack.h"
#include "model/elf-file.h"
#include "model/initramfs.h"
#include "model/module-file.h"

#define LARGEST	     (64u << 20) /* of a file that is kept */
#define LONGEST_NAME 4096

/* ---- Bytes, from the file or from the program that unpacks it ---- */

struct stream {
	int fd;
	struct unpacking *unpacking; /* or NULL */
	unsigned char buffer[65536];
	size_t at, n;
	bool ended, failed;
};

static bool fill(struct stream *stream)
{
	ssize_t got;

	if (stream->at < stream->n)
		return true;
	if (stream->ended)
		return false;
	do
		got = stream->unpacking ? unpack_read(stream->unpacking, stream->buffer, sizeof(stream->buffer)) :
					  read(stream->fd, stream->buffer, sizeof(stream->buffer));
	while (got < 0 && errno == EINTR && !stream->unpacking);
	stream->at = 0;
	stream->n = got > 0 ? got : 0;
	stream->ended = got <= 0;
	stream->failed = got < 0;
	return got > 0;
}

/* Take @size bytes; @to may be NULL. False if there are not as many */
static bool take(struct stream *stream, void *to, size_t size)
{
	while (size) {
		size_t n;

		if (!fill(stream))
			return false;
		n = stream->n - stream->at < size ? stream->n - stream->at : size;
		if (to) {
			memcpy(to, stream->buffer + stream->at, n);
			to = (char *)to + n;
		}
		stream->at += n;
		size -= n;
	}
	return true;
}

/* ---- cpio ---- */

/* One of the three modules: of each, all copies are kept */
struct copy {
	struct copy *next;
	int module;
	char *path; /* below the folder of modules */
	unsigned char *bytes;
	size_t size;
};

/* What was found so far */
struct found {
	const char *release;
	struct copy *copies;
	char *modules_dep, *modprobe_d;
	bool dracut;
};

/* Which of the three a file of modules is, or -1 */
static int which_module(const char *file)
{
	const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;

	for (int i = 0; i < MODULES; i++) {
		size_t length = strlen(file_names[i]);

		/* kvm_intel.ko is the same to modprobe */
		for (size_t n = 0; n <= length; n++) {
			if (n == length && !strncmp(name + n, ".ko", 3) && (!name[n + 3] || name[n + 3] == '.'))
				return i;
			if (n < length && name[n] != file_names[i][n] && !(name[n] == '_' && file_names[i][n] == '-'))
				break;
		}
	}
	return -1;
}

/* "kernel/arch/x86/kvm/kvm.ko" of "usr/lib/modules/RELEASE/kernel/arch/x86/kvm/kvm.ko"; or NULL */
static const char *below_modules(const char *name, const char *release)
{
	size_t length = strlen(release);

	name += !strncmp(name, "./", 2) ? 2 : *name == '/';
	name += !strncmp(name, "usr/", 4) ? 4 : 0;
	if (strncmp(name, "lib/modules/", 12) || strncmp(name + 12, release, length) || name[12 + length] != '/')
		return NULL;
	return name + 12 + length + 1;
}

static bool is_configuration(const char *name)
{
	name += !strncmp(name, "./", 2) ? 2 : *name == '/';
	return !strcmp(name, "etc/modprobe.d/kvm-onereg.conf");
}

/* Whether the contents of a file are wanted; records what its name alone says */
static bool is_wanted_file(struct found *found, const char *name)
{
	const char *rest = below_modules(name, found->release);

	if (strstr(name, "lib/dracut/"))
		found->dracut = true;
	return is_configuration(name) || (rest && (!strcmp(rest, "modules.dep") || which_module(rest) >= 0));
}

static void keep(struct found *found, const char *name, unsigned char *bytes, size_t size)
{
	const char *rest = below_modules(name, found->release);
	struct copy *copy;

	if (!rest) {
		found->modprobe_d = (char *)bytes;
		return;
	}
	if (!strcmp(rest, "modules.dep")) {
		found->modules_dep = (char *)bytes;
		return;
	}
	copy = allocate(1, sizeof(*copy));
	*copy = (struct copy) { found->copies, which_module(rest), format("%s", rest), bytes, size };
	found->copies = copy;
}

static bool cpio_field(const char *header, int n, size_t *value)
{
	char digits[9], *end;

	memcpy(digits, header + 6 + 8 * n, 8);
	digits[8] = '\0';
	*value = strtoul(digits, &end, 16);
	return end == digits + 8;
}

/* The entries of archives that follow each other, up to something else. NULL, or what is wrong */
static char *read_archives(struct stream *stream, struct found *found)
{
	for (;;) {
		char header[110], name[LONGEST_NAME];
		size_t size, name_size, mode;
		unsigned char *bytes = NULL;

		/* Between archives there may be zeros */
		while (fill(stream) && !stream->buffer[stream->at])
			stream->at++;
		if (!fill(stream) || stream->buffer[stream->at] != '0')
			return stream->failed ? format("it takes too long to decompress, or is damaged") : NULL;
		if (!take(stream, header, sizeof(header)))
			return format("it is truncated");
		if ((strncmp(header, "070701", 6) && strncmp(header, "070702", 6)) || !cpio_field(header, 1, &mode) ||
		    !cpio_field(header, 6, &size) || !cpio_field(header, 11, &name_size) || !name_size ||
		    name_size > sizeof(name))
			return format("it is damaged");
		if (!take(stream, name, name_size) || !take(stream, NULL, -(sizeof(header) + name_size) & 3))
			return format("it is truncated");
		name[name_size - 1] = '\0';
		/* A link has a path for contents, and a second name of a file has none */
		if (is_wanted_file(found, name) && S_ISREG(mode) && size && size < LARGEST) {
			bytes = allocate(1, size + 1);
			if (!take(stream, bytes, size))
				return format("it is truncated");
			keep(found, name, bytes, size);
		} else if (!take(stream, NULL, size)) {
			return format("it is truncated");
		}
		if (!take(stream, NULL, -size & 3) && strcmp(name, "TRAILER!!!"))
			return format("it is truncated");
	}
}

/* NULL, or why not all of it could be read */
static char *read_image(int fd, struct found *found)
{
	struct stream *stream = allocate(1, sizeof(*stream));
	struct unpacking unpacking;
	const char *program;
	char *wrong;
	bool good;

	stream->fd = fd;
	wrong = read_archives(stream, found);
	if (wrong || !fill(stream))
		return wrong;
	/* The rest is compressed: the program reads the file from where the rest of the buffer begins */
	program = unpacker(stream->buffer + stream->at, stream->n - stream->at);
	if (!program)
		return format("it is neither cpio nor compressed in a known format");
	if (lseek(fd, (off_t)stream->at - (off_t)stream->n, SEEK_CUR) < 0 || !unpack_start(&unpacking, program, fd))
		return format("%s is not installed", program);
	*stream = (struct stream) { .fd = fd, .unpacking = &unpacking };
	wrong = read_archives(stream, found);
	good = !fill(stream);
	if (!unpack_end(&unpacking) || !good)
		wrong = wrong ? wrong : format("%s cannot decompress it", program);
	return wrong;
}

/* Of several copies the one that modules.dep names; without it, the last that was found in updates/, or any */
static const struct copy *choose_copy(const struct found *found, int module)
{
	const struct copy *best = NULL;

	for (const struct copy *copy = found->copies; copy; copy = copy->next) {
		if (copy->module != module)
			continue;
		if (value_of(found->modules_dep, copy->path, ":"))
			return copy;
		if (!best || !strncmp(copy->path, "updates/", 8))
			best = copy;
	}
	return best;
}

struct initramfs read_initramfs(const char *release)
{
	char * const names[] = { format("/boot/initrd.img-%s", release), format("/boot/initramfs-%s.img", release),
				 format("/boot/initrd-%s", release) };
	struct initramfs image = { 0 };
	struct found found = { .release = release };
	int fd;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !image.file; i++)
		if (path_exists("%s", names[i]))
			image.file = names[i];
	if (!image.file)
		return image;
	fd = open(rooted_path("%s", image.file), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		image.why_unread = format("%s: %s", image.file, strerror(errno));
		return image;
	}
	image.why_unread = read_image(fd, &found);
	close(fd);
	if (image.why_unread)
		image.why_unread = format("%s: %s", image.file, image.why_unread);
	image.dracut = found.dracut;
	image.modprobe_d = found.modprobe_d;
	for (int i = 0; i < MODULES; i++) {
		const struct copy *copy = choose_copy(&found, i);
		struct packed_module *module = &image.module[i];
		unsigned char *elf;
		size_t size;

		module->there = copy;
		elf = copy ? unpack(copy->bytes, copy->size, &size) : NULL;
		if (!elf)
			continue;
		module->build_id = elf_build_id(elf, size);
		module->version = elf_modinfo(elf, size, "version");
		module->origin = elf_modinfo(elf, size, "origin");
	}
	return image;
}
