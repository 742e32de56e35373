// SPDX-License-Identifier: GPL-2.0
/*
 * What applies to MSR accesses of guests, and must not apply to ONE_REG: the MSR filter, and
 * exits to user space. kvm.ignore_msrs applies to both.
 */
#include <errno.h>
#include <stdlib.h>

#include "kvm.h"
#include "onereg.h"

static const char * const end_names[] = {
	[GUEST_DONE] = "no exception",
	[GUEST_GOT_GP] = "#GP",
	[GUEST_OTHER_EXIT] = "another exit",
};

static void check_guest(enum guest_end got, enum guest_end want, const char *name)
{
	tap_ok(got == want, "%s", name);
	if (got != want)
		tap_diag("guest got: %s", end_names[got]);
}

/* With every policy below, a VMM sees these. */
static void check_unaffected(const struct vm *vm, const char *when)
{
	uint64_t value = ~0ull;
	struct outcome o;

	check_errno(set_reg(vm, ID_LSTAR, 0x123456000ull), 0, "LSTAR %s: SET", when);
	o = get_reg(vm, ID_LSTAR, &value);
	check_value(o, value, 0x123456000ull, "LSTAR %s: GET", when);
	check_errno(set_reg(vm, ID_KERNEL_GS_BASE, 0x1000), 0, "KERNEL_GS_BASE %s: SET", when);
	o = get_reg(vm, ID_KERNEL_GS_BASE, &value);
	check_value(o, value, 0x1000, "KERNEL_GS_BASE %s: GET", when);
	check_errno(get_reg(vm, ID_TSC, &value), 0, "TSC %s: GET", when);
	check_errno(get_reg(vm, ID_GUEST_SSP, &value), EINVAL, "GUEST_SSP %s: GET", when);
	check_errno(set_reg(vm, ID_GUEST_SSP, 0), EINVAL, "GUEST_SSP %s: SET", when);
}

static void check_unknown(const struct vm *vm, int want, const char *when)
{
	uint64_t value = 0;

	check_errno(get_reg(vm, ID_UNKNOWN, &value), want, "unknown MSR %s: GET", when);
	tap_ok(value == 0, "unknown MSR %s: GET: value is 0", when);
	check_errno(set_reg(vm, ID_UNKNOWN, 0), want, "unknown MSR %s: SET 0", when);
	check_errno(set_reg(vm, ID_UNKNOWN, 1), want, "unknown MSR %s: SET 1", when);
}

static bool deny_all(const struct vm *vm)
{
	static uint8_t bitmap[0x2000 / 8];
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_DENY,
		.ranges[0] = {
			.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			.base = 0xc0000000,
			.nmsrs = 0x2000,
			.bitmap = bitmap,
		},
	};

	return xioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter).ret == 0;
}

static void check_filter(void)
{
	uint64_t value;
	struct vm vm;

	vm_create(&vm, VM_CPUID | VM_MEMORY);
	check_guest(guest_rdmsr(&vm, 0xc0000082, &value), GUEST_DONE, "guest reads LSTAR before the filter");
	tap_ok(deny_all(&vm), "MSR filter that denies all");
	check_guest(guest_rdmsr(&vm, 0xc0000082, &value), GUEST_GOT_GP, "guest reads LSTAR under the filter: #GP");
	check_unaffected(&vm, "under a filter");
	check_unknown(&vm, EINVAL, "under a filter");
	vm_destroy(&vm);
}

/* Runs the guest into an exit for an MSR and lets it fail there. */
static void check_msr_exit(struct vm *vm, enum guest_code code, uint32_t msr, uint32_t reason, const char *name)
{
	uint32_t exit_reason = code == GUEST_RDMSR ? KVM_EXIT_X86_RDMSR : KVM_EXIT_X86_WRMSR;
	bool ok;

	guest_load(vm, code, msr, 0);
	ok = guest_run(vm, NULL) == GUEST_OTHER_EXIT && vm->run->exit_reason == exit_reason &&
	     vm->run->msr.index == msr && vm->run->msr.reason == reason;
	tap_ok(ok, "%s: exit", name);
	if (!ok)
		tap_diag("exit %u, reason %u", vm->run->exit_reason, vm->run->msr.reason);
	vm->run->msr.error = 1;
	check_guest(guest_run(vm, NULL), GUEST_GOT_GP, name);
}

static void check_user_space_msr(void)
{
	struct kvm_enable_cap enable = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args[0] = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER,
	};
	uint32_t exit_reason;
	struct vm vm;

	vm_create(&vm, VM_CPUID | VM_MEMORY);
	tap_ok(xioctl(vm.fd, KVM_ENABLE_CAP, &enable).ret == 0, "KVM_CAP_X86_USER_SPACE_MSR");
	exit_reason = vm.run->exit_reason;
	check_unaffected(&vm, "with MSR exits");
	check_unknown(&vm, EINVAL, "with MSR exits");
	tap_ok(vm.run->exit_reason == exit_reason, "ONE_REG makes no MSR exit");

	check_msr_exit(&vm, GUEST_RDMSR, MSR_UNKNOWN, KVM_MSR_EXIT_REASON_UNKNOWN,
		       "guest reads an unknown MSR with MSR exits");
	check_msr_exit(&vm, GUEST_RDMSR, MSR_INTERNAL_SSP, KVM_MSR_EXIT_REASON_INVAL,
		       "guest reads 0x4b564dff with MSR exits");
	check_msr_exit(&vm, GUEST_WRMSR, MSR_INTERNAL_SSP, KVM_MSR_EXIT_REASON_INVAL,
		       "guest writes 0x4b564dff with MSR exits");
	vm_destroy(&vm);
}

static void check_guest_ssp_msr(const char *when)
{
	static const uint32_t msrs[] = { MSR_INTERNAL_SSP, MSR_OLD_SSP };
	enum guest_end unknown;
	uint64_t value;
	unsigned int i;
	struct vm vm;

	vm_create(&vm, VM_CPUID | VM_MEMORY);
	unknown = guest_rdmsr(&vm, MSR_UNKNOWN, &value);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		/* The old number is an unknown MSR, like any other. */
		enum guest_end want = i ? unknown : GUEST_GOT_GP;
		enum guest_end got;

		got = guest_rdmsr(&vm, msrs[i], &value);
		tap_ok(got == want, "guest reads 0x%x%s: %s", msrs[i], when, i ? "like an unknown MSR" : "#GP");
		got = guest_wrmsr(&vm, msrs[i], 0);
		tap_ok(got == want, "guest writes 0x%x%s: %s", msrs[i], when, i ? "like an unknown MSR" : "#GP");
	}
	vm_destroy(&vm);
}

static void check_ignored(const struct vm *vm)
{
	static const char when[] = "with ignore_msrs";
	uint64_t value = 0;
	struct outcome o;

	check_unaffected(vm, when);
	check_unknown(vm, 0, when);
	/* A rejected value is not the same as an ignored MSR. */
	check_errno(set_reg(vm, ID_KERNEL_GS_BASE, 1ull << 63), EINVAL, "KERNEL_GS_BASE %s: SET non-canonical", when);
	check_errno(one_reg(vm->vcpu, GET_ONE_REG, ID_UNKNOWN, 0), EFAULT, "unknown MSR %s: GET: addr NULL", when);
	check_errno(one_reg(vm->vcpu, SET_ONE_REG, ID_UNKNOWN, 0), EFAULT, "unknown MSR %s: SET: addr NULL", when);
	check_errno(get_reg(vm, ID_UNKNOWN ^ 1ull << 40, &value), EINVAL, "unknown MSR %s: GET with a reserved bit",
		    when);
	check_errno(get_reg(vm, 0x2030000400000000ull, &value), EINVAL, "type 4 %s: GET", when);
	check_errno(get_reg(vm, ID_GUEST_SSP | 1, &value), EINVAL, "KVM-defined 1 %s: GET", when);
	check_errno(set_reg(vm, ID_GUEST_SSP | 1, 0), EINVAL, "KVM-defined 1 %s: SET", when);
	value = ~0ull;
	o = get_reg(vm, ID_MSR_BASE | MSR_INTERNAL_SSP, &value);
	check_value(o, value, 0, "MSR 0x4b564dff %s: GET", when);
	check_errno(set_reg(vm, ID_MSR_BASE | MSR_INTERNAL_SSP, 4), 0, "MSR 0x4b564dff %s: SET", when);
	value = 1;
	o = xioctl(vm->vcpu, GET_REG_LIST, &value);
	check_value(o, value, 0, "list %s", when);
}

static void check_ignore_msrs(void)
{
	struct vm vm;
	char before;

	if (!kvm_param_get("ignore_msrs", &before)) {
		tap_skip("kvm.ignore_msrs cannot be read", "ignore_msrs");
		return;
	}
	if (before == 'N')
		check_guest_ssp_msr("");
	else
		tap_skip("kvm.ignore_msrs is on", "ignore_msrs off");

	if (!kvm_param_set("ignore_msrs", 'Y')) {
		tap_skip("kvm.ignore_msrs cannot be written", "ignore_msrs on");
		return;
	}
	vm_create(&vm, VM_CPUID);
	check_ignored(&vm);
	vm_destroy(&vm);
	check_guest_ssp_msr(" with ignore_msrs");
	tap_ok(kvm_param_set("ignore_msrs", before), "ignore_msrs restored");
}

void test_policy(void)
{
	check_filter();
	check_user_space_msr();
	check_ignore_msrs();
}
