// SPDX-License-Identifier: GPL-2.0
/*
 * fuzzer - sequences of operations on VMs and vCPUs, whose results can be compared between kernels
 *
 * Usage: fuzzer [--seed N] [--sequences LIST] [--steps LIST] [--verbose | --at SEQUENCE.STEP[,...]] FILE
 *
 * Writes a line for each sequence to FILE: its number, a hash of all that it noted, its operations, which are ioctls
 * whose result is noted, and four digits of that hash after each step. --verbose: instead, a line for each step, with
 * all notes. --at: this line for these steps, too, the one after the last being STEPS; their sequences end there. A
 * LIST is one as 1,3-7; without --steps, all of a sequence. On a KVM without ONE_REG, which is the distro's own, the
 * fuzzer does what the ABI says, by KVM_GET_MSRS and KVM_SET_MSRS. Exit status: 0; 1 if a VM saw what is another's.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fuzz.h"

static FILE *file;
static unsigned long leaks, operations, sequences;
static uint64_t seed = 1;
static bool chosen[STEPS], verbose, emulate;
/* The steps of --at. */
static struct {
	unsigned long sequence;
	unsigned int step;
} told[4096];
static unsigned int ntold;
static struct area argp, addr;

static void mix(struct fuzz *f, uint64_t value)
{
	f->hash = random_mix(f->hash ^ value) + 0x9e3779b97f4a7c15ull;
}

void note(struct fuzz *f, const char *name, uint64_t value)
{
	mix(f, value);
	if (f->verbose)
		fprintf(file, " %s=%llx", name, (unsigned long long)value);
}

void note_bytes(struct fuzz *f, const char *name, const void *p, size_t size)
{
	uint64_t hash = 0, word;
	size_t i;

	for (i = 0; i + sizeof(word) <= size; i += sizeof(word)) {
		memcpy(&word, (const uint8_t *)p + i, sizeof(word));
		hash = (hash ^ word) * 0x2545f4914f6cdd1dull;
		hash ^= hash >> 29;
	}
	note(f, name, hash);
}

void note_code(struct fuzz *f, const uint8_t *code)
{
	size_t i, size = PAGE;

	note_bytes(f, "bytes", code, PAGE);
	if (!f->verbose)
		return;
	while (size && code[size - 1] == FUZZ_NO_CODE)
		size--;
	fprintf(file, " code=");
	for (i = 0; i < size; i++)
		fprintf(file, "%02x", code[i]);
}

int note_result(struct fuzz *f, const char *name, int ret)
{
	f->operations++;
	if (ret < 0 && errno == EIO)
		f->ended = "KVM gave the VM up";
	mix(f, ret < 0 ? -errno : ret);
	if (f->verbose)
		fprintf(file, ret < 0 ? " %s=%s" : " %s=%.0s%d", name, ret < 0 ? errno_name(errno) : "", ret);
	return ret;
}

void check_tag(struct fuzz *f, const struct cpu *c, const char *where, uint64_t value)
{
	if (TAG_OF(value) != TAG(!vm_of(f, c)))
		return;
	leaks++;
	fprintf(file, "%sleak: %s of a vCPU of VM %u is 0x%llx\n", f->verbose ? "\n" : "", where, vm_of(f, c),
		(unsigned long long)value);
}

static void note_memory(struct fuzz *f)
{
	const uint8_t *memory;
	unsigned int i;
	char name[32];
	size_t at;

	for (i = 0; i < f->ncpus; i++) {
		memory = machine_at(f->cpus[i]->machine, f->cpus[i]->page);
		note_bytes(f, "memory", memory, CPU_PAGES * PAGE);
		/* Where it differs, for whoever looks at one sequence. */
		for (at = 0; f->verbose && at < CPU_PAGES * PAGE; at += 32) {
			snprintf(name, sizeof(name), "%llx", (unsigned long long)f->cpus[i]->page + at);
			note_bytes(f, name, memory + at, 32);
		}
	}
}

/* The step of a sequence that --at names, or none. */
static unsigned int told_of(unsigned long sequence)
{
	unsigned int i;

	for (i = 0; i < ntold; i++)
		if (told[i].sequence == sequence)
			return told[i].step;
	return STEPS + 1;
}

#define DIGITS 4

static unsigned int digits_of(const struct fuzz *f)
{
	return f->hash & 0xffff;
}

static void steps_of(struct fuzz *f, unsigned long sequence)
{
	static char digits[DIGITS * STEPS + 1];
	uint64_t own = random_mix(random_mix(seed + 1) + sequence);
	const struct fuzz_step *s;
	unsigned int cpu, at = 0, last = told_of(sequence);

	digits[0] = 0;
	random_seed(own);
	fuzz_create(f);
	for (f->step = 0; f->step < STEPS && f->step <= last && !f->ended; f->step++) {
		if (!chosen[f->step])
			continue;
		random_seed(own ^ random_mix(f->step + 1));
		cpu = random_below(f->ncpus);
		s = fuzz_random_step();
		f->verbose = verbose || f->step == last;
		if (f->verbose)
			fprintf(file, "%lu.%u %s cpu=%u", sequence, f->step, s->name, cpu);
		s->step(f, f->cpus[cpu]);
		if (f->verbose)
			fprintf(file, "%s%s operations=%lu\n", f->ended ? " ended: " : "", f->ended ?: "",
				f->operations);
		at += sprintf(digits + at, "%04x", digits_of(f));
	}
	f->verbose = verbose || last == STEPS;
	if (f->verbose)
		fprintf(file, "%lu.%u end cpu=0", sequence, STEPS);
	if (!f->ended)
		note_memory(f);
	if (f->verbose)
		fprintf(file, " operations=%lu\n", f->operations);
	if (!verbose)
		fprintf(file, "%lu %016llx %lu %s%04x%s%s\n", sequence, (unsigned long long)f->hash, f->operations,
			digits, digits_of(f), f->ended ? " ended: " : "", f->ended ?: "");
	fuzz_destroy(f);
}

static void run_sequence(unsigned long number)
{
	struct fuzz f = { .argp = argp, .addr = addr, .emulate = emulate };

	/* If the host fails, this was where. It must have gone out before a guest runs, which has a limit of time. */
	printf("# sequence %lu\n", number);
	fflush(stdout);
	usleep(2000);
	steps_of(&f, number);
	operations += f.operations;
	sequences++;
}

typedef void each_number(unsigned long number);

/* Calls @each for the numbers of a list as 1,3-7. */
static void each_of(const char *option, const char *list, each_number *each)
{
	unsigned long a, b;
	const char *at = list;
	char *end;

	while (*at) {
		a = strtoul(at, &end, 10);
		b = *end == '-' ? strtoul(end + 1, &end, 10) : a;
		if (end == at || (*end && *end != ',') || b < a)
			tap_bail("%s: '%s' is not a list as 1,3-7", option, list);
		for (; a <= b; a++)
			each(a);
		at = *end ? end + 1 : end;
	}
}

/* SEQUENCE.STEP,... */
static void tell(const char *list)
{
	const char *at = list;
	char *end;

	while (*at) {
		if (ntold == ARRAY_SIZE(told))
			tap_bail("--at: not more than %u steps", ntold);
		told[ntold].sequence = strtoul(at, &end, 10);
		if (*end != '.')
			tap_bail("--at: '%s' is not a list as 3.152,7.28", list);
		told[ntold++].step = strtoul(end + 1, &end, 10);
		at = *end ? end + 1 : end;
	}
}

static void choose(unsigned long number)
{
	if (number >= STEPS)
		tap_bail("--steps: %lu: a sequence has %u steps", number, STEPS);
	chosen[number] = true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },  { "sequences", required_argument, NULL, 'n' },
		{ "steps", required_argument, NULL, 'l' }, { "verbose", no_argument, NULL, 'v' },
		{ "at", required_argument, NULL, 'a' },	   {},
	};
	const char *which = "0";
	bool all = true;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (o) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			which = optarg;
			break;
		case 'l':
			all = false;
			each_of("--steps", optarg, choose);
			break;
		case 'a':
			tell(optarg);
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc)
		tap_bail("fuzzer [--seed N] [--sequences LIST] [--steps LIST] [--verbose | --at LIST] FILE");
	if (all)
		memset(chosen, true, sizeof(chosen));
	file = fopen(argv[optind], "w");
	if (!file)
		tap_bail("cannot write %s", argv[optind]);
	/* What was noted before a crash is what a reader needs most. */
	if (verbose)
		setlinebuf(file);
	kvm_open("fuzzer");
	emulate = ioctl(kvm_dev, KVM_CHECK_EXTENSION, (unsigned long)CAP_ONE_REG) <= 0;
	machines_keep_memory = true;
	area_create(&argp);
	area_create(&addr);
	each_of("--sequences", which, run_sequence);
	if (fclose(file))
		tap_bail("cannot write %s", argv[optind]);
	tap_ok(!leaks, "no VM saw what is another's, in %lu operations of %lu sequences", operations, sequences);
	return tap_done();
}
