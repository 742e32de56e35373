// SPDX-License-Identifier: GPL-2.0
/*
 * try - on an emulated host: run programs on modules that hold all mutants, and see whether they notice one
 *
 * Usage: try [--reached] [--limit SECONDS] [--kvm PARAMETERS] [--vendor NAME PARAMETERS] LIST
 *
 * A line of LIST is "MUTANT<tab>FUNCTION<tab>SECONDS<tab>FACTS<tab>LOG<tab>PARAMETERS<tab>COMMAND<tab>NOTICED<tab>
 * TRIED": the modules are loaded with the mutant and with PARAMETERS of the vendor's module, which follow those of
 * --vendor, and COMMAND runs. It notices the mutant if its exit status is not 0, or a check fails; if the facts that it
 * leaves in /tmp/facts or what KVM logs about CET are not what they are without a mutant (FACTS and LOG, their hashes);
 * if it does not end within twice its SECONDS and two more; or if the kernel complains. Then the other lines of this
 * mutant are left out. In "COMMAND after COMMAND", the second one has run before, without a mutant.
 *
 * Of the lines of one mutant that follow each other, the command that has noticed the last mutant of the same FUNCTION,
 * "FILE:NAME", comes first, as it often notices its neighbours. Then come those that notice most mutants of this file
 * for their time. So far, they have noticed NOTICED of the TRIED ones. After --limit, no other one is tried.
 *
 * Prints "# N COMMAND" for each command that is tried, and then "N<tab>killed<tab>COMMAND: HOW" or
 * "N<tab>passed<tab>PARAMETERS<tab>COMMAND". If another mutant has been noticed since COMMAND last worked, what that
 * one left behind may be why COMMAND fails: "N<tab>doubtful" comes before "killed", and "N<tab>certain" when COMMAND
 * has worked again. If it does not work again, nothing more is tried. "#" says that a command starts, and "stuck
 * before", at the end, that an earlier mutant has made the host useless, for instance as the modules cannot be
 * unloaded; "stuck": the last one has.
 *
 * --reached: for each line, of which only PARAMETERS and COMMAND count,
 * "reached<tab>SECONDS<tab>FACTS<tab>LOG<tab>PARAMETERS<tab>COMMAND<tab>" and the mutants that were reached since the
 * modules were loaded.
 *
 * Exit status: 0, or 1 with a message.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mutants.h"

#define FACTS  "/tmp/facts"
#define OUTPUT "/tmp/output"

/* What a command results in. */
struct outcome {
	int status; /* of wait(), or -1: it did not end */
	double seconds;
	uint64_t facts, log;
	char complaint[160];
};

#define LINES_MAX 64

/* A command and its parameters, with what it results in without a mutant. */
struct usual {
	size_t index;
	char *parameters, *command;
	double seconds;
	uint64_t facts, log;
	bool prepared; /* what stands behind "after" has run */
	bool unstable; /* its facts, or what is logged, change from run to run */
	/* It last worked when this number of mutants had been noticed; those that it has noticed since may be wrong. */
	unsigned int worked_after;
	unsigned int doubtful[8]; /* if the host does not survive the next mutant, all these are lost */
	size_t ndoubtful;
};

/* A file, or a function. */
struct place {
	char *name;
	struct usual *killer; /* what has noticed the last of its mutants */
	struct {
		bool known;
		unsigned int noticed, tried;
	} counts[LINES_MAX]; /* of each command */
};

/* Lines of one mutant that follow each other. */
struct mutant_lines {
	unsigned int mutant;
	struct place *file, *function;
	struct usual *usuals[LINES_MAX];
	size_t n;
};

static struct usual *usuals[LINES_MAX];
static double seconds_limit = 1e9;
static size_t nusuals;
static struct place *places[1024];
static size_t nplaces;
static const char *kvm_parameters = "", *vendor = "kvm-intel", *vendor_parameters = "";
static int kmsg;

/* The mutants that are reached while the modules are loaded. */
static unsigned long at_load[MUTANTS_MAX / 64];
/* The mutants that have been noticed. */
static unsigned long noticed[MUTANTS_MAX / 64];
static unsigned int nnoticed;
/* A mutant has left something behind with which a command fails. */
static bool spoiled;

/* The last run noticed a mutant. */
static bool tainted;
/* The mutant that is tried now, and the last one with which a command has run; or 0. */
static unsigned int tried, has_run;

/* A mutant has made this host useless: the one that is tried, or one before. */
static void __attribute__((noreturn)) stuck(void)
{
	printf(has_run == tried ? "stuck\n" : "stuck before\n");
	exit(0);
}

/* Once a mutant has run, it may be the reason; the caller boots again. */
static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fprintf(stderr, has_run ? "with mutants: " : "try: ");
	vfprintf(stderr, format, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	if (has_run)
		stuck();
	exit(1);
}

/* What the last command said failed. */
static void print_output(void)
{
	char line[1024];
	FILE *f = fopen(OUTPUT, "r");

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "ok", 2))
			fputs(line, stderr);
	if (f)
		fclose(f);
}

static bool in_set(const unsigned long *set, unsigned int n)
{
	return set[n / 64] >> n % 64 & 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* FNV-1a. */
static uint64_t hash(uint64_t h, const void *p, size_t size)
{
	const unsigned char *c = p;

	for (; size; size--)
		h = (h ^ *c++) * 0x100000001b3;
	return h;
}

static uint64_t hash_file(const char *path)
{
	FILE *f = fopen(path, "r");
	uint64_t h = 0;
	char buf[4096];
	size_t n;

	if (!f)
		return 0;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		h = hash(h, buf, n);
	fclose(f);
	return h;
}

/* What the kernel has logged since the last call. */
static void read_log(struct outcome *o)
{
	static const char * const complaints[] = { "WARNING:", "BUG:", "Oops", "general protection" };
	char record[8192], *text;
	ssize_t n;
	size_t i;

	while ((n = read(kmsg, record, sizeof(record) - 1)) > 0 || errno == EPIPE) {
		if (n <= 0)
			continue;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text)
			continue;
		text++;
		text[strcspn(text, "\n")] = '\0';
		for (i = 0; i < sizeof(complaints) / sizeof(complaints[0]); i++)
			if (strstr(text, complaints[i]) && !o->complaint[0])
				snprintf(o->complaint, sizeof(o->complaint), "%s", text);
		if (strstr(text, "CET") || strstr(text, "s_cet") || strstr(text, "isst_addr"))
			o->log = hash(o->log, text, strlen(text));
	}
}

/* Load a module, and note its parameters where programs that load it again look for them. */
static void load(const char *file, const char *a, const char *b, unsigned int mutant, FILE *modules, struct outcome *o)
{
	char path[64], words[512];
	int fd;

	snprintf(path, sizeof(path), "/host/%s.ko", file);
	snprintf(words, sizeof(words), "%s %s mutant=%u", a, b, mutant);
	fprintf(modules, "%s.ko %s\n", file, words);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	if (syscall(SYS_finit_module, fd, words, 0))
		snprintf(o->complaint, sizeof(o->complaint), "%s does not load: %s", file, strerror(errno));
	close(fd);
}

static bool unload(const char *file)
{
	char name[64];
	int tries;

	snprintf(name, sizeof(name), "%s", file);
	name[strcspn(name, "-")] = name[strcspn(name, "-")] ? '_' : '\0';
	for (tries = 0; syscall(SYS_delete_module, name, O_NONBLOCK); tries++) {
		if (errno == ENOENT)
			return true;
		if (tries == 50)
			return false;
		usleep(100000);
	}
	return true;
}

/* Whether the command has said that a check failed: then it need not go on. @f is where it has been read up to. */
static bool said_not_ok(FILE *f)
{
	char line[1024];
	long start = ftell(f);

	clearerr(f);
	while (fgets(line, sizeof(line), f)) {
		if (!strchr(line, '\n'))
			break;
		if (!strncmp(line, "not ok", 6))
			return true;
		start = ftell(f);
	}
	fseek(f, start, SEEK_SET);
	return false;
}

/* @command, for at most @limit seconds. */
static void run(const char *command, double limit, struct outcome *o)
{
	char copy[512], *words[32], *p = copy;
	double start = now();
	bool failed = false;
	int n = 0, fd;
	FILE *output;
	pid_t pid;

	unlink(FACTS);
	output = fopen(OUTPUT, "w+");
	if (!output)
		die("%s: %s", OUTPUT, strerror(errno));
	snprintf(copy, sizeof(copy), "%s", command);
	p = strstr(copy, " after ");
	if (p)
		*p = '\0';
	p = copy;
	while (n < 31 && (words[n] = strsep(&p, " ")))
		n++;
	words[n] = NULL;
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		fd = open("/dev/null", O_RDONLY);
		dup2(fd, 0);
		fd = open(OUTPUT, O_WRONLY);
		dup2(fd, 1);
		dup2(fd, 2);
		execv(words[0], words);
		_exit(126);
	}
	setpgid(pid, pid);
	o->status = -1;
	while (now() - start < limit) {
		if (waitpid(pid, &o->status, WNOHANG) == pid)
			break;
		o->status = -1;
		failed = said_not_ok(output);
		if (failed)
			break;
		usleep(20000);
	}
	fclose(output);
	o->seconds = now() - start;
	if (o->status == -1) {
		kill(-pid, SIGKILL);
		start = now();
		while (waitpid(pid, NULL, WNOHANG) != pid) {
			/* The kernel does not let it go: nothing can be tried here any more. */
			if (now() - start > 30) {
				printf("stuck\n");
				exit(0);
			}
			usleep(20000);
		}
	}
	if (failed)
		o->status = 1 << 8;
	kill(-pid, SIGKILL);
	o->facts = hash_file(FACTS);
}

/* The parameter of a loaded module; NULL if there is none. */
static FILE *parameter(const char *module, const char *name, const char *mode)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, name);
	path[strcspn(path, "-")] = path[strcspn(path, "-")] ? '_' : '\0';
	return fopen(path, mode);
}

/* Adds to @set what has been reached in a module since it was loaded. */
static void add_reached(const char *module, unsigned long *set)
{
	FILE *f = parameter(module, "reached", "r");
	unsigned long word;
	size_t i;

	for (i = 0; f && i < MUTANTS_MAX / 64 && fscanf(f, "%lx", &word) == 1; i++)
		set[i] |= word;
	if (f)
		fclose(f);
}

static void load_all(const char *parameters, unsigned int mutant, struct outcome *o)
{
	FILE *modules;

	if (!unload(vendor) || !unload("kvm")) {
		if (!has_run)
			die("the modules cannot be unloaded");
		stuck();
	}
	read_log(&(struct outcome) {});
	modules = fopen("/host/modules", "w");
	if (!modules)
		die("/host/modules: %s", strerror(errno));
	load("kvm", kvm_parameters, "", mutant, modules, o);
	if (!o->complaint[0])
		load(vendor, vendor_parameters, parameters, mutant, modules, o);
	fclose(modules);
	add_reached("kvm", at_load);
	add_reached(vendor, at_load);
}

/* The modules are loaded, with these parameters. Choose a mutant that does not matter to loading. */
static bool choose(const char *parameters, unsigned int mutant)
{
	FILE *modules = fopen("/host/modules", "w"), *f;
	const char * const names[] = { "kvm", vendor };
	size_t i;

	for (i = 0; i < 2; i++) {
		fprintf(modules, "%s.ko %s %s mutant=%u\n", names[i], i ? vendor_parameters : kvm_parameters,
			i ? parameters : "", mutant);
		f = parameter(names[i], "mutant", "w");
		if (f)
			fprintf(f, "%u", mutant);
		if (!f || fclose(f)) {
			fclose(modules);
			return false;
		}
	}
	fclose(modules);
	return true;
}

/*
 * The modules are loaded anew for a mutant that is reached while they are loaded, and after one that has been noticed:
 * nobody knows what it has left behind.
 */
static void attempt(const char *parameters, const char *command, unsigned int mutant, double limit, struct outcome *o)
{
	static char loaded[256];
	static unsigned int last;
	bool anew = strcmp(loaded, parameters) ||
		    (mutant != last && (in_set(at_load, mutant) || in_set(at_load, last)));

	/* The caller ends a host that says nothing for long, and one verdict can take several runs. */
	printf("#\n");
	*o = (struct outcome) { .status = 0 };
	read_log(&(struct outcome) {});
	if (anew || tainted || !choose(parameters, mutant)) {
		load_all(parameters, mutant, o);
		snprintf(loaded, sizeof(loaded), "%s", parameters);
	}
	last = mutant;
	if (mutant)
		has_run = mutant;
	tainted = false;
	if (!o->complaint[0])
		run(command, limit, o);
	read_log(o);
}

/* What stands behind "after" leaves in /tmp what the command needs. */
static void prepare(struct usual *u)
{
	const char *first = strstr(u->command, " after ");
	struct outcome o;

	if (!first || u->prepared)
		return;
	first += strlen(" after ");
	tainted = true;
	attempt(u->parameters, first, 0, 1e9, &o);
	if (o.complaint[0] || o.status) {
		print_output();
		die("%s, without a mutant: %s", first, o.complaint[0] ? o.complaint : "it fails");
	}
	tainted = true;
	u->prepared = true;
}

/* How @o differs from what is usual, or NULL. */
static const char *differs(const struct outcome *o, const struct usual *u)
{
	static char text[256];

	if (o->complaint[0]) {
		snprintf(text, sizeof(text), "%s", o->complaint);
		return text;
	}
	if (o->status == -1)
		return "does not end";
	if (WIFSIGNALED(o->status)) {
		snprintf(text, sizeof(text), "signal %d", WTERMSIG(o->status));
		return text;
	}
	if (o->status) {
		snprintf(text, sizeof(text), "exit status %d", WEXITSTATUS(o->status));
		return text;
	}
	if (!u->unstable && o->facts != u->facts)
		return "other facts";
	if (!u->unstable && o->log != u->log)
		return "another message in the log";
	return NULL;
}

/* The command has just worked. */
static void has_worked(struct usual *u)
{
	size_t i;

	for (i = 0; i < u->ndoubtful; i++)
		printf("%u\tcertain\n", u->doubtful[i]);
	u->ndoubtful = 0;
	u->worked_after = nnoticed;
}

/* The command without a mutant, with modules that are loaded anew. */
static bool works(struct usual *u, struct outcome *o)
{
	tainted = true;
	attempt(u->parameters, u->command, 0, 1e9, o);
	if (o->complaint[0] || o->status)
		return false;
	has_worked(u);
	return true;
}

static void check_doubtful(struct usual *u)
{
	struct outcome o;

	if (u->ndoubtful && !works(u, &o))
		exit(0);
}

static void note_killed(unsigned int mutant, struct usual *u, const char *how)
{
	if (u->worked_after != nnoticed) {
		printf("%u\tdoubtful\n", mutant);
		u->doubtful[u->ndoubtful++] = mutant;
	}
	printf("%u\tkilled\t%s: %s\n", mutant, u->command, how);
	noticed[mutant / 64] |= 1UL << mutant % 64;
	nnoticed++;
	if (u->ndoubtful == sizeof(u->doubtful) / sizeof(u->doubtful[0]))
		check_doubtful(u);
}

/*
 * Facts and messages were noted in another boot. So before they decide, they are compared with those of this one, and
 * if these differ too, it must be twice in the same way.
 */
static bool check_usual(struct usual *u)
{
	struct outcome o;

	if (!works(u, &o))
		return false;
	if (!differs(&o, u))
		return true;
	u->facts = o.facts;
	u->log = o.log;
	if (!works(u, &o))
		return false;
	u->unstable = differs(&o, u);
	return true;
}

/* How the command notices the mutant, or NULL. */
static const char *notices(unsigned int mutant, struct usual *u)
{
	struct outcome o;
	const char *how;

	prepare(u);
	attempt(u->parameters, u->command, mutant, 2 + 2 * u->seconds, &o);
	how = differs(&o, u);
	if (how && !o.complaint[0] && !o.status) {
		if (check_usual(u))
			how = differs(&o, u);
		else
			spoiled = true;
	}
	tainted = how;
	return how;
}

static void print_reached(void)
{
	unsigned long set[MUTANTS_MAX / 64] = {};
	size_t n;

	add_reached("kvm", set);
	add_reached(vendor, set);
	for (n = 1; n < MUTANTS_MAX; n++)
		if (in_set(set, n))
			printf(" %zu", n);
}

static void write_to(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

/* Returns the words behind the options */
static char **read_options(char **argv, bool *reached)
{
	for (; *argv && !strncmp(*argv, "--", 2); argv++) {
		if (!strcmp(*argv, "--reached")) {
			*reached = true;
		} else if (!strcmp(*argv, "--limit") && argv[1]) {
			seconds_limit = strtod(*++argv, NULL);
		} else if (!strcmp(*argv, "--kvm") && argv[1]) {
			kvm_parameters = *++argv;
		} else if (!strcmp(*argv, "--vendor") && argv[1] && argv[2]) {
			vendor = *++argv;
			vendor_parameters = *++argv;
		} else {
			die("option %s", *argv);
		}
	}
	return argv;
}

static void tell_reached(struct usual *u)
{
	struct outcome o;

	prepare(u);
	if (!works(u, &o)) {
		print_output();
		die("%s, without a mutant: %s", u->command, o.complaint[0] ? o.complaint : "it fails");
	}
	printf("reached\t%.1f\t%016lx\t%016lx\t%s\t%s\t", o.seconds, o.facts, o.log, u->parameters, u->command);
	print_reached();
	printf("\n");
}

/* How many mutants of this file a command has noticed for its time. What was not tried yet counts much. */
static double score(const struct place *file, const struct usual *u)
{
	return (file->counts[u->index].noticed + 1.0) / (file->counts[u->index].tried + 1.0) / (u->seconds + 0.15);
}

/* What to try next; it is removed. */
static struct usual *next_line(struct mutant_lines *m)
{
	size_t i, best = 0;
	struct usual *u;

	for (i = 0; i < m->n; i++) {
		u = m->usuals[i];
		if (u == m->function->killer) {
			best = i;
			break;
		}
		if (score(m->file, u) > score(m->file, m->usuals[best]))
			best = i;
	}
	u = m->usuals[best];
	m->usuals[best] = m->usuals[--m->n];
	return u;
}

static void try_mutant(struct mutant_lines *m)
{
	double spent = 0;
	struct usual *u;
	const char *how;

	while (m->n && spent < seconds_limit) {
		u = next_line(m);
		spent += u->seconds;
		tried = m->mutant;
		printf("# %u %s\n", m->mutant, u->command);
		how = notices(m->mutant, u);
		m->file->counts[u->index].tried++;
		if (how) {
			m->file->counts[u->index].noticed++;
			m->function->killer = u;
			note_killed(m->mutant, u, how);
			break;
		}
		has_worked(u);
		printf("%u\tpassed\t%s\t%s\n", m->mutant, u->parameters, u->command);
		if (spoiled)
			break;
	}
	m->n = 0;
	/* The caller boots again for the rest. */
	if (spoiled)
		exit(0);
}

/* The fields of a line, from SECONDS on. */
static struct usual *usual_of(char **fields)
{
	struct usual *u;
	size_t i;

	for (i = 0; i < nusuals; i++)
		if (!strcmp(usuals[i]->parameters, fields[3]) && !strcmp(usuals[i]->command, fields[4]))
			return usuals[i];
	if (nusuals == LINES_MAX)
		die("too many commands");
	u = calloc(1, sizeof(*u));
	u->index = nusuals;
	u->seconds = strtod(fields[0], NULL);
	u->facts = strtoul(fields[1], NULL, 16);
	u->log = strtoul(fields[2], NULL, 16);
	u->parameters = strdup(fields[3]);
	u->command = strdup(fields[4]);
	usuals[nusuals++] = u;
	return u;
}

static struct place *place_of(const char *name)
{
	size_t i;

	for (i = 0; i < nplaces; i++)
		if (!strcmp(places[i]->name, name))
			return places[i];
	if (nplaces == sizeof(places) / sizeof(places[0]))
		die("too many functions");
	places[nplaces] = calloc(1, sizeof(struct place));
	places[nplaces]->name = strdup(name);
	return places[nplaces++];
}

/* A line of @mutant. */
static void add_line(struct mutant_lines *m, unsigned int mutant, struct usual *u, char **fields)
{
	m->mutant = mutant;
	m->function = place_of(fields[1]);
	fields[1][strcspn(fields[1], ":")] = '\0';
	m->file = place_of(fields[1]);
	if (!m->file->counts[u->index].known) {
		m->file->counts[u->index].known = true;
		m->file->counts[u->index].noticed = strtoul(fields[7], NULL, 10);
		m->file->counts[u->index].tried = strtoul(fields[8], NULL, 10);
	}
	m->usuals[m->n++] = u;
}

int main(int argc, char **argv)
{
	char line[1024], *p, *fields[9];
	static struct mutant_lines m;
	bool reached = false;
	unsigned int mutant;
	struct usual *u;
	FILE *list;
	int i;

	(void)argc;
	argv = read_options(argv + 1, &reached);
	list = *argv ? fopen(*argv, "r") : NULL;
	if (!list)
		die("no list");
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg < 0)
		die("/dev/kmsg: %s", strerror(errno));
	write_to("/proc/sys/kernel/panic_on_oops", "1");
	write_to("/proc/sys/kernel/softlockup_panic", "1");
	setlinebuf(stdout);

	while (fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		p = line;
		for (i = 0; i < 9; i++) {
			fields[i] = strsep(&p, "\t");
			if (!fields[i])
				die("not nine fields");
		}
		u = usual_of(fields + 2);
		if (reached) {
			tell_reached(u);
			continue;
		}
		mutant = strtoul(fields[0], NULL, 10);
		if (mutant >= MUTANTS_MAX)
			die("no mutant %u", mutant);
		if (in_set(noticed, mutant))
			continue;
		if (m.n && (m.mutant != mutant || m.n == LINES_MAX))
			try_mutant(&m);
		add_line(&m, mutant, u, fields);
	}
	if (m.n)
		try_mutant(&m);
	for (i = 0; i < (int)nusuals; i++)
		check_doubtful(usuals[i]);
	return 0;
}
