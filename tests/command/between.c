// SPDX-License-Identifier: GPL-2.0
/*
 * between: a library for LD_PRELOAD that does something between two steps of "kvm-onereg swap". $BETWEEN is
 *
 *   vm          before the vendor module is unloaded, another process starts a VM
 *   kill        before kvm is unloaded, the command is killed
 *   load        after kvm was unloaded, another process loads it again, as opening /dev/kvm does
 *
 * or one of these, at the Nth time that a module is loaded or unloaded:
 *
 *   kill:N      before that, the command is killed
 *   fail:N      that fails
 *   perf:N      before that, another process opens a perf event on a tracepoint of kvm, if kvm is loaded
 *   both:N      as perf:N, and then that fails
 *   gone:N      before that, all modules of KVM are removed from disk, and then that fails
 *
 * or one of these
 *
 *   step:N      before step N, the command is killed. Steps are: the journal is written, a module is loaded or
 *               unloaded, QEMU gets a command. Step 1 is the first journal
 *   resumed     after a guest runs again, and before the journal says so, the command is killed
 *   deaf        when all guests are saved, the process of the last one is stopped; from then on, the command waits at
 *               most 5 seconds for an answer
 *   full        the disk is full when the state of a guest is written
 *   only:SET    the program in which this library is loaded exits unless the modules SET (ours, distro) are loaded
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int delete_module(const char *name, unsigned int flags);
int init_module(void *image, unsigned long size, const char *parameters);

static void run(const char * const words[])
{
	int ready[2];
	char c;

	if (pipe(ready))
		abort();
	if (!fork()) {
		dup2(ready[1], 1);
		close(ready[0]);
		close(ready[1]);
		unsetenv("LD_PRELOAD");
		execv(words[0], (char * const *)words);
		_exit(127);
	}
	close(ready[1]);
	/* Wait until it is ready. If there is nothing to hold, it exits without output */
	if (read(ready[0], &c, 1) < 0)
		abort();
	close(ready[0]);
}

static void load_kvm(void)
{
	pid_t pid = fork();

	if (!pid) {
		unsetenv("LD_PRELOAD");
		execl("/usr/bin/modprobe", "modprobe", "kvm", NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

/* Counts a step, and kills the command at the Nth one; the first journal is the first step */
static void step(int journal)
{
	const char *what = getenv("BETWEEN");
	static int steps, begun;

	begun |= journal;
	if (what && !strncmp(what, "step:", 5) && begun && atoi(what + 5) == ++steps)
		raise(SIGKILL);
}

/* Does what $BETWEEN demands before the Nth call; returns whether that call fails */
static int before(void)
{
	static const char * const perf[] = { "/host/holder", "perf", NULL };
	static const char * const gone[] = { "/usr/bin/bash", "-c",
					     "mv /lib/modules/*/updates /tmp/updates; "
					     "mv /lib/modules/*/kernel/arch/x86/kvm /tmp/kvm",
					     NULL };
	const char *what = getenv("BETWEEN"), *number = what ? strchr(what, ':') : NULL;
	static int calls;

	step(0);
	if (!strncmp(what ?: "", "step:", 5) || !number || atoi(number + 1) != ++calls)
		return 0;
	if (!strncmp(what, "kill:", 5))
		raise(SIGKILL);
	if (!strncmp(what, "perf:", 5) || !strncmp(what, "both:", 5))
		run(perf);
	if (!strncmp(what, "gone:", 5))
		run(gone);
	if (!strncmp(what, "perf:", 5))
		return 0;
	errno = EIO;
	return 1;
}

int delete_module(const char *name, unsigned int flags)
{
	__typeof__(delete_module) *real = dlsym(RTLD_NEXT, "delete_module");
	static const char * const vm[] = { "/host/holder", "vm", "-name", "guest=late,x", NULL };
	int vendor = !!strcmp(name, "kvm"), result;
	const char *what = getenv("BETWEEN");
	static int done;

	if (before())
		return -1;
	if (!what || done)
		what = "";
	if (vendor && !strcmp(what, "vm")) {
		done = 1;
		run(vm);
	}
	if (!vendor && !strcmp(what, "kill"))
		raise(SIGKILL);
	result = real(name, flags);
	if (!vendor && !result && !strcmp(what, "load")) {
		done = 1;
		load_kvm();
	}
	return result;
}

int init_module(void *image, unsigned long size, const char *parameters)
{
	__typeof__(init_module) *real = dlsym(RTLD_NEXT, "init_module");

	return before() ? -1 : real(image, size, parameters);
}

/* QEMU was told to let its guest run */
static int resumed;

static int deaf;

/* Stop the process of the last guest of a journal, if it is saved */
static void deafen(const char *journal)
{
	static char text[1 << 20];
	int fd = open(journal, O_RDONLY);
	const char *last = NULL, *pid;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		abort();
	text[n] = '\0';
	close(fd);
	for (const char *at = text; (at = strstr(at, "\"phase\":")); at++)
		last = at;
	pid = last ? strstr(last, "\"pid\":") : NULL;
	if (!pid || strncmp(last + 8, "\"saved\"", 7))
		return;
	deaf = 1;
	kill(atoi(pid + 6), SIGSTOP);
}

int poll(struct pollfd *files, nfds_t n, int ms)
{
	__typeof__(poll) *real = dlsym(RTLD_NEXT, "poll");

	return real(files, n, deaf && ms > 5000 ? 5000 : ms);
}

int rename(const char *from, const char *to)
{
	__typeof__(rename) *real = dlsym(RTLD_NEXT, "rename");

	step(1);
	if (!deaf && !strcmp(getenv("BETWEEN") ?: "", "deaf"))
		deafen(from);
	if (resumed && !strcmp(getenv("BETWEEN") ?: "", "resumed"))
		raise(SIGKILL);
	return real(from, to);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
	__typeof__(sendmsg) *real = dlsym(RTLD_NEXT, "sendmsg");

	step(0);
	resumed |= message->msg_iovlen == 1 &&
		   memmem(message->msg_iov->iov_base, message->msg_iov->iov_len, "\"cont\"", 6);
	return real(socket, message, flags);
}

ssize_t splice(int from, off_t *from_offset, int to, off_t *to_offset, size_t size, unsigned int flags)
{
	__typeof__(splice) *real = dlsym(RTLD_NEXT, "splice");

	if (!strcmp(getenv("BETWEEN") ?: "", "full")) {
		errno = ENOSPC;
		return -1;
	}
	return real(from, from_offset, to, to_offset, size, flags);
}

static void __attribute__((constructor)) begin(void)
{
	const char *what = getenv("BETWEEN"), *loaded = access("/sys/module/kvm/version", F_OK) ? "distro" : "ours";

	if (!what || strncmp(what, "only:", 5) || !strcmp(what + 5, loaded))
		return;
	dprintf(2, "not with these modules\n");
	_exit(1);
}

/* glibc has no finit_module() */
long syscall(long number, ...)
{
	long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall"), a[6];
	va_list arguments;

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_finit_module && before())
		return -1;
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
