// SPDX-License-Identifier: GPL-2.0
/* The kernel's log. */
#include <string.h>
#include <sys/klog.h>

#include "base/file.h"
#include "base/kernel-log.h"
#include "base/memory.h"
#include "base/process.h"

static char *klog(void)
{
	int size = klogctl(10, NULL, 0);
	char *log;

	if (size <= 0)
		return NULL;
	log = allocate(1, size + 1);
	return klogctl(3, log, size) < 0 ? NULL : log;
}

const char *kernel_log(void)
{
	static const char *log;
	static bool asked;

	if (asked)
		return log;
	asked = true;
	if (*host_root()) {
		log = read_file("/dev/kmsg");
		return log;
	}
	log = klog();
	/* If the beginning is missing, the log has wrapped around: the journal, if there is one, has all of it */
	if (log && *log && !strstr(log, "Linux version ")) {
		struct program_result journal = RUN_PROGRAM("journalctl", "-q", "-k", "-b", "-o", "short-monotonic",
							    "--no-pager");

		if (journal.ended && !journal.status && journal.size)
			log = journal.output;
	}
	return log;
}
