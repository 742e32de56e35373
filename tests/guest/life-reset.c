// SPDX-License-Identifier: GPL-2.0
/* RESET, as a VMM does it, and INIT from another vCPU's APIC, which reach a vCPU at any point of its code. */
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "life.h"

#define MSR_APIC_BASE  0x1b
#define X2APIC	       0xc00 /* enabled, in x2APIC mode */
#define MSR_X2APIC_ICR 0x830
#define ICR_INIT       0x4500
#define ICR_SIPI       0x4600
#define TARGET	       1ull /* APIC id */

#define CALL_READY   6
#define CALL_STARTED 7

/* The code that SIPI starts: real mode, at this address. */
#define SIPI_CODE 0x8000

static const uint8_t sipi_code[] = {
	0x66, 0xb8,	 CALL_STARTED, 0, 0, 0, /* mov $CALL_STARTED, %eax */
	0xe7, PORT_CALL,			/* out %ax, $PORT_CALL */
	0xeb, 0xfe,
};

static GUEST void send_init(uint64_t unused)
{
	(void)unused;
	g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) | X2APIC);
	for (;;) {
		g_call(CALL_READY, 0, 0, 0);
		g_wrmsr(MSR_X2APIC_ICR, TARGET << 32 | ICR_INIT);
		g_wrmsr(MSR_X2APIC_ICR, TARGET << 32 | ICR_SIPI | SIPI_CODE >> 12);
	}
}

#define XSS_ALL (XSS_CET_U | XSS_CET_S)

/* How much of a vCPU's CET state is left. */
static unsigned int count_left(struct cpu *c, uint64_t xss)
{
	struct kvm_sregs sregs;
	unsigned int i, left = 0;

	for (i = 0; i < CET_MSRS; i++)
		left += !!cpu_rdmsr(c, cet_msrs[i]);
	cpu_get_sregs(c, &sregs);
	return left + !!cpu_ssp(c) + !!(sregs.cr4 & CR4_CET) + (cpu_rdmsr(c, MSR_XSS) != xss);
}

/* As VMMs do it, in either order. */
static void reset(struct cpu *c, const struct kvm_sregs *sregs, bool msrs_first)
{
	struct kvm_regs regs = { .rip = 0xfff0, .rflags = RFLAGS_FIXED };
	/* An exception may be on its way to the guest. */
	struct kvm_vcpu_events events = { 0 };
	unsigned int i;

	if (!msrs_first)
		cpu_set_sregs(c, sregs);
	cpu_set_regs(c, &regs);
	if (ioctl(c->io.vcpu, KVM_SET_VCPU_EVENTS, &events))
		tap_bail("KVM_SET_VCPU_EVENTS");
	for (i = 0; i < CET_MSRS; i++)
		cpu_wrmsr(c, cet_msrs[i], 0);
	cpu_wrmsr(c, MSR_XSS, 0);
	cpu_set_ssp(c, 0);
	if (msrs_first)
		cpu_set_sregs(c, sregs);
}

static void *run(void *arg)
{
	cpu_run(arg);
	return NULL;
}

void test_reset(void)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct machine *m = machine_create(&(struct machine_config) { .cpus = 2, .irqchip = true });
	struct cpu *bsp = m->cpus[0], *c = m->cpus[1];
	unsigned int i, stopped = 0, set = 0, left[3] = { 0 }, tries, kind;
	struct kvm_sregs at_reset;
	pthread_t thread;

	signals_end_run();
	cpu_get_sregs(c, &at_reset);
	memcpy(machine_at(m, SIPI_CODE), sipi_code, sizeof(sipi_code));
	cpu_start(bsp, send_init, 0);
	check_stop(bsp, "call 6", "a vCPU can send INIT");
	for (i = 0; i < resets; i++) {
		kind = i % 3;
		if (ioctl(c->io.vcpu, KVM_SET_MP_STATE, &runnable))
			tap_bail("KVM_SET_MP_STATE");
		cpu_wrmsr(c, MSR_XSS, XSS_ALL);
		walk_start(c, false);
		memset(&c->stop, 0, sizeof(c->stop));
		if (pthread_create(&thread, NULL, run, c))
			tap_bail("thread");
		walk_wait(c);
		usleep(17 + i % 97);
		if (kind) {
			for (tries = 0; tries < 2000 && !__atomic_load_n(&c->stop.err, __ATOMIC_ACQUIRE); tries++) {
				pthread_kill(thread, SIGUSR1);
				usleep(50);
			}
		} else {
			cpu_run(bsp);
		}
		pthread_join(thread, NULL);
		stopped += kind ? c->stop.kind == STOP_SIGNAL : cpu_called(c, CALL_STARTED);
		if (kind) {
			set += count_left(c, 0) > CET_MSRS;
			reset(c, &at_reset, kind == 2);
		}
		left[kind] += count_left(c, kind ? 0 : XSS_ALL);
	}
	tap_ok(stopped == resets, "INIT and RESET, %u times, anywhere on a guest's way", resets);
	if (stopped != resets)
		tap_diag("%u stopped, the last: %s", stopped, stop_text(c));
	tap_ok(set == resets - (resets + 2) / 3, "the vCPU always had CET state before a RESET");
	/* On SVM, KVM keeps S_CET, INT_SSP_TAB and SSP. */
	tap_ok(left[0] == (kvm_is_svm() ? 3 * ((resets + 2) / 3) : 0), "INIT from another vCPU clears %s but XSS",
	       kvm_is_svm() ? "all that is not in the VMCB," : "all");
	tap_ok(!left[1] && !left[2], "RESET by a VMM clears all, whatever it writes first");
	tap_fact("left-after-init", "%u", left[0]);
	tap_fact("left-after-reset", "%u", left[1] + left[2]);
	check_supervisor_msrs("INIT and RESET");
	/* It can have CET again. */
	stepper_start(c);
	tap_ok(stepper_step(c) && stepper_step(c), "the vCPU uses shadow stacks and IBT again");
	machine_destroy(m);
}
