// SPDX-License-Identifier: GPL-2.0
/*
 * The CPU reads PL0_SSP in L2 as in L1, and VMX does not switch it: L2 has that of its vCPU, not of a VM that ran
 * before on that CPU, and vice versa. isolation-readers.c has all other ways to read; docs/isolation.md explains why.
 */
#include "nested-vmx.h"

/* Not a shadow stack, and an address that nobody else uses. */
#define SECRET 0xffffa5e763210000

#define CALL_READS 1 /* about to read */
#define CALL_LEFT  2 /* has left secrets */

static inline __attribute__((always_inline)) void leave_secrets(void)
{
	uint32_t msr;

	for (msr = MSR_PL0_SSP; msr <= MSR_PL3_SSP; msr++)
		g_wrmsr(msr, SECRET + ((msr - MSR_PL0_SSP) << 12));
}

static GUEST void leave(uint64_t unused)
{
	(void)unused;
	for (;;) {
		leave_secrets();
		g_call(CALL_LEFT, 0, 0, 0);
	}
}

/* Page 0 is not mapped, so with a PL0_SSP of 0 this is a page fault at 0. */
static GUEST void read_pl0(uint64_t unused)
{
	(void)unused;
	g_call(CALL_READS, 0, 0, 0);
	asm volatile("setssbsy" : : : "memory");
}

static GUEST uint64_t l2_leaves(uint64_t a, uint64_t b, uint64_t c)
{
	(void)a;
	(void)b;
	(void)c;
	leave_secrets();
	g_call(CALL_LEFT, 0, 0, 0);
	return 0;
}

static GUEST uint64_t l2_reads(uint64_t a, uint64_t b, uint64_t c)
{
	(void)a;
	(void)b;
	(void)c;
	g_call(CALL_READS, 0, 0, 0);
	asm volatile("setssbsy" : : : "memory");
	return 0;
}

/* It uses shadow stacks at CPL0, but has never had a PL0_SSP. */
static struct machine *reader(void)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	struct kvm_sregs sregs;

	cpu_wrmsr(c, MSR_S_CET, CET_SHSTK);
	cpu_wrmsr(c, MSR_INT_SSP_TAB, c->page + CPU_SSP_TABLE);
	cpu_start(c, read_pl0, 0);
	cpu_get_sregs(c, &sregs);
	sregs.cr4 |= CR4_CET;
	cpu_set_sregs(c, &sregs);
	check_stop(c, "call 1", "a VM with shadow stacks runs");
	return m;
}

/* The shadow-stack access of SETSSBSY faulted at @cr2. */
static void check_fault(struct cpu *c, uint64_t cr2, const char *name)
{
	const struct exception_frame *f = c->stop.frame;
	bool ok = c->stop.kind == STOP_EXCEPTION && f->vector == VECTOR_PF && f->error & PF_SHADOW_STACK &&
		  f->cr2 == cr2;

	tap_ok(ok, "%s", name);
	if (!ok)
		tap_diag("%s, CR2 0x%llx", stop_text(c),
			 c->stop.kind == STOP_EXCEPTION ? (unsigned long long)f->cr2 : 0);
}

/* L1 has CET and has not used it. */
static struct nested *nested_with(uint64_t (*function)(uint64_t, uint64_t, uint64_t))
{
	struct nested *n = nested_create(&(struct nested_config) { .features = 0 });

	nested_prepare(n, GUEST_SHSTK, function, 0, 0, 0);
	set_bits(n, GUEST_CR4, CR4_CET);
	return n;
}

void test_readers(void)
{
	struct machine *other = machine_create(NULL), *m;
	struct nested *n;

	cpu_start(other->cpus[0], leave, 0);
	check_stop(other->cpus[0], "call 2", "a VM writes PL0..3_SSP");

	n = nested_with(l2_reads);
	went(n, nested_enter(n), "call 1", "L2 runs");
	check_stop(other->cpus[0], "call 2", "the other VM again");
	nested_go(n);
	check_fault(n->c, 0, "SETSSBSY in L2 reads L2's own PL0_SSP, which is 0");
	nested_destroy(n);

	n = nested_with(l2_reads);
	went(n, nested_enter(n), "call 1", "L2 runs");
	cpu_wrmsr(n->c, MSR_PL0_SSP, SECRET);
	nested_go(n);
	check_fault(n->c, SECRET, "with another PL0_SSP, SETSSBSY faults there");
	nested_destroy(n);

	m = reader();
	n = nested_with(l2_leaves);
	went(n, nested_enter(n), "call 2", "L2 writes PL0..3_SSP");
	equals(cpu_rdmsr(n->c, MSR_PL0_SSP), SECRET, "the VMM sees it");
	cpu_run(m->cpus[0]);
	check_fault(m->cpus[0], 0, "after L2, SETSSBSY in another VM reads its own PL0_SSP, which is 0");
	nested_destroy(n);
	machine_destroy(m);

	m = reader();
	n = nested_with(l2_leaves);
	went(n, nested_enter(n), "call 2", "L2 writes PL0..3_SSP");
	nested_destroy(n);
	cpu_run(m->cpus[0]);
	check_fault(m->cpus[0], 0, "the same when the VM with L2 is gone");
	machine_destroy(m);
	machine_destroy(other);
}
