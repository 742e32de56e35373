// SPDX-License-Identifier: GPL-2.0
/*
 * module - load and unload kernel modules on an emulated host, and look at their parameters
 *
 * Usage: module load FILE [PARAMETER=VALUE]...
 *        module unload NAME...
 *        module has NAME PARAMETER VALUE
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

static int has(const char *name, const char *parameter, const char *value)
{
	char path[128], got[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", name, parameter);
	f = fopen(path, "r");
	if (!f || !fgets(got, sizeof(got), f))
		got[0] = '\0';
	if (f)
		fclose(f);
	got[strcspn(got, "\n")] = '\0';
	if (!strcmp(got, value))
		return 0;
	fprintf(stderr, "module: %s.%s is '%s', not '%s'\n", name, parameter, got, value);
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
	if (argc == 5 && !strcmp(argv[1], "has"))
		return has(argv[2], argv[3], argv[4]);
	fprintf(stderr, "usage: module load FILE [PARAMETER=VALUE]...\n"
			"       module unload NAME...\n"
			"       module has NAME PARAMETER VALUE\n");
	return 2;
}
