// SPDX-License-Identifier: GPL-2.0
/* What processes have open or mapped. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "model/open-files.h"

bool starts_with(const char *string, const char *with)
{
	return !strncmp(string, with, strlen(with));
}

/* Whether two threads have the same files; not known means no */
static bool same_files(int pid, int tid)
{
	return pid == tid || (!*host_root() && !syscall(SYS_kcmp, pid, tid, KCMP_FILES, 0, 0));
}

bool each_file(int pid, void (*see)(void *context, const struct file *file), void (*next_table)(void *context),
	       void *context)
{
	char **tasks = list_folder("/proc/%d/task", pid), *self[] = { format("%d", pid), NULL };
	bool complete = true;

	for (char **task = *tasks ? tasks : self; *task; task++) {
		int tid = atoi(*task);
		const char *under = tid == pid ? format("/proc/%d", pid) : format("/proc/%d/task/%d", pid, tid);
		struct dirent *entry;
		DIR *files;

		if (tid != pid && same_files(pid, tid))
			continue;
		files = opendir(rooted_path("%s/fd", under));
		if (!files) {
			complete = complete && errno != EACCES && errno != EPERM;
			continue;
		}
		while ((entry = readdir(files))) {
			char target[256], info[128];
			struct file file = {
				.folder = dirfd(files), .number = entry->d_name, .target = target, .info = info
			};
			ssize_t n;

			if (!isdigit(*entry->d_name))
				continue;
			n = readlinkat(file.folder, file.number, target, sizeof(target) - 1);
			target[n > 0 ? n : 0] = '\0';
			snprintf(info, sizeof(info), "%s/fdinfo/%s", under, file.number);
			see(context, &file);
		}
		closedir(files);
		if (next_table)
			next_table(context);
	}
	return complete;
}

/* A mapping in one file; *empty if it has no line. Not by read_file(), as there may be much of it */
static char *mapping_in(const char *file, const char * const names[], bool *empty)
{
	FILE *maps = fopen(file, "re");
	char *line = NULL, *found = NULL;
	size_t size = 0;

	*empty = true;
	while (maps && !found && getline(&line, &size, maps) > 0) {
		*empty = false;
		for (const char * const *name = names; *name && !found; name++)
			found = strstr(line, *name);
		if (found)
			found = format("%.*s", (int)strcspn(found, "\n"), found);
	}
	free(line);
	if (maps)
		fclose(maps);
	return found;
}

char *find_mapping(int pid, const char * const names[])
{
	bool empty;
	char *found = mapping_in(rooted_path("/proc/%d/maps", pid), names, &empty);

	/* The first thread may have ended before the others */
	for (char **task = empty ? list_folder("/proc/%d/task", pid) : NULL; task && *task && empty; task++)
		found = mapping_in(rooted_path("/proc/%d/task/%s/maps", pid, *task), names, &empty);
	return found;
}
