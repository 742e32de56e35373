// SPDX-License-Identifier: GPL-2.0
/*
 * The input of the command kvm-onereg, under libFuzzer: files of other hosts, packages and boot loaders, and what a
 * user types.
 *
 * PARSER in the environment names one of the readers below. Each gets the input as its file, in a tree of files that
 * stands for a host. Memory that the command keeps until it ends is freed after each input, so a reader that keeps what
 * it read for a second call is not here; its parts are.
 *
 * die() ends only the current input. The sanitizers say what is wrong; in addition, text that goes to a
 * terminal or to another program must be printable where the reader promises that.
 */
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/boot.h"
#include "model/configuration.h"
#include "model/elf-file.h"
#include "model/hold.h"
#include "model/initramfs.h"
#include "model/kernel.h"
#include "model/names.h"
#include "model/offer-compare.h"
#include "model/offer-file.h"
#include "model/packages.h"
#include "model/series.h"
#include "model/unfinished.h"
#include "model/vmm.h"
#include "swap/guest.h"
#include "swap/qemu-words.h"

#define RELEASE "6.12.117+deb13-amd64"

/* ---- In place of base/memory.c and exit() ---- */

struct block {
	struct block *next;
	void *memory;
};

static struct block *blocks;
static jmp_buf end_of_input;

void *keep_memory(void *memory)
{
	struct block *block = malloc(sizeof(*block));

	if (!memory || !block)
		errx(1, "no memory");
	*block = (struct block) { blocks, memory };
	blocks = block;
	return memory;
}

void *allocate(size_t n, size_t size)
{
	return keep_memory(calloc(n, size));
}

void *enlarged(const void *array, size_t n, size_t more, size_t size)
{
	void *all = allocate(n + more, size);

	if (n)
		memcpy(all, array, n * size);
	return all;
}

static void free_all(void)
{
	while (blocks) {
		struct block *block = blocks;

		blocks = block->next;
		free(block->memory);
		free(block);
	}
}

/* The command's sources are compiled with exit() under this name */
void end_command(int status);
void end_command(int status)
{
	longjmp(end_of_input, status + 1);
}

/* ---- The tree ---- */

static char tree[40];

static void remove_tree(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", tree);
	if (system(command))
		warnx("%s is left", tree);
}

static const char *in_tree(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s", tree, name);
	return path;
}

static void make_file(const char *name, const void *bytes, size_t size)
{
	int fd = open(in_tree(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		err(1, "%s", name);
	close(fd);
}

/* A part of the input up to a zero byte, as text, and what is behind it */
static const char *first_part_of(const uint8_t *data, size_t size, const uint8_t **rest, size_t *left)
{
	size_t n = strnlen((const char *)data, size);
	char *part = allocate(1, n + 1);

	memcpy(part, data, n);
	*rest = data + n + (n < size);
	*left = size - n - (n < size);
	return part;
}

static void must_be_printable(const char *text)
{
	for (; text && *text; text++)
		if ((unsigned char)*text < ' ' || (unsigned char)*text >= 0x7f)
			abort();
}

/* ---- Readers ---- */

/* preflight's files, of two hosts or of one with itself, and the comparison of both */
static void read_offers(const uint8_t *data, size_t size)
{
	const uint8_t *rest;
	size_t left;
	const char *first = first_part_of(data, size, &rest, &left);
	struct json_object *obstacles = json_object_new_array(), *warnings = json_object_new_array();
	static struct offer from, to;

	from = (struct offer) {};
	to = (struct offer) {};
	make_file("/from", first, strlen(first));
	make_file("/to", left ? (const char *)rest : first, left ? left : strlen(first));
	if (!setjmp(end_of_input)) {
		from = offer_load(format("%s", in_tree("/from")));
		must_be_printable(from.host);
		must_be_printable(from.cpu);
		to = offer_load(format("%s", in_tree("/to")));
		offer_compare(&from, &to, obstacles, warnings);
		json_object_to_json_string(obstacles);
	}
	offer_free(&from);
	offer_free(&to);
	json_object_put(obstacles);
	json_object_put(warnings);
}

static void read_elf(const uint8_t *data, size_t size)
{
	/* Not one byte more than there is */
	uint8_t *exact = keep_memory(malloc(size ? size : 1));

	memcpy(exact, data, size);
	elf_complete(exact, size);
	elf_build_id(exact, size);
	elf_modinfo(exact, size, "version");
	elf_modinfo(exact, size, "origin");
	notes_build_id(exact, size);
}

static void read_image(const uint8_t *data, size_t size)
{
	make_file("/boot/initrd.img-" RELEASE, data, size);
	read_initramfs(RELEASE);
}

static void read_grub(const uint8_t *data, size_t size)
{
	static struct kernel none;
	const uint8_t *config;
	size_t left;
	const char *environment = first_part_of(data, size, &config, &left);

	make_file("/boot/grub/grubenv", environment, strlen(environment));
	make_file("/boot/grub/grub.cfg", config, left);
	boots_next(&none);
}

static void read_modprobe(const uint8_t *data, size_t size)
{
	const uint8_t *rest;
	size_t left;
	const char *line = first_part_of(data, size, &rest, &left);

	make_file("/proc/cmdline", line, strlen(line));
	make_file("/etc/modprobe.d/made-up.conf", rest, left);
	find_setting(OPTIONS, "kvm_intel", "cet");
	find_setting(BLACKLIST, "kvm_intel", NULL);
	find_setting(INSTALL, "kvm", NULL);
}

static void read_notes(const uint8_t *data, size_t size)
{
	struct wanted wanted;

	make_file("/var/lib/kvm-onereg/wanted/" RELEASE, data, size);
	make_file("/var/lib/kvm-onereg/build-ids", data, size);
	make_file("/proc/version", data, size);
	wanted = wanted_source(RELEASE);
	wanted_state(&wanted);
	noted_origin("0123456789abcdef0123456789abcdef01234567");
	running_version();
}

static void read_vmm(const uint8_t *data, size_t size)
{
	const uint8_t *program;
	size_t left;
	const char *words = first_part_of(data, size, &program, &left);
	struct holder holder = { .pid = 7, .command = "made up" };
	struct vmm vmm;

	make_file("/qemu-system-x86_64", program, left);
	make_file("/proc/7/cmdline", words, strlen(words));
	vmm = look_at_vmm(&holder);
	must_be_printable(vmm.version);
	describe_vmm(&vmm);
}

static void read_name(const uint8_t *data, size_t size)
{
	const uint8_t *rest;
	size_t left;
	const char *name = first_part_of(data, size, &rest, &left);
	__u32 index;

	if (msr_find(name, &index) && !msr_name(index))
		abort();
	if (kvm_register_find(name, &index) && !kvm_register_name(index))
		abort();
	names_like(name);
	must_be_printable(printable(format("%s", name)));
}

/* The journal of a swap that keeps guests */
static void read_unfinished(const uint8_t *data, size_t size)
{
	struct journal journal = { .from = NULL };
	struct unfinished unfinished;

	make_file(JOURNAL, data, size);
	unfinished = look_at_unfinished();
	describe_unfinished(&unfinished);
	fix_unfinished(&unfinished);
	json_object_put(unfinished_json(&unfinished));
	read_journal(unfinished.json, &journal);
}

/* The command line of a QEMU, which any user may have chosen */
static void read_words(const uint8_t *data, size_t size)
{
	char *words[64];
	const char *option, *value;
	int n = 0, at = 1;

	while (size && n < 63)
		words[n++] = (char *)first_part_of(data, size, &data, &size);
	words[n] = NULL;
	if (!n)
		return;
	while ((option = next_option(words, &at, &value))) {
		first_part(value, "driver");
		part_of(value, "id");
		part_is_on(value, "share");
	}
	has_option(words, "S");
	words_have(words, "/dev/shm/web1");
	qmp_sockets_of(words);
	words_to_restore(words);
}

static const struct reader {
	const char *name;
	void (*read)(const uint8_t *data, size_t size);
} readers[] = {
	{ "offers", read_offers },	{ "elf", read_elf },	 { "initramfs", read_image }, { "grub", read_grub },
	{ "modprobe", read_modprobe },	{ "notes", read_notes }, { "vmm", read_vmm },	      { "names", read_name },
	{ "journal", read_unfinished }, { "words", read_words },
};

static const struct reader *reader;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char * const folders[] = { "/boot",
						"/boot/grub",
						"/etc",
						"/etc/modprobe.d",
						"/proc",
						"/proc/7",
						"/var",
						"/var/lib",
						"/var/lib/kvm-onereg",
						"/var/lib/kvm-onereg/wanted",
						"/var/lib/kvm-onereg/guests" };
	const char *name = getenv("PARSER");

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < sizeof(readers) / sizeof(*readers); i++)
		if (name && !strcmp(name, readers[i].name))
			reader = &readers[i];
	if (!reader)
		errx(2, "PARSER must name a reader of parsers.c");
	/* Not on a disk: the files are written for each input */
	strcpy(tree, "/dev/shm/kvm-onereg-parsers.XXXXXX");
	if (!mkdtemp(tree))
		err(1, "%s", tree);
	atexit(remove_tree);
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
		if (mkdir(in_tree(folders[i]), 0700))
			err(1, "%s", folders[i]);
	if (symlink(strdup(in_tree("/qemu-system-x86_64")), in_tree("/proc/7/exe")))
		err(1, "exe");
	setenv("KVM_ONEREG_ROOT", tree, 1);
	/* The command keeps it */
	running_release();
	blocks = NULL;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!setjmp(end_of_input))
		reader->read(data, size);
	free_all();
	return 0;
}
