// SPDX-License-Identifier: GPL-2.0
/*
 * Nested VMX: an SMI while L2 runs. SMI and RSM do not touch S_CET and INT_SSP_TAB, and SSP goes through SMRAM, so L2
 * has its own state after RSM. KVM leaves L2 for SMM as by a VM exit; natively, L2 comes back with what the exit loaded
 * for L1.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "nested-vmx.h"
#include "smram.h"

#define DEPTH	  4
#define L1S_TABLE 0x123000

/* A kind of L1, by its CPUID; @flip is a bit of S_CET that it may change. */
struct kind {
	const char *name;
	void (*cpuid)(struct kvm_cpuid2 *cpuid, unsigned int cpu);
	unsigned int features;
	uint64_t flip;
};

static const struct kind kinds[] = {
	{ "", NULL, GUEST_SHSTK | GUEST_IBT, S_CET_NOTRACK },
	{ "IBT alone, ", hide_shstk, GUEST_IBT, S_CET_NOTRACK },
	{ "shadow stacks alone, ", hide_ibt, GUEST_SHSTK, CET_WRSS },
};

enum way { PLAIN, WRITES, MOVED_NESTED_FIRST, MOVED_NESTED_LAST, WAYS };

static const char * const way_names[] = {
	"",
	", the handler writes S_CET",
	", moved in SMM, nested state first",
	", moved in SMM, nested state last",
};

struct smi {
	char name[120];
	const struct kind *kind;
	bool exit; /* LOAD_CET */
	enum way way;
	struct triple l1s, l2s; /* VM exit loads this; L2 has this */
	uint64_t written;	/* to S_CET by the handler */
	struct nested *n;
};

/* Writes its own table, and S_CET; then calls, and an exception: on the shadow stack that the table names. */
static GUEST uint64_t l2_calls(uint64_t table, uint64_t s_cet, uint64_t c)
{
	(void)c;
	if (table)
		g_wrmsr(MSR_INT_SSP_TAB, table);
	g_wrmsr(MSR_S_CET, s_cet);
	g_call(CALL_L2 + 1, nested_chain(DEPTH, BOTTOM_CALL, CALL_L2), 0, 0);
	asm volatile("ud2");
	return 0;
}

/* A fact: whose value L2 has. On our kernels it must be L2's own. */
static void has(const struct smi *t, uint64_t got, uint64_t want, uint64_t l1s, const char *what)
{
	char name[200];

	snprintf(name, sizeof(name), "%s: %s", t->name, what);
	tap_fact(name, "%s", got == want ? "L2's" : got == l1s ? "L1's" : "neither's");
	if (!native)
		equals(got, want, "%s", name);
}

static void has_state(const struct smi *t, const struct triple *want, const char *when)
{
	struct triple now = triple_now(t->n);
	char what[80];

	/* The handler's own write is right on every kernel. */
	snprintf(what, sizeof(what), "%s: S_CET", when);
	if (t->way == WRITES)
		equals(now.s_cet, want->s_cet, "%s: %s", t->name, what);
	else
		has(t, now.s_cet, want->s_cet, t->l1s.s_cet, what);
	if (!(t->kind->features & GUEST_SHSTK))
		return;
	snprintf(what, sizeof(what), "%s: INT_SSP_TAB", when);
	has(t, now.table, want->table, t->l1s.table, what);
}

static void prepare(struct smi *t, bool entry, uint64_t (*l2)(uint64_t, uint64_t, uint64_t))
{
	struct nested *n = t->n;
	bool shstk = t->kind->features & GUEST_SHSTK;
	uint64_t own = cpu_rdmsr(n->c, MSR_S_CET), table = 0;

	if (shstk) {
		/* The same shadow stacks, but another table. */
		table = machine_alloc(n->m, 1);
		memcpy(machine_at(n->m, table), machine_at(n->m, l2_table(n)), 64);
	}
	/*
	 * L2 changes its state, so it is not what the VMCS had; S_CET has two values, and that of L1 is the other one.
	 */
	t->l2s = (struct triple) { .s_cet = own, .table = table };
	nested_prepare(n, t->kind->features, l2, table, own, 0);
	vmwrite(n, GUEST_S_CET, own ^ t->kind->flip);
	t->l1s = (struct triple) { own ^ t->kind->flip, 0, shstk ? L1S_TABLE : 0 };
	vmwrite(n, HOST_S_CET, t->l1s.s_cet);
	vmwrite(n, HOST_SSP_TABLE, t->l1s.table);
	if (!entry)
		clear_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
	if (!t->exit)
		clear_bits(n, EXIT_CONTROLS, EXIT_LOAD_CET);
	n->repair = !t->exit;
}

static void move(struct smi *t)
{
	bool repair = t->n->repair;
	struct saved s;

	save(&s, t->n);
	nested_destroy(t->n);
	t->n = restore(&s, t->way == MOVED_NESTED_FIRST ? "ESNRMP" : "ESRMPN");
	smram_attach(t->n->c);
	t->n->repair = repair;
	saved_free(&s);
}

/* L2 is back: everything that it and L1 do from there. */
static void goes_on(struct smi *t, struct triple want)
{
	struct nested *n = t->n;
	bool shstk = t->kind->features & GUEST_SHSTK;
	enum place w = nested_go(n);

	if (went(n, w, "call 273", "%s: L2 goes on", t->name))
		equals(n->c->stop.a, DEPTH, "%s: L2 returns from its calls", t->name);
	want.ssp += shstk ? (DEPTH + 1) * 8 : 0;
	equals(triple_now(n).ssp, want.ssp, "%s: L2's SSP is right", t->name);
	has_state(t, &want, "after RSM");
	if (triple_now(n).table == want.table) {
		w = nested_go(n);
		if (went(n, w, "#UD", "%s: L2 takes an exception", t->name))
			equals(n->c->stop.frame->ssp,
			       shstk ? handler_ssp(cpu_shadow_stack(&n->l2, CPU_SS_IST1_PAGE)) : 0,
			       "%s: on its own shadow stack for that", t->name);
	}
	w = nested_leave(n);
	went(n, w, "exit 18", "%s: L2 exits", t->name);
	/* The exit loads the usual state. */
	if (t->exit) {
		equals(n->after.s_cet, t->l1s.s_cet, "%s: L1 has its S_CET", t->name);
		equals(n->after.table, t->l1s.table, "%s: L1 has its INT_SSP_TAB", t->name);
		equals(n->after.ssp, n->own.ssp, "%s: L1 has its SSP", t->name);
	}
}

static void smi(const struct kind *kind, bool entry, bool exit, enum way way)
{
	struct smi t = { .kind = kind, .exit = exit, .way = way };
	struct triple want;
	enum place w;

	snprintf(t.name, sizeof(t.name), "SMI in L2, %sLOAD_CET on %s%s", kind->name, load_cet_text(entry, exit),
		 way_names[way]);
	t.n = nested_create(&(struct nested_config) { .cpuid = kind->cpuid, .features = kind->features });
	smram_create(t.n->c);
	prepare(&t, entry, l2_calls);
	if (way == WRITES) {
		t.written = t.l1s.s_cet ^ CET_WRSS;
		smram_write_s_cet(t.written);
	}
	w = nested_enter(t.n);
	went(t.n, w, "call 272", "%s: L2 is deep in calls", t.name);
	want = triple_now(t.n);
	equals(want.s_cet, t.l2s.s_cet, "%s: L2 has its own S_CET", t.name);
	equals(want.table, t.l2s.table, "%s: and its own INT_SSP_TAB", t.name);

	smram_smi(t.n->c);
	equals(smram_get(SMRAM_SSP), want.ssp, "%s: SMRAM has L2's SSP", t.name);
	if (way == WRITES)
		want.s_cet = t.written;
	has_state(&t, &want, "in SMM");
	if (way >= MOVED_NESTED_FIRST)
		move(&t);
	goes_on(&t, want);
	nested_destroy(t.n);
}

/* ---- SMIs at any instruction of L2 ---- */

static struct {
	uint64_t stop, rounds, wrong;
} storm;

static GUEST uint64_t ssp_below(uint64_t n)
{
	return n ? ssp_below(n - 1) + 8 : g_rdssp();
}

/* Calls, and compares its state, over and over. */
static GUEST uint64_t l2_in_storm(uint64_t table, uint64_t s_cet, uint64_t c)
{
	(void)c;
	g_wrmsr(MSR_INT_SSP_TAB, table);
	g_wrmsr(MSR_S_CET, s_cet);
	g_call(CALL_L2, 0, 0, 0);
	while (!*(volatile uint64_t *)&storm.stop) {
		storm.wrong += ssp_below(20) + 8 != g_rdssp();
		storm.wrong += g_rdmsr(MSR_S_CET) != s_cet;
		storm.wrong += g_rdmsr(MSR_INT_SSP_TAB) != table;
		storm.rounds++;
	}
	g_call(CALL_L2 + 1, storm.wrong, storm.rounds, 0);
	return 0;
}

static bool storm_over;
static pthread_t in_storm;

static void *send_signals(void *unused)
{
	unsigned int i;

	(void)unused;
	for (i = 0; !__atomic_load_n(&storm_over, __ATOMIC_ACQUIRE); i++) {
		pthread_kill(in_storm, SIGUSR1);
		usleep(20 + i % 31);
	}
	return NULL;
}

#define STORM 100

/* Not on a native kernel, where L2 loses its state, as smi() shows. */
static void smi_storm(bool entry, bool exit)
{
	struct smi t = { .kind = &kinds[0], .exit = exit };
	unsigned int smis = 0, others = 0;
	pthread_t thread;
	enum place w;

	snprintf(t.name, sizeof(t.name), "SMIs anywhere in L2, LOAD_CET on %s", load_cet_text(entry, exit));
	t.n = nested_create(&(struct nested_config) { .features = kinds[0].features });
	smram_create(t.n->c);
	prepare(&t, entry, l2_in_storm);
	w = nested_enter(t.n);
	went(t.n, w, "call 272", "%s: L2 runs", t.name);
	signals_end_run();
	in_storm = pthread_self();
	storm_over = false;
	if (pthread_create(&thread, NULL, send_signals, NULL))
		tap_bail("thread");
	while (smis < STORM && others < STORM) {
		cpu_run(t.n->c);
		if (t.n->c->stop.kind != STOP_SIGNAL) {
			others++;
			continue;
		}
		if (ioctl(t.n->c->io.vcpu, KVM_SMI))
			tap_bail("KVM_SMI");
		while (cpu_run(t.n->c)->kind == STOP_SIGNAL)
			;
		if (t.n->c->stop.kind != STOP_CALL || !(t.n->c->io.run->flags & KVM_RUN_X86_SMM))
			break;
		smis++;
	}
	__atomic_store_n(&storm_over, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	tap_ok(smis == STORM && !others, "%s: %u SMIs", t.name, STORM);
	if (smis != STORM || others)
		tap_diag("%u, and %u other stops, %s", smis, others, stop_text(t.n->c));
	*in_guest(t.n->m, &storm.stop) = 1;
	while (cpu_run(t.n->c)->kind == STOP_SIGNAL)
		;
	tap_ok(cpu_called(t.n->c, CALL_L2 + 1) && !t.n->c->stop.a && t.n->c->stop.b, "%s: L2 always had its own state",
	       t.name);
	tap_diag("%s: %u wrong in %u rounds", stop_text(t.n->c), (unsigned int)t.n->c->stop.a,
		 (unsigned int)t.n->c->stop.b);
	w = nested_leave(t.n);
	went(t.n, w, "exit 18", "%s: L2 exits", t.name);
	if (exit) {
		equals(t.n->after.s_cet, t.l1s.s_cet, "%s: L1 has its S_CET", t.name);
		equals(t.n->after.table, t.l1s.table, "%s: L1 has its INT_SSP_TAB", t.name);
	}
	nested_destroy(t.n);
}

void test_smi(void)
{
	unsigned int i;
	enum way way;

	for (i = 0; i < 4; i++)
		for (way = 0; way < WAYS; way++)
			smi(&kinds[0], i & 1, i & 2, way);
	for (i = 0; i < 4; i++) {
		smi(&kinds[1], i & 1, i & 2, PLAIN);
		smi(&kinds[2], i & 1, i & 2, PLAIN);
	}
	for (i = 0; i < 4 && !native; i++)
		smi_storm(i & 1, i & 2);
}
