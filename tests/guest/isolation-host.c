// SPDX-License-Identifier: GPL-2.0
/* S_CET of the host's kernel: unchanged, whatever guests do, and after the modules were reloaded. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "isolation.h"

static const unsigned int feature_sets[] = { 0, GUEST_SHSTK, GUEST_IBT, GUEST_SHSTK | GUEST_IBT, GUEST_ALL };

/* No CET feature is active at CPL0, because CR4.CET is clear. */
#define ALL_BITS (0xffff81234567c000 | 0x3f)

static GUEST uint64_t bad_stack(uint64_t unused)
{
	(void)unused;
	/* No stack for #DF either: a triple fault. */
	asm volatile("lidt (%0); ud2" : : "r"("\0\0\0\0\0\0\0\0\0"));
	return 0;
}

static GUEST uint64_t halt(uint64_t unused)
{
	(void)unused;
	asm volatile("hlt");
	return 0;
}

static GUEST uint64_t break_return(uint64_t unused)
{
	(void)unused;
	asm volatile("call 1f\n\t"
		     "jmp 2f\n"
		     "1:\tlea 2f(%%rip), %%rax\n\t"
		     "mov %%rax, (%%rsp)\n\t"
		     "ret\n"
		     "2:"
		     :
		     :
		     : "rax", "memory");
	return 0;
}

static void check_s_cet(const char *when)
{
	uint64_t got = host_rdmsr(MSR_S_CET);

	tap_ok(got == host_s_cet, "the host's S_CET: %s", when);
	if (got != host_s_cet)
		tap_diag("0x%llx, wanted 0x%llx", (unsigned long long)got, (unsigned long long)host_s_cet);
}

/* An entry that the CPU refuses, and then one that it accepts. */
static void check_failed_entries(struct cpu *c)
{
	static const char * const names[] = {
		"with CR4.CET and without CR0.WP",
		"with CS of 32 and of 64 bits at once",
	};
	struct kvm_sregs good, bad;
	struct kvm_regs regs;
	char name[80];
	uint64_t table;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		cpu_start(c, bad_stack, 0);
		cpu_cet(c, GUEST_ALL);
		table = cpu_rdmsr(c, MSR_INT_SSP_TAB) + 8 * (i + 1);
		cpu_wrmsr(c, MSR_INT_SSP_TAB, table);
		cpu_get_sregs(c, &good);
		bad = good;
		if (i == 0)
			bad.cr0 &= ~CR0_WP;
		else
			bad.cs.db = 1;
		cpu_set_sregs(c, &bad);
		check_stop(c, "fail entry", "an entry %s fails", names[i]);
		snprintf(name, sizeof(name), "after a failed entry %s", names[i]);
		check_s_cet(name);
		fact(name, "reason 0x%llx", (unsigned long long)c->io.run->fail_entry.hardware_entry_failure_reason);
		/* Without a write to SSP, which would mark all CET state as changed. */
		cpu_set_sregs(c, &good);
		regs = cpu_usual_regs(c, 0, (uintptr_t)halt);
		cpu_set_regs(c, &regs);
		cpu_run(c);
		tap_ok(cpu_rdmsr(c, MSR_INT_SSP_TAB) == table,
		       "the next entry loads the INT_SSP_TAB that was set before the one that failed");
		server_start(c);
		orders_of(c)->which = 3;
		tap_ok(server_do(c, ORDER_EXITS), "the vCPU runs once its state is valid again");
		check_s_cet("after that");
	}
}

static void check_exits_with_features(void)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	uint64_t before;
	char name[80];

	for (unsigned int i = 0; i < ARRAY_SIZE(feature_sets); i++) {
		if (feature_sets[i] & GUEST_IBT && !kvm_has_ibt())
			continue;
		cpu_cet(c, feature_sets[i]);
		server_start(c);
		orders_of(c)->which = many_exits;
		before = cpu_exits(c);
		snprintf(name, sizeof(name), "after %u exits of a guest with S_CET = 0x%llx", many_exits,
			 (unsigned long long)cpu_rdmsr(c, MSR_S_CET));
		tap_ok(server_do(c, ORDER_EXITS) && cpu_exits(c) - before >= many_exits, "%u VM exits", many_exits);
		check_s_cet(name);
	}
	machine_destroy(m);
}

static void check_exits_with_all_bits(struct cpu *c)
{
	server_start(c);
	cpu_wrmsr(c, MSR_S_CET, cet_control(ALL_BITS));
	orders_of(c)->which = many_exits;
	tap_ok(server_do(c, ORDER_EXITS) && server_do(c, ORDER_READ) &&
		       orders_of(c)->value[VALUE_S_CET] == cet_control(ALL_BITS),
	       "%u VM exits of a guest with every bit in S_CET but the tracker", many_exits);
	check_s_cet("after that");
}

static void check_faults(struct cpu *c)
{
	cpu_cet(c, GUEST_ALL);
	cpu_start(c, break_return, 0);
	check_stop(c, "#CP(1)", "the guest's #CP");
	check_s_cet("after that");
	cpu_start(c, bad_stack, 0);
	check_stop(c, "shutdown", "the guest's triple fault");
	check_s_cet("after that");
}

/*
 * S_CET reads as what is in effect, and each VM exit loads it: IBT is taken from the kernel, which gets it back at the
 * next exit. A kernel without CET is given IBT, which it does not notice. On SVM, the bit is one that has no effect
 * without shadow stacks. This taints the host.
 */
static void check_that_exits_load(void)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];

	cpu_cet(c, GUEST_ALL);
	server_start(c);
	if (!host_wrmsr(MSR_S_CET, host_s_cet ^ CET_HARMLESS))
		tap_bail("the host's S_CET cannot be written");
	tap_ok(host_rdmsr(MSR_S_CET) == (host_s_cet ^ CET_HARMLESS), "a changed S_CET of the host is seen");
	orders_of(c)->which = 1;
	tap_ok(server_do(c, ORDER_EXITS), "the guest runs");
	if (kvm_is_svm())
		tap_ok(host_rdmsr(MSR_S_CET) == (host_s_cet ^ CET_HARMLESS), "a VM exit loads what VMRUN saved");
	else
		check_s_cet("a VM exit puts it right");
	machine_destroy(m);
	if (host_rdmsr(MSR_S_CET) != host_s_cet)
		host_wrmsr(MSR_S_CET, host_s_cet);
}

void test_host_s_cet(void)
{
	struct machine *m;

	check_exits_with_features();
	m = machine_create(NULL);
	check_exits_with_all_bits(m->cpus[0]);
	check_failed_entries(m->cpus[0]);
	check_faults(m->cpus[0]);
	machine_destroy(m);
	check_that_exits_load();
}

/* kvm and the vendor's module are unloaded and loaded again. */

/* On a kernel that does not know CET, nothing of a guest is left. */
static bool host_is_clean(void)
{
	unsigned int i;

	for (i = 0; i < CET_MSRS; i++) {
		if (!host_rdmsr(cet_msrs[i]))
			continue;
		tap_diag("MSR 0x%x of the host: 0x%llx", cet_msrs[i], (unsigned long long)host_rdmsr(cet_msrs[i]));
		return false;
	}
	return true;
}

void test_reload(void)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	unsigned int i, wrong = 0;

	server_start(c);
	for (i = 0; i < CET_MSRS; i++)
		orders_of(c)->value[i] = cet_value(i, 0x777777);
	tap_ok(server_do(c, ORDER_WRITE), "a guest leaves its values behind");
	if (!host_has_cet) {
		tap_ok(host_rdmsr(MSR_PL3_SSP) == cet_value(VALUE_PL3, 0x777777),
		       "in the host's PL3_SSP, which nothing reads");
		tap_ok(!host_rdmsr(MSR_PL0_SSP) && !host_rdmsr(MSR_PL1_SSP) && !host_rdmsr(MSR_PL2_SSP) &&
			       !host_rdmsr(MSR_U_CET),
		       "and in no other that is switched with the vCPU");
		machine_destroy(m);
		tap_ok(host_is_clean(), "with the last VM gone, the host's CET MSRs are 0");
	} else {
		machine_destroy(m);
	}
	close(kvm_dev);
	tap_ok(host_unload_kvm(), "the modules can be unloaded");
	tap_ok(access("/sys/module/kvm", F_OK) && open("/dev/kvm", O_RDWR | O_CLOEXEC) < 0, "there is no KVM then");
	check_s_cet("without the modules");
	if (!host_has_cet)
		tap_ok(host_is_clean(), "without the modules, the host's CET MSRs are 0");
	for (i = VALUE_PL0; i < VALUE_PL3; i++)
		host_wrmsr(cet_msrs[i], cet_value(i, 0x888888));
	tap_ok(host_load_kvm(NULL), "the modules can be loaded again");
	check_s_cet("with the modules loaded again");
	kvm_dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_dev < 0)
		tap_bail("/dev/kvm");
	m = machine_create(NULL);
	c = m->cpus[0];
	/* Natively, the first guest's state replaces it. */
	if (!access("/sys/module/kvm/version", F_OK))
		tap_ok(!host_rdmsr(MSR_PL0_SSP) && !host_rdmsr(MSR_PL1_SSP) && !host_rdmsr(MSR_PL2_SSP),
		       "with the first VM, what somebody left in the CPU is gone");
	for (i = 0; i < CET_MSRS; i++)
		wrong += cpu_rdmsr(c, cet_msrs[i]) != 0;
	server_start(c);
	wrong += !server_do(c, ORDER_READ);
	for (i = 0; i < CET_MSRS; i++)
		wrong += orders_of(c)->value[i] != 0;
	tap_ok(!wrong, "a new guest finds nothing of the old one's");
	orders_of(c)->value[VALUE_S_CET] = cet_value(VALUE_S_CET, 1);
	orders_of(c)->which = VALUE_S_CET;
	tap_ok(server_do(c, ORDER_WRITE_ONE) && cpu_rdmsr(c, MSR_S_CET) == cet_value(VALUE_S_CET, 1),
	       "and has CET of its own");
	check_s_cet("after that");
	machine_destroy(m);
}
