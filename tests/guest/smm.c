// SPDX-License-Identifier: GPL-2.0
/*
 * smm: an SMI comes while the guest is deep in calls on shadow stacks. SSP goes through SMRAM at offset 0xff18,
 * CR4.CET is 0 in SMM, S_CET and the others stay. If the handler changes SMRAM, that has an effect. Migration inside
 * SMM works.
 */
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "smram.h"
#include "snap.h"

/* In the last level, in SMM. */
static struct cpu *start_in_smm(struct machine **m, unsigned int cpl, uint64_t *base)
{
	struct cpu *c = chain_start_deep(m, cpl, RETURN, base);

	smram_create(c);
	smram_smi(c);
	return c;
}

static void state_in_smm(unsigned int cpl)
{
	uint64_t base, values[CET_MSRS_XSS];
	struct kvm_sregs sregs;
	struct machine *m;
	struct cpu *c = chain_start_deep(&m, cpl, RETURN, &base);
	unsigned int i;

	for (i = 0; i < CET_MSRS_XSS; i++)
		values[i] = cpu_rdmsr(c, cet_msrs[i]);
	machine_destroy(m);

	c = start_in_smm(&m, cpl, &base);
	cpu_get_sregs(c, &sregs);
	tap_ok(!(sregs.cr4 & CR4_CET), "SMI at CPL%u: CR4.CET is 0 in SMM", cpl);
	tap_ok(smram_get(SMRAM_SSP) == base - 8 * DEPTH, "SMI at CPL%u: SMRAM has SSP", cpl);
	for (i = 0; i < CET_MSRS_XSS; i++)
		tap_ok(cpu_rdmsr(c, cet_msrs[i]) == values[i], "SMI at CPL%u: MSR 0x%x stays", cpl, cet_msrs[i]);
	tap_ok(chain_unwinds(c, DEPTH, base, cpl), "SMI at CPL%u: RSM; unwinds", cpl);
	machine_destroy(m);
}

static void falsified_ssp(unsigned int cpl)
{
	static const struct {
		const char *name;
		uint64_t mask, add;
		const char *want[2]; /* at CPL0, CPL3 */
	} tests[] = {
		{ "+ 8", ~0ull, 8, { "#CP(1)", "#CP(1)" } },
		{ "0", 0, 0, { "#PF(0x40)", "#PF(0x44)" } },
		{ "+ 1", ~0ull, 1, { "shutdown", "shutdown" } },
		{ "+ 2", ~0ull, 2, { "shutdown", "shutdown" } },
		{ "not canonical", ~0ull, 1ull << 62, { "shutdown", "shutdown" } },
	};
	uint64_t base, ssp;
	struct machine *m;
	struct cpu *c;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		const char *want = tests[i].want[!!cpl];
		bool ok;

		c = start_in_smm(&m, cpl, &base);
		ssp = (smram_get(SMRAM_SSP) & tests[i].mask) + tests[i].add;
		smram_put(SMRAM_SSP, ssp);
		chain_run(c);
		ok = !strcmp(stop_text(c), want);
		tap_ok(ok, "SMI at CPL%u, SSP in SMRAM falsified: %s: %s", cpl, tests[i].name, want);
		if (!ok)
			tap_diag("got: %s", stop_text(c));
		machine_destroy(m);
	}
}

/* A new machine while in SMM, with the same SMRAM. */
static void migrated_in_smm(unsigned int cpl)
{
	uint64_t base;
	struct machine *m;
	struct snapshot *s = snapshot_take(start_in_smm(&m, cpl, &base));

	machine_destroy(m);
	tap_ok(s->events.smi.smm && s->events.flags & KVM_VCPUEVENT_VALID_SMM, "SMM at CPL%u: saved in SMM", cpl);
	m = snapshot_restore(s, 0);
	smram_attach(m->cpus[0]);
	tap_ok(chain_unwinds(m->cpus[0], DEPTH, base, cpl), "SMM at CPL%u: migrated in SMM; RSM; unwinds", cpl);
	machine_destroy(m);
	free(s);
}

static void hide_shstk(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	(void)cpu;
	cpuid_hide_shstk(cpuid);
}

/* Without shadow stacks in the guest's CPUID, SMRAM has no SSP, and RSM takes none. */
static void no_shadow_stack(void)
{
	const struct machine_config config = { .cpuid = hide_shstk };
	const char *name = kvm_has_ibt() ? "IBT only" : "no CET";
	struct machine *m = machine_create(&config);
	struct cpu *c = m->cpus[0];

	smram_create(c);
	if (kvm_has_ibt())
		cpu_cet(c, GUEST_IBT | GUEST_USER_IBT);
	cpu_start(c, chain_main_cpl0, START_VALUE);
	cpu_run(c);
	smram_smi(c);
	tap_ok(!smram_get(SMRAM_SSP), "%s: SMRAM has no SSP", name);
	smram_put(SMRAM_SSP, 1);
	check_stop(c, "call 1", "%s: RSM, the guest goes on", name);
	tap_ok(c->stop.a == 1 && !c->stop.b, "%s: in the next level", name);
	machine_destroy(m);
}

int main(void)
{
	unsigned int cpl;

	vmm_open("smm");
	for (cpl = 0; cpl <= 3; cpl += 3) {
		state_in_smm(cpl);
		falsified_ssp(cpl);
		migrated_in_smm(cpl);
	}
	no_shadow_stack();
	return tap_done();
}
