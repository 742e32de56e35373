// SPDX-License-Identifier: GPL-2.0
/*
 * snapshot: a guest on live shadow stacks and IBT, at CPL0 and CPL3, is saved and restored into a new VM at every depth
 * of a call chain, in many orders of the ioctls. Then with each register left out or falsified: what the guest meets is
 * exact.
 *
 *	snapshot --save FILE	also leaves a snapshot, deep in calls, for another kernel, as FILE.0 and FILE.3
 *	snapshot --only-save FILE	leaves that, and does nothing else
 *	snapshot --load FILE	continues with such a snapshot instead: with its SSP, without it, and with a stale one
 *	snapshot --print FILE	prints the CET state in it, without KVM
 *	snapshot --refused FILE	for a KVM that does not offer CET: it refuses such a snapshot with an error
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "snap.h"

/* A new VM at each stop: on the way down, and back. */
static void migrate_everywhere(unsigned int cpl)
{
	uint64_t base = 0;
	struct machine *m;
	struct cpu *c = chain_start(&m, cpl, RETURN);
	int level;

	for (level = 0; level <= DEPTH; level++) {
		tap_ok(chain_is_at(c, CALL_DOWN, level, &base, cpl), "CPL%u: migrated at each level: calls level %d",
		       cpl, level);
		c = migrate(&m);
	}
	for (level = DEPTH; level >= 0; level--) {
		tap_ok(chain_is_at(c, CALL_UP, level, &base, cpl),
		       "CPL%u: migrated at each level: back in level %d, SSP 8 higher", cpl, level);
		c = migrate(&m);
	}
	if (check_stop(c, "call 65536", "CPL%u: migrated at each level: returns", cpl))
		tap_ok(c->stop.a == START_VALUE + DEPTH + 1, "CPL%u: migrated at each level: the result is right", cpl);
	machine_destroy(m);
}

/* One snapshot for each depth, each continued to the end. */
static void restore_from_each_depth(unsigned int cpl)
{
	struct snapshot *s[DEPTH + 1];
	uint64_t base = 0;
	struct machine *m;
	struct cpu *c = chain_start(&m, cpl, RETURN);
	unsigned int depth, level;
	bool ok;

	for (depth = 0; depth <= DEPTH; depth++) {
		if (!chain_is_at(c, CALL_DOWN, depth, &base, cpl))
			tap_bail("the guest does not reach level %u: %s", depth, stop_text(c));
		s[depth] = snapshot_take(c);
	}
	machine_destroy(m);
	for (depth = 0; depth <= DEPTH; depth++) {
		m = snapshot_restore(s[depth], 0);
		c = m->cpus[0];
		for (ok = true, level = depth + 1; ok && level <= DEPTH; level++)
			ok = chain_is_at(c, CALL_DOWN, level, &base, cpl);
		tap_ok(ok && chain_unwinds(c, DEPTH, base, cpl), "CPL%u: a snapshot at depth %u goes down, and unwinds",
		       cpl, depth);
		machine_destroy(m);
		free(s[depth]);
	}
}

/* ---- the order of the ioctls ---- */

static unsigned int random_number(void)
{
	static uint32_t seed = 12345;

	seed = seed * 1103515245 + 12345;
	return seed >> 16;
}

static void swap(enum part *a, enum part *b)
{
	enum part t = *a;

	*a = *b;
	*b = t;
}

/* The usual one, the reverse, each part first, each part last, and others. */
static void make_order(enum part order[PARTS], unsigned int number)
{
	unsigned int i;

	for (i = 0; i < PARTS; i++)
		order[i] = i;
	if (number == 1) {
		for (i = 0; i < PARTS / 2; i++)
			swap(&order[i], &order[PARTS - 1 - i]);
	} else if (number >= 2 && number < 1 + PARTS) {
		for (i = number - 1; i; i--)
			swap(&order[i], &order[i - 1]);
	} else if (number >= 1 + PARTS && number < 2 * PARTS) {
		for (i = number - 1 - PARTS; i < PARTS - 1; i++)
			swap(&order[i], &order[i + 1]);
	} else if (number) {
		for (i = PARTS - 1; i; i--)
			swap(&order[i], &order[random_number() % (i + 1)]);
	}
}

#define ORDERS (2 * PARTS + 6)

static void restore_in_each_order(unsigned int cpl)
{
	uint64_t base = 0;
	struct machine *m;
	struct snapshot *s = snapshot_take(chain_start_deep(&m, cpl, RETURN, &base)), *again;
	enum part order[PARTS];
	const char *difference;
	unsigned int n, i;

	machine_destroy(m);
	for (n = 0; n < ORDERS; n++) {
		char text[100] = "";

		make_order(order, n);
		for (i = 0; i < PARTS; i++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s", part_name(order[i]));
		m = snapshot_restore_order(s, order);
		again = snapshot_take(m->cpus[0]);
		difference = snapshot_difference(s, again);
		if (difference)
			tap_diag("%s", difference);
		tap_ok(!difference && chain_unwinds(m->cpus[0], DEPTH, base, cpl), "CPL%u: order%s", cpl, text);
		free(again);
		machine_destroy(m);
	}
	free(s);
}

/* ---- each register is necessary ---- */

typedef void change_fn(struct snapshot *s, uint64_t x);

static void add_to_ssp(struct snapshot *s, uint64_t x)
{
	*snapshot_ssp(s) += x;
}

static void set_ssp(struct snapshot *s, uint64_t x)
{
	*snapshot_ssp(s) = x;
}

static void ssp_on_stack(struct snapshot *s, uint64_t x)
{
	*snapshot_ssp(s) = (s->regs.rsp & ~7ull) + x;
}

static void ssp_on_page(struct snapshot *s, uint64_t page)
{
	*snapshot_ssp(s) = s->page + page * PAGE + 8;
}

static void drop(struct snapshot *s, uint64_t msr)
{
	snapshot_drop_msr(s, msr);
}

/* The index of an MSR in the lower half, and something else in the upper. */
#define MSR_AND(msr, value) ((msr) | (uint64_t)(value) << 32)

static void add_to(struct snapshot *s, uint64_t x)
{
	*snapshot_msr(s, (uint32_t)x) += (int32_t)(x >> 32);
}

static void clear_in(struct snapshot *s, uint64_t x)
{
	*snapshot_msr(s, (uint32_t)x) &= ~(x >> 32);
}

static void clear_cr4_cet(struct snapshot *s, uint64_t x)
{
	s->sregs.cr4 &= ~x;
}

/* The token of the shadow stack where an MSR points to. */
static void make_busy(struct snapshot *s, uint64_t msr)
{
	s->ram[*snapshot_msr(s, msr)] |= 1;
}

static void make_ist1_busy(struct snapshot *s, uint64_t msr)
{
	uint64_t token;

	memcpy(&token, &s->ram[*snapshot_msr(s, msr) + 8], sizeof(token));
	s->ram[token] |= 1;
}

/* clang-format off */
static const struct falsified {
	enum action action;
	const char *name;		/* NULL: nothing is falsified */
	change_fn *change;
	uint64_t x;
	unsigned int without;		/* parts */
	/* At CPL0 and at CPL3: NULL if it has no meaning there, UNWINDS, else the text of the stop. */
	const char *want[2];
#define UNWINDS	""
#define BY_IBT	"#CP(3)"
} falsified[] = {
	{ RETURN, NULL, NULL, 0, 0, { UNWINDS, UNWINDS } },
	{ CORRUPT_RETURN, NULL, NULL, 0, 0, { "#CP(1)", "#CP(1)" } },
	{ BAD_JUMP, NULL, NULL, 0, 0, { BY_IBT, BY_IBT } },
	{ BREAKPOINT, NULL, NULL, 0, 0, { "#BP", "#BP" } },
	{ RING1, NULL, NULL, 0, 0, { NULL, "call 4" } },
	{ RING2, NULL, NULL, 0, 0, { NULL, "call 4" } },

	{ RETURN, "SSP + 8", add_to_ssp, 8, 0, { "#CP(1)", "#CP(1)" } },
	{ RETURN, "SSP - 8", add_to_ssp, -8ull, 0, { "#CP(1)", "#CP(1)" } },
	{ RETURN, "SSP of five levels higher", add_to_ssp, 5 * 8, 0, { "#CP(1)", "#CP(1)" } },
	{ RETURN, "SSP 0", set_ssp, 0, 0, { "#PF(0x40)", "#PF(0x44)" } },
	{ RETURN, "no SSP", NULL, 0, 1 << PART_ONE_REG, { "#PF(0x40)", "#PF(0x44)" } },
	{ RETURN, "SSP on the ordinary stack", ssp_on_stack, 0, 0, { "#PF(0x41)", "#PF(0x45)" } },
	{ RETURN, "SSP on a shadow stack of the other CPL, user", ssp_on_page, CPU_SS_USER_PAGE, 0,
		{ "#PF(0x41)", NULL } },
	{ RETURN, "SSP on a shadow stack of the other CPL, supervisor", ssp_on_page, CPU_SS_PAGE, 0,
		{ NULL, "#PF(0x45)" } },

	{ CORRUPT_RETURN, "no S_CET", drop, MSR_S_CET, 0, { "call 66", "#CP(1)" } },
	{ BAD_JUMP, "no S_CET", drop, MSR_S_CET, 0, { "call 66", "#CP(3)" } },
	{ CORRUPT_RETURN, "S_CET without SH_STK_EN", clear_in, MSR_AND(MSR_S_CET, CET_SHSTK), 0,
		{ "call 66", "#CP(1)" } },
	{ BAD_JUMP, "S_CET without SH_STK_EN", clear_in, MSR_AND(MSR_S_CET, CET_SHSTK), 0, { "#CP(3)", "#CP(3)" } },
	{ CORRUPT_RETURN, "S_CET without ENDBR_EN", clear_in, MSR_AND(MSR_S_CET, CET_ENDBR), 0,
		{ "#CP(1)", "#CP(1)" } },
	{ BAD_JUMP, "S_CET without ENDBR_EN", clear_in, MSR_AND(MSR_S_CET, CET_ENDBR), 0, { "call 66", "#CP(3)" } },
	/* CLRSSBSY in the kernel, where the user's call chain ends. */
	{ RETURN, "no S_CET", drop, MSR_S_CET, 0, { NULL, "#UD" } },

	{ CORRUPT_RETURN, "no U_CET", drop, MSR_U_CET, 0, { "#CP(1)", "call 66" } },
	{ BAD_JUMP, "no U_CET", drop, MSR_U_CET, 0, { "#CP(3)", "call 66" } },
	{ CORRUPT_RETURN, "U_CET without SH_STK_EN", clear_in, MSR_AND(MSR_U_CET, CET_SHSTK), 0,
		{ "#CP(1)", "call 66" } },
	{ BAD_JUMP, "U_CET without SH_STK_EN", clear_in, MSR_AND(MSR_U_CET, CET_SHSTK), 0, { "#CP(3)", "#CP(3)" } },
	{ CORRUPT_RETURN, "U_CET without ENDBR_EN", clear_in, MSR_AND(MSR_U_CET, CET_ENDBR), 0,
		{ "#CP(1)", "#CP(1)" } },
	{ BAD_JUMP, "U_CET without ENDBR_EN", clear_in, MSR_AND(MSR_U_CET, CET_ENDBR), 0, { "#CP(3)", "call 66" } },

	{ CORRUPT_RETURN, "CR4 without CET", clear_cr4_cet, CR4_CET, 0, { "call 66", "call 66" } },
	{ BAD_JUMP, "CR4 without CET", clear_cr4_cet, CR4_CET, 0, { "call 66", "call 66" } },

	{ RETURN, "no PL0_SSP", drop, MSR_PL0_SSP, 0, { NULL, "#PF(0x40)" } },
	{ RETURN, "PL0_SSP + 8", add_to, MSR_AND(MSR_PL0_SSP, 8), 0, { NULL, "#GP" } },
	{ RETURN, "the token at PL0_SSP busy", make_busy, MSR_PL0_SSP, 0, { NULL, "#GP" } },
	{ RING1, "no PL1_SSP", drop, MSR_PL1_SSP, 0, { NULL, "#PF(0x40)" } },
	{ RING1, "PL1_SSP + 8", add_to, MSR_AND(MSR_PL1_SSP, 8), 0, { NULL, "#GP" } },
	{ RING2, "no PL2_SSP", drop, MSR_PL2_SSP, 0, { NULL, "#PF(0x40)" } },
	{ RING2, "PL2_SSP + 8", add_to, MSR_AND(MSR_PL2_SSP, 8), 0, { NULL, "#GP" } },

	/* Without it, no handler has a shadow stack, that of #DF neither. One entry lower, only #DF has one. */
	{ BREAKPOINT, "no INT_SSP_TAB", drop, MSR_INT_SSP_TAB, 0, { "shutdown", "shutdown" } },
	{ BREAKPOINT, "INT_SSP_TAB - 8", add_to, MSR_AND(MSR_INT_SSP_TAB, -8), 0, { "#DF", "#DF" } },
	{ BREAKPOINT, "the token of INT_SSP_TAB[1] busy", make_ist1_busy, MSR_INT_SSP_TAB, 0, { "#DF", "#DF" } },
};

/* clang-format on */

static void check_restored(const struct snapshot *s, const struct falsified *f, unsigned int cpl, uint64_t base,
			   const char *prefix)
{
	const char *want = !strcmp(f->want[!!cpl], BY_IBT) ? stop_by_ibt(BY_IBT) : f->want[!!cpl];
	struct snapshot *copy = snapshot_copy(s);
	struct machine *m;
	struct cpu *c;
	bool ok;

	memcpy(&copy->ram[(uintptr_t)&chain_action], &(uint64_t) { f->action }, sizeof(chain_action));
	if (f->change)
		f->change(copy, f->x);
	m = snapshot_restore(copy, f->without);
	c = m->cpus[0];
	if (!strcmp(want, UNWINDS)) {
		ok = chain_unwinds(c, DEPTH, base, cpl);
	} else {
		chain_run(c);
		ok = !strcmp(stop_text(c), want);
	}
	tap_ok(ok, "%sCPL%u, %s%s; %s: %s", prefix, cpl, f->name ? "falsified: " : "as it was", f->name ? f->name : "",
	       action_names[f->action], *want ? want : "unwinds");
	if (!ok)
		tap_diag("got: %s", stop_text(c));
	machine_destroy(m);
	free(copy);
}

/* Whether it shows that a bit of IBT is necessary. */
static bool is_of_ibt(const struct falsified *f)
{
	return f->name && (f->action == BAD_JUMP || strstr(f->name, "ENDBR_EN"));
}

/* A snapshot deep in calls, also in a file. */
static struct snapshot *saved_deep(unsigned int cpl, const char *save)
{
	uint64_t base = 0;
	struct machine *m;
	struct snapshot *s = snapshot_take(chain_start_deep(&m, cpl, RETURN, &base));

	machine_destroy(m);
	if (save)
		tap_ok(snapshot_save_cpl(s, save, cpl), "CPL%u: a snapshot in a file", cpl);
	return s;
}

static void registers_are_necessary(unsigned int cpl, const char *save)
{
	struct snapshot *s = saved_deep(cpl, save);
	const uint64_t base = *snapshot_ssp(s) + 8 * DEPTH;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(falsified); i++) {
		if (!falsified[i].want[!!cpl])
			continue;
		if (kvm_has_ibt() || !is_of_ibt(&falsified[i]))
			check_restored(s, &falsified[i], cpl, base, "");
		else
			tap_skip("KVM offers no IBT", "CPL%u, falsified: %s; %s", cpl, falsified[i].name,
				 action_names[falsified[i].action]);
	}
	free(s);
}

/* Saved in the kernel, while CPL3 waits: PL3_SSP is where its shadow stack continues. */
static void pl3_ssp_is_necessary(void)
{
	static const struct {
		const char *name;
		change_fn *change;
		uint64_t x;
		const char *want;
	} tests[] = {
		{ NULL, NULL, 0, UNWINDS },
		{ "no PL3_SSP", drop, MSR_PL3_SSP, "#PF(0x44)" },
		{ "PL3_SSP + 8", add_to, MSR_AND(MSR_PL3_SSP, 8), "#CP(1)" },
		{ "PL3_SSP - 8", add_to, MSR_AND(MSR_PL3_SSP, -8), "#CP(1)" },
	};
	uint64_t base = 0;
	struct machine *m;
	struct cpu *c = chain_start_deep(&m, 3, BREAKPOINT, &base);
	struct snapshot *s;
	unsigned int i;

	if (!check_stop(c, "#BP", "CPL3 waits while the kernel has an exception"))
		tap_bail("no #BP");
	tap_ok(cpu_rdmsr(c, MSR_PL3_SSP) == base - 8 * DEPTH, "PL3_SSP is the SSP of CPL3 meanwhile");
	tap_ok(cpu_ssp(c) == cpu_shadow_stack(c, CPU_SS_IST1_PAGE), "SSP is that of INT_SSP_TAB");
	s = snapshot_take(c);
	machine_destroy(m);
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		struct snapshot *copy = snapshot_copy(s);
		bool ok;

		if (tests[i].change)
			tests[i].change(copy, tests[i].x);
		m = snapshot_restore(copy, 0);
		c = m->cpus[0];
		if (*tests[i].want) {
			do {
				cpu_run(c);
			} while (cpu_called(c, CALL_UP));
			ok = !strcmp(stop_text(c), tests[i].want);
		} else {
			ok = chain_unwinds(c, DEPTH, base, 3);
		}
		tap_ok(ok, "in the kernel, CPL3 waits, %s%s: %s", tests[i].name ? "falsified: " : "as it was",
		       tests[i].name ? tests[i].name : "", *tests[i].want ? tests[i].want : "unwinds");
		if (!ok)
			tap_diag("got: %s", stop_text(c));
		machine_destroy(m);
		free(copy);
	}
	free(s);
}

/* XSS decides what XSAVES saves. */
static void xss_is_necessary(void)
{
	uint64_t base = 0;
	struct machine *m;
	struct cpu *c = chain_start_deep(&m, 0, XSAVES, &base);
	struct snapshot *s = snapshot_take(c);
	struct cet_image *i;

	machine_destroy(m);
	m = snapshot_restore(s, 0);
	c = m->cpus[0];
	check_stop(c, "call 3", "XSAVES after a restore");
	i = in_guest(m, &chain_image);
	tap_ok(i->xcomp_bv == (1ull << 63 | XSS_CET_U | XSS_CET_S) && i->xstate_bv == (XSS_CET_U | XSS_CET_S),
	       "XSS: XSAVES saves components 11 and 12");
	tap_ok(i->u_cet == cpu_rdmsr(c, MSR_U_CET) && i->pl3_ssp == cpu_rdmsr(c, MSR_PL3_SSP) &&
		       i->pl0_ssp == cpu_rdmsr(c, MSR_PL0_SSP) && i->pl1_ssp == cpu_rdmsr(c, MSR_PL1_SSP) &&
		       i->pl2_ssp == cpu_rdmsr(c, MSR_PL2_SSP) && i->u_cet && i->pl3_ssp && i->pl0_ssp && i->pl1_ssp &&
		       i->pl2_ssp,
	       "XSS: the image is what the MSRs are");
	machine_destroy(m);

	snapshot_drop_msr(s, MSR_XSS);
	m = snapshot_restore(s, 0);
	c = m->cpus[0];
	check_stop(c, "call 3", "XSAVES after a restore, falsified: no XSS");
	i = in_guest(m, &chain_image);
	tap_ok(i->xcomp_bv == 1ull << 63 && !i->xstate_bv && !i->u_cet && !i->pl0_ssp, "no XSS: XSAVES saves neither");
	machine_destroy(m);
	free(s);
}

/* ---- other kernels ---- */

static bool is_for_others(const struct falsified *f)
{
	return (!f->change && !f->without) || !strncmp(f->name, "SSP", 3) || !strcmp(f->name, "no SSP");
}

static void go_on(const char *name)
{
	unsigned int cpl, i;
	char prefix[80];

	snprintf(prefix, sizeof(prefix), "from %s: ", basename(name));
	for (cpl = 0; cpl <= 3; cpl += 3) {
		struct snapshot *s = snapshot_load_cpl(name, cpl);
		uint64_t base = *snapshot_ssp(s) + 8 * DEPTH;

		snapshot_adapt(s);
		for (i = 0; i < ARRAY_SIZE(falsified); i++)
			if (falsified[i].want[!!cpl] && is_for_others(&falsified[i]))
				check_restored(s, &falsified[i], cpl, base, prefix);
		free(s);
	}
}

static int print(const char *name)
{
	unsigned int cpl, i;

	for (cpl = 0; cpl <= 3; cpl += 3) {
		struct snapshot *s = snapshot_load_cpl(name, cpl);

		for (i = 0; i < CET_MSRS_XSS; i++)
			printf("CPL%u MSR 0x%x 0x%llx\n", cpl, cet_msrs[i],
			       (unsigned long long)*snapshot_msr(s, cet_msrs[i]));
		printf("CPL%u SSP 0x%llx\n", cpl, (unsigned long long)*snapshot_ssp(s));
		printf("CPL%u CR4.CET %d\n", cpl, !!(s->sregs.cr4 & CR4_CET));
		free(s);
	}
	return 0;
}

static void refuse(const char *name)
{
	struct snapshot *s = snapshot_load_cpl(name, 3);
	struct machine *m = snapshot_machine(s);
	struct cpu *c = m->cpus[0];
	struct kvm_cpuid2 *cpuid = vcpu_cpuid(&c->io);
	const struct kvm_cpuid_entry2 *seven = find_cpuid(cpuid, 7, 0), *saved = find_cpuid(&s->cpuid, 7, 0);
	unsigned int i;

	tap_ok(seven && saved && seven->ecx & saved->ecx & 1u << 7 && seven->edx == saved->edx,
	       "KVM_SET_CPUID2 is accepted");
	free(cpuid);
	tap_ok(s->sregs.cr4 & CR4_CET && snapshot_put(s, c, PART_SREGS, NULL) == -EINVAL, "KVM_SET_SREGS2: EINVAL");
	for (i = 0; i < CET_MSRS_XSS; i++)
		tap_ok(*snapshot_msr(s, cet_msrs[i]) && !msrs_set(&c->io, cet_msrs[i], *snapshot_msr(s, cet_msrs[i])),
		       "KVM_SET_MSRS refuses MSR 0x%x", cet_msrs[i]);
	tap_ok(snapshot_put(s, c, PART_ONE_REG, NULL) == -EINVAL, "KVM_SET_ONE_REG of SSP: EINVAL");
	s->sregs.cr4 &= ~(uint64_t)CR4_CET;
	tap_ok(!snapshot_put(s, c, PART_SREGS, NULL), "KVM_SET_SREGS2 without CR4.CET is accepted");
	machine_destroy(m);
	free(s);
}

int main(int argc, char **argv)
{
	const char *mode = argc == 3 ? argv[1] : "", *file = argc == 3 ? argv[2] : NULL;
	unsigned int cpl;

	if (!strcmp(mode, "--print"))
		return print(file);
	if (!strcmp(mode, "--refused")) {
		kvm_open("snapshot --refused");
		tap_ok(!kvm_has_shstk() && !kvm_has_ibt(), "KVM does not offer CET");
		refuse(file);
		return tap_done();
	}
	vmm_open(strcmp(mode, "--load") ? "snapshot" : "snapshot --load");
	if (!strcmp(mode, "--only-save")) {
		for (cpl = 0; cpl <= 3; cpl += 3)
			free(saved_deep(cpl, file));
		return tap_done();
	}
	if (!strcmp(mode, "--load")) {
		go_on(file);
		return tap_done();
	}
	for (cpl = 0; cpl <= 3; cpl += 3) {
		migrate_everywhere(cpl);
		restore_from_each_depth(cpl);
		restore_in_each_order(cpl);
		registers_are_necessary(cpl, strcmp(mode, "--save") ? NULL : file);
	}
	pl3_ssp_is_necessary();
	xss_is_necessary();
	return tap_done();
}
