// SPDX-License-Identifier: GPL-2.0
/*
 * init: PID 1 of an emulated host
 *
 * Loads the modules of /host/modules, runs the commands of /host/commands and
 * sends what they print, what the kernel logs and what they left in /out over
 * /dev/ttyS1 (see channel.h).  Then it ends the machine.
 *
 * /host/modules: one module a line, "FILE [PARAMETER=VALUE]...", FILE is
 * relative to /host.  A '?' before FILE: it may fail to load.  If any other
 * module fails, no command is run.
 *
 * /host/commands: one command a line, words separated by blanks, '...', "..."
 * and \ quote as in a shell.  Programs are searched in /host and /bin and run
 * in /host, as root, with a terminal as stdout and stderr, so that a libc
 * passes on each line at once.  What a command leaves running is killed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "channel.h"
#include "library.h"

#define WORDS_MAX 256

#define __printf(a, b) __attribute__((format(printf, a, b)))

static int channel = -1, kmsg = -1;

static void write_all(const char *p, size_t size)
{
	while (size) {
		ssize_t n = write(channel, p, size);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			p += n;
			size -= n;
		}
	}
}

static void send_frame(char type, const char *name, const void *data, size_t size)
{
	char header[FRAME_NAME_MAX + 32];
	int n = snprintf(header, sizeof(header), "%c %zu %s\n", type, size, name);

	write_all(header, n);
	write_all(data, size);
}

static void __printf(1, 2) report(const char *format, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	send_frame(FRAME_REPORT, "", line, n);
}

/* Without it there is no result: the panic says so immediately */
static void open_channel(void)
{
	struct termios t;

	channel = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (channel < 0 || tcgetattr(channel, &t))
		exit(1);
	cfmakeraw(&t);
	cfsetspeed(&t, B115200);
	t.c_cflag |= CLOCAL;
	t.c_cflag &= ~CRTSCTS;
	tcsetattr(channel, TCSANOW, &t);
}

static void mount_one(const char *type, const char *where, const char *options, int required)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, options) && required)
		report("error mount %s: %s", where, strerror(errno));
}

static void mount_all(void)
{
	mount_one("sysfs", "/sys", NULL, 1);
	mount_one("devpts", "/dev/pts", "mode=620,ptmxmode=666", 1);
	mount_one("tmpfs", "/tmp", NULL, 1);
	mount_one("tmpfs", "/dev/shm", NULL, 0);
	mount_one("debugfs", "/sys/kernel/debug", NULL, 0);
	mkdir("/out", 0755);
}

/*
 * A record of /dev/kmsg is "PRIORITY,SEQUENCE,MICROSECONDS,...;TEXT\n" and
 * lines of properties that start with a blank.  One read() gives one record.
 */
static void send_kmsg(void)
{
	char record[8192], line[8192 + 32], batch[FRAME_DATA_MAX];
	size_t fill = 0;

	for (;;) {
		ssize_t n = read(kmsg, record, sizeof(record) - 1);
		unsigned int priority;
		unsigned long long us;
		char *text, *end;
		size_t size;

		if (n < 0 && (errno == EPIPE || errno == EINTR))
			continue;
		if (n <= 0)
			break;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text || sscanf(record, "%u,%*u,%llu", &priority, &us) != 2)
			continue;
		end = strchr(++text, '\n');
		if (end)
			*end = '\0';
		size = snprintf(line, sizeof(line), "<%u>[%5llu.%06llu] %s\n", priority, us / 1000000, us % 1000000,
				text);
		if (fill + size > sizeof(batch)) {
			send_frame(FRAME_KMSG, "", batch, fill);
			fill = 0;
		}
		if (size > sizeof(batch)) {
			size = sizeof(batch);
			line[size - 1] = '\n';
		}
		memcpy(batch + fill, line, size);
		fill += size;
	}
	if (fill)
		send_frame(FRAME_KMSG, "", batch, fill);
}

/*
 * Writes our progress to the kernel log.  This also releases a previous line without a
 * newline, which the kernel holds back because it may be continued.
 */
static void log_line(const char *what, int number)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char line[64];
	int n = snprintf(line, sizeof(line), "<6>init: %s %d\n", what, number);

	/* not dprintf(): it seeks, which /dev/kmsg refuses */
	if (fd < 0 || write(fd, line, n) != n)
		report("error /dev/kmsg: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* Quotes as in a shell; the words are made in place */
static int split(char *line, char **word)
{
	char *from = line, *to = line, quote = '\0';
	int words = 0, in_word = 0;

	for (; *from; from++) {
		if (!quote && (*from == ' ' || *from == '\t')) {
			if (in_word)
				*to++ = '\0';
			in_word = 0;
			continue;
		}
		if (!in_word) {
			if (words == WORDS_MAX)
				return -1;
			word[words++] = to;
			in_word = 1;
		}
		if (quote ? *from == quote : *from == '\'' || *from == '"')
			quote = quote ? '\0' : *from;
		else if (*from == '\\' && quote != '\'' && from[1])
			*to++ = *++from;
		else
			*to++ = *from;
	}
	*to = '\0';
	word[words] = NULL;
	return quote ? -1 : words;
}

static int load_module(char *line)
{
	int may_fail = *line == '?';
	char *parameters;
	int fd, failed;

	line += may_fail;
	parameters = strchr(line, ' ');
	if (parameters)
		*parameters++ = '\0';
	fd = open(line, O_RDONLY | O_CLOEXEC);
	failed = fd < 0 || syscall(SYS_finit_module, fd, parameters ? parameters : "", 0);
	if (failed)
		report("module %s failed %s", line, strerror(errno));
	else
		report("module %s ok", line);
	if (fd >= 0)
		close(fd);
	return failed && !may_fail;
}

static FILE *open_list(const char *path)
{
	FILE *f = fopen(path, "re");

	if (!f)
		report("error %s: %s", path, strerror(errno));
	return f;
}

/* The next line, without blanks at its end; skips empty lines and comments */
static char *next_line(FILE *f)
{
	static char *line;
	static size_t size;
	ssize_t n;

	while ((n = getline(&line, &size, f)) >= 0) {
		while (n && strchr("\r\n\t ", line[n - 1]))
			line[--n] = '\0';
		if (*line && *line != '#')
			return line;
	}
	return NULL;
}

static int load_modules(void)
{
	FILE *f = open_list("modules");
	char *line;
	int failed = !f;

	while (f && (line = next_line(f)))
		failed |= load_module(line);
	return failed;
}

/* On a raw terminal of its own; returns our side of it */
static int spawn(char **word, pid_t *pid)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlock = 0, slave;
	struct termios t;
	sigset_t none;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock))
		return -1;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &t))
		return -1;
	cfmakeraw(&t);
	tcsetattr(slave, TCSANOW, &t);
	*pid = fork();
	if (*pid) {
		close(slave);
		return *pid < 0 ? -1 : master;
	}
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	dup2(slave, 1);
	dup2(slave, 2);
	execvp(word[0], word);
	dprintf(2, "%s: %s\n", word[0], strerror(errno));
	_exit(127);
}

static void send_output(int master)
{
	char data[FRAME_DATA_MAX];
	ssize_t n = read(master, data, sizeof(data));

	if (n > 0)
		send_frame(FRAME_OUTPUT, "", data, n);
}

static int readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents & POLLIN;
}

/* Sends the output and the kernel's log until @pid ends; returns its status. Other processes that end are orphans */
static int wait_for(pid_t pid, int master, int signals)
{
	struct pollfd p[3] = { { .fd = signals, .events = POLLIN },
			       { .fd = master, .events = POLLIN },
			       { .fd = kmsg, .events = POLLIN } };
	struct signalfd_siginfo info;
	pid_t gone = 0;
	int status = 0;

	while (gone != pid) {
		if (poll(p, 3, -1) < 0)
			continue;
		if (p[1].revents & POLLIN)
			send_output(master);
		else if (p[1].revents & POLLHUP)
			p[1].fd = -1; /* it closed its terminal, but is still alive */
		/* A command that ends this kernel: a truncated frame would garble those of the next one */
		if (p[2].fd >= 0 && !access("/tmp/quiet", F_OK))
			p[2].fd = -1;
		else if (p[2].revents & POLLIN)
			send_kmsg();
		if (!(p[0].revents & POLLIN))
			continue;
		while (read(signals, &info, sizeof(info)) > 0)
			;
		do
			gone = waitpid(-1, &status, WNOHANG);
		while (gone > 0 && gone != pid);
	}
	return status;
}

static void run_command(char *line, int number)
{
	char *word[WORDS_MAX + 1];
	int master, signals, status;
	sigset_t child;
	pid_t pid;

	if (split(line, word) <= 0) {
		report("error command %d: bad quoting", number);
		return;
	}
	log_line("start of command", number);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	master = spawn(word, &pid);
	if (master < 0) {
		report("error command %d: %s", number, strerror(errno));
		return;
	}
	status = wait_for(pid, master, signals);
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	while (readable(master))
		send_output(master);
	close(master);
	close(signals);
	log_line("end of command", number);
	send_kmsg();
	if (WIFSIGNALED(status))
		report("command %d signal %d", number, WTERMSIG(status));
	else
		report("command %d exit %d", number, WEXITSTATUS(status));
}

static void run_commands(void)
{
	FILE *f = open_list("commands");
	int number = 0;
	char *line;

	while (f && (line = next_line(f)))
		run_command(line, ++number);
}

static void send_file(const char *path, const char *name)
{
	char data[FRAME_DATA_MAX];
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int sent = 0;
	ssize_t n;

	if (fd < 0) {
		report("error %s: %s", path, strerror(errno));
		return;
	}
	while ((n = read(fd, data, sizeof(data))) > 0 || !sent++) {
		send_frame(FRAME_FILE, name, data, n > 0 ? n : 0);
		sent = 1;
	}
	if (n < 0)
		report("error %s: %s", path, strerror(errno));
	close(fd);
}

static void send_files(const char *dir)
{
	struct dirent **entry;
	int i, n = scandir(dir, &entry, NULL, alphasort);

	for (i = 0; i < n; i++) {
		char path[FRAME_NAME_MAX];
		struct stat st;

		if (!strcmp(entry[i]->d_name, ".") || !strcmp(entry[i]->d_name, ".."))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, entry[i]->d_name) >= (int)sizeof(path) ||
		    strchr(path, '\n') || lstat(path, &st))
			report("error name of a file in %s", dir);
		else if (S_ISDIR(st.st_mode))
			send_files(path);
		else if (S_ISREG(st.st_mode))
			send_file(path, path + strlen("/out/"));
	}
}

static void report_taint(void)
{
	FILE *f = fopen("/proc/sys/kernel/tainted", "re");
	unsigned long taint;

	if (!f || fscanf(f, "%lu", &taint) != 1)
		report("error no taint");
	else
		report("taint %lu", taint);
	if (f)
		fclose(f);
}

/* The panic that follows ends the machine */
static void fail(const char *what)
{
	FILE *f = fopen("/dev/console", "w");

	if (f)
		fprintf(f, "init: %s: %m\n", what);
	exit(1);
}

static int make_file(const struct file *f, const char *path, const char *content)
{
	size_t done = 0;
	int fd;

	if (S_ISDIR(f->mode))
		return mkdir(path, f->mode & 07777) && errno != EEXIST;
	/* This program itself is there already, and runs */
	unlink(path);
	if (S_ISLNK(f->mode)) {
		char target[4096] = "";

		memcpy(target, content, f->size < sizeof(target) ? f->size : 0);
		return symlink(target, path);
	}
	if (!S_ISREG(f->mode))
		return mknod(path, f->mode, f->device);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, f->mode & 07777);
	if (fd < 0)
		return -1;
	while (done < f->size) {
		ssize_t n = write(fd, content + done, f->size - done);

		if (n <= 0)
			break;
		done += n;
	}
	return close(fd) || done < f->size;
}

static const void *map_physical(int fd, uint64_t address, size_t size)
{
	const void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, address);

	if (p == MAP_FAILED)
		fail("/dev/mem");
	return p;
}

static void make_files(uint64_t address)
{
	int fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	const struct files *all = map_physical(fd, address, sizeof(*all));
	const char *p, *end;
	size_t size;

	if (all->magic != FILES_MAGIC)
		fail("no files in memory");
	size = all->size;
	all = map_physical(fd, address, size);
	umask(0);
	for (p = (const char *)(all + 1), end = (const char *)all + size; p < end;) {
		const struct file *f = (const void *)p;
		const char *path = p + sizeof(*f), *content = path + f->path_size;

		if (make_file(f, path, content))
			fail(path);
		p = content + f->size + -(f->path_size + f->size) % FILES_ALIGN;
	}
	umask(022);
	munmap((void *)all, size);
	close(fd);
}

/*
 * With the kernel parameter, the machine's state is saved here. Later runs start here, each with its own files, so that
 * the boot is emulated only once.
 */
static void start_here(void)
{
	char line[4096] = "", *parameter;
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (read(fd, line, sizeof(line) - 1) < 0)
		fail("/proc/cmdline");
	close(fd);
	parameter = strstr(line, FILES_PARAMETER);
	if (!parameter)
		return;
	fd = open("/dev/port", O_WRONLY | O_CLOEXEC);
	if (pwrite(fd, "", 1, SNAPSHOT_PORT) != 1)
		fail("/dev/port");
	close(fd);
	make_files(strtoull(parameter + strlen(FILES_PARAMETER), NULL, 0));
}

static void install_busybox(void)
{
	pid_t pid;

	if (access("/host/busybox", X_OK))
		return;
	mkdir("/bin", 0755);
	pid = fork();
	if (!pid) {
		execl("/host/busybox", "busybox", "--install", "-s", "/bin", NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

int main(void)
{
	struct utsname uts;

	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) || mount("devtmpfs", "/dev", "devtmpfs", 0, NULL))
		exit(1);
	start_here();
	open_channel();
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	mount_all();
	uname(&uts);
	report("kernel %s", uts.release);
	if (chdir("/host"))
		report("error /host: %s", strerror(errno));
	setenv("PATH", "/host:/bin:/usr/bin", 1);
	setenv("HOME", "/tmp", 1);

	if (!load_modules()) {
		send_kmsg();
		install_busybox();
		run_commands();
	}
	send_files("/out");
	report_taint();
	send_kmsg();
	send_frame(FRAME_END, "", "", 0);
	tcdrain(channel);
	sync();
	reboot(RB_AUTOBOOT);
	return 1;
}
