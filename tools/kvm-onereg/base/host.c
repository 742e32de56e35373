// SPDX-License-Identifier: GPL-2.0
/* Files, programs, the kernel log. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/host.h"
#include "kvm-onereg.h"

#define FILE_MAX	(64u << 20)
#define RUN_SECONDS	20

void *kept(void *memory)
{
	/* One list that is never emptied: all of it is in use until the end */
	static struct kept {
		struct kept *next;
		void *memory;
	} *all;
	struct kept *entry = malloc(sizeof(*entry));

	if (!memory || !entry)
		die(STATUS_CANNOT, NULL, "no memory");
	entry->memory = memory;
	entry->next = all;
	all = entry;
	return memory;
}

char *text(const char *form, ...)
{
	va_list arguments;
	char *string;

	va_start(arguments, form);
	string = kept(vformat(form, arguments));
	va_end(arguments);
	return string;
}

const char *host_root(void)
{
	const char *root = getenv("KVM_ONEREG_ROOT");

	return root ? root : "";
}

char *path(const char *form, ...)
{
	va_list arguments;
	char *below;

	va_start(arguments, form);
	below = kept(vformat(form, arguments));
	va_end(arguments);
	return text("%s%s", host_root(), below);
}

bool exists(const char *form, ...)
{
	va_list arguments;
	char *below;

	va_start(arguments, form);
	below = kept(vformat(form, arguments));
	va_end(arguments);
	return !access(path("%s", below), F_OK);
}

const char *shown(const char *file)
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
			more = room <= 2 * FILE_MAX ? realloc(bytes, room) : NULL;
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
			return kept(bytes);
	}
	free(bytes);
	*size = 0;
	return NULL;
}

unsigned char *read_bytes(const char *file, size_t *size)
{
	/* A FIFO or a terminal must not hold us */
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
	char *below, *content;
	va_list arguments;
	size_t size;

	va_start(arguments, form);
	below = kept(vformat(form, arguments));
	va_end(arguments);
	content = (char *)read_bytes(path("%s", below), &size);
	while (content && size && content[size - 1] == '\n')
		content[--size] = '\0';
	return content;
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

char **list(const char *form, ...)
{
	struct dirent **entries = NULL;
	char *below, **names;
	va_list arguments;
	int n;

	va_start(arguments, form);
	below = kept(vformat(form, arguments));
	va_end(arguments);
	n = scandir(path("%s", below), &entries, not_hidden, versionsort);
	if (n < 0)
		n = 0;
	names = kept(calloc(n + 1, sizeof(*names)));
	for (int i = 0; i < n; i++) {
		names[i] = text("%s", entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return names;
}

static char *line_at(const char *lines, const char *at)
{
	const char *start = at;

	while (start > lines && start[-1] != '\n')
		start--;
	return text("%.*s", (int)strcspn(start, "\n"), start);
}

char *value_of(const char *lines, const char *key, const char *separator)
{
	size_t length = strlen(key);

	for (const char *at = lines; at && *at; at = strchr(at, '\n'), at += !!at) {
		const char *value = at + length;

		if (strncmp(at, key, length))
			continue;
		/* "vendor_id	: x" has blanks before the separator */
		value += strspn(value, " \t");
		if (strncmp(value, separator, strlen(separator)))
			continue;
		value += strlen(separator);
		value += strspn(value, " \t");
		return text("%.*s", (int)strcspn(value, "\n"), value);
	}
	return NULL;
}

char *first_line(const char *lines, const char *word)
{
	const char *at = lines ? strcasestr(lines, word) : NULL;

	return at ? line_at(lines, at) : NULL;
}

char *last_line(const char *lines, const char *word)
{
	const char *last = NULL;

	for (const char *at = lines; at && (at = strcasestr(at, word)); at++)
		last = at;
	return last ? line_at(lines, last) : NULL;
}

bool has_word(const char *words, const char *word)
{
	size_t length = strlen(word);

	while (words && *words) {
		size_t n = strcspn(words, " ,\t\n");

		if (n == length && !memcmp(words, word, n))
			return true;
		words += n + !!words[n];
	}
	return false;
}

static const char *find_program(const char *name)
{
	static const char *const folders[] = { "/usr/sbin", "/usr/bin", "/sbin", "/bin" };
	/* What unpacks is no part of a made-up host */
	bool own = !strcmp(name, "xz") || !strcmp(name, "zstd") || !strcmp(name, "gzip");

	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		char *file = text("%s%s/%s", own ? "" : host_root(), folders[i], name);

		if (!access(file, X_OK))
			return file;
	}
	return NULL;
}

static long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Read until the end, the limit or the time is up; false for the latter two */
static bool collect(int fd, struct run *result)
{
	long end = milliseconds() + RUN_SECONDS * 1000;
	char *output = NULL;
	size_t room = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		long left = end - milliseconds();
		ssize_t n;

		if (room - result->size < 2) {
			char *more;

			room = room ? 2 * room : 65536;
			more = realloc(output, room);
			if (!more || room > 2 * FILE_MAX)
				break;
			output = more;
			output[result->size] = '\0';
		}
		if (left <= 0 || !poll(&p, 1, left))
			break;
		n = read(fd, output + result->size, room - result->size - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			result->output = kept(output);
			return !n;
		}
		result->size += n;
		output[result->size] = '\0';
	}
	result->output = output ? kept(output) : text("%s", "");
	return false;
}

struct run run(const char *const argument[])
{
	static char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/", NULL };
	const char *program = find_program(argument[0]);
	struct run result = { .found = program, .output = text("%s", "") };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int pipes[2], status, error;
	pid_t pid;

	if (!program || pipe2(pipes, O_CLOEXEC))
		return result;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], 2);
	posix_spawnattr_init(&attributes);
	/* A group of its own: what it starts is ended with it */
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	error = posix_spawn(&pid, program, &actions, &attributes, (char *const *)argument, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	close(pipes[1]);
	if (error) {
		close(pipes[0]);
		return result;
	}
	result.ended = collect(pipes[0], &result);
	close(pipes[0]);
	if (!result.ended)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	result.ended = result.ended && WIFEXITED(status);
	result.status = result.ended ? WEXITSTATUS(status) : -1;
	return result;
}

const char *running_release(void)
{
	static const char *release;
	struct utsname uts;

	if (!release)
		release = read_file("/proc/sys/kernel/osrelease");
	if (!release && !uname(&uts))
		release = text("%s", uts.release);
	return release ? release : "";
}

static char *klog(void)
{
	int size = klogctl(10, NULL, 0);
	char *log = size > 0 ? calloc(1, size + 1) : NULL;

	if (log && klogctl(3, log, size) < 0) {
		free(log);
		return NULL;
	}
	return log ? kept(log) : NULL;
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
	/* Without its begin it has wrapped around: the journal has all of it, if there is one */
	if (log && *log && !strstr(log, "Linux version ")) {
		struct run journal = RUN("journalctl", "-q", "-k", "-b", "-o", "short-monotonic", "--no-pager");

		if (journal.ended && !journal.status && journal.size)
			log = journal.output;
	}
	return log;
}
