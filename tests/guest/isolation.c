// SPDX-License-Identifier: GPL-2.0
/*
 * vCPUs, guests without CET, the host's kernel and its processes never see the CET state of another.
 *
 *   isolation [--facts FILE] [--without-cet] [--exits N] [PART]...
 *
 * It needs the host's module msr, kvm.force_emulation_prefix=1, and to run where the host has its modules (/host).
 *
 *   --without-cet  for a KVM that is expected not to offer CET
 *   --exits N      the number of VM exits with each S_CET (default 1000)
 *   PART           one of parts[] below (default: all), or "cpus", for a host that has two
 */
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "isolation.h"

static const struct test_part parts[] = {
	{ "private", test_private },
	{ "residency", test_residency },
	{ "first-use", test_first_use },
	{ "readers", test_readers },
	{ "xsaves", test_xsaves },
	{ "bad-values", test_bad_values },
	{ "filter", test_filter },
	{ "ignore-msrs", test_ignore_msrs },
	{ "host-shadow-stack", test_host_shadow_stack },
	{ "host-s-cet", test_host_s_cet },
	/* Last, because it unloads KVM for a while. */
	{ "reload", test_reload },
};

/* Not included in "all", because it makes the host slower. */
static const char cpus_part[] = "cpus";

const char * const cet_names[CET_MSRS] = {
	"U_CET", "S_CET", "PL0_SSP", "PL1_SSP", "PL2_SSP", "PL3_SSP", "INT_SSP_TAB",
};

unsigned int many_exits = 1000;

static FILE *facts;

void fact(const char *name, const char *fmt, ...)
{
	va_list ap;

	if (!facts)
		return;
	for (; *name; name++)
		fputc(*name == ' ' ? '_' : *name, facts);
	fputc(' ', facts);
	va_start(ap, fmt);
	vfprintf(facts, fmt, ap);
	va_end(ap);
	fputc('\n', facts);
}

void cpuid_hide_cet(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	(void)cpu;
	cpuid_hide_shstk(cpuid);
	cpuid_hide_ibt(cpuid);
	find_cpuid(cpuid, 0xd, 1)->ecx &= ~XSS_CET;
}

void cpuid_hide_all_but_xss(struct kvm_cpuid2 *cpuid, unsigned int cpu)
{
	(void)cpu;
	cpuid_hide_shstk(cpuid);
	cpuid_hide_ibt(cpuid);
}

uint64_t cpu_exits(const struct cpu *c)
{
	int fd = ioctl(c->io.vcpu, KVM_GET_STATS_FD, NULL);
	struct kvm_stats_header header;
	uint64_t value = 0;
	unsigned int i;
	bool found = false;

	if (fd < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header))
		tap_bail("KVM_GET_STATS_FD");
	for (i = 0; i < header.num_desc && !found; i++) {
		size_t size = sizeof(struct kvm_stats_desc) + header.name_size;
		struct kvm_stats_desc *desc = calloc(1, size + 1);

		if (!desc || pread(fd, desc, size, header.desc_offset + i * size) != (ssize_t)size)
			tap_bail("statistics");
		found = !strcmp((char *)(desc + 1), "exits");
		if (found && pread(fd, &value, sizeof(value), header.data_offset + desc->offset) != sizeof(value))
			tap_bail("statistics");
		free(desc);
	}
	close(fd);
	if (!found)
		tap_bail("no statistics of VM exits");
	return value;
}

#define CALL_READY 1

static struct orders orders[MAX_CPUS];

GUEST void serve(uint64_t cpu)
{
	struct orders *o = &orders[cpu];
	unsigned int i;

	g_wrmsr(MSR_XSS, XSS_CET);
	for (;;) {
		enum order order = g_call(CALL_READY, 0, 0, 0);

		o->fault = 0;
		/* Not a switch statement: it could become a table of indirect jumps. */
		if (order == ORDER_READ) {
			for (i = 0; i < CET_MSRS; i++)
				o->value[i] = g_rdmsr(cet_msrs[i]);
		} else if (order == ORDER_WRITE) {
			for (i = 0; i < CET_MSRS; i++)
				o->fault |= g_wrmsr_safe(cet_msrs[i], o->value[i]);
		} else if (order == ORDER_WRITE_ONE) {
			o->fault = g_wrmsr_safe(cet_msrs[o->which], o->value[o->which]);
		} else if (order == ORDER_XSAVES) {
			g_xsaves(&o->image, XSS_CET);
		} else if (order == ORDER_XRSTORS) {
			o->fault = g_xrstors(&o->image, XSS_CET);
		} else if (order == ORDER_EXITS) {
			for (i = 0; i < o->which; i++)
				asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx", "memory");
		} else {
			for (i = 0; i < 1000; i++)
				o->value[o->which] = g_rdmsr(cet_msrs[o->which]);
		}
	}
}

struct orders *orders_of(struct cpu *c)
{
	return &in_guest(c->machine, &orders[0])[c->number];
}

void server_start(struct cpu *c)
{
	cpu_start(c, serve, c->number);
	cpu_run(c);
	if (!cpu_called(c, CALL_READY))
		tap_bail("the guest does not start: %s", stop_text(c));
}

bool server_do(struct cpu *c, enum order order)
{
	cpu_answer(c, order);
	cpu_run(c);
	if (cpu_called(c, CALL_READY))
		return true;
	tap_diag("the guest does not come back: %s", stop_text(c));
	return false;
}

bool finished(struct cpu *c)
{
	cpu_run(c);
	if (cpu_called(c, CALL_RETURNED))
		return true;
	tap_diag("the guest does not come back: %s", stop_text(c));
	return false;
}

int main(int argc, char **argv)
{
	bool with_cet = true, chosen = false;
	unsigned int p;
	cpu_set_t cpu;
	int i;

	kvm_open("isolation");
	/* The host's MSRs are read on this CPU. */
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu))
		tap_bail("affinity");
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--without-cet")) {
			with_cet = false;
		} else if (!strcmp(argv[i], "--host-without-cet")) {
			host_has_cet = false;
		} else if (!strcmp(argv[i], "--facts") && i + 1 < argc) {
			facts = fopen(argv[++i], "w");
			if (!facts)
				tap_bail("%s", argv[i]);
		} else if (!strcmp(argv[i], "--exits") && i + 1 < argc) {
			many_exits = atoi(argv[++i]);
		} else {
			break;
		}
	}
	tap_ok(kvm_has_shstk() == with_cet && kvm_has_ibt() == (with_cet && !kvm_is_svm()), "KVM %s CET",
	       with_cet ? "offers" : "does not offer");
	check_forced_emulation();
	host_s_cet = host_rdmsr(MSR_S_CET);
	tap_ok(host_s_cet == host_usual_s_cet(), "the host's kernel %s IBT", host_usual_s_cet() ? "uses" : "has no");
	if (!with_cet)
		test_absent();
	for (; i < argc; i++) {
		chosen = true;
		if (!strcmp(argv[i], cpus_part)) {
			test_cpus();
			continue;
		}
		find_test_part(parts, ARRAY_SIZE(parts), argv[i])->test();
	}
	for (p = 0; p < ARRAY_SIZE(parts) && with_cet && !chosen; p++)
		parts[p].test();
	if (facts && fclose(facts))
		tap_bail("facts");
	return tap_done();
}
