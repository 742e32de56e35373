// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg swap: save and restore a QEMU's guest.
 *
 * QEMU gets a pipe, and not the name of a file: it may run as a user who cannot open files in our folder, or may not
 * open any at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/text.h"
#include "model/hold.h"
#include "swap/guest.h"
#include "swap/qemu-move.h"
#include "swap/qemu-words.h"
#include "swap/qmp.h"
#include "swap/started.h"

#define PIPE_NAME "kvm-onereg"
/* A pipe's largest size that needs no privilege everywhere */
#define CHUNK (1 << 20)
/* Nothing comes or goes for so long: it hangs */
#define STALLED_MS 120000
/* To allocate all memory beforehand takes its time */
#define START_MS 600000
#define END_MS	 300000
#define POLL_NS	 5000000
#define NO_LIMIT (1ll << 40)

static void wait_a_moment(void)
{
	static const struct timespec moment = { .tv_nsec = POLL_NS };

	nanosleep(&moment, NULL);
}

char *qemu_connect(struct guest *guest)
{
	char *why;

	if (guest->qmp.fd >= 0)
		return NULL;
	if (qmp_open(&guest->qmp, guest->socket, guest->pid, &why))
		return NULL;
	return format("QMP socket %s: %s", guest->socket, why);
}

const char *qemu_state(struct guest *guest)
{
	char *why;
	struct json_object *status = qmp_ask(&guest->qmp, "query-status", NULL, &why);

	return json_text_in(status, "status");
}

/* ---- how it migrates */

static struct json_object *capability(const char *name, bool on)
{
	struct json_object *arguments = json_object_new_object(), *list = json_object_new_array();
	struct json_object *one = json_object_new_object();

	json_object_object_add(one, "capability", json_object_new_string(name));
	json_object_object_add(one, "state", json_object_new_boolean(on));
	json_object_array_add(list, one);
	json_object_object_add(arguments, "capabilities", list);
	return arguments;
}

static bool is_wanted_capability(const struct guest *guest, const char *name, bool on)
{
	/* Memory that stays where it is does not move. Others would need another channel, or another QEMU */
	return same_text(name, "x-ignore-shared") ? guest->in_memory : same_text(name, "events") && on;
}

/* Call @set for each capability of its migration */
static char *each_capability(struct guest *guest, char *(*see)(struct guest *guest, const char *name, bool on))
{
	struct json_object *all;
	char *why;

	all = qmp_ask(&guest->qmp, "query-migrate-capabilities", NULL, &why);
	if (!all)
		return why;
	if (!json_object_is_type(all, json_type_array))
		return format("its answer to query-migrate-capabilities is no list");
	for (size_t i = 0; i < json_object_array_length(all); i++) {
		struct json_object *one = json_object_array_get_idx(all, i);
		const char *name = json_text_in(one, "capability");

		why = name ? see(guest, name, json_object_get_boolean(json_object_object_get(one, "state"))) : NULL;
		if (why)
			return why;
	}
	return NULL;
}

static char *set_capability(struct guest *guest, const char *name, bool on)
{
	bool wanted = is_wanted_capability(guest, name, on);
	char *why;

	if (on == wanted || qmp_ask(&guest->qmp, "migrate-set-capabilities", capability(name, wanted), &why))
		return NULL;
	return why;
}

static char *note_capability(struct guest *guest, const char *name, bool on)
{
	if (on != is_wanted_capability(guest, name, on))
		json_object_array_add(guest->settings, capability(name, on));
	return NULL;
}

/* The parameters that are set for a swap, as they are now */
static struct json_object *parameters_now(struct guest *guest, char **why)
{
	static const char * const names[] = { "max-bandwidth", "mode" };
	struct json_object *now = qmp_ask(&guest->qmp, "query-migrate-parameters", NULL, why), *value, *result;

	if (!now)
		return NULL;
	result = json_object_new_object();
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (json_object_object_get_ex(now, names[i], &value))
			json_object_object_add(result, names[i], json_object_get(value));
	return result;
}

static char *set_parameters(struct guest *guest)
{
	char *why;
	struct json_object *now = parameters_now(guest, &why), *wanted;

	if (!now)
		return why;
	wanted = json_object_new_object();
	json_object_object_add(wanted, "max-bandwidth", json_object_new_int64(NO_LIMIT));
	/* Since QEMU 8.2 */
	if (guest->in_memory && json_object_object_get_ex(now, "mode", NULL))
		json_object_object_add(wanted, "mode", json_object_new_string("cpr-reboot"));
	json_object_put(now);
	return qmp_ask(&guest->qmp, "migrate-set-parameters", wanted, &why) ? NULL : why;
}

char *qemu_note_settings(struct guest *guest)
{
	struct json_object *now;
	char *why;

	guest->settings = json_object_new_array();
	now = parameters_now(guest, &why);
	if (!now)
		return why;
	json_object_array_add(guest->settings, now);
	return each_capability(guest, note_capability);
}

/* What its migration was set to before, in a new process, too */
static void set_as_before(struct guest *guest)
{
	struct json_object *off = capability("x-ignore-shared", false);
	char *why;

	if (guest->in_memory)
		qmp_ask(&guest->qmp, "migrate-set-capabilities", off, &why);
	else
		json_object_put(off);
	for (size_t i = 0; guest->settings && i < json_object_array_length(guest->settings); i++) {
		struct json_object *one = json_object_array_get_idx(guest->settings, i);
		bool capabilities = json_object_object_get_ex(one, "capabilities", NULL);

		qmp_ask(&guest->qmp, capabilities ? "migrate-set-capabilities" : "migrate-set-parameters",
			json_object_get(one), &why);
	}
}

/* Its migration has ended: NULL, or why not well */
static char *migrated(struct guest *guest)
{
	long end = milliseconds() + STALLED_MS;
	char *why;

	while (milliseconds() < end) {
		struct json_object *migration = qmp_ask(&guest->qmp, "query-migrate", NULL, &why);
		const char *status = json_text_in(migration, "status"), *error;

		if (!migration)
			return why;
		if (same_text(status, "completed"))
			return NULL;
		error = json_text_in(migration, "error-desc");
		if (same_text(status, "failed") || same_text(status, "cancelled"))
			return error ? format("its migration failed: %s", error) : format("its migration failed");
		wait_a_moment();
	}
	return format("its migration does not end");
}

/* ---- save */

/* From the pipe to the file, until QEMU closes it */
static char *receive(struct guest *guest, int from, int to)
{
	guest->written = 0;
	for (;;) {
		struct pollfd p = { .fd = from, .events = POLLIN };
		ssize_t n;

		/* Before anything has ended, the guests can still go on as they were */
		if (interrupted())
			return format("interrupted");
		if (!poll(&p, 1, STALLED_MS))
			return format("QEMU writes nothing any more");
		n = splice(from, NULL, to, NULL, CHUNK, SPLICE_F_MOVE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return format("%s: %m", guest->file);
		if (!n)
			return NULL;
		guest->written += n;
		/* Whoever runs it must not fill the disk with more than was said */
		if (guest->written / 2 > guest->bytes + (512 << 20))
			return format("QEMU writes more than its guest has");
	}
}

/*
 * Run @command with a pipe of which QEMU has the end @theirs, 0 to read or 1 to write, and move the data of @guest's
 * file at the other end by @copy. *@why says what failed there, and the result, what QEMU says; each may be NULL
 */
static char *by_pipe(struct guest *guest, const char *command, int theirs, int file,
		     char *(*copy)(struct guest *guest, int pipe, int file), char **why)
{
	int pipes[2], ours = !theirs;
	bool given;

	*why = NULL;
	if (pipe2(pipes, O_CLOEXEC)) {
		*why = format("no pipe: %m");
		return NULL;
	}
	fcntl(pipes[1], F_SETPIPE_SZ, CHUNK);
	given = qmp_give_file(&guest->qmp, PIPE_NAME, pipes[theirs], why);
	close(pipes[theirs]);
	if (!given || !qmp_ask(&guest->qmp, command, qmp_argument("uri", "fd:" PIPE_NAME), why)) {
		close(pipes[ours]);
		return NULL;
	}
	*why = copy(guest, pipes[ours], file);
	close(pipes[ours]);
	return migrated(guest);
}

static char *save_to(struct guest *guest, int file)
{
	char *why, *failed = by_pipe(guest, "migrate", 1, file, receive, &why);

	return why ?: failed;
}

char *qemu_save(struct guest *guest)
{
	int file = open(guest->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	char *why = NULL;

	if (file < 0)
		return format("%s: %m", guest->file);
	guest->stopped = real_milliseconds();
	qmp_ask(&guest->qmp, "stop", NULL, &why);
	if (!why)
		why = each_capability(guest, set_capability);
	if (!why)
		why = set_parameters(guest);
	if (!why)
		why = save_to(guest, file);
	if (!why && fsync(file))
		why = format("%s: %m", guest->file);
	if (close(file) && !why)
		why = format("%s: %m", guest->file);
	if (!why && sync_folder_of(guest->file))
		why = format("%s: %m", guest->file);
	return why;
}

char *qemu_continue(struct guest *guest, bool run)
{
	struct json_object *migration;
	const char *status;
	char *why = qemu_connect(guest);

	if (why)
		return why;
	migration = qmp_ask(&guest->qmp, "query-migrate", NULL, &why);
	status = json_text_in(migration, "status");
	/* What a command that was killed began may still be about to fail, as its pipe is gone */
	if (status && strcmp(status, "completed") && strcmp(status, "failed") && strcmp(status, "cancelled") &&
	    strcmp(status, "none")) {
		qmp_ask(&guest->qmp, "migrate_cancel", NULL, &why);
		migrated(guest);
	}
	set_as_before(guest);
	if (run)
		return qemu_resume(guest);
	return NULL;
}

/* ---- end */

static bool wait_for_end(struct guest *guest, int process, int ms)
{
	struct pollfd p = { .fd = process, .events = POLLIN };

	return process < 0 || poll(&p, 1, ms) > 0 || !is_alive(guest->pid, guest->time);
}

/* A file that stands for its process, or -1 if that has ended */
static int process_of(const struct guest *guest)
{
	int process = syscall(SYS_pidfd_open, guest->pid, 0);

	if (process >= 0 && !is_alive(guest->pid, guest->time)) {
		close(process);
		return -1;
	}
	return process;
}

void qemu_kill(struct guest *guest)
{
	int process = process_of(guest);

	if (process >= 0) {
		syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
		wait_for_end(guest, process, END_MS);
		close(process);
	}
	qmp_close(&guest->qmp);
}

char *qemu_end(struct guest *guest)
{
	int process = process_of(guest);
	const char *state;
	bool ended, quits;
	char *why;

	if (process < 0)
		return NULL;
	take_files(process, &guest->started);
	why = qemu_connect(guest);
	state = why ? NULL : qemu_state(guest);
	if (!same_text(state, "postmigrate")) {
		ended = !is_alive(guest->pid, guest->time);
		close(process);
		qmp_close(&guest->qmp);
		if (ended)
			return NULL;
		/* It may run: then its state is old, and nothing may end it */
		return state ? format("somebody has let it go on since it was saved (it is %s)", state) :
			       format("it no longer reports whether it is stopped (%s)", why ?: "QEMU does not answer");
	}
	quits = qmp_ask(&guest->qmp, "quit", NULL, &why);
	qmp_close(&guest->qmp);
	ended = wait_for_end(guest, process, END_MS);
	if (!ended && quits) {
		/* It stood still when it agreed to end, and its disks are closed since it was saved */
		syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
		ended = wait_for_end(guest, process, END_MS);
	}
	close(process);
	return ended ? NULL : format("its process %d does not end", guest->pid);
}

/* ---- restore */

/* The file where its messages go, or NULL */
static const char *messages_of(const struct guest *guest)
{
	const char *file = guest->started.stdio[2];
	struct stat status;

	if (guest->log && !stat(guest->log, &status))
		return guest->log;
	return file && !stat(file, &status) && S_ISREG(status.st_mode) ? file : NULL;
}

char *qemu_start(struct guest *guest, int *go)
{
	const char *messages;
	struct stat status;
	char *note;
	int pid;

	if (guest->log)
		unlink(guest->log);
	messages = messages_of(guest);
	guest->said = messages && !stat(messages, &status) ? status.st_size : 0;
	pid = hold_new(&guest->started, words_to_restore(guest->started.words), guest->log, go, &note);
	if (pid < 0)
		return format("no process: %m");
	guest->remark = note;
	guest->pid = pid;
	guest->time = start_time(pid);
	return NULL;
}

/* What QEMU said before it ended: the last line */
static char *last_words(const struct guest *guest)
{
	const char *file = messages_of(guest);
	size_t size;
	char *text = file ? (char *)read_bytes(file, &size) : NULL, *line;

	if (!text || (long long)size <= guest->said)
		return NULL;
	text += guest->said;
	while (*text && text[strlen(text) - 1] == '\n')
		text[strlen(text) - 1] = '\0';
	line = strrchr(text, '\n');
	line = printable(line ? line + 1 : text);
	return *line ? line : NULL;
}

static char *why_not(const struct guest *guest, const char *why)
{
	char *words = last_words(guest);

	return words ? format("%s; QEMU said: %s", why, words) : format("%s", why);
}

/* Until it answers, or has ended */
char *qemu_wait(struct guest *guest, int ms)
{
	long end = milliseconds() + ms;
	char *why;

	do {
		why = qemu_connect(guest);
		if (!why)
			return NULL;
		if (!is_alive(guest->pid, guest->time))
			return format("its new process has ended");
		wait_a_moment();
	} while (milliseconds() < end);
	return why;
}

/* From the file to the pipe */
static char *send_all(struct guest *guest, int to, int from)
{
	for (;;) {
		struct pollfd p = { .fd = to, .events = POLLOUT };
		ssize_t n;

		if (!poll(&p, 1, STALLED_MS))
			return format("QEMU reads nothing any more");
		n = splice(from, NULL, to, NULL, CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return errno == EPIPE ? format("QEMU has not taken all of it") : format("%s: %m", guest->file);
		if (!n)
			return NULL;
	}
}

static char *take_from(struct guest *guest, int file)
{
	char *why, *failed = by_pipe(guest, "migrate-incoming", 0, file, send_all, &why);

	return failed ?: why;
}

char *qemu_restore(struct guest *guest, int go)
{
	int file = open(guest->file, O_RDONLY | O_CLOEXEC);
	const char *state;
	char *why = NULL;

	if (file < 0) {
		close(go);
		return format("%s: %m", guest->file);
	}
	if (write(go, "", 1) != 1)
		why = format("its new process has ended");
	close(go);
	if (!why)
		why = qemu_wait(guest, START_MS);
	if (!why)
		why = each_capability(guest, set_capability);
	if (!why)
		why = set_parameters(guest);
	if (!why)
		why = take_from(guest, file);
	close(file);
	if (why)
		return why_not(guest, why);
	set_as_before(guest);
	state = qemu_state(guest);
	return same_text(state, "paused") || same_text(state, "prelaunch") ?
		       NULL :
		       format("its state is %s, not paused", state ?: "not known");
}

char *qemu_resume(struct guest *guest)
{
	const char *state;
	char *why = qemu_connect(guest);

	if (why || !qmp_ask(&guest->qmp, "cont", NULL, &why))
		return why;
	state = qemu_state(guest);
	if (!same_text(state, "running"))
		return format("its state is %s, not running", state ?: "not known");
	guest->resumed = real_milliseconds();
	return NULL;
}
