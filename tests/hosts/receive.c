// SPDX-License-Identifier: GPL-2.0
/*
 * receive OUTDIR: the other end of an emulated host's channel (channel.h)
 *
 * Reads the channel from stdin to its end.  What the programs print goes to
 * stdout at once; OUTDIR gets channel (all of it as it came), report, dmesg and
 * the files that the programs left.  When the host said that it was done, the
 * report ends with the line "end".
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"

static FILE *copy, *report, *dmesg;

/* The result must not be lost even if the reader of our stdout is gone */
static void print(const char *p, size_t size)
{
	while (size) {
		ssize_t n = write(STDOUT_FILENO, p, size);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			p += n;
			size -= n;
		}
	}
}

static void save(char *name, const char *data, size_t size)
{
	char path[FRAME_NAME_MAX + 16], *slash;
	FILE *f;

	if (*name == '/' || !*name || strstr(name, "..")) {
		fprintf(report, "error bad file name %s\n", name);
		return;
	}
	snprintf(path, sizeof(path), "files/%s", name);
	for (slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	f = fopen(path, "ae");
	if (!f || fwrite(data, 1, size, f) != size || fclose(f))
		err(1, "%s", path);
}

static FILE *create(const char *name)
{
	FILE *f = fopen(name, "we");

	if (!f)
		err(1, "%s", name);
	return f;
}

static int get(char *p, size_t size)
{
	size_t i;

	/* not fread(): it would wait for more than there is */
	for (i = 0; i < size;) {
		ssize_t n = read(STDIN_FILENO, p + i, size - i);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		i += n;
	}
	fwrite(p, 1, i, copy);
	fflush(copy);
	return i == size;
}

/* Returns 0 at the end of the input, and if there is no header */
static int get_header(char *type, size_t *size, char *name)
{
	char line[FRAME_NAME_MAX + 32];
	size_t fill;
	int used = 0;

	for (fill = 0; fill < sizeof(line) - 1; fill++) {
		if (!get(line + fill, 1))
			return 0;
		if (line[fill] == '\n')
			break;
	}
	line[fill] = '\0';
	if (sscanf(line, "%c %zu%n", type, size, &used) != 2 || !used || line[used] != ' ' || *size > FRAME_DATA_MAX) {
		fprintf(report, "error garbled channel: %s\n", line);
		return 0;
	}
	snprintf(name, FRAME_NAME_MAX, "%s", line + used + 1);
	return 1;
}

int main(int argc, char **argv)
{
	char data[FRAME_DATA_MAX], name[FRAME_NAME_MAX], type;
	size_t size;

	if (argc != 2)
		errx(2, "usage: receive OUTDIR");
	if (chdir(argv[1]) || (mkdir("files", 0755) && errno != EEXIST))
		err(1, "%s", argv[1]);
	signal(SIGPIPE, SIG_IGN);
	copy = create("channel");
	report = create("report");
	dmesg = create("dmesg");
	while (get_header(&type, &size, name) && get(data, size)) {
		switch (type) {
		case FRAME_OUTPUT:
			print(data, size);
			break;
		case FRAME_KMSG:
			fwrite(data, 1, size, dmesg);
			fflush(dmesg);
			break;
		case FRAME_FILE:
			save(name, data, size);
			break;
		case FRAME_REPORT:
			fprintf(report, "%.*s\n", (int)size, data);
			fflush(report);
			break;
		case FRAME_END:
			fputs("end\n", report);
			break;
		default:
			fprintf(report, "error unknown frame %c\n", type);
		}
	}
	/* Read the rest, or the emulator would wait for a reader */
	while (get(data, 1))
		;
	if (fclose(report) || fclose(dmesg) || fclose(copy))
		err(1, "%s", argv[1]);
	return 0;
}
