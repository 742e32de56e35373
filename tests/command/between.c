// SPDX-License-Identifier: GPL-2.0
/*
 * What may happen between two steps of "kvm-onereg swap", made to happen: a library for LD_PRELOAD. $BETWEEN is
 *
 *   vm     before the vendor module is unloaded, another process starts a VM
 *   kill   before kvm is unloaded, the command is killed
 *   load   after kvm was unloaded, another process has it loaded again, as opening /dev/kvm does
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int delete_module(const char *name, unsigned int flags);

static void start_vm(void)
{
	int ready[2];
	char c;

	if (pipe(ready))
		abort();
	if (!fork()) {
		dup2(ready[1], 1);
		close(ready[0]);
		close(ready[1]);
		execl("/host/holder", "holder", "vm", "-name", "guest=late,x", NULL);
		_exit(127);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
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

int delete_module(const char *name, unsigned int flags)
{
	__typeof__(delete_module) *real = dlsym(RTLD_NEXT, "delete_module");
	const char *what = getenv("BETWEEN");
	int vendor = !!strcmp(name, "kvm"), result;
	static int done;

	if (!what || done)
		what = "";
	if (vendor && !strcmp(what, "vm")) {
		done = 1;
		start_vm();
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
