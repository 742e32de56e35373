// SPDX-License-Identifier: GPL-2.0
/* What the fuzzer and the program hostile make sequences of: VMs, the kinds of steps, and numbers for them. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "l1.h"

unsigned int vm_of(const struct fuzz *f, const struct cpu *c)
{
	return c->machine == f->machines[1];
}

/* The last vCPU is the only one of its VM. */
unsigned int index_of(const struct fuzz *f, const struct cpu *c)
{
	return vm_of(f, c) ? FUZZ_CPUS - 1 : c != f->cpus[0];
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

static const struct fuzz_step steps[] = {
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

const struct fuzz_step *fuzz_step_of(const struct fuzz_step steps[], unsigned int n)
{
	unsigned int i, at, all = 0;

	for (i = 0; i < n; i++)
		all += steps[i].weight;
	at = random_below(all);
	for (i = 0; at >= steps[i].weight; i++)
		at -= steps[i].weight;
	return &steps[i];
}

const struct fuzz_step *fuzz_random_step(void)
{
	return fuzz_step_of(steps, ARRAY_SIZE(steps));
}

#define HLT	 0xf4f4f4f4f4f4f4f4
#define HLT_BYTE 0xf4
#define INT3	 0xcc

/* Code that goes astray ends soon: what is 0 becomes HLT, in stacks and where nothing is. */
static void fill(struct machine *m)
{
	uint64_t *word, *end;
	unsigned int i;

	memset(machine_at(m, 0), HLT_BYTE, 0x10000);
	for (i = 0; i < m->ncpus; i++) {
		word = machine_at(m, m->cpus[i]->page + PAGE);
		end = machine_at(m, m->cpus[i]->page + CPU_PAGES * PAGE - 8);
		for (; word < end; word++)
			*word = *word ?: HLT;
	}
	memset(machine_at(m, m->free), HLT_BYTE, 0x200000 - 8 - m->free);
}

/*
 * Handlers are not user pages: with SMEP, #PF would lead to #PF endlessly. QEMU's TCG does not let time pass then, and
 * delivers no interrupt to the host.
 */
static void protect_handlers(struct machine *m)
{
	uint64_t page = (uintptr_t)g_exception_stubs & ~(PAGE - 1),
		 end = (uintptr_t)g_exception_stubs + 256 * 16 + PAGE;

	for (; page < end; page += PAGE)
		machine_map(m, page, page, PTE_NORMAL & ~PTE_U);
}

/* Exceptions inside a handler must not overwrite its frame, or it would return to itself endlessly. */
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

#define MSR_SMBASE 0x9e

void fuzz_smi_handler(const struct cpu *c, bool stops)
{
	static const uint8_t handler[] = { 0xe6, PORT_CALL, 0x0f, 0xaa }; /* out %al, $PORT_CALL; rsm */
	const unsigned int skip = stops ? 0 : 2;

	memcpy(machine_at(c->machine, FUZZ_SMBASE(c->number) + 0x8000), handler + skip, sizeof(handler) - skip);
}

/* SMM shows the same memory, and ends at once; on some vCPUs, when the VMM has heard of it. */
static void add_smm(struct machine *m)
{
	unsigned int i;

	machine_slot(m, 1, 0, m->ram, RAM_SIZE, 0);
	for (i = 0; i < m->ncpus; i++) {
		cpu_wrmsr(m->cpus[i], MSR_SMBASE, FUZZ_SMBASE(i));
		fuzz_smi_handler(m->cpus[i], random_one_in(4));
	}
}

/* What the vCPUs of the next VM lack: two bits for each, shadow stacks and IBT. */
static unsigned int hidden;

/* Once a vCPU has run, KVM does not let its CPUID change: who lacks something lacks it from the start. */
static void some_cpuid(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	fuzz_cpuid(cpuid, cpu);
	if (hidden >> 2 * cpu & 1)
		cpuid_hide_shstk(cpuid);
	if (hidden >> 2 * cpu & 2)
		cpuid_hide_ibt(cpuid);
}

static void hide_some(void)
{
	hidden = random_one_in(3) ? random_below(16) : 0;
}

void fuzz_create(struct fuzz *f)
{
	struct machine_config config = { .cpus = 2, .irqchip = random_one_in(3) || f->messages, .cpuid = some_cpuid };
	unsigned int i;

	/* Who sends messages is after hypervisors. */
	f->nested = random_one_in(3) || (f->messages && random_below(2));
	if (f->nested) {
		f->irqchip = f->messages;
		f->machines[0] = l1_create(f->messages);
	} else {
		f->irqchip = config.irqchip;
		hide_some();
		f->machines[0] = machine_create(&config);
	}
	config = (struct machine_config) { .cpus = 1, .cpuid = some_cpuid };
	hide_some();
	f->machines[1] = machine_create(&config);
	for (i = 0; i < 2; i++) {
		f->code = machine_alloc(f->machines[i], 1);
		f->data = machine_alloc(f->machines[i], 2);
		memset(machine_at(f->machines[i], f->code), INT3, PAGE);
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

void fuzz_destroy(struct fuzz *f)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		machine_destroy(f->machines[i]);
	for (i = 0; i < ARRAY_SIZE(f->xsaves); i++) {
		free(f->xsaves[i]);
		free(f->nested_states[i]);
	}
}
