// SPDX-License-Identifier: GPL-2.0
/*
 * reset: INIT clears all CET state except what is in a VMCB, and keeps XSS, whether the vCPU is in KVM_RUN or
 * KVM_GET_MP_STATE takes the INIT in. After SIPI the vCPU can have shadow stacks again. RESET clears XSS too.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "chain.h"

/* ---- the guest ---- */

#define CALL_READY   5
#define CALL_STARTED 7

static volatile uint64_t spinning;

static GUEST void spin(uint64_t a)
{
	(void)a;
	for (;;)
		spinning++;
}

/* CPL0 or CPL3, on a shadow stack, until INIT. */
static GUEST void spin_below(uint64_t a)
{
	g_call(CALL_READY, g_rdssp(), 0, 0);
	spin(a);
}

/* The code that SIPI starts: real mode, at this address. */
#define SIPI_CODE 0x8000

static const uint8_t sipi_code[] = {
	0x66, 0xb8,	 CALL_STARTED, 0, 0, 0, /* mov $CALL_STARTED, %eax */
	0xe7, PORT_CALL,			/* out %ax, $PORT_CALL */
	0xeb, 0xfe,
};

/* ---- the VMM ---- */

#define XSS_ALL (XSS_CET_U | XSS_CET_S)

static struct machine *create(unsigned int cpl)
{
	const struct machine_config config = { .cpus = 2, .irqchip = true };
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct machine *m = machine_create(&config);
	struct cpu *ap = m->cpus[1];
	struct kvm_lapic_state apic;

	if (ioctl(ap->io.vcpu, KVM_SET_MP_STATE, &runnable))
		tap_bail("KVM_SET_MP_STATE");
	/* KVM's table of APIC ids does not have the last vCPU until the state of an APIC is set. */
	if (ioctl(ap->io.vcpu, KVM_GET_LAPIC, &apic) || ioctl(ap->io.vcpu, KVM_SET_LAPIC, &apic))
		tap_bail("KVM_SET_LAPIC");
	cpu_cet(ap, GUEST_ALL);
	cpu_wrmsr(ap, MSR_PL1_SSP, 0x1110);
	cpu_wrmsr(ap, MSR_PL2_SSP, 0x2220);
	cpu_wrmsr(ap, MSR_XSS, XSS_ALL);
	cpu_start_at(ap, cpl, (uintptr_t)spin_below, (uint64_t[3]) { 0 });
	memcpy(machine_at(m, SIPI_CODE), sipi_code, sizeof(sipi_code));
	cpu_run(ap);
	if (!cpu_called(ap, CALL_READY) || !ap->stop.a)
		tap_bail("the AP does not get onto its shadow stack: %s", stop_text(ap));
	return m;
}

/* To the vCPU with APIC id 1, as a device would send it. */
static void send(struct machine *m, unsigned int mode, unsigned int vector)
{
	struct kvm_msi msi = {
		.address_lo = 0xfee00000 | 1 << 12,
		.data = mode << 8 | vector,
	};

	if (ioctl(m->fd, KVM_SIGNAL_MSI, &msi) <= 0)
		tap_bail("KVM_SIGNAL_MSI");
}

#define DELIVER_INIT 5
#define DELIVER_SIPI 6

static unsigned int mp_state(struct cpu *c)
{
	struct kvm_mp_state state;

	if (ioctl(c->io.vcpu, KVM_GET_MP_STATE, &state))
		tap_bail("KVM_GET_MP_STATE");
	return state.mp_state;
}

static bool all_set(struct cpu *c)
{
	unsigned int i;

	for (i = 0; i < CET_MSRS; i++)
		if (!cpu_rdmsr(c, cet_msrs[i]))
			return false;
	return cpu_ssp(c) && cpu_rdmsr(c, MSR_XSS) == XSS_ALL;
}

/* After INIT. On SVM, KVM keeps what is in the VMCB. @xss: XSS is left, too. */
static void check_cleared(struct cpu *c, uint64_t xss, const char *name)
{
	static const char * const texts[] = { "is 0", "stays" };
	const bool kept = xss && kvm_is_svm();
	bool stays;
	struct kvm_sregs sregs;
	unsigned int i;

	for (i = 0; i < CET_MSRS; i++) {
		stays = kept && (cet_msrs[i] == MSR_S_CET || cet_msrs[i] == MSR_INT_SSP_TAB);
		tap_ok(!cpu_rdmsr(c, cet_msrs[i]) != stays, "%s: MSR 0x%x %s", name, cet_msrs[i], texts[stays]);
	}
	tap_ok(!cpu_ssp(c) != kept, "%s: SSP %s", name, texts[kept]);
	cpu_get_sregs(c, &sregs);
	tap_ok(!(sregs.cr4 & CR4_CET), "%s: CR4.CET is 0", name);
	tap_ok(cpu_rdmsr(c, MSR_XSS) == xss, "%s: XSS is 0x%x", name, (unsigned int)xss);
}

/* SIPI, and then code that uses shadow stacks. */
static void live_again(struct machine *m, const char *name)
{
	struct cpu *ap = m->cpus[1];
	uint64_t base = 0;
	unsigned int level;
	bool ok = true;

	send(m, DELIVER_SIPI, SIPI_CODE >> 12);
	check_stop(ap, "call 7", "%s, SIPI: starts in real mode", name);
	check_cleared(ap, XSS_ALL, name);

	cpu_start(ap, chain_main_cpl0, START_VALUE);
	cpu_cet(ap, GUEST_ALL);
	for (level = 0; ok && level <= DEPTH; level++)
		ok = chain_is_at(ap, CALL_DOWN, level, &base, 0);
	tap_ok(ok && chain_unwinds(ap, DEPTH, base, 0), "%s, SIPI: uses shadow stacks and IBT again", name);
}

static void *run(void *arg)
{
	cpu_run(arg);
	return NULL;
}

#define POLLS 2000

/* INIT while the vCPU is in KVM_RUN. */
static void init_while_running(unsigned int cpl)
{
	struct machine *m = create(cpl);
	struct cpu *ap = m->cpus[1];
	volatile uint64_t *counter = in_guest(m, &spinning);
	uint64_t last;
	pthread_t thread;
	unsigned int i;
	char name[40];

	snprintf(name, sizeof(name), "INIT to CPL%u, running", cpl);
	signals_end_run();
	if (pthread_create(&thread, NULL, run, ap))
		tap_bail("thread");
	for (i = 0; i < POLLS && !*counter; i++)
		sleep_ms(1);
	tap_ok(*counter, "%s: it runs", name);
	send(m, DELIVER_INIT, 0);
	for (i = 0; i < POLLS; i++) {
		last = *counter;
		sleep_ms(1);
		if (*counter == last)
			break;
	}
	tap_ok(i < POLLS, "%s: it stops", name);
	/* It waits for SIPI inside KVM_RUN. The signal may come before it waits, so more than one. */
	for (i = 0; i < POLLS && !__atomic_load_n(&ap->stop.err, __ATOMIC_ACQUIRE); i++) {
		pthread_kill(thread, SIGUSR1);
		sleep_ms(1);
	}
	pthread_join(thread, NULL);
	tap_ok(ap->stop.kind == STOP_SIGNAL && mp_state(ap) == KVM_MP_STATE_INIT_RECEIVED, "%s: waits for SIPI", name);
	check_cleared(ap, XSS_ALL, name);
	live_again(m, name);
	machine_destroy(m);
}

/* INIT while the vCPU is not in KVM_RUN. */
static void init_by_mp_state(unsigned int cpl)
{
	struct machine *m = create(cpl);
	struct cpu *ap = m->cpus[1];
	char name[40];

	snprintf(name, sizeof(name), "INIT to CPL%u, KVM_GET_MP_STATE", cpl);
	tap_ok(all_set(ap), "%s: it has CET state", name);
	send(m, DELIVER_INIT, 0);
	tap_ok(all_set(ap), "%s: not yet taken in", name);
	tap_ok(mp_state(ap) == KVM_MP_STATE_INIT_RECEIVED, "%s: waits for SIPI", name);
	check_cleared(ap, XSS_ALL, name);
	live_again(m, name);
	machine_destroy(m);
}

static void reset(void)
{
	struct machine *m = machine_create(NULL);

	check_cleared(m->cpus[0], 0, "a new vCPU");
	machine_destroy(m);
}

static GUEST uint64_t clear_user_state(uint64_t unused)
{
	(void)unused;
	g_wrmsr(MSR_U_CET, 0);
	g_wrmsr(MSR_PL3_SSP, 0);
	return 0;
}

/* The guest cleared both MSRs of one XSAVES component. Setting one of them must not bring back the other's value. */
static void set_after_clear(uint32_t msr, uint64_t value, uint32_t other)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	uint64_t one = 0, two = 1;

	tap_ok(msrs_set(&c->io, MSR_U_CET, CET_HARMLESS) && msrs_set(&c->io, MSR_PL3_SSP, 0x5000), "MSR %#x: both set",
	       msr);
	cpu_start(c, clear_user_state, 0);
	check_stop(c, "call 65536", "the guest clears both");
	tap_ok(msrs_set(&c->io, msr, value) && msrs_get(&c->io, msr, &one) && one == value, "MSR %#x: set again", msr);
	tap_ok(msrs_get(&c->io, other, &two) && !two, "MSR %#x: %#x stays clear", msr, other);
	machine_destroy(m);
}

int main(void)
{
	unsigned int cpl;

	vmm_open("reset");
	reset();
	for (cpl = 0; cpl <= 3; cpl += 3) {
		init_while_running(cpl);
		init_by_mp_state(cpl);
	}
	set_after_clear(MSR_U_CET, CET_HARMLESS | cet_control(CET_WAIT_ENDBR), MSR_PL3_SSP);
	set_after_clear(MSR_PL3_SSP, 0x6000, MSR_U_CET);
	return tap_done();
}
