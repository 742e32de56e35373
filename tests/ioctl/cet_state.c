// SPDX-License-Identifier: GPL-2.0
/*
 * What else CET changes in a vCPU: XSS and its CPUID, CR4, KVM_SET_CPUID2 once more, the
 * XSAVE image. And values stay while vCPUs run.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cet.h"

#define CR0_WP	(1ull << 16)
#define CR4_CET (1ull << 23)

#define ID_XSS (ID_MSR_BASE | MSR_XSS)

/* ---- XSS */

static bool xss_set(const struct vm *vm, uint64_t value, bool by_msrs)
{
	return by_msrs ? msrs_set(vm, MSR_XSS, value) : !set_reg(vm, ID_XSS, value).ret;
}

static void check_xss_values(const struct kind *k, unsigned int flags, const char *how)
{
	const uint64_t allowed = (host_shstk || host_ibt) && (flags & VM_CET_XSS) && !(flags & VM_NO_XSAVES) ? XSS_CET :
													       0;
	static const uint64_t more[] = { 0, 0x1800, 0x1801, 0x900, 0x3800, ~0ull, 0x800, 0 };
	uint64_t value, got, state = 0, bits = 0;
	unsigned int i, by_msrs;
	bool good = true, ok;
	char name[64];
	struct vm vm;

	snprintf(name, sizeof(name), "%s%s: XSS", k->name, how);
	vm_create(&vm, flags);
	for (by_msrs = 0; by_msrs < 2; by_msrs++)
		for (i = 0; i < 64 + ARRAY_SIZE(more); i++) {
			value = i < 64 ? 1ull << i : more[i - 64];
			ok = xss_set(&vm, value, by_msrs);
			if (ok)
				state = value;
			if (ok && i < 64)
				bits |= value;
			/* A reset writes zero, before CPUID is set. */
			if (ok == !(value & ~allowed) && !get_reg(&vm, ID_XSS, &got).ret && got == state)
				continue;
			if (good)
				tap_diag("0x%llx is %s, then there is 0x%llx", (unsigned long long)value,
					 ok ? "taken" : "refused", (unsigned long long)got);
			good = false;
		}
	tap_ok(good, "%s takes 0x%llx and nothing else", name, (unsigned long long)allowed);
	tap_fact(name, "0x%016llx", (unsigned long long)bits);
	vm_destroy(&vm);
}

static uint32_t align64(uint32_t n)
{
	return (n + 63) & ~63u;
}

/* Bytes of the compacted format: legacy area, header, and what the sub-leaves say. */
static uint32_t compacted_size(struct kvm_cpuid2 *cpuid, uint64_t components)
{
	struct kvm_cpuid_entry2 *e;
	uint32_t size = 512 + 64;
	unsigned int i;

	for (i = 2; i < 63; i++) {
		if (!(components >> i & 1))
			continue;
		e = cpuid_entry(cpuid, 0xd, i);
		if (!e)
			return 0;
		size = (e->ecx & 2 ? align64(size) : size) + e->eax;
	}
	return size;
}

#define COMPACTED (1u << 1 | 1u << 3) /* XSAVEC, XSAVES */

static void check_size(struct vm *vm, struct kvm_cpuid2 *supported, uint64_t xcr0, uint64_t xss)
{
	const struct kvm_cpuid_entry2 *d1 = cpuid_entry(supported, 0xd, 1);
	const uint32_t want = d1 && (d1->eax & COMPACTED) ? compacted_size(supported, xcr0 | xss) : 0;
	struct kvm_xcrs xcrs = {
		.nr_xcrs = 1,
		.xcrs[0] = { .xcr = 0, .value = xcr0 },
	};
	struct kvm_cpuid_entry2 guest = { 0 }, *e;
	struct kvm_cpuid2 *cpuid;
	char name[80];
	bool ok;

	snprintf(name, sizeof(name), "XCR0 0x%llx, XSS 0x%llx", (unsigned long long)xcr0, (unsigned long long)xss);
	if (xioctl(vm->vcpu, KVM_SET_XCRS, &xcrs).ret || !xss_set(vm, xss, true)) {
		tap_ok(false, "%s can be set", name);
		return;
	}
	cpuid = vcpu_cpuid(vm);
	e = cpuid_entry(cpuid, 0xd, 1);
	tap_ok(e && e->ebx == want, "%s: CPUID(0xD,1).EBX is %u", name, want);
	if (e && e->ebx != want)
		tap_diag("it is %u", e->ebx);
	ok = guest_cpuid(vm, 0xd, 1, &guest);
	tap_ok(ok && guest.ebx == want, "%s: the guest sees it too", name);
	if (ok && guest.ebx != want)
		tap_diag("it sees %u", guest.ebx);
	tap_fact(name, "%u %u", e ? e->ebx : 0, guest.ebx);
	/* The standard format does not include XSS. */
	e = cpuid_entry(cpuid, 0xd, 0);
	ok = guest_cpuid(vm, 0xd, 0, &guest);
	tap_ok(e && ok && e->ebx == guest.ebx && e->ebx <= e->ecx, "%s: CPUID(0xD,0) is as without", name);
	snprintf(name, sizeof(name), "XCR0 0x%llx, XSS 0x%llx: CPUID 0xd.0", (unsigned long long)xcr0,
		 (unsigned long long)xss);
	tap_fact(name, "%u %u", e ? e->ebx : 0, e ? e->ecx : 0);
	free(cpuid);
}

void test_xss(void)
{
	struct kvm_cpuid2 *supported = kvm_cpuid(KVM_GET_SUPPORTED_CPUID);
	static const uint64_t xcr0s[] = { 1, 3, 7 };
	const bool any = host_shstk || host_ibt;
	unsigned int i, xss;
	uint64_t got = 0;
	struct vm vm;

	for (i = 0; i < KINDS; i++)
		check_xss_values(&kinds[i], kinds[i].flags, "");
	/* The bits in XSS without the features in CPUID, and vice versa. */
	check_xss_values(&kinds[3], VM_CPUID | VM_CET_XSS, ", but with bits 11 and 12");
	check_xss_values(&kinds[0], kinds[0].flags & ~VM_CET_XSS, ", but without bits 11 and 12");
	check_xss_values(&kinds[0], kinds[0].flags | VM_NO_XSAVES, ", but without XSAVES");

	if (any) {
		vm_create(&vm, kinds[0].flags);
		tap_ok(xss_set(&vm, XSS_CET, true) && !vm_set_cpuid(&vm, kinds[0].flags | VM_NO_XSAVES).ret &&
			       xss_set(&vm, 0, true) && !get_reg(&vm, ID_XSS, &got).ret && got == XSS_CET,
		       "XSS is set and CPUID hides XSAVES: 0 is accepted, and changes nothing");
		vm_destroy(&vm);
	}

	vm_create(&vm, kinds[0].flags | VM_MEMORY);
	for (i = 0; i < ARRAY_SIZE(xcr0s); i++)
		for (xss = 0; xss <= (any ? XSS_CET : 0); xss += 0x800)
			check_size(&vm, supported, xcr0s[i], xss);
	vm_destroy(&vm);
	free(supported);
}

/* ---- CR4 */

static struct outcome set_cr(const struct vm *vm, uint64_t cr0, uint64_t cr4)
{
	struct kvm_sregs sregs = { 0 };

	if (xioctl(vm->vcpu, KVM_GET_SREGS, &sregs).ret)
		tap_bail("KVM_GET_SREGS");
	sregs.cr0 |= cr0;
	sregs.cr4 = (sregs.cr4 & ~CR4_CET) | cr4;
	return xioctl(vm->vcpu, KVM_SET_SREGS, &sregs);
}

static bool cr4_has_cet(const struct vm *vm)
{
	struct kvm_sregs sregs = { 0 };

	if (xioctl(vm->vcpu, KVM_GET_SREGS, &sregs).ret)
		tap_bail("KVM_GET_SREGS");
	return sregs.cr4 & CR4_CET;
}

static void check_cr4(const struct kind *k)
{
	const bool cet = k->shstk || k->ibt;
	enum guest_end end;
	char name[32];
	struct vm vm;

	vm_create(&vm, k->flags | VM_MEMORY);
	/* Here KVM checks CR0 and CR4 separately, so they can be restored in any order. */
	check_errno(set_cr(&vm, 0, CR4_CET), cet ? 0 : EINVAL, "%s: KVM_SET_SREGS with CR4.CET", k->name);
	tap_ok(cr4_has_cet(&vm) == cet, "%s: CR4.CET is %s", k->name, cet ? "set" : "clear");
	guest_load(&vm, GUEST_HLT, 0, 0);
	end = guest_run(&vm, NULL);
	if (cet) {
		tap_ok(end == GUEST_OTHER_EXIT && vm.run->exit_reason == KVM_EXIT_FAIL_ENTRY,
		       "%s: with CR4.CET and without CR0.WP the CPU refuses", k->name);
		snprintf(name, sizeof(name), "%s: FAIL_ENTRY", k->name);
		tap_fact(name, "0x%llx", (unsigned long long)vm.run->fail_entry.hardware_entry_failure_reason);
		check_errno(set_cr(&vm, CR0_WP, CR4_CET), 0, "%s: KVM_SET_SREGS with CR4.CET and CR0.WP", k->name);
		guest_load(&vm, GUEST_HLT, 0, 0);
		tap_ok(guest_run(&vm, NULL) == GUEST_DONE, "%s: runs with CR4.CET", k->name);
		tap_ok(cr4_has_cet(&vm), "%s: CR4.CET is still set", k->name);
		check_errno(set_cr(&vm, CR0_WP, 0), 0, "%s: KVM_SET_SREGS without CR4.CET", k->name);
	}
	guest_load(&vm, GUEST_HLT, 0, 0);
	tap_ok(guest_run(&vm, NULL) == GUEST_DONE, "%s: runs without CR4.CET", k->name);
	vm_destroy(&vm);
}

void test_cr4(void)
{
	unsigned int i;

	for (i = 0; i < KINDS; i++)
		check_cr4(&kinds[i]);
}

/* ---- KVM_SET_CPUID2 more than once */

static void check_visible(const struct vm *vm, const struct kind *k, const char *when)
{
	const bool listed = host_shstk || host_ibt;
	bool good = true;
	uint64_t value, n = 0;
	unsigned int i;

	for (i = 0; i < CET_REGS; i++) {
		const struct cet_reg *r = &cet_regs[i];
		const bool want = reg_exists(k, r) || (listed && r->listed);

		if (!reg_get(vm, r, &value).ret == want)
			continue;
		tap_diag("%s", r->name);
		good = false;
	}
	tap_ok(good, "%s: the registers of a vCPU with %s", when, k->name);
	check_errno(xioctl(vm->vcpu, GET_REG_LIST, &n), k->shstk ? E2BIG : 0, "%s: list of a vCPU with %s", when,
		    k->name);
	check_errno(set_cr(vm, 0, CR4_CET), k->shstk || k->ibt ? 0 : EINVAL, "%s: CR4.CET of a vCPU with %s", when,
		    k->name);
	set_cr(vm, 0, 0);
	check_errno(set_reg(vm, ID_XSS, XSS_CET), listed && (k->flags & VM_CET_XSS) ? 0 : EINVAL,
		    "%s: XSS of a vCPU with %s", when, k->name);
	set_reg(vm, ID_XSS, 0);
}

void test_toggle(void)
{
	static const unsigned int order[] = { 3, 0, 2, 1, 3, 2, 0, 1, 0 };
	uint64_t value;
	struct outcome o;
	char when[32];
	unsigned int i, last = 0;
	struct vm vm;

	vm_create(&vm, VM_MEMORY);
	for (i = 0; i < ARRAY_SIZE(order); i++) {
		last = order[i];
		snprintf(when, sizeof(when), "CPUID set, no. %u", i + 1);
		check_errno(vm_set_cpuid(&vm, kinds[last].flags), 0, "%s", when);
		check_visible(&vm, &kinds[last], when);
	}
	/* A value survives a CPUID that hides it, as natively. */
	if (kinds[0].shstk) {
		for (i = 0; i < CET_REGS; i++)
			reg_set(&vm, &cet_regs[i], 0);
		check_errno(set_reg(&vm, ID_GUEST_SSP, 0x5550), 0, "before SHSTK is hidden: SET");
		check_errno(vm_set_cpuid(&vm, kinds[3].flags), 0, "SHSTK is hidden");
		check_errno(get_reg(&vm, ID_GUEST_SSP, &value), EINVAL, "SHSTK is hidden: GET");
		check_errno(vm_set_cpuid(&vm, kinds[0].flags), 0, "SHSTK is back");
		o = get_reg(&vm, ID_GUEST_SSP, &value);
		check_errno(o, 0, "SHSTK is back: GET");
		check_errno(set_reg(&vm, ID_GUEST_SSP, 0), 0, "SHSTK is back: SET");
	}

	guest_load(&vm, GUEST_HLT, 0, 0);
	tap_ok(guest_run(&vm, NULL) == GUEST_DONE, "runs");
	check_errno(vm_set_cpuid(&vm, kinds[last].flags), 0, "the same CPUID after a run");
	for (i = 0; i < KINDS - 1; i++)
		if (i != last)
			check_errno(vm_set_cpuid(&vm, kinds[i].flags), EINVAL, "CPUID after a run: %s", kinds[i].name);
	check_visible(&vm, &kinds[last], "after a run");
	vm_destroy(&vm);
}

/* ---- the XSAVE image of user space, and events */

static void check_no_cet_in(const struct kvm_xsave *x, const char *name)
{
	/* XSTATE_BV and XCOMP_BV */
	const uint64_t *header = (const void *)&x->region[512 / 4];

	tap_ok(!(header[0] & XSS_CET) && !(header[1] & XSS_CET), "%s: bits 11 and 12 are clear", name);
}

/* A value that both kinds of register can have. Without IBT, the controls have two bits. */
static uint64_t not_zero(const struct cet_reg *r)
{
	return r->rule == RULE_CONTROL && !host_ibt ? 2 : 0x4000;
}

void test_xsave(void)
{
	const uint64_t size = xioctl(kvm_dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_XSAVE2).ret;
	struct kvm_vcpu_events events = { 0 }, again = { 0 };
	struct kvm_xsave *x = calloc(1, size > sizeof(*x) ? size : sizeof(*x));
	uint64_t *header = (void *)&x->region[512 / 4];
	unsigned int i, bit;
	uint64_t value;
	struct vm vm;

	tap_fact("KVM_CAP_XSAVE2", "%llu", (unsigned long long)size);
	vm_create(&vm, kinds[0].flags | VM_MEMORY);
	for (i = 0; i < CET_REGS; i++)
		if (reg_exists(&kinds[0], &cet_regs[i]))
			tap_ok(!reg_set(&vm, &cet_regs[i], not_zero(&cet_regs[i])).ret, "%s is not zero",
			       cet_regs[i].name);
	if (host_shstk || host_ibt)
		tap_ok(!set_reg(&vm, ID_XSS, XSS_CET).ret, "XSS is not zero");
	for (i = 0; i < 2; i++) {
		const char *name = i ? "KVM_GET_XSAVE after a run" : "KVM_GET_XSAVE";

		check_errno(xioctl(vm.vcpu, KVM_GET_XSAVE, x), 0, "%s", name);
		check_no_cet_in(x, name);
		check_errno(xioctl(vm.vcpu, KVM_SET_XSAVE, x), 0, "%s, and back", name);
		for (bit = 11; bit < 13; bit++) {
			header[0] |= 1ull << bit;
			check_errno(xioctl(vm.vcpu, KVM_SET_XSAVE, x), EINVAL, "%s with bit %u, and back", name, bit);
			header[0] &= ~(1ull << bit);
		}
		if (size > sizeof(*x)) {
			check_errno(xioctl(vm.vcpu, KVM_GET_XSAVE2, x), 0, "%s (2)", name);
			check_no_cet_in(x, name);
		}
		guest_load(&vm, GUEST_HLT, 0, 0);
		guest_run(&vm, NULL);
	}
	/* The image has no CET state, and setting it does not change that state. */
	for (i = 0; i < CET_REGS; i++)
		if (reg_exists(&kinds[0], &cet_regs[i]))
			tap_ok(!reg_get(&vm, &cet_regs[i], &value).ret && value == not_zero(&cet_regs[i]),
			       "%s is as it was", cet_regs[i].name);

	if (xioctl(vm.vcpu, KVM_GET_VCPU_EVENTS, &events).ret)
		tap_bail("KVM_GET_VCPU_EVENTS");
	events.exception.injected = 1;
	events.exception.nr = 21;
	events.exception.has_error_code = 1;
	events.exception.error_code = 3;
	check_errno(xioctl(vm.vcpu, KVM_SET_VCPU_EVENTS, &events), 0, "#CP as an event");
	check_errno(xioctl(vm.vcpu, KVM_GET_VCPU_EVENTS, &again), 0, "#CP read back");
	tap_ok(again.exception.injected && again.exception.nr == 21 && again.exception.has_error_code &&
		       again.exception.error_code == 3,
	       "#CP is read back with its error code");
	vm_destroy(&vm);
	free(x);
}

/* ---- values stay */

#define VMS 3

static uint64_t distinct(const struct kind *k, unsigned int vm, unsigned int reg)
{
	/* Without IBT there are two bits. */
	if (cet_regs[reg].rule == RULE_CONTROL && !k->ibt)
		return (vm + reg) % 4;
	if (cet_regs[reg].rule == RULE_CONTROL)
		return 0x100000ull * (vm + 1) + 0x10000 * (reg + 1) + (vm ? 4 : 0);
	/* GUEST_SSP and the MSR behind it are the same. */
	if (!cet_regs[reg].listed)
		reg = CET_REGS - 1;
	return 0x7000000ull * (vm + 1) + 0x1000 * (reg + 1) + 8;
}

static bool all_distinct(const struct vm *vms, const struct kind *k)
{
	uint64_t value = 0;
	unsigned int v, i;

	for (v = 0; v < VMS; v++)
		for (i = 0; i < CET_REGS; i++) {
			if (!reg_exists(k, &cet_regs[i]))
				continue;
			if (!reg_get(&vms[v], &cet_regs[i], &value).ret && value == distinct(k, v, i))
				continue;
			tap_diag("VM %u, %s: 0x%llx instead of 0x%llx", v, cet_regs[i].name, (unsigned long long)value,
				 (unsigned long long)distinct(k, v, i));
			return false;
		}
	return true;
}

struct worker {
	struct vm *vm;
	unsigned int runs;
	bool failed;
};

static void *run_often(void *arg)
{
	struct worker *w = arg;
	unsigned int i;

	for (i = 0; i < w->runs && !w->failed; i++) {
		guest_load(w->vm, GUEST_HLT, 0, 0);
		w->failed = guest_run(w->vm, NULL) != GUEST_DONE;
	}
	return NULL;
}

/* Three vCPUs on one CPU, in turn, from other threads, and all at once. */
static void check_kept(const struct kind *k)
{
	struct worker workers[VMS];
	struct vm vms[VMS];
	pthread_t threads[VMS];
	bool ok = true;
	unsigned int v, i;

	for (v = 0; v < VMS; v++)
		vm_create(&vms[v], k->flags | VM_MEMORY);
	for (v = 0; v < VMS; v++)
		for (i = 0; i < CET_REGS; i++)
			if (reg_exists(k, &cet_regs[i]))
				ok &= !reg_set(&vms[v], &cet_regs[i], distinct(k, v, i)).ret;
	tap_ok(ok, "%s: three vCPUs with values of their own", k->name);
	tap_ok(all_distinct(vms, k), "%s: kept before they run", k->name);
	for (v = 0; v < VMS; v++) {
		workers[v] = (struct worker) { .vm = &vms[v], .runs = 20 };
		run_often(&workers[v]);
		ok &= !workers[v].failed;
	}
	tap_ok(ok, "%s: they run", k->name);
	tap_ok(all_distinct(vms, k), "%s: kept when they run one after the other", k->name);
	for (v = 0; v < VMS; v++) {
		if (pthread_create(&threads[v], NULL, run_often, &workers[v]))
			tap_bail("thread");
	}
	for (v = 0; v < VMS; v++) {
		pthread_join(threads[v], NULL);
		ok &= !workers[v].failed;
	}
	tap_ok(ok, "%s: they run in threads", k->name);
	tap_ok(all_distinct(vms, k), "%s: kept when they run all at once", k->name);
	for (v = 0; v < VMS; v++)
		vm_destroy(&vms[v]);
}

/* A new vCPU starts with zeros whatever was there before it. */
static void check_new(const struct kind *k)
{
	bool good = true;
	uint64_t value;
	unsigned int i;
	struct vm vm;

	vm_create(&vm, k->flags);
	for (i = 0; i < CET_REGS; i++)
		if (reg_exists(k, &cet_regs[i]))
			good &= !reg_get(&vm, &cet_regs[i], &value).ret && !value;
	good &= !get_reg(&vm, ID_XSS, &value).ret && !value;
	tap_ok(good, "%s: a new vCPU has zeros", k->name);
	vm_destroy(&vm);
}

void test_kept(void)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		if (!kinds[i].shstk && !kinds[i].ibt)
			continue;
		check_kept(&kinds[i]);
		check_new(&kinds[i]);
	}
}
