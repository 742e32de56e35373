// SPDX-License-Identifier: GPL-2.0
/* A guest that runs or has run, and callers from other threads and processes. */
#include <stdio.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvm.h"
#include "onereg.h"

#define MSR_LSTAR 0xc0000082u

static void check_guest_sees(void)
{
	const uint64_t host_value = 0x00001234deadb000ull;
	const uint64_t guest_value = 0xffffffff81000000ull;
	uint64_t value = 0;
	struct outcome o;
	struct vm vm;

	vm_create(&vm, VM_CPUID | VM_MEMORY);
	check_errno(set_reg(&vm, ID_LSTAR, host_value), 0, "LSTAR before the first run: SET");
	tap_ok(guest_rdmsr(&vm, MSR_LSTAR, &value) == GUEST_DONE && value == host_value,
	       "LSTAR: guest reads what SET wrote");
	tap_ok(guest_wrmsr(&vm, MSR_LSTAR, guest_value) == GUEST_DONE, "LSTAR: guest writes");
	o = get_reg(&vm, ID_LSTAR, &value);
	check_value(o, value, guest_value, "LSTAR after a guest write: GET");
	check_errno(set_reg(&vm, ID_LSTAR, host_value), 0, "LSTAR after a run: SET");
	tap_ok(guest_rdmsr(&vm, MSR_LSTAR, &value) == GUEST_DONE && value == host_value,
	       "LSTAR: guest reads what SET wrote after a run");
	vm_destroy(&vm);
}

/*
 * Feature MSRs once the vCPU has run. Kernels differ in what they still accept, but ONE_REG
 * must agree with KVM_SET_MSRS of the same kernel.
 */
static bool frozen_alike(struct vm *vm, uint32_t msr, uint64_t value)
{
	uint64_t before = 0, by_msrs = 0, by_reg = 0;
	struct outcome o;
	bool ok;

	msrs_get(vm, msr, &before);
	ok = msrs_set(vm, msr, value);
	msrs_get(vm, msr, &by_msrs);
	if (ok)
		msrs_set(vm, msr, before);
	o = set_reg(vm, ID_MSR_BASE | msr, value);
	msrs_get(vm, msr, &by_reg);
	if (o.ret == 0)
		msrs_set(vm, msr, before);
	if (by_msrs == by_reg && (ok ? o.ret == 0 : o.err == EINVAL))
		return true;
	tap_diag("MSR 0x%x = 0x%llx: %d %s, but KVM_SET_MSRS %s", msr, (unsigned long long)value, o.ret,
		 errno_name(o.err), ok ? "ok" : "failed");
	return false;
}

static void check_features_after_run(void)
{
	struct kvm_msr_list *list = msr_list(KVM_GET_MSR_FEATURE_INDEX_LIST);
	bool same = true, changed = true;
	uint64_t value;
	unsigned int i;
	struct vm vm;

	vm_create(&vm, VM_CPUID | VM_MEMORY);
	guest_load(&vm, GUEST_HLT, 0, 0);
	tap_ok(guest_run(&vm, NULL) == GUEST_DONE, "guest has run");
	for (i = 0; i < list->nmsrs; i++) {
		uint32_t msr = list->indices[i];

		if (!msrs_get(&vm, msr, &value))
			value = 0;
		same &= frozen_alike(&vm, msr, value);
		changed &= frozen_alike(&vm, msr, value ^ 1);
		changed &= frozen_alike(&vm, msr, 0);
		changed &= frozen_alike(&vm, msr, value & (value - 1));
	}
	tap_ok(same, "feature MSRs after a run: SET of the same value like KVM_SET_MSRS");
	tap_ok(changed, "feature MSRs after a run: SET of another value like KVM_SET_MSRS");
	vm_destroy(&vm);
	free(list);
}

/* The VMX capability MSRs: unlike other feature MSRs, every kvm-intel has them. */
static void check_vmx_after_run(void)
{
	static const char name[] = "IA32_VMX_MISC after a run";
	const uint32_t msr = 0x485;
	uint64_t value, changed;
	struct vm vm;

	vm_create(&vm, VM_CPUID | VM_MEMORY);
	if (!host_is("kvm_intel") || !msrs_get(&vm, msr, &value) || !value) {
		tap_skip("no nested VMX", "%s: same value", name);
		tap_skip("no nested VMX", "%s: another value", name);
		vm_destroy(&vm);
		return;
	}
	guest_load(&vm, GUEST_HLT, 0, 0);
	guest_run(&vm, NULL);
	/* Bits 8:6 are activity states, which may be removed. */
	changed = value & ~(1ull << 6);
	tap_ok(set_reg(&vm, ID_MSR_BASE | msr, value).ret == 0, "%s: same value", name);
	tap_ok(frozen_alike(&vm, msr, changed), "%s: another value", name);
	vm_destroy(&vm);
}

struct waiter {
	const struct vm *vm;
	unsigned int nr;
	pid_t tid;
	int done;
	struct outcome result;
	uint64_t value;
};

static int wait_for_vcpu(void *arg)
{
	struct waiter *w = arg;

	__atomic_store_n(&w->tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	if (w->nr == GET_REG_LIST)
		w->result = xioctl(w->vm->vcpu, GET_REG_LIST, &w->value);
	else
		w->result = one_reg(w->vm->vcpu, w->nr, ID_LSTAR, user_addr(&w->value));
	__atomic_store_n(&w->done, 1, __ATOMIC_RELEASE);
	return 0;
}

static void *waiter_thread(void *arg)
{
	wait_for_vcpu(arg);
	return NULL;
}

static pid_t waiter_tid(const struct waiter *w)
{
	pid_t tid;

	while (!(tid = __atomic_load_n(&w->tid, __ATOMIC_ACQUIRE)))
		sleep_ms(1);
	return tid;
}

static void check_blocks(struct vm *vm, unsigned int nr, const char *name)
{
	struct waiter w = { .vm = vm, .nr = nr };
	struct runner r;
	pthread_t thread;
	bool blocked;

	if (!runner_start(&r, vm))
		tap_bail("guest does not run");
	pthread_create(&thread, NULL, waiter_thread, &w);
	blocked = wait_until_blocked(getpid(), waiter_tid(&w));
	tap_ok(blocked && guest_is_progressing(vm) && !__atomic_load_n(&w.done, __ATOMIC_ACQUIRE),
	       "%s waits while the vCPU runs", name);
	/* A signal that is not fatal does not end the wait. */
	pthread_kill(thread, SIGUSR1);
	tap_ok(guest_is_progressing(vm) && !__atomic_load_n(&w.done, __ATOMIC_ACQUIRE),
	       "%s is not interrupted by a signal", name);
	runner_stop(&r);
	tap_ok(r.result.err == EINTR, "%s: KVM_RUN is kicked", name);
	pthread_join(thread, NULL);
	check_errno(w.result, 0, "%s after the vCPU has stopped", name);
}

/*
 * A waiter with our memory, but not in our thread group: it can be killed while the vCPU
 * goes on running.
 */
static void check_killed_waiter(struct vm *vm)
{
	static const size_t stack_size = 0x10000;
	struct waiter w = { .vm = vm, .nr = GET_ONE_REG };
	struct runner r;
	uint64_t value;
	uint8_t *stack;
	int status = 0;
	bool blocked;
	pid_t pid;

	stack = mmap(NULL, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED || !runner_start(&r, vm))
		tap_bail("guest does not run");
	pid = clone(wait_for_vcpu, stack + stack_size, CLONE_VM | CLONE_FILES | SIGCHLD, &w);
	if (pid < 0)
		tap_bail("clone");
	blocked = wait_until_blocked(pid, waiter_tid(&w));
	kill(pid, SIGKILL);
	tap_ok(wait_for_exit(pid, &status) && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	       "a waiter can be killed while the vCPU runs");
	tap_ok(blocked && !w.done, "the killed waiter was waiting");
	tap_ok(guest_is_progressing(vm), "the vCPU runs on");
	runner_stop(&r);
	check_errno(get_reg(vm, ID_LSTAR, &value), 0, "GET after a waiter was killed");
	munmap(stack, stack_size);
}

/* All at once: the waiter, the thread in KVM_RUN, and the VM. */
static void check_killed_process(void)
{
	pid_t pid = fork();
	bool ended = false;
	unsigned int i;
	int status = 0;

	if (pid < 0)
		tap_bail("fork");
	if (!pid) {
		struct waiter w = { .nr = GET_ONE_REG };
		struct runner r;
		pthread_t thread;
		struct vm vm;

		vm_create(&vm, VM_CPUID | VM_MEMORY);
		w.vm = &vm;
		if (!runner_start(&r, &vm))
			_exit(1);
		pthread_create(&thread, NULL, waiter_thread, &w);
		if (!wait_until_blocked(getpid(), waiter_tid(&w)))
			_exit(2);
		kill(getpid(), SIGKILL);
		_exit(3);
	}
	/* The child's own waits are limited; this one has to be longer. */
	for (i = 0; i < 10 && !ended; i++)
		ended = wait_for_exit(pid, &status);
	if (!ended)
		kill(pid, SIGKILL);
	tap_ok(ended && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	       "a process with a running vCPU and a waiter can be killed");
	printf("# the process %s, wait status %#x\n", ended ? "ended" : "did not end", status);
}

struct foreign {
	struct outcome get, set, list, null, bad_id;
};

static void check_other_mm(const struct vm *vm)
{
	struct foreign *f;
	uint64_t value = 0;
	int status = -1;
	pid_t pid;

	f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (f == MAP_FAILED)
		tap_bail("shared memory");
	pid = fork();
	if (pid < 0)
		tap_bail("fork");
	if (!pid) {
		f->get = get_reg(vm, ID_EFER, &value);
		f->set = set_reg(vm, ID_EFER, 0);
		f->list = xioctl(vm->vcpu, GET_REG_LIST, &value);
		f->null = xioctl(vm->vcpu, GET_ONE_REG, NULL);
		f->bad_id = get_reg(vm, 0, &value);
		_exit(0);
	}
	tap_ok(wait_for_exit(pid, &status) && status == 0, "a forked child calls");
	check_errno(f->get, EIO, "GET from a forked child");
	check_errno(f->set, EIO, "SET from a forked child");
	check_errno(f->list, EIO, "list from a forked child");
	check_errno(f->null, EIO, "GET from a forked child: argp NULL");
	check_errno(f->bad_id, EIO, "GET from a forked child: bad id");
	check_errno(get_reg(vm, ID_EFER, &value), 0, "GET after a forked child");
	munmap(f, sizeof(*f));
	tap_skip("nothing an unprivileged VMM does makes a VM dead", "EIO from a dead VM");
}

void test_run(void)
{
	struct vm vm;

	check_guest_sees();
	check_features_after_run();
	check_vmx_after_run();

	vm_create(&vm, VM_CPUID | VM_MEMORY);
	check_other_mm(&vm);
	check_blocks(&vm, GET_ONE_REG, "GET");
	check_blocks(&vm, SET_ONE_REG, "SET");
	check_blocks(&vm, GET_REG_LIST, "list");
	check_killed_waiter(&vm);
	vm_destroy(&vm);
	check_killed_process();
}
