// SPDX-License-Identifier: GPL-2.0
/*
 * CR4.CET needs CR0.WP, whoever executes the MOV: the CPU, KVM after an exit, or KVM's emulator. The last needs
 * kvm.force_emulation_prefix=1.
 */
#include "vmm.h"

static uint64_t g_emulated_cr0(uint64_t v)
{
	G_TRY_VARS(fault, error);

	asm volatile(G_TRY(G_FORCED "mov %2, %%cr0") : G_TRY_OUT(fault, error) : "r"(v) : "memory");
	return fault;
}

static uint64_t g_emulated_cr4(uint64_t v)
{
	G_TRY_VARS(fault, error);

	asm volatile(G_TRY(G_FORCED "mov %2, %%cr4") : G_TRY_OUT(fault, error) : "r"(v) : "memory");
	return fault;
}

/* One write: its result, and both registers after it. */
struct written {
	uint64_t fault, wp, cet;
};

static struct written w[16];

static void after(unsigned int n, uint64_t fault)
{
	w[n] = (struct written) { fault, g_cr0() & CR0_WP, g_cr4() & CR4_CET };
}

static GUEST uint64_t write_them(uint64_t emulated)
{
	uint64_t (*set_cr0)(uint64_t v) = emulated ? g_emulated_cr0 : g_set_cr0;
	uint64_t (*set_cr4)(uint64_t v) = emulated ? g_emulated_cr4 : g_set_cr4;
	uint64_t cr0 = g_cr0(), cr4 = g_cr4();

	after(0, set_cr4(cr4 | CR4_CET));
	after(8, set_cr0(cr0 ^ CR0_MP));
	after(1, set_cr0(cr0 & ~(uint64_t)CR0_WP));
	after(2, set_cr4(cr4));
	after(3, set_cr0(cr0 & ~(uint64_t)CR0_WP));
	after(4, set_cr4(cr4 | CR4_CET));
	after(7, set_cr4(cr4 ^ CR4_MCE));
	after(5, set_cr0(cr0));
	after(6, set_cr4(cr4 | CR4_CET));
	return 0;
}

static void check(struct machine *m, const char *who, unsigned int n, bool fault, bool wp, bool cet, const char *what)
{
	const struct written *g = in_guest(m, &w[n]);

	tap_ok(g->fault == (fault ? FAULT(VECTOR_GP) : 0) && !!g->wp == wp && !!g->cet == cet, "%s: %s", who, what);
}

static void hide_cet(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	(void)cpu;
	cpuid_hide_shstk(cpuid);
	cpuid_hide_ibt(cpuid);
}

static void test(const char *who, bool emulated, bool cet)
{
	struct machine *m = machine_create(&(struct machine_config) { .cpuid = cet ? NULL : hide_cet });
	struct cpu *c = m->cpus[0];

	cpu_start(c, write_them, emulated);
	check_stop(c, "call 65536", who);
	if (cet) {
		check(m, who, 0, false, true, true, "CR4.CET can be set while CR0.WP is set");
		check(m, who, 8, false, true, true, "CR0.MP can be changed while CR4.CET is set");
		check(m, who, 1, true, true, true, "CR0.WP cannot be cleared while CR4.CET is set");
		check(m, who, 2, false, true, false, "CR4.CET can be cleared");
		check(m, who, 3, false, false, false, "then CR0.WP can be cleared");
		check(m, who, 4, true, false, false, "CR4.CET cannot be set while CR0.WP is clear");
		check(m, who, 7, false, false, false, "CR4.MCE can be changed while CR0.WP is clear");
		check(m, who, 5, false, true, false, "CR0.WP can be set");
		check(m, who, 6, false, true, true, "then CR4.CET can be set");
	} else {
		check(m, who, 0, true, true, false, "CR4.CET cannot be set");
		check(m, who, 1, false, false, false, "CR0.WP can be cleared");
		check(m, who, 4, true, false, false, "CR4.CET cannot be set while CR0.WP is clear");
		check(m, who, 7, false, false, false, "CR4.MCE can be changed while CR0.WP is clear");
	}
	machine_destroy(m);
}

int main(void)
{
	vmm_open("controls");
	check_forced_emulation();
	test("MOV", false, true);
	test("emulated MOV", true, true);
	test("no CET in CPUID, MOV", false, false);
	test("no CET in CPUID, emulated MOV", true, false);
	return tap_done();
}
