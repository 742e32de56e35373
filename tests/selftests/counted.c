// SPDX-License-Identifier: GPL-2.0
/*
 * counted: run one KVM selftest on an emulated host, and count its calls
 *
 *   counted SECONDS PROGRAM [ARGUMENT]...
 *
 * The last line of its output says how the test ended, and which ioctls of ONE_REG
 * it made, as "calls that succeeded/calls":
 *
 *   counted: msrs_test: pass; onereg-calls: get 300/300 set 150/150 list 0/0; 812 ms
 *
 * A test ends with pass, skip (exit status 4), fail STATUS, signal NUMBER or
 * timeout.  Exit status: 0 if the test ran, whatever its result, so that the exit
 * status of tests/hosts/boot depends on the host only; else 1.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"

#define KSFT_SKIP 4

static const char * const names[CALLS] = { "get", "set", "list" };

static pid_t pid;
static volatile sig_atomic_t timed_out;

/* Kill the whole process group: some tests fork */
static void time_out(int signal)
{
	(void)signal;
	timed_out = 1;
	kill(-pid, SIGKILL);
}

static long milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct calls *share_calls(void)
{
	/* Without CLOEXEC: calls.c in the test maps this file descriptor */
	int fd = memfd_create("calls", 0);
	struct calls *calls;
	char number[16];

	if (fd < 0 || ftruncate(fd, sizeof(*calls)))
		return NULL;
	calls = mmap(NULL, sizeof(*calls), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	snprintf(number, sizeof(number), "%d", fd);
	if (calls == MAP_FAILED || setenv(CALLS_FD, number, 1))
		return NULL;
	return calls;
}

static void describe(int status)
{
	if (timed_out)
		printf("timeout");
	else if (WIFSIGNALED(status))
		printf("signal %d", WTERMSIG(status));
	else if (!WEXITSTATUS(status))
		printf("pass");
	else if (WEXITSTATUS(status) == KSFT_SKIP)
		printf("skip");
	else
		printf("fail %d", WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	struct sigaction alarmed = { .sa_handler = time_out };
	struct calls *calls;
	int i, status = 0;
	long start;

	if (argc < 3 || atoi(argv[1]) <= 0) {
		fprintf(stderr, "usage: counted SECONDS PROGRAM [ARGUMENT]...\n");
		return 1;
	}
	calls = share_calls();
	if (!calls) {
		perror("counted: shared memory");
		return 1;
	}
	start = milliseconds();
	pid = fork();
	if (pid < 0) {
		perror("counted: fork");
		return 1;
	}
	if (!pid) {
		setpgid(0, 0);
		execvp(argv[2], argv + 2);
		fprintf(stderr, "counted: %s: %s\n", argv[2], strerror(errno));
		_exit(127);
	}
	setpgid(pid, pid);
	sigaction(SIGALRM, &alarmed, NULL);
	alarm(atoi(argv[1]));
	while (waitpid(pid, &status, 0) < 0)
		;
	alarm(0);
	kill(-pid, SIGKILL);

	/* The test may have printed an incomplete line */
	printf("\ncounted: ");
	for (i = 2; i < argc; i++)
		printf("%s%s", argv[i], i < argc - 1 ? " " : ": ");
	describe(status);
	printf("; onereg-calls:");
	for (i = 0; i < CALLS; i++)
		printf(" %s %u/%u", names[i], calls->succeeded[i], calls->made[i]);
	printf("; %ld ms\n", milliseconds() - start);
	return 0;
}
