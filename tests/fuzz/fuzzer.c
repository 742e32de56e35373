// SPDX-License-Identifier: GPL-2.0
/*
 * fuzzer - sequences of operations on VMs and vCPUs, whose results can be compared between kernels
 *
 * Usage: fuzzer [--seed N] [--sequences LIST] [--steps LIST] [--verbose] FILE
 *
 * Writes a line for each sequence to FILE: its number, a hash of all that it noted, and its operations, which are
 * ioctls whose result is noted. --verbose: instead, a line for each step, with all notes. A LIST is one as 1,3-7;
 * without --steps, all of a sequence. On a KVM without ONE_REG, which is the distro's own, the fuzzer does what the ABI
 * says, by KVM_GET_MSRS and KVM_SET_MSRS. Exit status: 0; 1 if a VM saw what is another's.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fuzz.h"
#include "l1.h"

static FILE *file;
static unsigned long leaks, operations, sequences;
static uint64_t seed = 1;
static bool chosen[STEPS], verbose, emulate;
static struct area argp, addr;

unsigned int vm_of(const struct fuzz *f, const struct cpu *c)
{
	return c->machine == f->machines[1];
}

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

uint64_t fuzz_value(struct fuzz *f, const struct cpu *c)
{
	uint64_t value;

	switch (random_below(8)) {
	case 0:
		return TAGGED(vm_of(f, c)) | (uint32_t)random_next();
	case 1:
		return TAGGED(vm_of(f, c)) | ((uint32_t)random_next() & ~7u);
	case 2:
		return c->page + random_below(CPU_PAGES * PAGE);
	case 3:
		return c->page + (random_below(CPU_PAGES * PAGE) & ~7u);
	default:
		value = random_value();
	}
	return TAG_OF(value) == TAG(!vm_of(f, c)) ? 0 : value;
}

typedef void step(struct fuzz *f, struct cpu *c);

static const struct {
	step *step;
	const char *name;
	unsigned int weight;
} steps[] = {
	{ step_one_reg, "one_reg", 16 },
	{ step_reg_list, "reg_list", 2 },
	{ step_get_msrs, "get_msrs", 8 },
	{ step_set_msrs, "set_msrs", 12 },
	{ step_cet, "cet", 8 },
	{ step_cpuid, "cpuid", 2 },
	{ step_sregs, "sregs", 4 },
	{ step_regs, "regs", 2 },
	{ step_xsave, "xsave", 3 },
	{ step_xcrs, "xcrs", 1 },
	{ step_events, "events", 2 },
	{ step_mp_state, "mp_state", 1 },
	{ step_nested_state, "nested_state", 2 },
	{ step_filter, "filter", 1 },
	{ step_interrupts, "interrupts", 3 },
	{ step_debug, "debug", 1 },
	{ step_odd_ioctl, "odd_ioctl", 1 },
	{ step_threads, "threads", 1 },
	{ step_run, "run", 20 },
	{ step_continue, "continue", 6 },
	{ step_l1, "l1", 8 },
};

static unsigned int random_step(void)
{
	static unsigned int all;
	unsigned int i, at;

	if (!all)
		for (i = 0; i < ARRAY_SIZE(steps); i++)
			all += steps[i].weight;
	at = random_below(all);
	for (i = 0; at >= steps[i].weight; i++)
		at -= steps[i].weight;
	return i;
}

#define HLT 0xf4f4f4f4f4f4f4f4

/* Code that goes astray ends soon: what is 0 becomes HLT, in stacks and where nothing is. */
static void fill(struct machine *m)
{
	uint64_t *word = machine_at(m, 0), *end = machine_at(m, 0x1000);
	unsigned int i;

	for (; word < end; word++)
		*word = HLT;
	for (i = 0; i < m->ncpus; i++) {
		word = machine_at(m, m->cpus[i]->page + PAGE);
		end = machine_at(m, m->cpus[i]->page + CPU_PAGES * PAGE - 8);
		for (; word < end; word++)
			*word = *word ?: HLT;
	}
	end = machine_at(m, 0x200000 - 8);
	for (word = machine_at(m, m->free); word < end; word++)
		*word = HLT;
}

/*
 * Handlers are not the user's: with SMEP, #PF would lead to #PF for ever, in which QEMU's TCG does not let time pass,
 * and no interrupt of the host come.
 */
static void protect_handlers(struct machine *m)
{
	uint64_t page = (uintptr_t)g_exception_stubs & ~(PAGE - 1),
		 end = (uintptr_t)g_exception_stubs + 256 * 16 + PAGE;

	for (; page < end; page += PAGE)
		machine_map(m, page, page, PTE_NORMAL & ~PTE_U);
}

/* What can come inside a handler must not overwrite its frame, from which it would return for ever. */
static void separate_stacks(struct machine *m)
{
	static const unsigned int vectors[] = { VECTOR_DB, VECTOR_NMI };
	unsigned int i, j, ist;

	for (j = 0; j < ARRAY_SIZE(vectors); j++) {
		ist = 3 + j;
		machine_gate(m, vectors[j], (uintptr_t)g_exception_stubs + 16 * vectors[j], 3, ist);
		for (i = 0; i < m->ncpus; i++) {
			struct cpu *c = m->cpus[i];
			uint64_t *stack = machine_at(m, c->page + CPU_IST(ist));
			uint64_t *token = machine_at(m, c->page + CPU_SSP_TABLE + 8 * ist);

			*stack = machine_alloc(m, 1) + PAGE - 64;
			*token = machine_shadow_stack(m, machine_alloc(m, 1), false, true);
		}
	}
}

#define MSR_SMBASE	  0x9e
#define SMBASE		  0x100000ull
#define SMBASE_OF(number) (SMBASE + 0x10000 * (number))

/* SMM shows the same memory, and ends at once; on some vCPUs, when the VMM has heard of it. */
static void add_smm(struct machine *m)
{
	static const uint8_t handler[] = { 0xe6, PORT_CALL, 0x0f, 0xaa }; /* out %al, $PORT_CALL; rsm */
	unsigned int i, skip;

	machine_slot(m, 1, 0, m->ram, RAM_SIZE, 0);
	for (i = 0; i < m->ncpus; i++) {
		cpu_wrmsr(m->cpus[i], MSR_SMBASE, SMBASE_OF(i));
		skip = random_one_in(4) ? 0 : 2;
		memcpy(machine_at(m, SMBASE_OF(i) + 0x8000), handler + skip, sizeof(handler) - skip);
	}
}

static void create(struct fuzz *f)
{
	struct machine_config config = { .cpus = 2, .irqchip = random_one_in(3), .cpuid = fuzz_cpuid };
	unsigned int i;

	f->nested = random_one_in(3);
	if (f->nested) {
		f->machines[0] = l1_create();
	} else {
		f->irqchip = config.irqchip;
		f->machines[0] = machine_create(&config);
	}
	config = (struct machine_config) { .cpus = 1, .cpuid = fuzz_cpuid };
	f->machines[1] = machine_create(&config);
	for (i = 0; i < 2; i++) {
		f->code = machine_alloc(f->machines[i], 1);
		f->data = machine_alloc(f->machines[i], 2);
		separate_stacks(f->machines[i]);
		fill(f->machines[i]);
		add_smm(f->machines[i]);
		protect_handlers(f->machines[i]);
	}
	f->cpus[f->ncpus++] = f->machines[0]->cpus[0];
	/* The second vCPU of a hypervisor lends its stacks to L2. */
	if (!f->nested)
		f->cpus[f->ncpus++] = f->machines[0]->cpus[1];
	f->cpus[f->ncpus++] = f->machines[1]->cpus[0];
	/* A hypervisor has them already. */
	for (i = f->nested; i < f->ncpus; i++)
		fuzz_capabilities(f->cpus[i]);
}

static void destroy(struct fuzz *f)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		machine_destroy(f->machines[i]);
	for (i = 0; i < ARRAY_SIZE(f->xsaves); i++) {
		free(f->xsaves[i]);
		free(f->nested_states[i]);
	}
}

static void note_memory(struct fuzz *f)
{
	unsigned int i;

	for (i = 0; i < f->ncpus; i++)
		note_bytes(f, "memory", machine_at(f->cpus[i]->machine, f->cpus[i]->page), CPU_PAGES * PAGE);
}

static void steps_of(struct fuzz *f, unsigned long sequence)
{
	uint64_t own = random_mix(random_mix(seed + 1) + sequence);
	unsigned int s, cpu;

	random_seed(own);
	create(f);
	for (f->step = 0; f->step < STEPS && !f->ended; f->step++) {
		if (!chosen[f->step])
			continue;
		random_seed(own ^ random_mix(f->step + 1));
		cpu = random_below(f->ncpus);
		s = random_step();
		if (f->verbose)
			fprintf(file, "%lu.%u %s cpu=%u", sequence, f->step, steps[s].name, cpu);
		steps[s].step(f, f->cpus[cpu]);
		if (f->verbose)
			fprintf(file, "%s%s\n", f->ended ? " ended: " : "", f->ended ?: "");
	}
	if (f->verbose)
		fprintf(file, "%lu.end", sequence);
	if (!f->ended)
		note_memory(f);
	if (f->verbose)
		fputc('\n', file);
	else
		fprintf(file, "%lu %016llx %lu%s%s\n", sequence, (unsigned long long)f->hash, f->operations,
			f->ended ? " ended: " : "", f->ended ?: "");
	destroy(f);
}

static void run_sequence(unsigned long number)
{
	struct fuzz f = { .argp = argp, .addr = addr, .verbose = verbose, .emulate = emulate };

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

static void choose(unsigned long number)
{
	if (number >= STEPS)
		tap_bail("--steps: %lu: a sequence has %u steps", number, STEPS);
	chosen[number] = true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "sequences", required_argument, NULL, 'n' },
		{ "steps", required_argument, NULL, 'l' },
		{ "verbose", no_argument, NULL, 'v' },
		{},
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
		case 'v':
			verbose = true;
			break;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc)
		tap_bail("fuzzer [--seed N] [--sequences LIST] [--steps LIST] [--verbose] FILE");
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
	area_create(&argp);
	area_create(&addr);
	each_of("--sequences", which, run_sequence);
	if (fclose(file))
		tap_bail("cannot write %s", argv[optind]);
	tap_ok(!leaks, "no VM saw what is another's, in %lu operations of %lu sequences", operations, sequences);
	return tap_done();
}
