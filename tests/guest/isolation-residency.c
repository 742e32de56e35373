// SPDX-License-Identifier: GPL-2.0
/*
 * Host and guest read the same values, whether these are in the CPU or not: reads and writes by both in random
 * order, against a model.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>

#include <asm/kvm_onereg.h>

#include "isolation.h"

#define VCPUS 3
#define STEPS 700

static struct model {
	struct cpu *c;
	uint64_t value[CET_MSRS];
	uint64_t ssp;
} models[VCPUS];

static uint64_t random_state = 20240229;

static unsigned int pick(unsigned int n)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;
	return (random_state >> 33) % n;
}

enum step {
	HOST_SETS,
	HOST_SETS_BY_REG,
	HOST_SETS_SSP,
	HOST_SETS_BADLY,
	HOST_GETS,
	HOST_GETS_BY_REG,
	HOST_SETS_XSAVE,
	HOST_SETS_FPU,
	HOST_RUNS_NOTHING,
	GUEST_WRITES,
	GUEST_WRITES_ALL,
	GUEST_READS,
	GUEST_XSAVES,
	GUEST_XRSTORS,
	ALL_STEPS,
};

static const char * const step_names[ALL_STEPS] = {
	"KVM_SET_MSRS",
	"KVM_SET_ONE_REG",
	"KVM_SET_ONE_REG of SSP",
	"KVM_SET_MSRS of a bad value",
	"KVM_GET_MSRS",
	"KVM_GET_ONE_REG",
	"KVM_GET_XSAVE2 and KVM_SET_XSAVE",
	"KVM_SET_FPU",
	"KVM_RUN with immediate_exit",
	"the guest's WRMSR",
	"the guest's WRMSR of all",
	"the guest's RDMSR",
	"the guest's XSAVES",
	"the guest's XRSTORS",
};

/* One step; returns false if something differs from the model. It may run on any thread. */
struct work {
	struct model *m;
	enum step step;
	bool ok;
};

/* Differences are expected now, and not reported. */
static bool falsified;

static bool same(const struct model *m, unsigned int msr, uint64_t got)
{
	if (got == m->value[msr])
		return true;
	if (falsified)
		return false;
	tap_diag("%s of vCPU %u: 0x%llx, wanted 0x%llx", cet_names[msr], (unsigned int)(m - models),
		 (unsigned long long)got, (unsigned long long)m->value[msr]);
	return false;
}

static bool host_gets(const struct model *m, bool by_reg)
{
	uint64_t value = 0;
	bool ok = true;
	unsigned int i;

	for (i = 0; i < CET_MSRS; i++) {
		if (!by_reg)
			value = cpu_rdmsr(m->c, cet_msrs[i]);
		else if (get_reg(&m->c->io, KVM_X86_REG_MSR(cet_msrs[i]), &value).ret)
			return false;
		ok &= same(m, i, value);
	}
	if (cpu_ssp(m->c) == m->ssp)
		return ok;
	tap_diag("SSP: 0x%llx, wanted 0x%llx", (unsigned long long)cpu_ssp(m->c), (unsigned long long)m->ssp);
	return false;
}

static bool xsave_and_back(struct cpu *c)
{
	static _Alignas(64) uint32_t area[0x4000];
	struct kvm_xsave *xsave = (void *)area;
	uint64_t xstate_bv;

	if (ioctl(c->io.vcpu, KVM_GET_XSAVE2, xsave))
		return false;
	memcpy(&xstate_bv, &area[128], sizeof(xstate_bv));
	/* The VMM has no access to supervisor state. */
	if (xstate_bv & XSS_CET || ioctl(c->io.vcpu, KVM_SET_XSAVE, xsave))
		return false;
	xstate_bv |= XSS_CET_U;
	memcpy(&area[128], &xstate_bv, sizeof(xstate_bv));
	return ioctl(c->io.vcpu, KVM_SET_XSAVE, xsave) && errno == EINVAL;
}

static bool guest_xsaves(struct model *m, struct orders *o)
{
	bool ok = true;
	unsigned int i;

	memset(&o->image, 0x5a, sizeof(o->image));
	memset(&o->image.xstate_bv, 0, 64);
	if (!server_do(m->c, ORDER_XSAVES))
		return false;
	if (o->image.xcomp_bv != (XSAVE_COMPACT | XSS_CET))
		return false;
	/* Components that are all zero may be left out. */
	if (o->image.xstate_bv & XSS_CET_U)
		ok = same(m, VALUE_U_CET, o->image.u_cet) & same(m, VALUE_PL3, o->image.pl3_ssp);
	else
		ok = !m->value[VALUE_U_CET] && !m->value[VALUE_PL3];
	for (i = VALUE_PL0; i < VALUE_PL3; i++)
		ok &= o->image.xstate_bv & XSS_CET_S ? same(m, i, o->image.pl_ssp[i - VALUE_PL0]) : !m->value[i];
	return ok && o->image.behind == 0x5a5a5a5a5a5a5a5a;
}

static bool guest_xrstors(struct model *m, struct orders *o, unsigned int n)
{
	unsigned int i;

	/* Sometimes a component is in its initial state: zeroes. */
	uint64_t which = pick(4) ? XSS_CET : pick(2) ? XSS_CET_U : XSS_CET_S;

	memset(&o->image, 0, sizeof(o->image));
	o->image.xcomp_bv = XSAVE_COMPACT | XSS_CET;
	o->image.xstate_bv = which;
	m->value[VALUE_U_CET] = which & XSS_CET_U ? cet_value(VALUE_U_CET, n) : 0;
	m->value[VALUE_PL3] = which & XSS_CET_U ? cet_value(VALUE_PL3, n) : 0;
	o->image.u_cet = m->value[VALUE_U_CET];
	o->image.pl3_ssp = m->value[VALUE_PL3];
	for (i = VALUE_PL0; i < VALUE_PL3; i++) {
		m->value[i] = which & XSS_CET_S ? cet_value(i, n) : 0;
		o->image.pl_ssp[i - VALUE_PL0] = m->value[i];
	}
	return server_do(m->c, ORDER_XRSTORS) && !o->fault;
}

static bool host_does(struct model *m, enum step what, unsigned int i, unsigned int n, uint64_t value)
{
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 };
	struct cpu *c = m->c;
	bool interrupted;

	switch (what) {
	case HOST_SETS:
		cpu_wrmsr(c, cet_msrs[i], value);
		m->value[i] = value;
		return true;
	case HOST_SETS_BY_REG:
		m->value[i] = value;
		return !set_reg(&c->io, KVM_X86_REG_MSR(cet_msrs[i]), value).ret;
	case HOST_SETS_SSP:
		m->ssp = cet_value(VALUE_PL0, n);
		cpu_set_ssp(c, m->ssp);
		return true;
	case HOST_SETS_BADLY:
		return !msrs_set(&c->io, cet_msrs[i], (value ^ 1ull << 63) | 1ull << 50 | 1 << 6);
	case HOST_GETS:
	case HOST_GETS_BY_REG:
		return host_gets(m, what == HOST_GETS_BY_REG);
	case HOST_SETS_XSAVE:
		return xsave_and_back(c);
	case HOST_SETS_FPU:
		return !ioctl(c->io.vcpu, KVM_SET_FPU, &fpu);
	case HOST_RUNS_NOTHING:
		c->io.run->immediate_exit = 1;
		interrupted = ioctl(c->io.vcpu, KVM_RUN, 0) && errno == EINTR;
		c->io.run->immediate_exit = 0;
		return interrupted;
	default:
		tap_bail("step %u", what);
	}
}

static bool guest_does(struct model *m, enum step what, unsigned int i, unsigned int n, uint64_t value)
{
	struct orders *o = orders_of(m->c);
	bool ok;

	switch (what) {
	case GUEST_WRITES:
		o->which = i;
		o->value[i] = value;
		m->value[i] = value;
		return server_do(m->c, ORDER_WRITE_ONE) && !o->fault;
	case GUEST_WRITES_ALL:
		for (i = 0; i < CET_MSRS; i++)
			m->value[i] = cet_value(i, n);
		memcpy(o->value, m->value, sizeof(m->value));
		return server_do(m->c, ORDER_WRITE) && !o->fault;
	case GUEST_READS:
		ok = server_do(m->c, ORDER_READ);
		for (i = 0; i < CET_MSRS; i++)
			ok &= same(m, i, o->value[i]);
		return ok;
	case GUEST_XSAVES:
		return guest_xsaves(m, o);
	case GUEST_XRSTORS:
		return guest_xrstors(m, o, n);
	default:
		tap_bail("step %u", what);
	}
}

static void *do_work(void *arg)
{
	struct work *w = arg;
	unsigned int i = pick(CET_MSRS), n = pick(1 << 24);
	uint64_t value = pick(6) ? cet_value(i, n) : 0;

	w->ok = w->step < GUEST_WRITES ? host_does(w->m, w->step, i, n, value) : guest_does(w->m, w->step, i, n, value);
	return NULL;
}

static bool do_step(struct model *m, enum step what, bool elsewhere)
{
	struct work w = { .m = m, .step = what };
	pthread_t thread;

	if (!elsewhere) {
		do_work(&w);
	} else {
		if (pthread_create(&thread, NULL, do_work, &w))
			tap_bail("thread");
		pthread_join(thread, NULL);
	}
	if (!w.ok && !falsified)
		tap_diag("%s%s, vCPU %u", step_names[what], elsewhere ? ", on another thread" : "",
			 (unsigned int)(m - models));
	return w.ok;
}

void test_residency(void)
{
	const struct machine_config two = { .cpus = 2 };
	struct machine *m = machine_create(&two), *other = machine_create(NULL);
	unsigned int i, s, done[ALL_STEPS] = { 0 }, wrong[ALL_STEPS] = { 0 };
	static const enum step reads[] = { HOST_GETS, HOST_GETS_BY_REG, GUEST_READS, GUEST_XSAVES };

	models[0].c = m->cpus[0];
	models[1].c = m->cpus[1];
	models[2].c = other->cpus[0];
	tap_ok(do_step(&models[0], HOST_GETS, false), "all is zero at first");
	/* Before its first instruction. */
	for (i = 0; i < CET_MSRS; i++) {
		models[1].value[i] = cet_value(i, 99);
		cpu_wrmsr(m->cpus[1], cet_msrs[i], cet_value(i, 99));
	}
	tap_ok(do_step(&models[1], HOST_GETS, false), "KVM_GET_MSRS before the first KVM_RUN");
	for (i = 0; i < VCPUS; i++)
		server_start(models[i].c);
	tap_ok(do_step(&models[1], GUEST_READS, false), "the guest finds what was set before its first instruction");
	tap_ok(do_step(&models[0], GUEST_READS, false), "the other one still finds zero");

	for (s = 0; s < STEPS; s++) {
		enum step next = pick(ALL_STEPS);

		wrong[next] += !do_step(&models[pick(VCPUS)], next, !pick(5));
		done[next]++;
	}
	for (i = 0; i < ALL_STEPS; i++)
		tap_ok(done[i] > 10 && !wrong[i], "%s, any time", step_names[i]);

	/* Each way of reading detects each wrong value. */
	tap_ok(do_step(&models[2], GUEST_WRITES_ALL, false), "all values are set");
	falsified = true;
	for (s = 0; s < ARRAY_SIZE(reads); s++) {
		unsigned int noticed = 0, blind = 0;

		for (i = 0; i < CET_MSRS; i++) {
			models[2].value[i] ^= 1ull << 40;
			noticed += !do_step(&models[2], reads[s], false);
			models[2].value[i] ^= 1ull << 40;
			blind += !do_step(&models[2], reads[s], false);
		}
		/* S_CET and INT_SSP_TAB are not XSAVE state. */
		tap_ok(noticed == CET_MSRS - (reads[s] == GUEST_XSAVES ? 2 : 0) && !blind,
		       "a falsified value is noticed by %s", step_names[reads[s]]);
	}
	machine_destroy(m);
	machine_destroy(other);
}
