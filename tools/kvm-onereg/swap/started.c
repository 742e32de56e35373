// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: how a process was started. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "swap/started.h"

#define CGROUPS "/sys/fs/cgroup"
/* More CPUs than any kernel has */
#define MOST_CPUS 8192
#define LAST_CAP  63

/* The fields of /proc/PID/stat behind the name, which may hold anything; NULL if there is no such process */
static char *stat_fields(int pid)
{
	char *stat = read_file("/proc/%d/stat", pid), *end = stat ? strrchr(stat, ')') : NULL;

	return end && end[1] ? end + 2 : NULL;
}

unsigned long long start_time(int pid)
{
	char *fields = pid > 0 ? stat_fields(pid) : NULL;

	/* Field 22, and the first one here is field 3 */
	for (int i = 3; fields && i < 22; i++) {
		fields = strchr(fields, ' ');
		fields += !!fields;
	}
	return fields ? strtoull(fields, NULL, 10) : 0;
}

bool is_alive(int pid, unsigned long long time)
{
	char *fields = pid > 0 ? stat_fields(pid) : NULL;

	return fields && *fields != 'Z' && *fields != 'X' && time == start_time(pid);
}

static char *link_of(const char *form, int pid)
{
	char target[PATH_MAX];
	ssize_t n = readlink(rooted_path("/proc/%d/%s", pid, form), target, sizeof(target) - 1);

	if (n <= 0)
		return NULL;
	target[n] = '\0';
	return format("%s", target);
}

/* Texts that each end with a NUL */
static char **texts_of(const char *what, int pid)
{
	size_t size, n = 0;
	char *bytes = (char *)read_bytes(rooted_path("/proc/%d/%s", pid, what), &size);
	char **texts = allocate(1, sizeof(*texts));

	for (char *text = bytes; text && text < bytes + size; text += strlen(text) + 1) {
		if (n % 64 == 0)
			texts = enlarged(texts, n, 65, sizeof(*texts));
		texts[n++] = text;
	}
	return texts;
}

/* Both of four equal numbers in a line of /proc/PID/status; false if they differ */
static bool one_id(const char *status, const char *key, unsigned int *id)
{
	char *line = value_of(status, key, ":");
	unsigned int ids[4];

	if (!line || sscanf(line, "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) != 4)
		return false;
	*id = ids[0];
	return ids[0] == ids[1] && ids[0] == ids[2] && ids[0] == ids[3];
}

static void read_groups(const char *status, struct started *started)
{
	char *list = value_of(status, "Groups", ":"), *end;

	started->groups = allocate(NGROUPS_MAX, sizeof(*started->groups));
	for (; list && started->n_groups < NGROUPS_MAX; list = end) {
		unsigned long id = strtoul(list, &end, 10);

		if (end == list)
			break;
		started->groups[started->n_groups++] = id;
	}
}

static unsigned long long hex_of(const char *status, const char *key)
{
	char *value = value_of(status, key, ":");

	return value ? strtoull(value, NULL, 16) : 0;
}

/* The name spaces in which it is not where this command is, as a phrase, or NULL */
static char *other_spaces(int pid)
{
	static const char * const spaces[] = { "mnt", "pid", "net", "user", "ipc", "uts", "cgroup", "time" };
	char *names = NULL;

	for (size_t i = 0; i < sizeof(spaces) / sizeof(*spaces); i++) {
		char *its = link_of(format("ns/%s", spaces[i]), pid);
		char *ours = link_of(format("ns/%s", spaces[i]), getpid());

		if (its && ours && strcmp(its, ours))
			names = format("%s%s%s", names ?: "", names ? ", " : "", spaces[i]);
	}
	return names;
}

static char *unit_of(const char *cgroup)
{
	/* A service may have groups of its own below. The manager of a user is one, too, and leaves scopes alone */
	for (const char *at = cgroup ?: ""; *at;) {
		size_t n = strcspn(at, "/");

		if (n > 8 && !strncmp(at + n - 8, ".service", 8) && strncmp(at, "user@", 5))
			return format("%.*s", (int)n, at);
		at += n + (at[n] == '/');
	}
	return NULL;
}

/* "unconfined", or the profile or context of a process; NULL: there is no such thing */
static char *label_of(int pid)
{
	char *label = read_file("/proc/%d/attr/current", pid);

	return label && *label ? label : NULL;
}

static void read_scheduling(int pid, struct started *started)
{
	struct sched_param parameters = { 0 };

	started->cpus = value_of(read_file("/proc/%d/status", pid), "Cpus_allowed_list", ":");
	started->policy = sched_getscheduler(pid);
	if (!sched_getparam(pid, &parameters))
		started->priority = parameters.sched_priority;
	errno = 0;
	started->nice = getpriority(PRIO_PROCESS, pid);
}

/* Why a process is not one of this host's own, outside of containers and services, or NULL */
static char *runs_elsewhere(int pid, const struct started *started)
{
	char *spaces = other_spaces(pid), *root = link_of("root", pid);

	if (spaces)
		return format("it is in name spaces of its own (%s), as in a container", spaces);
	if (root && strcmp(root, "/"))
		return format("its root folder is %s", root);
	if (unit_of(started->cgroup))
		return format("it belongs to the systemd service %s, which would stop or restart it",
			      unit_of(started->cgroup));
	return NULL;
}

/* QEMU filters its own system calls, and does so again in a new process */
static bool is_filtered_by_others(const char *status, char **words)
{
	if (!has_word(value_of(status, "Seccomp", ":"), "2") ||
	    same_text(value_of(read_file("/proc/self/status"), "Seccomp", ":"), "2"))
		return false;
	for (; *words; words++)
		if (!strcmp(*words, "-sandbox") || !strcmp(*words, "--sandbox"))
			return false;
	return true;
}

/* Why a new process would not be allowed the same, or NULL */
static char *is_confined(int pid, const char *status, const struct started *started)
{
	char *label = label_of(pid);

	if (label && strncmp(label, "unconfined", 10) && !same_text(label, label_of(getpid())))
		return format("a security policy confines it (%s)", label);
	if (is_filtered_by_others(status, started->words))
		return format("its system calls are filtered (seccomp) by what started it");
	if (started->user && hex_of(status, "CapEff"))
		return format("it has capabilities (CapEff %s) that a new process of its user would not have",
			      value_of(status, "CapEff", ":"));
	return NULL;
}

static void read_attributes(int pid, const char *status, struct started *started)
{
	char *mask = value_of(status, "Umask", ":"), *oom = read_file("/proc/%d/oom_score_adj", pid);

	read_groups(status, started);
	started->bounds = hex_of(status, "CapBnd");
	started->no_new_privileges = same_text(value_of(status, "NoNewPrivs", ":"), "1");
	started->mask = mask ? strtoul(mask, NULL, 8) : 022;
	started->oom = oom ? atoi(oom) : 0;
	read_scheduling(pid, started);
	for (int i = 0; i < 3; i++) {
		char *file = link_of(format("fd/%d", i), pid);

		started->stdio[i] = file && *file == '/' ? file : NULL;
	}
}

static bool read_limits(int pid, struct started *started)
{
	for (int i = 0; i < LIMITS; i++) {
		struct rlimit limit;

		if (prlimit(pid, i, NULL, &limit))
			return false;
		started->limits[i][0] = limit.rlim_cur;
		started->limits[i][1] = limit.rlim_max;
	}
	return true;
}

char *look_at_started(int pid, struct started *started)
{
	char *status = read_file("/proc/%d/status", pid), *why, *deleted;

	*started = (struct started) { .files = { -1, -1, -1 } };
	started->program = link_of("exe", pid);
	started->words = texts_of("cmdline", pid);
	started->environment = texts_of("environ", pid);
	started->folder = link_of("cwd", pid);
	started->cgroup = value_of(read_file("/proc/%d/cgroup", pid), "0:", ":");
	if (!status || !started->program || !started->words[0] || !started->folder)
		return format("how it was started cannot be read from /proc/%d", pid);
	why = runs_elsewhere(pid, started);
	if (why)
		return why;
	deleted = strstr(started->program, " (deleted)");
	if (deleted && !strcmp(deleted, " (deleted)"))
		return format("its program, %.*s, was replaced or deleted since it was started",
			      (int)(deleted - started->program), started->program);
	if (!one_id(status, "Uid", &started->user) || !one_id(status, "Gid", &started->group))
		return format("it runs with several user or group ids");
	why = is_confined(pid, status, started);
	if (why)
		return why;
	read_attributes(pid, status, started);
	return read_limits(pid, started) ? NULL : format("its limits cannot be read: %m");
}

void take_files(int process, struct started *started)
{
	for (int i = 0; i < 3; i++)
		started->files[i] = syscall(SYS_pidfd_getfd, process, i, 0);
}

static struct json_object *texts_json(char **texts)
{
	struct json_object *array = json_object_new_array();

	for (; texts && *texts; texts++)
		json_object_array_add(array, json_object_new_string(*texts));
	return array;
}

static char **texts_in(struct json_object *json, const char *key)
{
	struct json_object *array;
	char **texts;
	size_t n;

	if (!json_object_object_get_ex(json, key, &array) || !json_object_is_type(array, json_type_array))
		return NULL;
	n = json_object_array_length(array);
	texts = allocate(n + 1, sizeof(*texts));
	for (size_t i = 0; i < n; i++)
		texts[i] = format("%s", json_object_get_string(json_object_array_get_idx(array, i)) ?: "");
	return texts;
}

static void put_number(struct json_object *json, const char *key, unsigned long long number)
{
	json_object_object_add(json, key, json_hexadecimal(number));
}

static bool get_number(struct json_object *json, const char *key, unsigned long long *number)
{
	const char *text = json_text_in(json, key);

	if (!text)
		return false;
	*number = strtoull(text, NULL, 16);
	return true;
}

static bool get_int(struct json_object *json, const char *key, int *number)
{
	struct json_object *value;

	if (!json_object_object_get_ex(json, key, &value) || !json_object_is_type(value, json_type_int))
		return false;
	*number = json_object_get_int(value);
	return true;
}

/* Of a user or a group: 32 bits without a sign */
static bool get_id(struct json_object *json, const char *key, unsigned int *id)
{
	struct json_object *value;
	long long number;

	if (!json_object_object_get_ex(json, key, &value) || !json_object_is_type(value, json_type_int))
		return false;
	number = json_object_get_int64(value);
	*id = number;
	return number >= 0 && number < UINT_MAX;
}

struct json_object *started_json(const struct started *started)
{
	struct json_object *json = json_object_new_object(), *groups = json_object_new_array();
	struct json_object *limits = json_object_new_array(), *stdio = json_object_new_array();

	json_object_object_add(json, "program", json_string(started->program));
	json_object_object_add(json, "words", texts_json(started->words));
	json_object_object_add(json, "environment", texts_json(started->environment));
	json_object_object_add(json, "folder", json_string(started->folder));
	json_object_object_add(json, "cgroup", json_string(started->cgroup));
	json_object_object_add(json, "user", json_object_new_int64(started->user));
	json_object_object_add(json, "group", json_object_new_int64(started->group));
	for (int i = 0; i < started->n_groups; i++)
		json_object_array_add(groups, json_object_new_int64(started->groups[i]));
	json_object_object_add(json, "groups", groups);
	json_object_object_add(json, "nice", json_object_new_int(started->nice));
	json_object_object_add(json, "oom", json_object_new_int(started->oom));
	json_object_object_add(json, "policy", json_object_new_int(started->policy));
	json_object_object_add(json, "priority", json_object_new_int(started->priority));
	put_number(json, "umask", started->mask);
	put_number(json, "capabilities", started->bounds);
	json_object_object_add(json, "no_new_privileges", json_object_new_boolean(started->no_new_privileges));
	json_object_object_add(json, "cpus", json_string(started->cpus));
	for (int i = 0; i < LIMITS; i++)
		for (int j = 0; j < 2; j++)
			json_object_array_add(limits, json_hexadecimal(started->limits[i][j]));
	json_object_object_add(json, "limits", limits);
	for (int i = 0; i < 3; i++)
		json_object_array_add(stdio, json_string(started->stdio[i]));
	json_object_object_add(json, "stdio", stdio);
	return json;
}

bool read_started(struct json_object *json, struct started *started)
{
	struct json_object *groups, *limits, *stdio;
	unsigned long long number;

	*started = (struct started) { .files = { -1, -1, -1 } };
	started->program = json_copy_in(json, "program");
	started->words = texts_in(json, "words");
	started->environment = texts_in(json, "environment");
	started->folder = json_copy_in(json, "folder");
	started->cgroup = json_copy_in(json, "cgroup");
	started->cpus = json_copy_in(json, "cpus");
	started->no_new_privileges = json_object_get_boolean(json_object_object_get(json, "no_new_privileges"));
	if (!started->program || !started->words || !started->words[0] || !started->environment || !started->folder ||
	    !get_id(json, "user", &started->user) || !get_id(json, "group", &started->group) ||
	    !get_int(json, "nice", &started->nice) || !get_int(json, "oom", &started->oom) ||
	    !get_int(json, "policy", &started->policy) || !get_int(json, "priority", &started->priority) ||
	    !get_number(json, "umask", &number) || !get_number(json, "capabilities", &started->bounds) ||
	    !json_object_object_get_ex(json, "groups", &groups) ||
	    !json_object_object_get_ex(json, "limits", &limits) || !json_object_object_get_ex(json, "stdio", &stdio) ||
	    !json_object_is_type(groups, json_type_array) || !json_object_is_type(limits, json_type_array) ||
	    !json_object_is_type(stdio, json_type_array) || json_object_array_length(limits) != 2 * LIMITS ||
	    json_object_array_length(stdio) != 3)
		return false;
	started->mask = number;
	started->n_groups = json_object_array_length(groups);
	started->groups = allocate(started->n_groups + 1, sizeof(*started->groups));
	for (int i = 0; i < started->n_groups; i++)
		started->groups[i] = json_object_get_int64(json_object_array_get_idx(groups, i));
	for (int i = 0; i < 2 * LIMITS; i++)
		started->limits[i / 2][i % 2] = strtoull(json_object_get_string(json_object_array_get_idx(limits, i)) ?:
								 "",
							 NULL, 16);
	for (int i = 0; i < 3; i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(stdio, i));

		started->stdio[i] = text ? format("%s", text) : NULL;
	}
	return true;
}

/* "0-3,8": of /proc/PID/status */
static cpu_set_t *cpu_set(const char *list)
{
	cpu_set_t *set = CPU_ALLOC(MOST_CPUS);
	char *end;

	if (!set)
		return NULL;
	CPU_ZERO_S(CPU_ALLOC_SIZE(MOST_CPUS), set);
	while (list && *list) {
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (end == list)
			break;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; first <= last && first < MOST_CPUS; first++)
			CPU_SET_S(first, CPU_ALLOC_SIZE(MOST_CPUS), set);
		list = end + (*end == ',');
	}
	return set;
}

static bool join_cgroup(const char *cgroup, int pid)
{
	int fd = open(format(CGROUPS "%s/cgroup.procs", cgroup), O_WRONLY | O_CLOEXEC);
	bool joined = fd >= 0 && dprintf(fd, "%d", pid) > 0;

	if (fd >= 0)
		close(fd);
	return joined;
}

static bool is_file(const char *path)
{
	struct stat status;

	return path && !stat(path, &status) && S_ISREG(status.st_mode);
}

/* What it wrote went nowhere, or to such a file of an earlier swap */
static bool wrote_nowhere(const struct started *started, int i)
{
	const char *path = started->stdio[i];

	return same_text(path, "/dev/null") || (path && strstr(path, ".log (deleted)"));
}

static bool needs_log(const struct started *started)
{
	for (int i = 1; i < 3; i++)
		if (started->files[i] >= 0 ? wrote_nowhere(started, i) : !is_file(started->stdio[i]))
			return true;
	return false;
}

/* As the user that the process had: a path may lead elsewhere by now, where only root may go */
static void open_stdio(const struct started *started, int log)
{
	for (int i = 0; i < 3; i++) {
		const char *path = started->stdio[i];
		int fd = -1;

		if (started->files[i] >= 0)
			fd = i && wrote_nowhere(started, i) && log >= 0 ? log : started->files[i];
		else if (is_file(path))
			fd = open(path, i ? O_WRONLY | O_APPEND : O_RDONLY);
		else if (i)
			fd = log;
		if (fd < 0)
			fd = open("/dev/null", O_RDWR);
		/* Those that are still needed are above: hold_new() sees to it */
		dup2(fd, i);
	}
}

/* Become what the process was; never returns */
static void __attribute__((noreturn)) become(const struct started *started, char **words, const char *log)
{
	struct sched_param parameters = { .sched_priority = started->priority };
	cpu_set_t *cpus = cpu_set(started->cpus);
	int messages = -1;
	sigset_t none;
	FILE *file;

	if (log && needs_log(started))
		messages = open(log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	setsid();
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	file = fopen("/proc/self/oom_score_adj", "we");
	if (file) {
		fprintf(file, "%d", started->oom);
		fclose(file);
	}
	umask(started->mask);
	if (cpus)
		sched_setaffinity(0, CPU_ALLOC_SIZE(MOST_CPUS), cpus);
	if (started->policy > SCHED_OTHER)
		sched_setscheduler(0, started->policy, &parameters);
	setpriority(PRIO_PROCESS, 0, started->nice);
	for (int i = 0; i < LIMITS; i++) {
		struct rlimit limit = { .rlim_cur = started->limits[i][0], .rlim_max = started->limits[i][1] };

		setrlimit(i, &limit);
	}
	for (int i = 0; i <= LAST_CAP; i++)
		if (!(started->bounds >> i & 1))
			prctl(PR_CAPBSET_DROP, i);
	if (setgroups(started->n_groups, started->groups) ||
	    setresgid(started->group, started->group, started->group) ||
	    setresuid(started->user, started->user, started->user))
		_exit(126);
	open_stdio(started, messages);
	close_range(3, ~0U, 0);
	if (chdir(started->folder)) {
		dprintf(2, "%s: %s\n", started->folder, strerror(errno));
		_exit(127);
	}
	if (started->no_new_privileges)
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(started->program, words, started->environment);
	dprintf(2, "%s: %s\n", started->program, strerror(errno));
	_exit(127);
}

int hold_new(const struct started *started, char **words, const char *log, int *go, char **note)
{
	int pipes[2], pid;
	char byte;

	*note = NULL;
	/* Above those that become its stdio */
	if (pipe2(pipes, O_CLOEXEC))
		return -1;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		int from = fcntl(pipes[0], F_DUPFD_CLOEXEC, 10);

		close(pipes[0]);
		close(pipes[1]);
		if (read(from, &byte, 1) != 1)
			_exit(0);
		become(started, words, log);
	}
	close(pipes[0]);
	if (pid < 0) {
		close(pipes[1]);
		return -1;
	}
	*go = pipes[1];
	if (started->cgroup && strcmp(started->cgroup, "/") && !join_cgroup(started->cgroup, pid))
		*note = format("its control group %s does not exist any more", started->cgroup);
	/* In that of this command, it would end with the service or the session that runs this command */
	if (*note || same_text(started->cgroup, "/"))
		join_cgroup("", pid);
	return pid;
}

int hold_cgroup(const struct started *started)
{
	int pid, parent;

	if (!started->cgroup || !strcmp(started->cgroup, "/"))
		return -1;
	fflush(NULL);
	parent = getpid();
	pid = fork();
	if (!pid) {
		sigset_t none;

		/* It may have ended already */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(0);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		close_range(0, ~0U, 0);
		pause();
		_exit(0);
	}
	if (pid > 0)
		join_cgroup(started->cgroup, pid);
	return pid;
}
