// SPDX-License-Identifier: GPL-2.0
/* Programs that decompress. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "base/unpack.h"

#define SECONDS		  20
#define SIZE_MAX_UNPACKED (64u << 20)

const char *unpacker(const unsigned char *bytes, size_t size)
{
	static const struct {
		const char *begin;
		size_t length;
		const char *program;
	} kinds[] = {
		{ "\xfd\x37zXZ", 6, "xz" },	  { "\x28\xb5\x2f\xfd", 4, "zstd" }, { "\x1f\x8b", 2, "gzip" },
		{ "\x02\x21\x4c\x18", 4, "lz4" }, { "\x04\x22\x4d\x18", 4, "lz4" },  { "BZh", 3, "bzip2" },
		{ "\x5d\0\0", 3, "xz" },	  { "\x89LZO", 4, "lzop" },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (size >= kinds[i].length && !memcmp(bytes, kinds[i].begin, kinds[i].length))
			return kinds[i].program;
	return NULL;
}

bool unpack_start(struct unpacking *unpacking, const char *program, int from)
{
	static char * const environment[] = { "PATH=/usr/bin:/bin", "LC_ALL=C", NULL };
	char * const argument[] = { (char *)program, "-dc", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int pipes[2], error;
	sigset_t none;

	if (pipe2(pipes, O_CLOEXEC))
		return false;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, from, 0);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	/* From this system, not from a made-up host */
	error = posix_spawn(&unpacking->pid, format("/usr/bin/%s", program), &actions, &attributes, argument,
			    environment);
	if (error == ENOENT)
		error = posix_spawn(&unpacking->pid, format("/bin/%s", program), &actions, &attributes, argument,
				    environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	close(pipes[1]);
	unpacking->fd = pipes[0];
	unpacking->end = milliseconds() + SECONDS * 1000;
	if (error)
		close(pipes[0]);
	return !error;
}

ssize_t unpack_read(struct unpacking *unpacking, void *bytes, size_t size)
{
	struct pollfd p = { .fd = unpacking->fd, .events = POLLIN };

	for (;;) {
		long left = unpacking->end - milliseconds();
		ssize_t n;

		if (left <= 0 || !poll(&p, 1, left))
			return -1;
		n = read(unpacking->fd, bytes, size);
		if (n >= 0 || errno != EINTR)
			return n;
	}
}

bool unpack_end(struct unpacking *unpacking)
{
	char rest[4096];
	bool at_end = !unpack_read(unpacking, rest, sizeof(rest));
	int status;

	close(unpacking->fd);
	if (!at_end)
		kill(unpacking->pid, SIGKILL);
	while (waitpid(unpacking->pid, &status, 0) < 0 && errno == EINTR)
		;
	return at_end && WIFEXITED(status) && !WEXITSTATUS(status);
}

unsigned char *unpack(unsigned char *bytes, size_t size, size_t *unpacked)
{
	const char *program = unpacker(bytes, size);
	struct unpacking unpacking;
	unsigned char *all = NULL;
	size_t room = 0, n = 0;
	ssize_t got = -1;
	int fd;

	*unpacked = size;
	if (!program)
		return bytes;
	fd = memfd_create("packed", MFD_CLOEXEC);
	if (fd < 0)
		return NULL;
	for (size_t done = 0; done < size;) {
		ssize_t written = write(fd, bytes + done, size - done);

		if (written <= 0)
			break;
		done += written;
	}
	if (lseek(fd, 0, SEEK_SET) || !unpack_start(&unpacking, program, fd)) {
		close(fd);
		return NULL;
	}
	close(fd);
	while (n < SIZE_MAX_UNPACKED) {
		if (n == room) {
			unsigned char *more = realloc(all, room = room ? 2 * room : 1 << 20);

			if (!more)
				break;
			all = more;
		}
		got = unpack_read(&unpacking, all + n, room - n);
		if (got <= 0)
			break;
		n += got;
	}
	if (!unpack_end(&unpacking) || got) {
		free(all);
		return NULL;
	}
	*unpacked = n;
	return keep_memory(all);
}
