// SPDX-License-Identifier: GPL-2.0
/*
 * The only process of a Linux guest: it switches its own shadow stack on, as no libc of Debian does yet, goes deep into
 * calls and waits there to be migrated; and a second time in a signal handler, whose frame is on the shadow stack too
 *
 * It is linked statically and talks as guest.c does, past the kernel's drivers.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io.h"

#ifndef ARCH_SHSTK_ENABLE
#define ARCH_SHSTK_ENABLE 0x5001
#define ARCH_SHSTK_SHSTK  (1UL << 0)
#endif
#ifndef SEGV_CPERR
#define SEGV_CPERR 10
#endif

#define DEPTH  12
#define CAUGHT 42

static const char *place;
static volatile unsigned int right_levels;

static inline uint64_t *ssp_now(void)
{
	uint64_t *ssp = NULL;

	asm volatile("rdsspq %0" : "+r"(ssp));
	return ssp;
}

static void check_here(int good, const char *text)
{
	struct line line = { .size = 0 };

	add_text(&line, good ? "ok " : "not ok ");
	add_text(&line, place);
	add_text(&line, ": ");
	add_text(&line, text);
	send_line(&line);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	_exit(info->si_code == SEGV_CPERR ? CAUGHT : 1);
}

/* The forged address leads here: the process ends with success, which must not happen */
static void __attribute__((naked)) forge_return(void)
{
	asm("leaq 1f(%rip), %rax\n\t"
	    "movq %rax, (%rsp)\n\t"
	    "ret\n"
	    "1:\n\t"
	    "movl $231, %eax\n\t"
	    "xorl %edi, %edi\n\t"
	    "syscall");
}

static int status_of_child(int handled)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid) {
		struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

		if (handled)
			sigaction(SIGSEGV, &action, NULL);
		forge_return();
		_exit(1);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void misbehave(void)
{
	int status = status_of_child(1);

	check_here(WIFEXITED(status) && WEXITSTATUS(status) == CAUGHT,
		   "a child that forges a return address gets SEGV_CPERR");
	status = status_of_child(0);
	check_here(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "and dies of it");
}

static void wait_here(void)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	struct line line = { .size = 0 };
	uint64_t *ssp = ssp_now();

	add_text(&line, "say ");
	add_text(&line, place);
	add_text(&line, ": ");
	add_number(&line, DEPTH);
	add_text(&line, " calls deep, shadow stack pointer ");
	add_hex(&line, (uintptr_t)ssp);
	send_line(&line);
	tell("wait ", place);
	while (!byte_came())
		nanosleep(&pause, NULL);
	check_here(ssp_now() == ssp, "the shadow stack pointer is what it was");
	misbehave();
}

static void __attribute__((noinline)) chain(unsigned int depth, void (*bottom)(void))
{
	void (* volatile next)(unsigned int depth, void (*bottom)(void)) = chain;
	void (* volatile last)(void) = bottom;
	uint64_t *ssp = ssp_now();

	if (depth > 1)
		next(depth - 1, bottom);
	else
		last();
	right_levels += ssp_now() == ssp && *ssp == (uintptr_t)__builtin_return_address(0);
}

static void go_deep(const char *where, void (*bottom)(void))
{
	place = where;
	right_levels = 0;
	chain(DEPTH, bottom);
	place = where;
	check_here(right_levels == DEPTH, "all levels returned to where they were called from");
}

static void on_signal(int number)
{
	(void)number;
	go_deep("in a signal handler", wait_here);
}

static void bottom(void)
{
	unsigned int levels = right_levels;

	wait_here();
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	right_levels = levels;
}

static int kernel_has_ibt(void)
{
	static char log[1 << 18];
	int size = klogctl(3 /* read all */, log, sizeof(log) - 1);

	return size > 0 && strstr(log, "Indirect Branch Tracking enabled");
}

int main(void)
{
	int enabled;

	if (iopl(3))
		return 1;
	place = "at first";
	/* AMD's CPUs have none. */
	if (!__builtin_cpu_is("amd"))
		check_here(kernel_has_ibt(), "the guest's kernel runs with IBT");
	/* Not through libc: no function that is now active can return any more */
	asm volatile("syscall"
		     : "=a"(enabled)
		     : "a"(SYS_arch_prctl), "D"(ARCH_SHSTK_ENABLE), "S"(ARCH_SHSTK_SHSTK)
		     : "rcx", "r11", "memory");
	check_here(!enabled && ssp_now(), "the kernel gives the process a shadow stack");
	misbehave();
	go_deep("in the process", bottom);
	tell("end", "");
	for (;;)
		pause();
}
