// SPDX-License-Identifier: GPL-2.0
/*
 * leaks - ask kmemleak, of a debug kernel, for memory that nothing points to any more
 *
 * Usage: leaks WHEN
 *
 * One check, whose title says WHEN; what kmemleak reports is printed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tap.h"

#define KMEMLEAK "/sys/kernel/debug/kmemleak"

/* It does not report what is younger than 5 s, or changed since the scan before. */
#define OLD_ENOUGH 6
#define SCANS	   3

static void scan(void)
{
	int fd = open(KMEMLEAK, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "scan", 4) != 4)
		tap_bail("%s: no scan. To fix: take a kernel with CONFIG_DEBUG_KMEMLEAK; if it is one, see its log",
			 KMEMLEAK);
	close(fd);
}

int main(int argc, char **argv)
{
	unsigned int lines = 0, i;
	char line[512];
	FILE *f;

	if (argc != 2) {
		fprintf(stderr, "usage: leaks WHEN\n");
		return 2;
	}
	printf("# program leaks\n");
	sleep(OLD_ENOUGH);
	for (i = 0; i < SCANS; i++)
		scan();
	f = fopen(KMEMLEAK, "re");
	if (!f)
		tap_bail("%s cannot be read", KMEMLEAK);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		tap_diag("%s", line);
		lines++;
	}
	tap_ok(!ferror(f) && !lines, "%s: kmemleak finds nothing", argv[1]);
	fclose(f);
	return tap_done();
}
