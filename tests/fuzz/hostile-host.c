// SPDX-License-Identifier: GPL-2.0
/* Checks that hostile attempts leave the host as it was. */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chain.h"
#include "host.h"
#include "hostile.h"
#include "user-shadow-stack.h"

static unsigned int cpus;
/* The CPU that is examined: this process is on it. */
static unsigned int here = -1;
static uint64_t at_rest[CET_MSRS_XSS];
static unsigned int first_seen;
static uint64_t first_cr4;
static bool keeper_lives;

unsigned int host_cpus(void)
{
	return cpus;
}

void host_examine(unsigned int cpu)
{
	if (here != cpu && !host_move(0, cpu))
		tap_bail("this process cannot be on CPU %u", cpu);
	here = cpu;
}

/* ---- A process with a shadow stack ---- */

static pid_t keeper;
static int to_keeper = -1, from_keeper = -1;

#define KEEPER_CALLS 20

static GUEST unsigned int calls(unsigned int n)
{
	return n ? calls(n - 1) + 1 : 0;
}

/*
 * Each byte that it reads is the CPU to which it goes. It must not return, as its callers have no entries on the new
 * shadow stack.
 */
static _Noreturn void keep(int in, int out)
{
	uint64_t ssp, u_cet, pl3;
	unsigned char cpu;
	unsigned int tries;
	int msrs;
	char c;

	if (own_arch_prctl(ARCH_SHSTK_ENABLE, ARCH_SHSTK_SHSTK))
		_exit(2);
	while (read(in, &cpu, 1) == 1) {
		msrs = host_msr_file(cpu);
		host_examine(cpu);
		c = calls(KEEPER_CALLS) == KEEPER_CALLS ? 'k' : 'c';
		/* A thread that loses the CPU in the kernel gets its state back only on the way to user mode. */
		for (tries = 0; tries < 3; tries++) {
			u_cet = own_msr(msrs, MSR_U_CET, &ssp);
			pl3 = own_msr(msrs, MSR_PL3_SSP, &ssp);
			if (u_cet == ARCH_SHSTK_SHSTK && pl3 == ssp)
				break;
		}
		if (tries == 3)
			c = 'm';
		if (write(out, &c, 1) != 1)
			break;
	}
	_exit(0);
}

static void start_keeper(void)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		tap_bail("pipe");
	fflush(stdout);
	keeper = fork();
	if (keeper < 0)
		tap_bail("fork");
	if (!keeper) {
		close(in[1]);
		close(out[0]);
		keep(in[0], out[1]);
	}
	close(in[0]);
	close(out[1]);
	to_keeper = in[1];
	from_keeper = out[0];
	keeper_lives = true;
}

static bool keeper_goes_on(const char *when)
{
	const unsigned char cpu = here;
	char c = '?';

	if (!keeper_lives)
		return true;
	if (write(to_keeper, &cpu, 1) == 1 && read(from_keeper, &c, 1) == 1 && c == 'k')
		return true;
	tap_diag("%s: a process with a shadow stack %s", when,
		 c == '?' ? "has ended" :
		 c == 'm' ? "does not have its own U_CET and PL3_SSP" :
			    "returned to the wrong place");
	if (c == '?')
		keeper_lives = false;
	return false;
}

/* ---- The CPU ---- */

/* The bits of CR4 that user mode can see: OSXSAVE, PKE. */
static unsigned int seen_of_cr4(void)
{
	unsigned int eax, ebx, ecx, edx, seen;

	__cpuid(1, eax, ebx, ecx, edx);
	seen = ecx >> 27 & 1;
	__cpuid_count(7, 0, eax, ebx, ecx, edx);
	return seen | (ecx >> 4 & 1) << 1;
}

static bool may_be_anything(uint32_t msr, bool vms)
{
	/* A kernel without CET leaves the last guest's value there: cet_state.c says why this is harmless. */
	return vms && msr == MSR_PL3_SSP && !host_has_cet;
}

bool host_is_right(bool vms, const char *when)
{
	unsigned int i, tries;
	bool right = true;
	uint64_t got = 0;

	for (i = 0; i < CET_MSRS_XSS; i++) {
		if (may_be_anything(cet_msrs[i], vms))
			continue;
		/* User state may belong to another thread, if this one has just lost the CPU in the kernel. */
		for (tries = 0; tries < 3; tries++) {
			got = host_rdmsr_on(here, cet_msrs[i]);
			if (got == at_rest[i])
				break;
		}
		if (tries < 3)
			continue;
		right = false;
		tap_diag("%s: MSR 0x%x of the host's CPU %u is 0x%llx, and was 0x%llx", when, cet_msrs[i], here,
			 (unsigned long long)got, (unsigned long long)at_rest[i]);
	}
	if (seen_of_cr4() != first_seen) {
		right = false;
		tap_diag("%s: OSXSAVE and PKE of the host are 0x%x, and were 0x%x", when, seen_of_cr4(), first_seen);
	}
	return keeper_goes_on(when) && right;
}

/* ---- Its log ---- */

static int kmsg = -1;

/* The same as in tests/hosts/boot, which checks the whole log at the end. */
static bool is_complaint(const char *record)
{
	static const char * const words[] = {
		"WARNING: ",	    "BUG: ",	     "kernel BUG at",  "Oops",	     "general protection fault:",
		"unable to handle", "INFO: ",	     "suspicious RCU", "UBSAN",	     "KASAN",
		"KFENCE",	    "unchecked MSR", "refcount_t",     "corruption", "double fault",
		"ODEBUG",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (strstr(record, words[i]))
			return true;
	return false;
}

/*
 * Warnings of the distro's own code about states that only a VMM can create: they are printed, but do not count.
 * hostile.sh has the same list.
 */
static bool is_known(const char *record)
{
	static const char * const where[] = {
		/* 6.1: an exception is to be injected again, and another is pending. */
		"kvm_multiple_exception+",
		/* 6.1: the memory of L1's EPT is gone when L2 is entered; KVM takes it for a triple fault. */
		"nested_vmx_vmexit+",
		"vmx_handle_exit+",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(where); i++)
		if (strstr(record, "WARNING: ") && strstr(record, where[i]))
			return true;
	return false;
}

static bool log_is_quiet(const char *when)
{
	char record[2048], *text;
	bool quiet = true;
	ssize_t n;

	while ((n = read(kmsg, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		record[n < 0 ? 0 : n] = '\0';
		if (!is_complaint(record))
			continue;
		text = strchr(record, ';');
		text = text ? text + 1 : record;
		text[strcspn(text, "\n")] = '\0';
		tap_diag("%s%s: the kernel says: %s", is_known(record) ? "known: " : "", when, text);
		quiet &= is_known(record);
	}
	return quiet;
}

/* ---- KVM ---- */

static bool new_vm_works(const char *when)
{
	struct machine *m;
	struct cpu *c;
	uint64_t base;
	bool ok;

	c = chain_start_deep(&m, 3, RETURN, &base);
	ok = chain_unwinds(c, DEPTH, base, 3);
	machine_destroy(m);
	if (!ok)
		tap_diag("%s: a new VM does not work", when);
	return ok;
}

/* Each takes a dump of a VMCS. */
#define CR4_EVERY 32

bool host_works(const char *when)
{
	static unsigned int times;
	bool ok = new_vm_works(when), quiet = log_is_quiet(when);
	uint64_t cr4;

	if (first_cr4 && times++ % CR4_EVERY == CR4_EVERY - 1) {
		cr4 = host_cr4();
		if (cr4 != first_cr4) {
			tap_diag("%s: CR4 of the host is 0x%llx, and was 0x%llx", when, (unsigned long long)cr4,
				 (unsigned long long)first_cr4);
			ok = false;
		}
	}
	return ok && quiet;
}

/* Nothing in the host uses PL1_SSP. */
#define SPOILED 0x1230

void host_start(void)
{
	unsigned int i, cpu;

	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg < 0 || lseek(kmsg, 0, SEEK_END) < 0)
		tap_bail("/dev/kmsg");
	host_s_cet = host_usual_s_cet();
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	host_examine(0);
	for (i = 0; i < CET_MSRS_XSS; i++) {
		at_rest[i] = host_rdmsr(cet_msrs[i]);
		for (cpu = 1; cpu < host_cpus(); cpu++)
			tap_ok(host_rdmsr_on(cpu, cet_msrs[i]) == at_rest[i],
			       "the host at rest: CPU %u has the same MSR 0x%x", cpu, cet_msrs[i]);
		if (cet_msrs[i] == MSR_XSS)
			continue;
		tap_ok(at_rest[i] == (cet_msrs[i] == MSR_S_CET ? host_s_cet : 0),
		       "the host at rest: MSR 0x%x is 0x%llx", cet_msrs[i], (unsigned long long)at_rest[i]);
	}
	first_seen = seen_of_cr4();
	for (cpu = host_cpus(); cpu--;) {
		/* On a native kernel, a change of tasks writes PL1_SSP: this process goes there before. */
		host_examine(cpu);
		if (!host_wrmsr_on(cpu, MSR_PL1_SSP, SPOILED))
			tap_bail("PL1_SSP of the host cannot be written");
		tap_ok(!host_is_right(false, "PL1_SSP is changed"), "a changed MSR of CPU %u is noticed", cpu);
		host_wrmsr_on(cpu, MSR_PL1_SSP, 0);
	}
	if (!kvm_is_svm()) {
		first_cr4 = host_cr4();
		tap_ok(first_cr4 && !(first_cr4 & CR4_CET) == !host_has_cet, "the host at rest: CR4 is 0x%llx",
		       (unsigned long long)first_cr4);
	}
	if (host_has_cet)
		start_keeper();
	tap_ok(host_is_right(false, "at the start") && host_works("at the start"), "the host is right at the start");
}

void host_end(void)
{
	int status = 0;

	if (!keeper_lives)
		return;
	close(to_keeper);
	waitpid(keeper, &status, 0);
	tap_ok(WIFEXITED(status) && !WEXITSTATUS(status), "the process with a shadow stack ends as it should");
}
