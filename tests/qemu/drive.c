// SPDX-License-Identifier: GPL-2.0
/*
 * drive: moves a guest from one QEMU to the next, on the host it runs on, and speaks TAP
 *
 *   drive [-t] [-m MEGABYTES] [-f FILE] [-e TEXT] SCENARIO [QEMU-OPTION]...
 *
 * SCENARIO  move     to a file and from it into a new QEMU while the guest waits at its first place, then live over a
 *                    unix socket at its second one. The file stays
 *           take     the file into a new QEMU, where the guest runs to its end
 *           unmap    the same, while the host keeps taking the guest's memory out of its second-level page tables
 *           forget   the file into a QEMU whose KVM_SET_ONE_REG of GUEST_SSP does nothing (forget.c): the guest faults
 *           stale    the same with an SSP that is 8 too high: the guest faults when it returns, before its end
 *           refuse   the file into a QEMU that must refuse it, because of QEMU-OPTION or the host
 *           stay     live into a QEMU that must refuse it, because of QEMU-OPTION after "--to": the guest continues
 *                    where it was
 *           busy     to a file and from it at its first place, then live while the guest keeps changing its shadow
 *                    stacks: by precopy, in several rounds, and at its second place by postcopy, where they come late
 *           second   the file, of a guest with two CPUs, into a QEMU that forgets the SSP of the second one: that one
 *                    faults, the first one runs to its end
 *           swap     the same with the two SSPs exchanged: both fault
 *           dirty    as busy, but QEMU does not see that shadow stacks have changed: the guest finds old ones
 *           empty    postcopy as in busy, but shadow stacks come as zeros: the guest faults
 *           absent   the guest finds no CET
 *           leave    to a file at its first place, with whatever state it has there
 *           outcome  the file into a QEMU that may or may not take it: prints "outcome: " and the result
 *           reload   no QEMU: loads /host/kvm-intel.ko or kvm-amd.ko anew, with QEMU-OPTION as its parameters
 *   -t  tell a story instead, for people: move, with forget in it
 *   -m  memory of the guest, default 4
 *   -f  the file, default /out/image
 *   -e  the message of QEMU when it refuses
 *
 * QEMU is the host's qemu-system-x86_64, as it is. QEMU-OPTION say what guest it runs; without -cpu there, "-cpu host"
 * is added. How guests talk is in guest/io.h. Exit status: 0 when all checks are good, 1 if not, 2 wrong use.
 */
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
#include <time.h>
#include <unistd.h>

#include "../ioctl/tap.h"
#include "guest/layout.h"

#define SOCKET "/tmp/migration"
#define FORGET "/host/forget.so"

/* Seconds of the host. They pass slowly on an emulated one that is busy: its own limit may come first */
#define PATIENCE 120

/* No line of a guest or of QMP is longer */
#define LINE 4096

struct stream {
	int fd;
	char data[LINE];
	size_t size, used; /* used: the length of the last line, which is still at the front */
	int closed;
};

struct vm {
	const char *name;
	pid_t pid;
	struct stream qmp, console;
	int serial;
	char errors[64];	     /* the file with its stderr */
	int completed, failed, late; /* events: its migration has completed or failed; it is postcopy now */
};

static int failures, telling;
static const char *megabytes = "4", *image = "/out/image", *reason = "";
static char **options;
static int option_count;
static char *last_reply;
/* The last place that the guest reported */
static char place[LINE];

static void __printf(1, 2) remark(const char *format, ...)
{
	char text[LINE];
	va_list ap;

	if (telling)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	tap_diag("%s", text);
}

/* The next part of the story, if it went well until here */
static void __printf(1, 2) story(const char *format, ...)
{
	va_list ap;

	if (!telling || failures)
		return;
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
}

static int __printf(2, 3) point(int good, const char *format, ...)
{
	char text[LINE];
	va_list ap;

	failures += !good;
	if (telling && good)
		return good;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	tap_ok(good, "%s", text);
	return good;
}

static void __attribute__((noreturn)) __printf(1, 2) give_up(const char *format, ...)
{
	va_list ap;

	printf("Bail out! ");
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	printf("\n");
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void fill(struct stream *s)
{
	ssize_t n = read(s->fd, s->data + s->size, sizeof(s->data) - s->size);

	if (n > 0)
		s->size += n;
	else
		s->closed = 1;
}

/*
 * The next line of one of VM's two streams, without its end, valid until the next call for this stream; NULL if QEMU
 * has closed it, or at the deadline. Both streams are read while it waits: the guest's console comes in single bytes,
 * of which a socket holds 277. Then QEMU waits for room, with its global lock held, and answers nothing.
 */
static char *next_line(struct vm *vm, struct stream *s, double deadline)
{
	struct stream *both[] = { &vm->qmp, &vm->console };

	memmove(s->data, s->data + s->used, s->size - s->used);
	s->size -= s->used;
	s->used = 0;
	for (;;) {
		char *end = memchr(s->data, '\n', s->size);
		double left = deadline - now();
		struct pollfd p[2];
		int i;

		if (end) {
			s->used = end + 1 - s->data;
			*end = '\0';
			if (end > s->data && end[-1] == '\r')
				end[-1] = '\0';
			return s->data;
		}
		if (s->size == sizeof(s->data))
			give_up("a line of more than %d characters", LINE);
		if (s->closed || left <= 0)
			return NULL;
		for (i = 0; i < 2; i++) {
			int full = both[i]->size == sizeof(both[i]->data);

			p[i] = (struct pollfd) { .fd = both[i]->closed || full ? -1 : both[i]->fd, .events = POLLIN };
		}
		if (poll(p, 2, left * 1000 + 1) < 0)
			return NULL;
		for (i = 0; i < 2; i++)
			if (p[i].revents)
				fill(both[i]);
	}
}

static int begins(const char *line, const char *with)
{
	return !strncmp(line, with, strlen(with));
}

/* Ours; *theirs stays open in QEMU */
static int socket_pair(int *theirs)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		give_up("socketpair: %s", strerror(errno));
	fcntl(fd[0], F_SETFD, FD_CLOEXEC);
	*theirs = fd[1];
	return fd[0];
}

/* Memory that comes late, as QEMU's trace tells it */
#define LATE "postcopy_ram_fault_thread_request"

/* FAULT: NULL, or what forget.c does */
static void start_bad(struct vm *vm, const char *name, const char *incoming, const char *fault)
{
	char chardevs[3][64];
	/* clang-format off */
	const char *argv[64] = {
		"qemu-system-x86_64", "-accel", "kvm", "-M", "pc,hpet=off,usb=off,vmport=off,smm=off", "-m", megabytes,
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-chardev", chardevs[0], "-mon", "chardev=q,mode=control",
		"-chardev", chardevs[1], "-device", "isa-debugcon,iobase=0xe9,chardev=d",
		"-chardev", chardevs[2], "-device", "isa-serial,chardev=s", "-trace", LATE,
	};
	/* clang-format on */
	int theirs[3], i, n = 0, has_cpu = 0;

	memset(vm, 0, sizeof(*vm));
	vm->name = name;
	vm->qmp.fd = socket_pair(&theirs[0]);
	vm->console.fd = socket_pair(&theirs[1]);
	vm->serial = socket_pair(&theirs[2]);
	for (i = 0; i < 3; i++)
		snprintf(chardevs[i], sizeof(chardevs[i]), "socket,id=%c,fd=%d", "qds"[i], theirs[i]);
	snprintf(vm->errors, sizeof(vm->errors), "/tmp/errors.%s", name);

	while (argv[n])
		n++;
	for (i = 0; i < option_count; i++) {
		argv[n++] = options[i];
		has_cpu |= !strcmp(options[i], "-cpu");
	}
	if (!has_cpu) {
		argv[n++] = "-cpu";
		argv[n++] = "host";
	}
	if (incoming) {
		argv[n++] = "-incoming";
		argv[n++] = incoming;
	}
	vm->pid = fork();
	if (!vm->pid) {
		int errors = open(vm->errors, O_WRONLY | O_CREAT | O_TRUNC, 0644);

		dup2(errors, 1);
		dup2(errors, 2);
		if (fault) {
			setenv("LD_PRELOAD", FORGET, 1);
			setenv("FAULT", fault, 1);
		}
		execvp(argv[0], (char **)argv);
		dprintf(2, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	for (i = 0; i < 3; i++)
		close(theirs[i]);
}

static void start(struct vm *vm, const char *name, const char *incoming)
{
	start_bad(vm, name, incoming, NULL);
}

/* Prints what QEMU wrote to stderr. Returns 1 if TEXT was in it */
static int show_errors(struct vm *vm, const char *text)
{
	FILE *f = fopen(vm->errors, "r");
	char line[512];
	int found = 0;

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strstr(line, LATE))
			continue;
		remark("%s says: %s", vm->name, line);
		found |= !!strstr(line, text);
	}
	if (f)
		fclose(f);
	return found;
}

/* Returns what waitpid() says */
static int finish(struct vm *vm)
{
	int status;

	kill(vm->pid, SIGKILL);
	waitpid(vm->pid, &status, 0);
	close(vm->qmp.fd);
	close(vm->console.fd);
	close(vm->serial);
	return status;
}

/* Reads QMP until a line that has both texts; NULL if none comes */
static char *qmp_line(struct vm *vm, const char *one, const char *other)
{
	double deadline = now() + PATIENCE;
	char *line;

	while ((line = next_line(vm, &vm->qmp, deadline))) {
		if (strstr(line, "\"MIGRATION\"")) {
			vm->completed |= !!strstr(line, "\"completed\"");
			vm->failed |= !!strstr(line, "\"failed\"");
			vm->late |= !!strstr(line, "\"postcopy-active\"");
		}
		if (strstr(line, one) && strstr(line, other))
			return line;
		if (strstr(line, "\"failed\""))
			remark("%s: %s", vm->name, line);
	}
	return NULL;
}

/* Returns 1 if the reply, then in last_reply, is not an error */
static int __printf(2, 3) command(struct vm *vm, const char *format, ...)
{
	char json[256], *line;
	va_list ap;

	va_start(ap, format);
	vsnprintf(json, sizeof(json), format, ap);
	va_end(ap);
	dprintf(vm->qmp.fd, "%s\n", json);
	do
		line = qmp_line(vm, "{", "");
	while (line && !begins(line, "{\"return\"") && !begins(line, "{\"error\""));
	last_reply = line;
	if (line && begins(line, "{\"return\""))
		return 1;
	remark("%s: %s gave %s", vm->name, json, line ? line : "nothing");
	return 0;
}

static int enable(struct vm *vm, const char *capability)
{
	return command(vm, "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":[%s%s%s]}}",
		       "{\"state\":true,\"capability\":\"", capability, "\"}");
}

static int greet(struct vm *vm)
{
	return qmp_line(vm, "\"QMP\"", "") && command(vm, "{\"execute\":\"qmp_capabilities\"}") && enable(vm, "events");
}

/*
 * The same for one that is to take the guest of OTHER. That does not run meanwhile: with it being busy, QEMU would take
 * several times as long to start
 */
static int start_beside(struct vm *vm, const char *name, const char *fault, struct vm *other)
{
	int good;

	kill(other->pid, SIGSTOP);
	start_bad(vm, name, "defer", fault);
	good = greet(vm);
	kill(other->pid, SIGCONT);
	return good;
}

static int migrated(struct vm *vm)
{
	return vm->completed || qmp_line(vm, "\"MIGRATION\"", "\"completed\"");
}

/* A guest that was stopped when it was saved */
static int run(struct vm *vm)
{
	return command(vm, "{\"execute\":\"cont\"}");
}

static int leave(struct vm *vm, const char *uri)
{
	vm->completed = 0;
	vm->failed = 0;
	return command(vm, "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"%s\"}}", uri);
}

static int come(struct vm *vm, const char *uri)
{
	return command(vm, "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"%s\"}}", uri);
}

/* With a way back, so that the source learns when the other one fails. Its guest would stay stopped otherwise */
static int go_live(struct vm *from, struct vm *to)
{
	return enable(from, "return-path") && enable(to, "return-path") && come(to, "unix:" SOCKET) &&
	       leave(from, "unix:" SOCKET);
}

static const char *image_uri(void)
{
	static char uri[128];

	snprintf(uri, sizeof(uri), "file:%s", image);
	return uri;
}

/* A number from QEMU's information about its migration; -1 if it is not there */
static long about_migration(struct vm *vm, const char *key)
{
	char quoted[64], *at;

	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	at = command(vm, "{\"execute\":\"query-migrate\"}") ? strstr(last_reply, quoted) : NULL;
	return at ? strtol(at + strlen(quoted), NULL, 10) : -1;
}

/*
 * What the guest says, until it waits, ends, or says nothing any more. Its checks become points. Returns the line:
 * "wait PLACE", "end", or NULL
 */
static char *follow(struct vm *vm)
{
	double deadline = now() + PATIENCE;
	char *line;

	while ((line = next_line(vm, &vm->console, deadline))) {
		if (begins(line, "wait ") || !strcmp(line, "end"))
			return line;
		if (begins(line, "ok ")) {
			point(1, "%s: %s", vm->name, line + 3);
		} else if (begins(line, "not ok ")) {
			point(0, "%s: %s", vm->name, line + 7);
		} else if (begins(line, "say ")) {
			remark("%s: %s", vm->name, line + 4);
			strcpy(place, strstr(line, ": ") ? strstr(line, ": ") + 2 : line + 4);
		} else {
			point(0, "%s: the guest says '%s'", vm->name, line);
		}
	}
	return NULL;
}

static int says(struct vm *vm, const char *wanted)
{
	char *line = follow(vm);
	int good = line && begins(line, wanted);

	point(good, "%s: the guest comes to its %s", vm->name, *wanted == 'w' ? "next place to wait" : "end");
	if (!good) {
		remark("instead: %s", line ? line : "nothing");
		/* A guest that was reset, or a QEMU that is gone */
		while ((line = next_line(vm, &vm->qmp, now() + 1)))
			remark("%s: %s", vm->name, line);
		if (vm->qmp.closed)
			remark("%s: QEMU has ended", vm->name);
		show_errors(vm, "");
	}
	return good;
}

static void go_on(struct vm *vm)
{
	if (write(vm->serial, "g", 1) != 1)
		remark("%s: nothing can be sent to it", vm->name);
}

/* Of a line of the guest's: #PF of a shadow stack access, or #CP of a near return */
static int is_fault(const char *line)
{
	return begins(line, "not ok exception 14, error 0x4") || begins(line, "not ok exception 21, error 0x1,");
}

static void bad_ssp(const char *name, const char *fault, int at_once)
{
	struct vm vm;
	char *line, *address;
	int good;

	start_bad(&vm, name, "defer", fault);
	if (!point(greet(&vm) && come(&vm, image_uri()) && migrated(&vm), "%s: takes the guest from the file", name))
		return;
	/*
	 * While it waits it calls, but may not return from where it is; and it may not notice while levels return to
	 * one place.
	 */
	if (!at_once)
		go_on(&vm);
	do {
		line = next_line(&vm, &vm.console, now() + PATIENCE);
		if (!at_once && line && begins(line, "wait "))
			go_on(&vm);
	} while (!at_once && line && !begins(line, "not ok exception") && !begins(line, "end"));
	good = line && is_fault(line);
	point(good, "%s: the guest faults%s", name, at_once ? " at once" : "");
	remark("the guest: %s", line ? line : "nothing");
	address = good ? strstr(line, "address ") : NULL;
	story("Loaded by a VMM that leaves the shadow stack pointer at 0, it dies at once: %s%s.\n",
	      address ? "page fault at " : "#CP", address ? address + strlen("address ") : "");
	finish(&vm);
}

static void forget(void)
{
	bad_ssp("forgetful", "all", 1);
}

static void stale(void)
{
	bad_ssp("stale", "stale", 0);
}

/* Of two CPUs. FIRST: the first one faults too */
static void bad_ssps(const char *name, const char *fault, int first)
{
	int faults[CPUS] = { 0 }, wrong = 0, good = 0, ended = 0;
	struct vm vm;
	char *line;

	start_bad(&vm, name, "defer", fault);
	if (!point(greet(&vm) && come(&vm, image_uri()) && migrated(&vm) && run(&vm),
		   "%s: takes the guest from the file", name))
		return;
	while (!ended && (line = next_line(&vm, &vm.console, now() + PATIENCE))) {
		ended = !strcmp(line, "end");
		if (begins(line, "not ok ")) {
			remark("the guest: %s", line);
			faults[!!strstr(line, "on the second CPU")] += is_fault(line);
			wrong += !is_fault(line);
			if (!first)
				go_on(&vm);
		} else if (begins(line, "wait ")) {
			go_on(&vm);
		} else {
			good += begins(line, "ok ");
		}
	}
	point(faults[1] == 1, "%s: the second CPU faults at once", name);
	point(faults[0] == first, "%s: the first one %s", name, first ? "does too" : "does not");
	point(ended && !wrong && (first ? !good : good), "%s: the guest comes to its end%s", name,
	      first ? ", and does nothing else" : " on the first CPU alone, which finds all as it should be");
	finish(&vm);
}

static void second(void)
{
	bad_ssps("half forgetful", "second", 0);
}

static void swap(void)
{
	bad_ssps("confused", "swap", 1);
}

static void move(void)
{
	struct vm first, second, third;
	long still;

	start(&first, "first", NULL);
	if (!point(greet(&first), "first: QEMU starts") || !says(&first, "wait "))
		return;
	story("  A guest calls itself in user mode, on its shadow stack: %s.\n", place);
	if (!point(leave(&first, image_uri()) && migrated(&first), "first: migrates to a file"))
		return;
	finish(&first);
	story("  There it is saved to a file. ");
	if (telling)
		forget();

	start(&second, "second", "defer");
	if (!point(greet(&second) && come(&second, image_uri()) && migrated(&second),
		   "second: takes it from the file")) {
		show_errors(&second, "");
		return;
	}
	go_on(&second);
	if (!says(&second, "wait "))
		return;
	story("  QEMU restores the pointer, with KVM_SET_ONE_REG: loaded by it, the guest goes on.\n"
	      "  It enters its kernel, and calls itself there: %s.\n",
	      place);

	if (!point(start_beside(&third, "third", NULL, &second) && go_live(&second, &third) && migrated(&second) &&
			   migrated(&third),
		   "third: live migration over a socket")) {
		show_errors(&second, "");
		show_errors(&third, "");
		return;
	}
	still = about_migration(&second, "downtime");
	remark("the guest stood still for %ld ms of the host", still);
	finish(&second);
	go_on(&third);
	says(&third, "end");
	finish(&third);
	story("  There it is migrated live, over a socket, to another QEMU, and stands still for %ld ms.\n"
	      "  It returns from all of its calls: each return address is the one that its shadow stack has kept.\n"
	      "  Before and after each move it did what CET forbids, and was caught each time:\n"
	      "    a forged return address            #CP, the shadow stack has another one\n"
	      "    a jump to where no ENDBR64 is      #CP, indirect branch tracking\n",
	      still);
}

/* How many CPUs the options give the guest */
static int cpu_count(void)
{
	int i, count = 1;

	for (i = 0; i + 1 < option_count; i++)
		if (!strcmp(options[i], "-smp"))
			count = atoi(options[i + 1]);
	return count;
}

/* How often each CPU has changed its shadow stack; returns false if QEMU does not say */
static int read_rounds(struct vm *vm, unsigned long rounds[CPUS])
{
	static const char text[] =
		"{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"xp /%dgx %d\"}}";

	return command(vm, text, CPUS, ROUNDS) &&
	       sscanf(last_reply, "{\"return\": \"%*x: %lx %lx", &rounds[0], &rounds[1]) == CPUS;
}

/*
 * Sets limits, in bytes and ms. With SLOW, the guest makes pages dirty faster than QEMU sends them; with FAST, QEMU
 * sends the rest at once
 */
static int limit(struct vm *vm, long bandwidth, long late_bandwidth, long downtime)
{
	return command(vm, "{\"execute\":\"migrate-set-parameters\",\"arguments\":{\"max-bandwidth\":%ld,%s%ld,%s%ld}}",
		       bandwidth, "\"max-postcopy-bandwidth\":", late_bandwidth, "\"downtime-limit\":", downtime);
}

#define SLOW 1000000
/* Each tenth of a second */
#define A_PAGE 40960
#define FAST   1000000000
/* The first one comes before anything is sent */
#define TURNS 3

/* QEMU counts bandwidth in tenths of a second. With a busy guest these would be long ones on an emulated host */
static void let_time_pass(struct vm *vm, unsigned int ms)
{
	kill(vm->pid, SIGSTOP);
	usleep(ms * 1000);
	kill(vm->pid, SIGCONT);
}

/* Rounds of sending dirty pages, while all CPUs run. False if the migration ended before, or if a CPU did not run */
static int take_turns(struct vm *from, struct vm *to)
{
	unsigned long before[CPUS], after[CPUS];
	double deadline = now() + PATIENCE;
	long turns;
	int i, good;

	if (!limit(from, SLOW, 0, 1) || !go_live(from, to) || !read_rounds(from, before))
		return 0;
	do {
		let_time_pass(from, 30);
		usleep(1000);
		turns = about_migration(from, "dirty-sync-count");
	} while (turns < TURNS && !from->completed && !from->failed && now() < deadline);
	if (!read_rounds(from, after))
		return 0;
	good = !from->completed && turns >= TURNS;
	remark("QEMU has asked %ld times what has become dirty", turns);
	for (i = 0; i < cpu_count(); i++) {
		remark("meanwhile CPU %d changed its shadow stack %lu times", i, after[i] - before[i]);
		good &= after[i] > before[i];
	}
	return good;
}

/* Shadow stacks that QEMU's trace says came late: one bit for each CPU's on which it waits at its second place */
static int late_stacks(struct vm *vm)
{
	FILE *f = fopen(vm->errors, "r");
	char line[512], *at;
	int found = 0, pages = 0;

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long offset;

		at = strstr(line, LATE) ? strstr(line, "offset=") : NULL;
		if (!at)
			continue;
		offset = strtoul(at + strlen("offset="), NULL, 16);
		remark("the guest asked for 0x%lx", offset);
		pages++;
		if (offset == SHADOWS + SHADOW_USER - 0x1000)
			found |= 1;
		if (offset == SHADOWS + 2 * SHADOW_SIZE - 0x1000)
			found |= 2;
	}
	if (f)
		fclose(f);
	remark("%d pages came when the guest asked for them", pages);
	return found;
}

/* Waits until the guest runs in TO, while its memory has not arrived yet */
static int go_late(struct vm *from, struct vm *to)
{
	return enable(from, "postcopy-ram") && enable(to, "postcopy-ram") && limit(from, A_PAGE, 0, 1) &&
	       go_live(from, to) && command(from, "{\"execute\":\"migrate-start-postcopy\"}") &&
	       (let_time_pass(from, 100), from->late || qmp_line(from, "\"MIGRATION\"", "\"postcopy-active\""));
}

static void busy(void)
{
	int all = (1 << cpu_count()) - 1;
	struct vm origin, first, second, third;

	start(&origin, "new", NULL);
	if (!point(greet(&origin), "new: QEMU starts") || !says(&origin, "wait "))
		return;
	/* Stopped: two busy CPUs make the file grow by all that they change meanwhile */
	if (!point(command(&origin, "{\"execute\":\"stop\"}") && leave(&origin, image_uri()) && migrated(&origin),
		   "new: migrates to a file"))
		return;
	finish(&origin);

	start(&first, "first", "defer");
	if (!point(greet(&first) && come(&first, image_uri()) && migrated(&first) && run(&first),
		   "first: takes it from the file")) {
		show_errors(&first, "");
		return;
	}
	if (!point(start_beside(&second, "second", NULL, &first) && take_turns(&first, &second),
		   "first: what the guest makes dirty is sent in several turns") ||
	    !point(limit(&first, FAST, 0, 10000) && migrated(&first) && migrated(&second),
		   "second: precopy comes to its end")) {
		show_errors(&first, "");
		show_errors(&second, "");
		return;
	}
	finish(&first);
	go_on(&second);
	if (!says(&second, "wait "))
		return;

	if (!point(start_beside(&third, "third", "slow", &second) && go_late(&second, &third),
		   "second: goes over to postcopy")) {
		show_errors(&second, "");
		show_errors(&third, "");
		return;
	}
	go_on(&third);
	says(&third, "end");
	point(about_migration(&second, "postcopy-requests") > 0, "third: the guest asked for memory");
	point(late_stacks(&third) == all, "third: the shadow stack of each CPU came late");
	point(migrated(&second) && migrated(&third), "third: postcopy comes to its end");
	finish(&second);
	finish(&third);
}

/* The guest moves by precopy or postcopy, and reports that its shadow stacks are wrong */
static void damage(const char *source_fault, const char *fault)
{
	struct vm here, there;
	char *line = NULL;
	int good;

	start_bad(&here, "here", NULL, source_fault);
	if (!point(greet(&here), "here: QEMU starts") || !says(&here, "wait "))
		return;
	good = start_beside(&there, "there", fault, &here);
	if (fault)
		good = good && go_late(&here, &there);
	else
		good = good && take_turns(&here, &there) && limit(&here, FAST, 0, 10000) && migrated(&here) &&
		       migrated(&there);
	if (!point(good, "there: gets the guest"))
		return;
	go_on(&there);
	do {
		line = next_line(&there, &there.console, now() + PATIENCE);
		if (line && begins(line, "wait "))
			go_on(&there);
	} while (line && !begins(line, "not ok ") && strcmp(line, "end"));
	point(line && begins(line, "not ok "), "there: the guest finds it");
	remark("the guest: %s", line ? line : "nothing");
	finish(&here);
	finish(&there);
}

static void dirty(void)
{
	damage("dirty", NULL);
}

static void empty(void)
{
	damage(NULL, "empty");
}

static void take_with(const char *fault)
{
	struct vm vm;

	start_bad(&vm, "new", "defer", fault);
	if (!point(greet(&vm) && come(&vm, image_uri()) && migrated(&vm) && run(&vm),
		   "new: takes the guest from the file"))
		show_errors(&vm, "");
	go_on(&vm);
	if (says(&vm, "wait ")) {
		go_on(&vm);
		says(&vm, "end");
	}
	finish(&vm);
}

static void take(void)
{
	take_with(NULL);
}

static void unmap(void)
{
	take_with("unmap");
}

static void refuse(void)
{
	struct vm vm;
	char *line;
	int status;

	start(&vm, "unfit", "defer");
	point(!greet(&vm) || !come(&vm, image_uri()) || !migrated(&vm), "unfit: does not take the guest from the file");
	line = next_line(&vm, &vm.console, now() + 1);
	point(!line, "unfit: the guest does not run");
	if (line)
		remark("it says: %s", line);
	point(show_errors(&vm, reason), "unfit: QEMU says '%s'", reason);
	status = finish(&vm);
	point(status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL),
	      "unfit: QEMU ends, and not with success");
}

static void stay(void)
{
	char **to = options;
	struct vm here, there;
	int all = option_count;

	while (to < options + all && strcmp(*to, "--to"))
		to++;
	option_count = to - options;
	start(&here, "here", NULL);
	if (!point(greet(&here), "here: QEMU starts") || !says(&here, "wait "))
		return;
	/* The same guest for the other QEMU, and the options after --to */
	for (; to + 1 < options + all; to++) {
		*to = to[1];
		option_count++;
	}
	point(start_beside(&there, "there", NULL, &here) && go_live(&here, &there), "there: live migration begins");
	point(!migrated(&there), "there: it fails");
	point(show_errors(&there, reason), "there: QEMU says '%s'", reason);
	finish(&there);
	point(!!qmp_line(&here, "\"MIGRATION\"", "\"failed\""), "here: QEMU says that it failed");
	go_on(&here);
	says(&here, "wait ");
	finish(&here);
}

static void absent(void)
{
	struct vm vm;
	char *line;

	start(&vm, "only", NULL);
	point(greet(&vm), "only: QEMU starts");
	line = next_line(&vm, &vm.console, now() + PATIENCE);
	point(line && !strncmp(line, "not ok the guest has shadow stacks", 34), "only: the guest finds no CET");
	if (!line)
		show_errors(&vm, "");
	finish(&vm);
}

static void leave_it(void)
{
	struct vm vm;
	char *line;

	start(&vm, "only", NULL);
	if (!point(greet(&vm), "only: QEMU starts"))
		show_errors(&vm, "");
	do
		line = next_line(&vm, &vm.console, now() + PATIENCE);
	while (line && !begins(line, "wait ") && strcmp(line, "end"));
	/* One without CET has ended */
	point(line && leave(&vm, image_uri()) && migrated(&vm), "only: migrates to a file");
	finish(&vm);
}

/* The first line of QEMU's stderr that is not a warning, without the name of the program: the cause */
static void first_error(struct vm *vm, char *text, size_t size)
{
	FILE *f = fopen(vm->errors, "r");
	char line[512];

	*text = '\0';
	while (f && fgets(line, sizeof(line), f)) {
		char *from = line;

		line[strcspn(line, "\n")] = '\0';
		if (strstr(line, LATE) || strstr(line, "warning: "))
			continue;
		if (begins(from, "qemu-system-x86_64: "))
			from += strlen("qemu-system-x86_64: ");
		remark("QEMU says: %s", from);
		if (!*text)
			snprintf(text, size, "%s", from);
	}
	if (f)
		fclose(f);
}

/* Prints the fate of a guest: "runs", what is wrong with it, or the message of QEMU */
static void outcome(void)
{
	char text[512] = "";
	struct vm vm;
	char *line;

	start(&vm, "new", "defer");
	if (greet(&vm) && come(&vm, image_uri()) && migrated(&vm) && run(&vm)) {
		snprintf(text, sizeof(text), "runs");
		go_on(&vm);
		while ((line = next_line(&vm, &vm.console, now() + PATIENCE / 6)) && strcmp(line, "end")) {
			if (begins(line, "wait "))
				go_on(&vm);
			if (!begins(line, "not ok ") || strcmp(text, "runs"))
				continue;
			snprintf(text, sizeof(text), "runs, but: %s", line + strlen("not ok "));
			if (begins(line, "not ok exception"))
				break;
		}
	} else {
		first_error(&vm, text, sizeof(text));
	}
	finish(&vm);
	printf("outcome: %s\n", *text ? text : "nothing");
	point(*text, "it ends in one way or the other");
}

static void reload(void)
{
	char parameters[256] = "";
	int amd = !access("/sys/module/kvm_amd", F_OK);
	const char *module = amd ? "kvm_amd" : "kvm_intel";
	int i, fd = open(amd ? "/host/kvm-amd.ko" : "/host/kvm-intel.ko", O_RDONLY);

	for (i = 0; i < option_count; i++) {
		strncat(parameters, options[i], sizeof(parameters) - strlen(parameters) - 2);
		strcat(parameters, " ");
	}
	point(!syscall(SYS_delete_module, module, O_NONBLOCK), "%s is unloaded", module);
	point(!syscall(SYS_finit_module, fd, parameters, 0), "%s is loaded with %s", module, parameters);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {
		{ "move", move },     { "take", take },	     { "forget", forget },   { "stale", stale },
		{ "refuse", refuse }, { "stay", stay },	     { "busy", busy },	     { "second", second },
		{ "swap", swap },     { "dirty", dirty },    { "empty", empty },     { "absent", absent },
		{ "reload", reload }, { "leave", leave_it }, { "outcome", outcome }, { "unmap", unmap },
	};
	unsigned int i;
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	while ((c = getopt(argc, argv, "+e:f:m:t")) != -1) {
		switch (c) {
		case 't':
			telling = 1;
			break;
		case 'e':
			reason = optarg;
			break;
		case 'f':
			image = optarg;
			break;
		case 'm':
			megabytes = optarg;
			break;
		default:
			return 2;
		}
	}
	if (optind >= argc)
		return 2;
	options = argv + optind + 1;
	option_count = argc - optind - 1;
	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (strcmp(argv[optind], scenarios[i].name))
			continue;
		if (!telling) {
			printf("# program %s", scenarios[i].name);
			if (strncmp(image, "/out/", strlen("/out/")))
				printf(" %s", image);
			/* -cpu says what runs; the rest describes the guest */
			for (c = 0; c < option_count && strcmp(options[c], "-cpu"); c++)
				;
			for (; c < option_count; c++)
				printf(" %s", options[c]);
			printf("\n");
		}
		scenarios[i].run();
		return telling ? failures != 0 : tap_done();
	}
	return 2;
}
