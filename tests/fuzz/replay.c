// SPDX-License-Identifier: GPL-2.0
/* A main() for parsers.c that reads the files that are named: to count lines, or under a debugger. */
#include <err.h>
#include <stdint.h>
#include <stdio.h>

#define LARGEST 60000

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	static uint8_t data[LARGEST];

	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "re");
		size_t size;

		if (!file)
			err(1, "%s", argv[i]);
		size = fread(data, 1, sizeof(data), file);
		fclose(file);
		LLVMFuzzerTestOneInput(data, size);
	}
	return 0;
}
