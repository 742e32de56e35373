// SPDX-License-Identifier: GPL-2.0
/* Which values the MSRs accept, whoever writes them and whether KVM or the CPU checks them; filters; ignore_msrs. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <asm/kvm_onereg.h>

#include "isolation.h"

/* The features that MSRs and bits belong to. */
#define NEEDS_SHSTK 1u
#define NEEDS_IBT   2u

struct probe {
	uint64_t value;
	bool ok;
	unsigned int needs; /* the value, not the MSR */
};

/* clang-format off */
static const struct probe controls[] = {
	{ 0,				true,	0 },
	{ CET_SHSTK,			true,	NEEDS_SHSTK },
	{ CET_WRSS,			true,	NEEDS_SHSTK },
	{ CET_SHSTK | CET_WRSS,		true,	NEEDS_SHSTK },
	{ CET_ENDBR,			true,	NEEDS_IBT },
	{ 0x8,				true,	NEEDS_IBT },
	{ 0x10,				true,	NEEDS_IBT },
	{ 0x20,				true,	NEEDS_IBT },
	{ CET_SUPPRESS,			true,	NEEDS_IBT },
	{ CET_WAIT_ENDBR,		true,	NEEDS_IBT },
	{ 0x00007ffffffffc00 & ~0x3800ull, true, NEEDS_IBT },
	{ 0xffff80000000c000,		true,	NEEDS_IBT },
	{ CET_SUPPRESS | CET_WAIT_ENDBR, false,	0 },
	{ 0x40,				false,	0 },
	{ 0x80,				false,	0 },
	{ 0x100,			false,	0 },
	{ 0x200,			false,	0 },
	{ CET_ENDBR | 0x200,		false,	0 },
};

static const struct probe pointers[] = {
	{ 0,				true,	0 },
	{ 4,				true,	0 },
	{ 0x00007ffffffffffc,		true,	0 },
	{ 0xffff800000000000,		true,	0 },
	{ 0xfffffffffffffffc,		true,	0 },
	{ 1,				false,	0 },
	{ 2,				false,	0 },
	{ 0x00007fffffffffff,		false,	0 },
	{ 0x0000800000000000,		false,	0 },
	{ 0xffff7ffffffffffc,		false,	0 },
	{ 0x8000000000000000,		false,	0 },
};

static const struct probe tables[] = {
	{ 0,				true,	0 },
	{ 1,				true,	0 },
	{ 0x00007fffffffffff,		true,	0 },
	{ 0xffff800000000000,		true,	0 },
	{ 0xffffffffffffffff,		true,	0 },
	{ 0x0000800000000000,		false,	0 },
	{ 0xffff7fffffffffff,		false,	0 },
	{ 0x8000000000000000,		false,	0 },
};

/* clang-format on */

#define MAX_PROBES 24

/* Orders for the guest, and their results. */
static struct probing {
	uint64_t msr, n;
	uint64_t value[MAX_PROBES];
	uint64_t fault[MAX_PROBES];
	uint64_t read_fault, read[MAX_PROBES];
} probing;

static GUEST uint64_t probe_all(uint64_t forced)
{
	struct probing *p = &probing;
	unsigned int i;

	p->read_fault = 0;
	for (i = 0; i < p->n; i++) {
		if (forced) {
			p->fault[i] = g_forced_wrmsr(p->msr, p->value[i]);
			p->read_fault |= g_forced_rdmsr(p->msr, &p->read[i]);
		} else {
			p->fault[i] = g_wrmsr_safe(p->msr, p->value[i]);
			p->read_fault |= g_rdmsr_safe(p->msr, &p->read[i]);
		}
	}
	return 0;
}

/* Who writes. */
enum way {
	BY_HOST,	/* KVM_SET_MSRS */
	BY_EMULATION,	/* WRMSR that KVM is made to emulate: KVM decides */
	BY_FRESH_GUEST, /* WRMSR of a guest that has not used CET before: KVM or the CPU decides */
	BY_GUEST,	/* WRMSR of a guest that has used it */
	WAYS
};

static const char * const way_names[WAYS] = { "KVM_SET_MSRS", "emulated WRMSR", "WRMSR before any use of CET",
					      "WRMSR" };

static void only_shstk(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	(void)cpu;
	cpuid_hide_ibt(cpuid);
}

static void only_ibt(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	(void)cpu;
	cpuid_hide_shstk(cpuid);
}

static const struct {
	const char *name;
	void (*cpuid)(struct kvm_cpuid2 *cpuid, unsigned int cpu);
	unsigned int has;
} cpus[] = {
	{ "SHSTK and IBT", NULL, NEEDS_SHSTK | NEEDS_IBT },
	{ "SHSTK alone", only_shstk, NEEDS_SHSTK },
	{ "IBT alone", only_ibt, NEEDS_IBT },
	{ "neither", cpuid_hide_cet, 0 },
};

static unsigned int probes_of(unsigned int msr, const struct probe **p)
{
	switch (msr) {
	case VALUE_U_CET:
	case VALUE_S_CET:
		*p = controls;
		return ARRAY_SIZE(controls);
	case VALUE_TABLE:
		*p = tables;
		return ARRAY_SIZE(tables);
	default:
		*p = pointers;
		return ARRAY_SIZE(pointers);
	}
}

/* Writes all values to one MSR, in one way, and returns the number of wrong results. @has: the features in CPUID. */
static unsigned int probe_msr(struct cpu *c, unsigned int msr, enum way way, unsigned int has, const char *name)
{
	struct probing *g = in_guest(c->machine, &probing);
	unsigned int controls_need = msr <= VALUE_S_CET ? NEEDS_SHSTK | NEEDS_IBT : NEEDS_SHSTK;
	const struct probe *p;
	unsigned int n = probes_of(msr, &p), i, wrong = 0;
	uint64_t last = 0, kept = msr == VALUE_S_CET ? ~(uint64_t)(CET_SUPPRESS | CET_WAIT_ENDBR) : ~0ull;
	char taken[MAX_PROBES + 1] = "";

	cpu_start(c, probe_all, way == BY_EMULATION);
	g->msr = cet_msrs[msr];
	g->n = n;
	for (i = 0; i < n; i++)
		g->value[i] = p[i].value;
	if (way == BY_HOST) {
		g->read_fault = 0;
		for (i = 0; i < n; i++) {
			g->fault[i] = msrs_set(&c->io, g->msr, p[i].value) ? 0 : FAULT(VECTOR_GP);
			if (!msrs_get(&c->io, g->msr, &g->read[i]))
				g->read_fault = FAULT(VECTOR_GP);
		}
	} else {
		cpu_run(c);
		if (!cpu_called(c, CALL_RETURNED)) {
			tap_diag("%s: the guest does not come back: %s", name, stop_text(c));
			return 1;
		}
	}
	if (way != BY_HOST && has & controls_need) {
		uint64_t value = cpu_rdmsr(c, g->msr);

		if ((value ^ g->read[n - 1]) & kept) {
			tap_diag("%s: for the host it is 0x%llx", name, (unsigned long long)value);
			wrong++;
		}
	}
	/* Bochs forgets the tracker in S_CET while it is not in use. */
	for (i = 0; i < n; i++) {
		/* To the host, an MSR that the guest does not have is 0, and can be written 0. */
		bool exists = has & controls_need, zero = way == BY_HOST && !exists && !p[i].value;
		bool ok = zero || (p[i].ok && exists && !(p[i].needs & ~has));

		if (ok)
			last = p[i].value;
		taken[i] = g->fault[i] ? '-' : '+';
		if (g->fault[i] == (ok ? 0 : FAULT(VECTOR_GP)) && (!exists || !((g->read[i] ^ last) & kept)))
			continue;
		tap_diag("%s = 0x%llx: fault 0x%llx, then reads 0x%llx", name, (unsigned long long)p[i].value,
			 (unsigned long long)g->fault[i], (unsigned long long)g->read[i]);
		wrong++;
	}
	fact(name, "%s read %llx", taken, (unsigned long long)g->read_fault);
	if (!!g->read_fault != (way != BY_HOST && !(has & controls_need))) {
		tap_diag("%s: RDMSR: fault 0x%llx", name, (unsigned long long)g->read_fault);
		wrong++;
	}
	return wrong;
}

void test_bad_values(void)
{
	unsigned int i, msr, wrong;
	char name[120];
	enum way way;

	for (i = 0; i < ARRAY_SIZE(cpus); i++)
		for (way = 0; way < WAYS; way++) {
			struct machine_config config = { .cpuid = cpus[i].cpuid };
			struct machine *m = NULL;

			if (cpus[i].has & NEEDS_IBT && !kvm_has_ibt())
				continue;
			/*
			 * Where the CPU decides, it knows its own features but not the guest's CPUID, so a guest with
			 * one of the features can use the bits of the other.
			 */
			if (way >= BY_FRESH_GUEST && kvm_has_ibt() &&
			    (cpus[i].has == NEEDS_SHSTK || cpus[i].has == NEEDS_IBT))
				continue;
			for (msr = 0; msr < CET_MSRS; msr++) {
				if (!m || way == BY_FRESH_GUEST) {
					if (m)
						machine_destroy(m);
					m = machine_create(&config);
				}
				/* In use, so that the CPU decides. */
				if (way == BY_GUEST && cpus[i].has)
					cpu_wrmsr(m->cpus[0], MSR_U_CET, CET_HARMLESS);
				snprintf(name, sizeof(name), "%s, CPUID with %s, %s", way_names[way], cpus[i].name,
					 cet_names[msr]);
				wrong = probe_msr(m->cpus[0], msr, way, cpus[i].has, name);
				tap_ok(!wrong, "%s", name);
			}
			machine_destroy(m);
		}
}

/*
 * The MSR filter: accesses that it denies exit, or cause #GP; all others are as before.
 */

static void set_filter(struct cpu *c, const uint32_t *msrs, unsigned int n, uint32_t flags)
{
	static uint8_t none[8]; /* bitmap: nothing is allowed */
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW };
	unsigned int i;

	for (i = 0; i < n; i++)
		filter.ranges[i] = (struct kvm_msr_filter_range) {
			.flags = flags,
			.nmsrs = 1,
			.base = msrs[i],
			.bitmap = none,
		};
	if (ioctl(c->io.fd, KVM_X86_SET_MSR_FILTER, &filter))
		tap_bail("KVM_X86_SET_MSR_FILTER");
}

#define BOTH (KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)

static const uint32_t denied[] = { MSR_S_CET, MSR_PL0_SSP, MSR_U_CET };

static void exits_for_msrs(struct cpu *c)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args[0] = KVM_MSR_EXIT_REASON_FILTER };

	if (ioctl(c->io.fd, KVM_ENABLE_CAP, &cap))
		tap_bail("KVM_CAP_X86_USER_SPACE_MSR");
}

/* The guest reads or writes one MSR: NULL if that exits, or does not, as @exits says; else what went wrong. */
static const char *access_one(struct cpu *c, unsigned int msr, bool write, bool exits)
{
	struct kvm_run *run = c->io.run;
	struct orders *o = orders_of(c);
	uint64_t own = cpu_rdmsr(c, cet_msrs[msr]), value = cet_value(msr, 4711);

	if (write) {
		o->which = msr;
		o->value[msr] = value;
	}
	cpu_answer(c, write ? ORDER_WRITE_ONE : ORDER_READ);
	cpu_run(c);
	while (c->stop.kind == STOP_OTHER &&
	       (run->exit_reason == KVM_EXIT_X86_RDMSR || run->exit_reason == KVM_EXIT_X86_WRMSR)) {
		bool mine = run->msr.index == cet_msrs[msr];

		if (mine && !exits)
			return "an exit that must not be";
		if (run->msr.reason != KVM_MSR_EXIT_REASON_FILTER)
			return "another reason";
		if (run->exit_reason == KVM_EXIT_X86_WRMSR) {
			if (!mine || run->msr.data != value)
				return "another value";
			/* The VMM does it for the guest. */
			cpu_wrmsr(c, run->msr.index, run->msr.data);
			exits = false;
		} else {
			/* What the VMM answers is what the guest gets, even if it is wrong. */
			run->msr.data = mine ? ~own : cpu_rdmsr(c, run->msr.index);
			if (mine) {
				own = ~own;
				exits = false;
			}
		}
		run->msr.error = 0;
		cpu_run(c);
	}
	if (c->stop.kind != STOP_CALL)
		return stop_text(c);
	if (exits)
		return "no exit";
	if (write)
		return o->fault ? "a fault" : cpu_rdmsr(c, cet_msrs[msr]) != value ? "not written" : NULL;
	return o->value[msr] != own ? "another value was read" : NULL;
}

static void check_access(struct cpu *c, bool reads_exit, bool writes_exit, const char *when)
{
	static const unsigned int msrs[] = { VALUE_U_CET, VALUE_S_CET, VALUE_PL0, VALUE_PL0 + 1, VALUE_PL3 };
	unsigned int i, write;

	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		for (write = 0; write < 2; write++) {
			bool exits = i < 3 && (write ? writes_exit : reads_exit);
			const char *wrong = access_one(c, msrs[i], write, exits);

			tap_ok(!wrong, "%s: guest %s %s: %s", when, write ? "writes" : "reads", cet_names[msrs[i]],
			       exits ? "exit" : "no exit to the VMM");
			if (wrong)
				tap_diag("%s", wrong);
		}
}

/* Are 1000 reads 1000 VM exits? */
static void check_exits(struct cpu *c, unsigned int msr, bool want, const char *when)
{
	struct orders *o = orders_of(c);
	uint64_t before, exits;
	bool done;

	o->which = msr;
	before = cpu_exits(c);
	done = server_do(c, ORDER_PEEK);
	exits = cpu_exits(c) - before;
	tap_ok(done && (want ? exits >= 1000 : exits < 100), "%s: 1000 reads of %s are %s VM exits", when,
	       cet_names[msr], want ? "as many" : "no");
	if (want ? exits < 1000 : exits >= 100)
		tap_diag("%llu", (unsigned long long)exits);
}

/* A guest that reads all the time, and a filter that changes meanwhile. */
static GUEST void read_for_ever(uint64_t msr)
{
	for (;;)
		g_rdmsr(msr);
}

static void *run_thread(void *arg)
{
	cpu_run(arg);
	return NULL;
}

static void check_running(void)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	unsigned int i;

	exits_for_msrs(c);
	for (i = 0; i < ARRAY_SIZE(denied); i++) {
		uint64_t wanted = cet_value(VALUE_PL0, 1) & 0xffffc000;
		pthread_t thread;
		bool waits;

		if (denied[i] != MSR_PL0_SSP && !cet_control(wanted))
			wanted = CET_HARMLESS;
		cpu_wrmsr(c, denied[i], wanted);
		cpu_start(c, read_for_ever, denied[i]);
		if (pthread_create(&thread, NULL, run_thread, c))
			tap_bail("thread");
		sleep_ms(2);
		waits = pthread_tryjoin_np(thread, NULL);
		set_filter(c, &denied[i], 1, BOTH);
		pthread_join(thread, NULL);
		tap_ok(waits && c->stop.kind == STOP_OTHER && c->io.run->exit_reason == KVM_EXIT_X86_RDMSR &&
			       c->io.run->msr.index == denied[i],
		       "MSR 0x%x denied while the guest reads it: exit", denied[i]);
		set_filter(c, NULL, 0, 0);
		c->io.run->msr.error = 0;
		c->io.run->msr.data = 0;
		/* Completes it; then a signal would be needed to get out, so it ends here. */
		c->io.run->immediate_exit = 1;
		cpu_run(c);
		c->io.run->immediate_exit = 0;
		tap_ok(c->stop.kind == STOP_SIGNAL && cpu_rdmsr(c, denied[i]) == wanted,
		       "MSR 0x%x has its value after the exit", denied[i]);
	}
	machine_destroy(m);
}

void test_filter(void)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	struct orders *o;
	unsigned int i;

	/* Without the capability for these exits, denied accesses cause #GP. */
	server_start(c);
	o = orders_of(c);
	set_filter(c, denied, ARRAY_SIZE(denied), BOTH);
	for (i = 0; i < ARRAY_SIZE(denied); i++) {
		o->which = i == 0 ? VALUE_S_CET : i == 1 ? VALUE_PL0 : VALUE_U_CET;
		o->value[o->which] = 0;
		tap_ok(server_do(c, ORDER_WRITE_ONE) && o->fault == FAULT(VECTOR_GP), "denied: WRMSR of %s is #GP",
		       cet_names[o->which]);
	}
	machine_destroy(m);

	m = machine_create(NULL);
	c = m->cpus[0];
	exits_for_msrs(c);
	server_start(c);
	/* Denied before any use; then used, after which KVM would otherwise stop intercepting the accesses. */
	set_filter(c, denied, ARRAY_SIZE(denied), BOTH);
	check_access(c, true, true, "denied at first");
	check_access(c, true, true, "denied, in use");
	set_filter(c, NULL, 0, 0);
	check_access(c, false, false, "allowed");
	for (i = 0; i < VALUE_TABLE; i++)
		check_exits(c, i, false, "allowed");
	/* That was the visible difference. */
	check_exits(c, VALUE_TABLE, true, "allowed");
	set_filter(c, denied, ARRAY_SIZE(denied), BOTH);
	check_access(c, true, true, "denied again");
	set_filter(c, denied, ARRAY_SIZE(denied), KVM_MSR_FILTER_WRITE);
	check_access(c, false, true, "writes denied");
	check_exits(c, VALUE_S_CET, false, "writes denied");
	set_filter(c, denied, ARRAY_SIZE(denied), KVM_MSR_FILTER_READ);
	check_access(c, true, false, "reads denied");
	set_filter(c, NULL, 0, 0);
	check_access(c, false, false, "allowed again");
	for (i = 0; i < VALUE_TABLE; i++)
		check_exits(c, i, false, "allowed again");
	machine_destroy(m);
	check_running();
}

/*
 * kvm.ignore_msrs: MSRs that do not exist read as 0, but SSP is not an MSR.
 */

static void check_hidden(const char *when, bool ignored)
{
	const struct machine_config none = { .cpuid = cpuid_hide_cet };
	struct machine *m = machine_create(&none);
	struct cpu *c = m->cpus[0];
	const uint64_t id = KVM_X86_REG_KVM(KVM_REG_GUEST_SSP);
	unsigned int i, got = 0, set = 0;
	uint64_t value = 1, ssp = 1;
	struct outcome o;

	for (i = 0; i < CET_MSRS; i++) {
		value = 1;
		got += msrs_get(&c->io, cet_msrs[i], &value) && !value;
		set += msrs_set(&c->io, cet_msrs[i], 4);
	}
	/* MSRs that the vCPU does not have read as 0, because KVM_GET_MSR_INDEX_LIST lists them. */
	fact(when, "MSRs of a vCPU without CET: %u read, %u written", got, set);
	if (ignored)
		tap_ok(got == CET_MSRS && set == CET_MSRS, "%s: CET MSRs that do not exist are ignored", when);
	else
		tap_ok(set == 0, "%s: CET MSRs that do not exist cannot be written", when);
	o = get_reg(&c->io, id, &ssp);
	tap_ok(o.ret == -1 && o.err == EINVAL && ssp == 1, "%s: KVM_GET_ONE_REG of a hidden SSP: EINVAL", when);
	o = set_reg(&c->io, id, 8);
	tap_ok(o.ret == -1 && o.err == EINVAL, "%s: KVM_SET_ONE_REG of a hidden SSP: EINVAL", when);
	machine_destroy(m);

	/* The same for one that is not hidden. */
	m = machine_create(NULL);
	c = m->cpus[0];
	o = set_reg(&c->io, id, 8);
	tap_ok(!o.ret && cpu_ssp(c) == 8, "%s: SSP that is not hidden", when);
	o = set_reg(&c->io, id, 9);
	tap_ok(o.ret == -1 && o.err == EINVAL && cpu_ssp(c) == 8, "%s: and a bad value of it: EINVAL", when);
	tap_ok(!msrs_set(&c->io, MSR_PL0_SSP, 9), "%s: a bad value of an MSR that exists is not ignored", when);
	machine_destroy(m);
}

void test_ignore_msrs(void)
{
	char before;

	if (!kvm_param_get("ignore_msrs", &before))
		tap_bail("kvm.ignore_msrs");
	tap_ok(before == 'N', "kvm.ignore_msrs is off at first");
	check_hidden("without ignore_msrs", false);
	tap_ok(kvm_param_set("ignore_msrs", 'Y'), "kvm.ignore_msrs can be turned on");
	check_hidden("with ignore_msrs", true);
	tap_ok(kvm_param_set("ignore_msrs", before), "kvm.ignore_msrs is off again");
}

/* A KVM that does not offer CET: none of it can be used. */

static GUEST uint64_t try_all(uint64_t unused)
{
	struct probing *p = &probing;
	unsigned int i;

	(void)unused;
	for (i = 0; i < CET_MSRS; i++) {
		p->fault[2 * i] = g_rdmsr_safe(cet_msrs[i], &p->read[0]);
		p->fault[2 * i + 1] = g_wrmsr_safe(cet_msrs[i], 0);
	}
	p->fault[14] = g_wrmsr_safe(MSR_XSS, XSS_CET_U);
	p->fault[15] = g_wrmsr_safe(MSR_XSS, XSS_CET_S);
	p->fault[16] = g_set_cr4(g_cr4() | CR4_CET);
	/* The two that do not fault. */
	p->fault[17] = g_wrmsr_safe(MSR_XSS, 0);
	p->fault[18] = g_set_cr4(g_cr4());
	return 0;
}

void test_absent(void)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	struct probing *p = in_guest(m, &probing);
	struct kvm_cpuid_entry2 *e;
	struct kvm_msr_list *list = msr_list(KVM_GET_MSR_INDEX_LIST);
	struct kvm_sregs sregs;
	unsigned int i, wrong = 0, listed = 0, set = 0;
	uint64_t value;
	const uint64_t id = KVM_X86_REG_KVM(KVM_REG_GUEST_SSP);
	uint64_t regs = 0;
	struct outcome o;

	e = find_cpuid(c->cpuid, 0xd, 1);
	tap_ok(e && !((e->ecx | (uint64_t)e->edx << 32) & XSS_CET), "CPUID: no CET in XSS");
	for (i = 0; i < CET_MSRS; i++) {
		listed += msr_listed(list, cet_msrs[i]);
		set += msrs_set(&c->io, cet_msrs[i], 4);
	}
	set += msrs_set(&c->io, MSR_XSS, XSS_CET_U);
	tap_ok(!listed && !set, "no CET MSR is listed or can be written, nor XSS");
	o = get_reg(&c->io, id, &value);
	tap_ok(o.ret == -1 && o.err == EINVAL, "KVM_GET_ONE_REG of SSP: EINVAL");
	o = set_reg(&c->io, id, 0);
	tap_ok(o.ret == -1 && o.err == EINVAL, "KVM_SET_ONE_REG of SSP: EINVAL");
	tap_ok(!xioctl(c->io.vcpu, GET_REG_LIST, &regs).ret && !regs, "KVM_GET_REG_LIST is empty");
	cpu_start(c, try_all, 0);
	cpu_run(c);
	for (i = 0; i < 17; i++)
		wrong += p->fault[i] != FAULT(VECTOR_GP);
	tap_ok(c->stop.kind == STOP_CALL && !wrong, "guest: RDMSR, WRMSR, XSS and CR4.CET are #GP");
	tap_ok(!p->fault[17] && !p->fault[18], "guest: XSS and CR4 without CET are not");
	cpu_get_sregs(c, &sregs);
	sregs.cr4 |= CR4_CET;
	tap_ok(ioctl(c->io.vcpu, KVM_SET_SREGS, &sregs) && errno == EINVAL, "KVM_SET_SREGS with CR4.CET: EINVAL");
	sregs.cr4 &= ~CR4_CET;
	tap_ok(!ioctl(c->io.vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS without CR4.CET is accepted");
	tap_ok(host_rdmsr(MSR_S_CET) == host_s_cet, "the host's S_CET is as before");
	machine_destroy(m);
}
