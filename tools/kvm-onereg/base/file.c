// SPDX-License-Identifier: GPL-2.0
/* Files and folders. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#define TEXT_CHUNK   (1u << 20)
#define LONGEST_TEXT 200
#define LARGEST_FILE (64u << 20)

const char *host_root(void)
{
	const char *root = getenv("KVM_ONEREG_ROOT");

	return root ? root : "";
}

static char *vrooted_path(const char *form, va_list arguments)
{
	return format("%s%s", host_root(), vformat(form, arguments));
}

char *rooted_path(const char *form, ...)
{
	va_list arguments;
	char *file;

	va_start(arguments, form);
	file = vrooted_path(form, arguments);
	va_end(arguments);
	return file;
}

bool path_exists(const char *form, ...)
{
	va_list arguments;
	char *file;

	va_start(arguments, form);
	file = vrooted_path(form, arguments);
	va_end(arguments);
	return !access(file, F_OK);
}

const char *without_root(const char *file)
{
	size_t length = strlen(host_root());

	return file && !strncmp(file, host_root(), length) ? file + length : file;
}

static unsigned char *read_fd(int fd, size_t *size)
{
	unsigned char *bytes = NULL;
	size_t room = 0;

	*size = 0;
	for (;;) {
		ssize_t n;

		if (room - *size < 2) {
			unsigned char *more;

			room = room ? 2 * room : 4096;
			more = room <= 2 * LARGEST_FILE ? realloc(bytes, room) : NULL;
			if (!more)
				break;
			bytes = more;
		}
		n = read(fd, bytes + *size, room - *size - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		*size += n;
		bytes[*size] = '\0';
		if (!n)
			return keep_memory(bytes);
	}
	free(bytes);
	*size = 0;
	return NULL;
}

unsigned char *read_bytes(const char *file, size_t *size)
{
	/* Do not block on a FIFO or a terminal */
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	unsigned char *bytes;

	*size = 0;
	if (fd < 0)
		return NULL;
	bytes = read_fd(fd, size);
	close(fd);
	return bytes;
}

char *read_file(const char *form, ...)
{
	char *file, *content;
	va_list arguments;
	size_t size;

	va_start(arguments, form);
	file = vrooted_path(form, arguments);
	va_end(arguments);
	content = (char *)read_bytes(file, &size);
	while (content && size && content[size - 1] == '\n')
		content[--size] = '\0';
	return content;
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

char *find_text(const char *file, const char *begin)
{
	size_t n = strlen(begin), have = 0;
	char *buffer = allocate(1, TEXT_CHUNK + 1), *found = NULL;
	FILE *stream = fopen(file, "re");

	while (stream && !found) {
		size_t more = fread(buffer + have, 1, TEXT_CHUNK - have, stream);

		have += more;
		found = memmem(buffer, have, begin, n);
		/* What is found near the end may go on behind it: then it is found again at the beginning */
		if (found && more && found + n + LONGEST_TEXT > buffer + have) {
			have -= found - buffer;
			memmove(buffer, found, have);
			have += fread(buffer + have, 1, TEXT_CHUNK - have, stream);
			found = buffer;
		}
		if (found) {
			buffer[have] = '\0';
			found = format("%.*s", LONGEST_TEXT, found);
		} else if (!more) {
			break;
		} else if (have >= n) {
			/* The beginning may be split */
			memmove(buffer, buffer + have - (n - 1), n - 1);
			have = n - 1;
		}
	}
	if (stream)
		fclose(stream);
	return found;
}

char **list_folder(const char *form, ...)
{
	struct dirent **entries = NULL;
	char *folder, **names;
	va_list arguments;
	int n;

	va_start(arguments, form);
	folder = vrooted_path(form, arguments);
	va_end(arguments);
	n = scandir(folder, &entries, not_hidden, versionsort);
	if (n < 0)
		n = 0;
	names = allocate(n + 1, sizeof(*names));
	for (int i = 0; i < n; i++) {
		names[i] = format("%s", entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return names;
}
