// SPDX-License-Identifier: GPL-2.0
/* Files that outlive a crash. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/text.h"

int sync_folder_of(const char *file)
{
	const char *slash = strrchr(file, '/');
	int fd = open(slash ? format("%.*s/", (int)(slash - file), file) : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error = fd < 0 || fsync(fd) ? errno : 0;

	if (fd >= 0)
		close(fd);
	return error;
}

static int write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		text += n;
		left -= n;
	}
	return fsync(fd) ? errno : 0;
}

int write_durably(const char *file, const char *text)
{
	char *part = format("%s.part", file);
	int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), error;

	if (fd < 0)
		return errno;
	error = write_all(fd, text);
	if (close(fd) && !error)
		error = errno;
	if (!error && rename(part, file))
		error = errno;
	if (error) {
		unlink(part);
		return error;
	}
	return sync_folder_of(file);
}

int remove_durably(const char *file)
{
	if (unlink(file))
		return errno == ENOENT ? 0 : errno;
	return sync_folder_of(file);
}

int make_private_folder(const char *folder)
{
	struct stat status;
	int error;

	for (const char *end = strchr(folder + 1, '/'); end; end = strchr(end + 1, '/'))
		if (mkdir(format("%.*s", (int)(end - folder), folder), 0755) && errno != EEXIST)
			return errno;
	if (!mkdir(folder, 0700))
		return sync_folder_of(folder);
	if (errno != EEXIST)
		return errno;
	if (stat(folder, &status))
		return errno;
	error = S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
	/* Others could read what is in it */
	if (status.st_uid != geteuid() || status.st_mode & 077)
		error = EPERM;
	return error;
}
