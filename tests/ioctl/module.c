// SPDX-License-Identifier: GPL-2.0
/*
 * module - load and unload kernel modules on an emulated host
 *
 * Usage: module load FILE [PARAMETER=VALUE]...
 *        module unload NAME...
 *
 * Exit status: 0, or 1 with a message.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load(const char *file, char **words)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	char parameters[1024] = "";
	size_t size = 0;

	for (; *words; words++) {
		size += snprintf(parameters + size, sizeof(parameters) - size, "%s ", *words);
		if (size >= sizeof(parameters)) {
			fprintf(stderr, "module: too many parameters\n");
			return 1;
		}
	}
	if (fd < 0 || syscall(SYS_finit_module, fd, parameters, 0)) {
		fprintf(stderr, "module: cannot load %s: %s\n", file, strerror(errno));
		return 1;
	}
	close(fd);
	return 0;
}

static int unload(const char *name)
{
	if (!syscall(SYS_delete_module, name, O_NONBLOCK))
		return 0;
	fprintf(stderr, "module: cannot unload %s: %s\n", name, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "load"))
		return load(argv[2], argv + 3);
	if (argc >= 3 && !strcmp(argv[1], "unload")) {
		for (argv += 2; *argv; argv++)
			if (unload(*argv))
				return 1;
		return 0;
	}
	fprintf(stderr, "usage: module load FILE [PARAMETER=VALUE]...\n"
			"       module unload NAME...\n");
	return 2;
}
