// SPDX-License-Identifier: GPL-2.0
/* Programs. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"

#define RUN_SECONDS    20
#define LARGEST_OUTPUT (128u << 20)

static const char *find_program(const char *name)
{
	static const char * const folders[] = { "/usr/sbin", "/usr/bin", "/sbin", "/bin" };
	/* Programs that decompress are not part of a made-up host */
	bool own = !strcmp(name, "xz") || !strcmp(name, "zstd") || !strcmp(name, "gzip");

	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		char *file = format("%s%s/%s", own ? "" : host_root(), folders[i], name);

		if (!access(file, X_OK))
			return file;
	}
	return NULL;
}

long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

long long real_milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

bool interrupted(void)
{
	sigset_t pending;

	return !sigpending(&pending) &&
	       (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM) || sigismember(&pending, SIGHUP));
}

/* How long a program may run */
struct patience {
	int seconds; /* 0: to its end; then @wait is called each second */
	void (*wait)(int seconds, void *data);
	void *data;
};

/* Read to the end, to the limit, or until the time is up; returns false for the latter two */
static bool collect(int fd, struct program_result *result, const struct patience *patience)
{
	long end = milliseconds() + patience->seconds * 1000L;
	int waited = 0;
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
			if (!more || room > LARGEST_OUTPUT)
				break;
			output = more;
			output[result->size] = '\0';
		}
		if (patience->seconds && (left <= 0 || !poll(&p, 1, left)))
			break;
		if (!patience->seconds && !poll(&p, 1, 1000)) {
			patience->wait(++waited, patience->data);
			continue;
		}
		n = read(fd, output + result->size, room - result->size - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			result->output = keep_memory(output);
			return !n;
		}
		result->size += n;
		output[result->size] = '\0';
	}
	result->output = output ? keep_memory(output) : format("%s", "");
	return false;
}

static struct program_result run_with(const struct patience *patience, const char * const argument[])
{
	static char * const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/", NULL };
	const char *program = find_program(argument[0]);
	struct program_result result = { .found = program, .output = format("%s", "") };
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
	/* A process group of its own: processes that it starts are ended with it */
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	error = posix_spawn(&pid, program, &actions, &attributes, (char * const *)argument, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	close(pipes[1]);
	if (error) {
		close(pipes[0]);
		return result;
	}
	result.ended = collect(pipes[0], &result, patience);
	close(pipes[0]);
	if (!result.ended)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	result.ended = result.ended && WIFEXITED(status);
	result.status = result.ended ? WEXITSTATUS(status) : -1;
	return result;
}

struct program_result run_program(const char * const argument[])
{
	return run_program_for(RUN_SECONDS, argument);
}

struct program_result run_program_for(int seconds, const char * const argument[])
{
	return run_with(&(const struct patience) { .seconds = seconds }, argument);
}

struct program_result run_program_to_end(void (*wait)(int seconds, void *data), void *data,
					 const char * const argument[])
{
	return run_with(&(const struct patience) { .wait = wait, .data = data }, argument);
}
