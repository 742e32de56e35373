// SPDX-License-Identifier: GPL-2.0
/* A vCPU that begins to use CET while another one's values may still be in the CPU; and one whose CPUID changes. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <asm/kvm_onereg.h>

#include "isolation.h"

/* What a guest does first; lower values are an index of an MSR in cet_msrs that it writes. */
#define FIRST_XSS_S   (CET_MSRS + 0)
#define FIRST_XSS     (CET_MSRS + 1)
#define FIRST_NOTHING (CET_MSRS + 2)
#define FIRSTS	      (CET_MSRS + 3)

static uint64_t read_back[CET_MSRS];
static uint64_t faults;
static struct cet_image image;

static GUEST uint64_t use(uint64_t first, uint64_t value)
{
	unsigned int i;

	if (first < CET_MSRS)
		g_wrmsr(cet_msrs[first], value);
	else if (first == FIRST_XSS_S)
		g_wrmsr(MSR_XSS, XSS_CET_S);
	else if (first == FIRST_XSS)
		g_wrmsr(MSR_XSS, XSS_CET);
	faults = 0;
	for (i = 0; i < CET_MSRS; i++)
		faults += g_rdmsr_safe(cet_msrs[i], &read_back[i]) != 0;
	if (!g_wrmsr_safe(MSR_XSS, XSS_CET))
		g_xsaves(&image, XSS_CET);
	return 0;
}

/* Everything is 0, except that one MSR. */
static bool only(struct cpu *c, unsigned int msr, uint64_t value)
{
	const uint64_t *r = *in_guest(c->machine, &read_back);
	const struct cet_image *m = in_guest(c->machine, &image);
	const uint64_t saved[] = { m->u_cet, 0, m->pl_ssp[0], m->pl_ssp[1], m->pl_ssp[2], m->pl3_ssp, 0 };
	bool ok = true;
	unsigned int i;

	for (i = 0; i < CET_MSRS; i++) {
		uint64_t want = i == msr ? value : 0, host = cpu_rdmsr(c, cet_msrs[i]);
		/* S_CET and INT_SSP_TAB are not XSAVE state. */
		bool image_ok = i == VALUE_S_CET || i == VALUE_TABLE || saved[i] == want;

		if (r[i] == want && host == want && image_ok)
			continue;
		tap_diag("%s: RDMSR 0x%llx, XSAVES 0x%llx, for the host 0x%llx, wanted 0x%llx", cet_names[i],
			 (unsigned long long)r[i], (unsigned long long)saved[i], (unsigned long long)host,
			 (unsigned long long)want);
		ok = false;
	}
	return ok;
}

static void leave_values(struct cpu *other)
{
	struct orders *o = orders_of(other);
	unsigned int i;

	for (i = 0; i < CET_MSRS; i++)
		o->value[i] = cet_value(i, 0x515151);
	if (!server_do(other, ORDER_WRITE))
		tap_bail("the other guest");
}

static void check_first_use(struct cpu *other)
{
	unsigned int first, by_host;

	for (first = 0; first < FIRSTS; first++)
		for (by_host = 0; by_host < 2; by_host++) {
			struct machine *m = machine_create(NULL);
			struct cpu *c = m->cpus[0];
			uint64_t value = first < CET_MSRS ? cet_value(first, 0x2323) : 0;
			const char *name = first < CET_MSRS	? cet_names[first] :
					   first == FIRST_XSS_S ? "XSS[12]" :
					   first == FIRST_XSS	? "XSS[12:11]" :
								  "nothing";

			leave_values(other);
			if (by_host && first < CET_MSRS)
				cpu_wrmsr(c, cet_msrs[first], value);
			else if (by_host && first < FIRST_NOTHING)
				cpu_wrmsr(c, MSR_XSS, first == FIRST_XSS_S ? XSS_CET_S : XSS_CET);
			cpu_start(c, use, by_host ? FIRST_NOTHING : first, value);
			tap_ok(finished(c) && !*in_guest(m, &faults) && only(c, first, value),
			       "%s writes %s at first: all else is 0, whatever another vCPU left",
			       by_host ? "the host" : "the guest", name);
			machine_destroy(m);
		}
}

static GUEST uint64_t write_one(uint64_t msr, uint64_t value)
{
	g_wrmsr(msr, value);
	return 0;
}

/* Nothing else tells KVM that the vCPU uses it. */
static void check_only_write(void)
{
	struct machine *m;
	struct cpu *c;
	unsigned int i;

	for (i = 0; i < CET_MSRS; i++) {
		m = machine_create(NULL);
		c = m->cpus[0];
		cpu_start(c, write_one, cet_msrs[i], cet_value(i, 0x3131));
		tap_ok(finished(c) && cpu_rdmsr(c, cet_msrs[i]) == cet_value(i, 0x3131) && !host_rdmsr(MSR_PL0_SSP) &&
			       !host_rdmsr(MSR_PL1_SSP) && !host_rdmsr(MSR_PL2_SSP),
		       "a guest's only access is to write %s: it is the vCPU's, and not left in the CPU", cet_names[i]);
		machine_destroy(m);
	}
}

static GUEST uint64_t do_syscall(uint64_t unused)
{
	(void)unused;
	g_syscall();
	return 0;
}

/* Only S_CET tells KVM that the vCPU has a PL3_SSP, not XSS or another MSR; and it is not switched with the others. */
static void check_only_syscall(struct cpu *other)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	const uint64_t ssp = cpu_shadow_stack(c, CPU_SS_PAGE);
	struct orders *o = orders_of(other);
	struct kvm_sregs sregs;

	leave_values(other);
	cpu_start(c, do_syscall, 0);
	cpu_get_sregs(c, &sregs);
	sregs.cr4 |= CR4_CET;
	cpu_set_sregs(c, &sregs);
	cpu_set_ssp(c, ssp);
	tap_ok(finished(c), "a guest's only access is SYSCALL at CPL0");
	tap_ok(cpu_rdmsr(c, MSR_PL3_SSP) == ssp, "... which writes SSP to PL3_SSP");
	memset(o->value, 0, sizeof(o->value));
	tap_ok(server_do(other, ORDER_READ), "... and another guest runs");
	tap_ok(o->value[VALUE_PL3] == cet_value(VALUE_PL3, 0x515151), "... which has its own PL3_SSP still");
	machine_destroy(m);
}

/* A vCPU that has no CPUID yet, on the pages of the machine's second one. */
static struct cpu new_vcpu(struct machine *m)
{
	struct cpu c = *m->cpus[1];

	c.io.vcpu = ioctl(m->fd, KVM_CREATE_VCPU, 3);
	if (c.io.vcpu < 0)
		tap_bail("KVM_CREATE_VCPU");
	c.io.run = mmap(NULL, c.io.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c.io.vcpu, 0);
	if (c.io.run == MAP_FAILED)
		tap_bail("struct kvm_run");
	return c;
}

static void set_cpuid(struct cpu *c, bool cet)
{
	struct kvm_cpuid2 *all = c->machine->cpus[1]->cpuid;
	size_t size = sizeof(*all) + all->nent * sizeof(all->entries[0]);
	struct kvm_cpuid2 *cpuid = malloc(size);

	if (!cpuid)
		tap_bail("no memory");
	memcpy(cpuid, all, size);
	if (!cet)
		cpuid_hide_cet(cpuid, 0);
	if (ioctl(c->io.vcpu, KVM_SET_CPUID2, cpuid))
		tap_bail("KVM_SET_CPUID2");
	free(cpuid);
}

/* The state of a vCPU with or without @values: counts the wrong ones. */
static unsigned int wrong_for_host(struct cpu *c, bool cet, bool values)
{
	const uint64_t id = KVM_X86_REG_KVM(KVM_REG_GUEST_SSP);
	unsigned int i, wrong = 0;
	uint64_t value;

	for (i = 0; i < CET_MSRS; i++) {
		value = 1;
		wrong += !msrs_get(&c->io, cet_msrs[i], &value) || value != (values ? cet_value(i, 0x77) : 0);
	}
	wrong += (get_reg(&c->io, id, &value).ret == 0) != cet;
	return wrong;
}

static unsigned int wrong_for_guest(struct cpu *c, bool cet, bool values)
{
	const uint64_t *r = *in_guest(c->machine, &read_back);
	unsigned int i, wrong = 0;

	memset(in_guest(c->machine, &image), 0, sizeof(image));
	cpu_start(c, use, FIRST_NOTHING, 0);
	if (!finished(c))
		return 1;
	wrong += *in_guest(c->machine, &faults) != (cet ? 0 : CET_MSRS);
	for (i = 0; i < CET_MSRS && cet; i++)
		wrong += r[i] != (values ? cet_value(i, 0x77) : 0);
	return wrong;
}

/* Until a vCPU runs, its CPUID can be set again. That clears no values, but makes them inaccessible. */
static void check_cpuid_changes(struct cpu *other)
{
	static const struct {
		const char *name;
		unsigned int n;
		bool cet[3];
	} changes[] = {
		{ "without CET, then with", 2, { false, true } },
		{ "with CET, then without", 2, { true, false } },
		{ "with CET, without, and with again", 3, { true, false, true } },
	};
	const struct machine_config two = { .cpus = 2 };
	unsigned int i, j, k, wrong;

	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		struct machine *m = machine_create(&two);
		struct cpu c = new_vcpu(m);
		bool cet = false, values = false;

		leave_values(other);
		wrong = 0;
		for (j = 0; j < changes[i].n; j++) {
			cet = changes[i].cet[j];
			set_cpuid(&c, cet);
			wrong += wrong_for_host(&c, cet, cet && values);
			if (!cet || values)
				continue;
			for (k = 0; k < CET_MSRS; k++)
				cpu_wrmsr(&c, cet_msrs[k], cet_value(k, 0x77));
			values = true;
			wrong += wrong_for_host(&c, cet, values);
		}
		tap_ok(!wrong, "CPUID %s: for the host", changes[i].name);
		wrong = wrong_for_guest(&c, cet, values);
		tap_ok(!wrong, "CPUID %s: for the guest", changes[i].name);
		munmap(c.io.run, c.io.run_size);
		close(c.io.vcpu);
		machine_destroy(m);
	}
}

void test_first_use(void)
{
	struct machine *m = machine_create(NULL);

	server_start(m->cpus[0]);
	check_first_use(m->cpus[0]);
	check_only_write();
	check_only_syscall(m->cpus[0]);
	check_cpuid_changes(m->cpus[0]);
	machine_destroy(m);
}
