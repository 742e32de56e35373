// SPDX-License-Identifier: GPL-2.0
/* The steps that are ioctls on vCPUs and VMs, without running a guest. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fuzz.h"
#include "model.h"

#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_KVM_FIRST	   0x4b564d00
#define CPUID_LM	   0x20000000u
#define CR4_SMEP	   0x100000u
#define CR4_SMAP	   0x200000u

/* Those that concern CET come twice as often as the rest. */
static const uint32_t cet_related[] = {
	MSR_U_CET, MSR_S_CET, MSR_PL0_SSP, MSR_PL1_SSP, MSR_PL2_SSP,	  MSR_PL3_SSP, MSR_INT_SSP_TAB,
	MSR_XSS,   0x6a1,     0x6a3,	   0x6a9,	MSR_INTERNAL_SSP, MSR_OLD_SSP,
};

static const uint32_t common[] = {
	0x10,	    0x17,	0x1b,	    0x3a,	0x3b,	    0x48,	0x49,	    0x8b,	0xfe,
	0x10a,	    0x10b,	0x140,	    0x174,	0x175,	    0x176,	0x179,	    0x17a,	0x17b,
	0x198,	    0x1a0,	0x1c4,	    0x1c5,	0x1d9,	    0x200,	0x201,	    0x250,	0x277,
	0x2ff,	    0x345,	0x400,	    0x401,	0x480,	    0x481,	0x482,	    0x483,	0x484,
	0x485,	    0x486,	0x487,	    0x488,	0x489,	    0x48a,	0x48b,	    0x48c,	0x48d,
	0x48e,	    0x48f,	0x490,	    0x491,	0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0x4b564d04,
	0x4b564d05, 0x4b564dfe, 0x802,	    0x808,	0x80d,	    0x80f,	0x830,	    0x832,	0x83f,
	0xd90,	    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103,
	0xc0000104, 0xc0010010, 0xc0010015, 0xc001001f, 0xc0010055, 0xc0010058, 0xc0010114, 0xc0010117, 0xc001011f,
	0xc0011020, 0xc0011022, 0xc0011029, 0x40000000, 0x40000001, 0x40000003, 0x40000073, 0x40000080, 0xdeadbeef,
};

static uint32_t any_msr(void)
{
	switch (random_below(8)) {
	case 0 ... 2:
		return cet_related[random_below(ARRAY_SIZE(cet_related))];
	case 3:
		return 0x6a0 + random_below(16);
	case 4:
		return random_dense_msr();
	case 5:
		return random_next();
	default:
		return common[random_below(ARRAY_SIZE(common))];
	}
}

/*
 * MSRs of performance counters. On AMD CPUs, the first four pairs always exist; 6.1 also has the others, and some of
 * Intel's, whether CPUID shows them or not.
 */
static bool is_counter(uint32_t msr)
{
	return (!kvm_is_svm() && msr >= 0xc0010000 && msr <= 0xc0010007) || (msr >= 0xc0010200 && msr <= 0xc001020b) ||
	       (msr >= 0x309 && msr <= 0x30f) || (msr >= 0x38d && msr <= 0x390) || (msr >= 0x3f1 && msr <= 0x3f2);
}

#define MSR_TSC_INVARIANT 0x40000118 /* from Hyper-V; 6.1 does not have it */

/*
 * Not EFER: a VMRUN with what contradicts CR0 and CR4 in it is an error to a CPU, and the end of the host to QEMU's
 * TCG.
 * Not IA32_XSS on a host without CET, nor performance counters of others: old kernels know them, new ones do not.
 */
static uint32_t comparable(uint32_t msr)
{
	if (msr == MSR_EFER || msr == MSR_TSC_INVARIANT || (msr == MSR_XSS && !kvm_has_shstk()) || is_counter(msr))
		return MSR_KERNEL_GS_BASE;
	return msr;
}

uint32_t fuzz_msr(void)
{
	return comparable(any_msr());
}

uint32_t fuzz_cet_msr(void)
{
	return comparable(cet_related[random_below(ARRAY_SIZE(cet_related))]);
}

/*
 * An MSR that a VMM may write. Not those for which kernels accept different values: feature MSRs, PRED_CMD, FLUSH_CMD,
 * and AMD's DEBUGCTL, branch records and DE_CFG. Nor SPEC_CTRL: on AMD, a guest has access to it as soon as the VMM has
 * written it, until a reset; on older kernels, after a reset, too.
 */
static uint32_t fuzz_msr_to_set(void)
{
	const uint32_t msr = fuzz_msr();

	switch (msr) {
	case 0x48:
	case 0x1d9:
	case 0x1db ... 0x1de:
	case 0xc0011029:
		if (!kvm_is_svm())
			break;
		return MSR_KERNEL_GS_BASE;
	case 0x49:
	case 0x10a ... 0x10b:
	case 0x480 ... 0x491:
		return MSR_KERNEL_GS_BASE;
	}
	return msr;
}

bool msr_moves(uint32_t msr)
{
	switch (msr) {
	case 0x10: /* TSC, and the offset to it */
	case 0x3b:
	case 0xe7 ... 0xe8: /* MPERF, APERF */
	case 0x6e0:	    /* TSC deadline */
	case 0x11 ... 0x12: /* kvmclock, old and new */
	case 0x4b564d00 ... 0x4b564d01:
	case 0x832: /* the local APIC's timer */
	case 0x838 ... 0x839:
	case 0x40000010: /* Hyper-V: run time, reference time, timers */
	case 0x40000020 ... 0x40000023:
	case 0x400000b0 ... 0x400000b7:
	case 0x40000106 ... 0x40000108:
		return true;
	}
	return false;
}

uint64_t msr_value(struct fuzz *f, const struct cpu *c, uint32_t msr)
{
	static const uint64_t controls[] = {
		0,
		CET_SHSTK,
		CET_SHSTK | CET_WRSS,
		CET_WRSS,
		CET_ENDBR,
		CET_WRSS | CET_ENDBR,
		CET_SHSTK | CET_WRSS | CET_ENDBR,
		CET_SUPPRESS,
		CET_WAIT_ENDBR,
		CET_ENDBR | CET_WAIT_ENDBR,
		CET_ENDBR | CET_SUPPRESS,
		CET_ENDBR | CET_SUPPRESS | CET_WAIT_ENDBR,
		0x8,
		0x10,
		0x20,
		0x40,
		0x200,
	};
	uint64_t value = fuzz_value(f, c);

	if (msr_moves(msr))
		return 0;
	switch (msr) {
	case MSR_U_CET:
	case MSR_S_CET:
		if (random_below(4))
			value = controls[random_below(ARRAY_SIZE(controls))];
		/* The address of the legacy bitmap; without IBT, these bits are reserved. */
		if (random_one_in(6))
			value |= (uint64_t)random_below(16) << 12;
		break;
	case MSR_INT_SSP_TAB:
		if (random_one_in(4))
			value = 0;
		break;
	case MSR_XSS:
		if (random_below(4))
			value = (uint64_t)random_below(4) << 11 | (random_one_in(8) ? 1ull << random_below(20) : 0);
		break;
	/* An address to which KVM then writes the time, or something else that depends on the host. */
	case 0x1b:
		value = random_below(2) ? 0xfee00800 : 0xfee00c00;
		value |= c->number ? 0 : 0x100;
		break;
	case 0x802 ... 0x831:
	case 0x833 ... 0x837:
	case 0x83a ... 0x83f:
		value &= 0xff;
		break;
	case 0xc0010015: /* HWCR: old kernels refuse TscFreqSel */
		value &= ~(1ull << 24);
		break;
	case 0x9e: /* SMBASE */
		value = 0x100000;
		break;
	/* VM_HSAVE_PA: at an SMI in L2, newer kernels write more to its page, which must exist. This one is unused. */
	case 0xc0010117:
		value = 0;
		break;
	case MSR_KVM_FIRST ... MSR_KVM_FIRST + 0x10:
	case 0x40000000 ... 0x400001ff:
	case 0x186 ... 0x189:
	case 0xc0010000 ... 0xc0010003:
	case 0xc0010200 ... 0xc001020b:
	case 0x38d ... 0x390:
		value = 0;
		break;
	}
	return value;
}

/*
 * The part of @value that a VMM may write. A native kernel writes U_CET to the CPU without checking bits 63:12, and
 * complains if the CPU refuses them. Guests may try them.
 */
static uint64_t for_vmm(uint32_t msr, uint64_t value)
{
	return msr == MSR_U_CET ? (uint64_t)((int64_t)(value << 16) >> 16) : value;
}

/* One to @most of the same kind. */
static void several(struct fuzz *f, struct cpu *c, unsigned int most, void (*call)(struct fuzz *f, struct cpu *c))
{
	unsigned int n = 1 + random_below(most);

	while (n--)
		call(f, c);
}

/* KVM_GET_ONE_REG and KVM_SET_ONE_REG for a KVM that lacks them, as the ABI defines them. */
static int emulate_one_reg(const struct cpu *c, unsigned int nr, enum pointer_place argp, enum pointer_place addr,
			   uint64_t id, uint64_t value, void *value_at)
{
	uint64_t got = 0;
	int ret = one_reg_model(&c->io, nr, argp, addr, id, value, false, &got);

	if (!ret && nr == GET_ONE_REG)
		memcpy(value_at, &got, sizeof(got));
	errno = -ret;
	return ret ? -1 : 0;
}

/* One register, with pointers of every kind. Memory next to what may be written must not change. */
static void any_reg(struct fuzz *f, struct cpu *c)
{
	const bool set = random_below(2);
	const uint32_t msr = set ? fuzz_msr_to_set() : fuzz_msr();
	const enum pointer_place argp = random_place(), addr = random_place();
	const uint64_t arg_at = area_addr(&f->argp, argp, 16), value_at = area_addr(&f->addr, addr, 8);
	struct kvm_one_reg reg = { .id = random_below(3) ? ID_MSR_BASE | msr : random_id(msr), .addr = value_at };
	const unsigned int nr = set ? SET_ONE_REG : GET_ONE_REG;
	uint64_t value = for_vmm(reg.id, msr_value(f, c, msr)), got = 0;
	int ret;

	if (random_one_in(3))
		reg.id = ID_GUEST_SSP;
	area_fill(&f->argp, argp, &reg, sizeof(reg));
	area_fill(&f->addr, addr, &value, sizeof(value));
	note(f, "id", reg.id);
	note(f, "set", set);
	note(f, "places", argp << 4 | addr);
	ret = f->emulate ? emulate_one_reg(c, nr, argp, addr, reg.id, value, (void *)value_at) :
			   ioctl(c->io.vcpu, nr, (void *)arg_at);
	note_result(f, "ret", ret);
	if (!set && !ret) {
		memcpy(&got, (void *)value_at, sizeof(got));
		check_tag(f, c, "a register", got);
		if (!msr_moves(msr))
			note(f, "value", got);
	} else {
		note(f, "value", value);
		if (place_readable(addr))
			note(f, "kept", !memcmp((void *)value_at, &value, sizeof(value)));
	}
	note(f, "around",
	     area_untouched(&f->argp, arg_at, sizeof(reg)) && area_untouched(&f->addr, value_at, sizeof(value)));
}

void step_one_reg(struct fuzz *f, struct cpu *c)
{
	several(f, c, 6, any_reg);
}

/* KVM_GET_REG_LIST for such a KVM. Without shadow stacks, no register is listed. */
static int emulate_reg_list(enum pointer_place argp, uint64_t n, void *at)
{
	int ret = reg_list_model(argp, n, false);

	if (!ret)
		memset(at, 0, sizeof(n));
	errno = -ret;
	return ret ? -1 : 0;
}

void step_reg_list(struct fuzz *f, struct cpu *c)
{
	const enum pointer_place argp = random_place();
	const uint64_t at = area_addr(&f->argp, argp, 8), n = random_below(4) ? random_below(3) : random_value();
	uint64_t got[2];

	area_fill(&f->argp, argp, &n, sizeof(n));
	note(f, "n", n);
	note(f, "place", argp);
	note_result(f, "ret",
		    f->emulate ? emulate_reg_list(argp, n, (void *)at) : ioctl(c->io.vcpu, GET_REG_LIST, (void *)at));
	if (place_writable(argp)) {
		memcpy(got, (void *)at, argp == PLACE_AT_END ? 8 : 16);
		note(f, "got", got[0]);
		if (argp != PLACE_AT_END)
			note(f, "id", got[1]);
	}
	note(f, "around", area_untouched(&f->argp, at, 16));
}

struct some_msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[3];
};

static void get_msrs(struct fuzz *f, struct cpu *c)
{
	struct some_msrs m = { .head.nmsrs = 1 + random_below(3) };
	unsigned int i;
	int done;

	for (i = 0; i < m.head.nmsrs; i++) {
		m.entries[i].index = fuzz_msr();
		note(f, "msr", m.entries[i].index);
	}
	done = note_result(f, "ret", ioctl(c->io.vcpu, KVM_GET_MSRS, &m));
	for (i = 0; (int)i < done; i++) {
		check_tag(f, c, "an MSR", m.entries[i].data);
		if (!msr_moves(m.entries[i].index))
			note(f, "value", m.entries[i].data);
	}
}

void step_get_msrs(struct fuzz *f, struct cpu *c)
{
	several(f, c, 3, get_msrs);
}

static void set_msrs(struct fuzz *f, struct cpu *c)
{
	struct some_msrs m = { .head.nmsrs = 1 + random_below(3) };
	unsigned int i;

	for (i = 0; i < m.head.nmsrs; i++) {
		m.entries[i].index = fuzz_msr_to_set();
		m.entries[i].data = for_vmm(m.entries[i].index, msr_value(f, c, m.entries[i].index));
		note(f, "msr", m.entries[i].index);
		note(f, "value", m.entries[i].data);
	}
	note_result(f, "ret", ioctl(c->io.vcpu, KVM_SET_MSRS, &m));
}

void step_set_msrs(struct fuzz *f, struct cpu *c)
{
	several(f, c, 3, set_msrs);
}

int fuzz_set_sregs(struct fuzz *f, struct cpu *c, const char *name, struct kvm_sregs *s)
{
	struct kvm_sregs now;

	if (kvm_is_svm() && !ioctl(c->io.vcpu, KVM_GET_SREGS, &now))
		s->efer |= now.efer & EFER_SVME;
	if (f->no_lm[index_of(f, c)])
		s->efer &= ~(uint64_t)(EFER_LME | EFER_LMA);
	return note_result(f, name, ioctl(c->io.vcpu, KVM_SET_SREGS, s));
}

/* CET as a guest would set it up, so that later steps have something to work with; or none. */
void step_cet(struct fuzz *f, struct cpu *c)
{
	const unsigned int features = random_one_in(5) ? 0 : random_below(16);
	struct kvm_sregs sregs;
	unsigned int i;
	uint64_t values[CET_MSRS_XSS] = {
		random_below(2) ? CET_SHSTK | CET_WRSS : random_below(2) * CET_ENDBR,
		random_below(2) ? CET_SHSTK | CET_WRSS : random_below(2) * CET_ENDBR,
		cpu_shadow_stack(c, CPU_SS_PL0_PAGE),
		TAGGED(vm_of(f, c)) | 0x1008,
		TAGGED(vm_of(f, c)) | 0x2008,
		cpu_shadow_stack(c, CPU_SS_USER_PAGE),
		c->page + CPU_SSP_TABLE,
		(uint64_t)random_below(4) << 11,
	};

	note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_SREGS, &sregs));
	if (features)
		sregs.cr4 |= CR4_CET;
	else
		sregs.cr4 &= ~(uint64_t)CR4_CET;
	fuzz_set_sregs(f, c, "cr4", &sregs);
	for (i = 0; i < CET_MSRS_XSS; i++) {
		struct some_msrs m = { .head.nmsrs = 1, .entries[0] = { .index = cet_msrs[i], .data = values[i] } };

		if (!random_below(4) || (cet_msrs[i] == MSR_XSS && !kvm_has_shstk()))
			continue;
		note(f, "msr", cet_msrs[i]);
		note(f, "value", values[i]);
		note_result(f, "set", ioctl(c->io.vcpu, KVM_SET_MSRS, &m));
	}
}

/* Any CPUID, even if the vCPU has state of a feature that it removes. */
void step_cpuid(struct fuzz *f, struct cpu *c)
{
	struct kvm_cpuid2 *cpuid = kvm_cpuid(KVM_GET_SUPPORTED_CPUID);
	struct kvm_cpuid_entry2 *e;
	unsigned int i, changes = random_below(4);
	/*
	 * Of the features that CR4 enables, only CET may be removed later: if CR4 has bits of other missing features, a
	 * native kernel lets the guest change CR4.CET without an exit, and older kernels refuse all of CR4.
	 * SVM stays while EFER.SVME is set, which fuzz_set_sregs() keeps.
	 */
	static const struct {
		uint32_t function, index;
		unsigned int reg, bit;
		uint64_t cr4, efer;
	} bits[] = {
		{ 7, 0, 2, 7, 0, 0 },	     { 7, 0, 2, 7, 0, 0 },
		{ 7, 0, 3, 20, 0, 0 },	     { 7, 0, 3, 20, 0, 0 },
		{ 0xd, 1, 0, 3, 0, 0 },	     { 0xd, 1, 2, 11, 0, 0 },
		{ 0xd, 1, 2, 12, 0, 0 },     { 1, 0, 2, 26, CR4_OSXSAVE, 0 },
		{ 1, 0, 2, 5, CR4_VMXE, 0 }, { 0x80000001, 0, 2, 2, 0, EFER_SVME },
		{ 7, 0, 1, 7, CR4_SMEP, 0 }, { 7, 0, 1, 20, CR4_SMAP, 0 },
		{ 0xd, 0, 0, 2, 0, 0 },	     { 0x80000001, 0, 3, 29, 0, 0 },
		{ 1, 0, 3, 6, 0, 0 },
	};
	struct kvm_sregs sregs;

	fuzz_cpuid(cpuid, c->number);
	note_result(f, "sregs", ioctl(c->io.vcpu, KVM_GET_SREGS, &sregs));
	while (changes--) {
		i = random_below(ARRAY_SIZE(bits));
		e = cpuid_entry(cpuid, bits[i].function, bits[i].index);
		note(f, "bit", i);
		if (e && !(sregs.cr4 & bits[i].cr4) && !(sregs.efer & bits[i].efer))
			(&e->eax)[bits[i].reg] ^= 1u << bits[i].bit;
	}
	e = cpuid_entry(cpuid, 0x80000001, 0);
	if (!note_result(f, "ret", ioctl(c->io.vcpu, KVM_SET_CPUID2, cpuid)))
		f->no_lm[index_of(f, c)] = !(e && e->edx & CPUID_LM);
	free(cpuid);
	cpuid = calloc(1, sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));
	if (!cpuid)
		tap_bail("no memory");
	cpuid->nent = MAX_CPUID;
	if (!note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_CPUID2, cpuid)))
		for (i = 0; i < cpuid->nent; i++) {
			e = &cpuid->entries[i];
			/* 6.1 leaves nent as it is. */
			if (i && !e->function)
				break;
			note(f, "leaf", (uint64_t)e->function << 32 | e->index);
			note(f, "eax", e->eax);
			note(f, "ebx", e->ebx);
			note(f, "ecx", e->ecx);
			note(f, "edx", e->edx);
		}
	free(cpuid);
}

void step_sregs(struct fuzz *f, struct cpu *c)
{
	static const unsigned int cr4_bits[] = { 0,  1,	 2,  3,	 4,  5,	 7,  8,	 9,  10, 11,
						 12, 13, 16, 17, 18, 20, 21, 22, 23, 23, 23 };
	unsigned int changes = 1 + random_below(3);
	struct kvm_sregs s;

	if (note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_SREGS, &s)))
		return;
	while (changes--) {
		unsigned int what = random_below(12);

		note(f, "what", what);
		switch (what) {
		case 0:
			s.cr0 ^= 1ull << random_below(32);
			break;
		case 1:
			s.cr0 ^= CR0_WP;
			break;
		case 2:
		case 3:
			s.cr4 ^= 1ull << cr4_bits[random_below(ARRAY_SIZE(cr4_bits))];
			break;
		case 4:
			s.cr4 ^= CR4_CET;
			break;
		case 5:
			s.efer ^= random_below(2) ? EFER_SCE : EFER_NXE;
			break;
		case 6:
			s.cr4 = fuzz_value(f, c);
			break;
		case 7:
			/* Without the VM's pages, no exception can be delivered, which is an error on older kernels. */
			s.cr3 = fuzz_value(f, c) & (random_below(16) ? RAM_SIZE - 1 : ~0ull);
			break;
		case 8:
			s.cs.l ^= 1;
			s.cs.db = !s.cs.l;
			break;
		case 9:
			s.cs.dpl = random_below(4);
			s.ss.dpl = s.cs.dpl;
			break;
		case 10:
			s.cr8 = random_below(17);
			break;
		case 11:
			cpu_usual_sregs(c, random_below(2) * 3, &s);
			break;
		}
	}
	fuzz_set_sregs(f, c, "set", &s);
	note_state(f, c);
}

void step_regs(struct fuzz *f, struct cpu *c)
{
	struct kvm_regs r;

	note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_REGS, &r));
	switch (random_below(4)) {
	case 0:
		r.rip = fuzz_value(f, c);
		break;
	case 1:
		r.rsp = fuzz_value(f, c);
		break;
	case 2:
		r.rflags ^= 1ull << random_below(22);
		/* In long mode, Bochs panics at this after VMRUN. */
		if (kvm_is_svm())
			r.rflags &= ~(uint64_t)RFLAGS_VM;
		break;
	default:
		(&r.rax)[random_below(16)] = fuzz_value(f, c);
	}
	note_result(f, "set", ioctl(c->io.vcpu, KVM_SET_REGS, &r));
	note_state(f, c);
}

static bool all_zero(const uint8_t *p, size_t size)
{
	return !*p && !memcmp(p, p + 1, size - 1);
}

/*
 * Notes the components of an XSAVE image that its header marks as present, and that all kernels have. One with its
 * initial value is not noted: whether it is marked depends on whether KVM has loaded and saved the state since the VMM
 * set it, as native kernels do for some MSR accesses.
 */
static void note_xsave(struct fuzz *f, const struct kvm_xsave *x)
{
	static const uint8_t initial_x87[24] = { 0x7f, 3 };
	const uint8_t *p = (const uint8_t *)x;
	uint64_t header[8];
	uint32_t mxcsr;

	memcpy(header, p + 512, sizeof(header));
	memcpy(&mxcsr, p + 24, sizeof(mxcsr));
	if (!memcmp(p, initial_x87, sizeof(initial_x87)) && all_zero(p + 32, 128))
		header[0] &= ~1ull;
	if (mxcsr == 0x1f80 && all_zero(p + 160, 256))
		header[0] &= ~2ull;
	if (all_zero(p + 576, 256))
		header[0] &= ~4ull;
	note(f, "bv", header[0]);
	note(f, "comp", header[1]);
	if (header[0] & 1)
		note_bytes(f, "x87", p + 32, 128);
	if (header[0] & 2)
		note_bytes(f, "sse", p + 160, 256);
	if (header[0] & 4)
		note_bytes(f, "avx", p + 576, 256);
}

void step_xsave(struct fuzz *f, struct cpu *c)
{
	struct kvm_xsave **kept = &f->xsaves[random_below(ARRAY_SIZE(f->xsaves))], x;
	uint64_t word;
	unsigned int at;

	if (random_below(2)) {
		memset(&x, 0, sizeof(x));
		if (note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_XSAVE, &x)))
			return;
		note_xsave(f, &x);
		if (!*kept)
			*kept = malloc(sizeof(**kept));
		if (!*kept)
			tap_bail("no memory");
		**kept = x;
		return;
	}
	if (*kept)
		x = **kept;
	else
		memset(&x, 0, sizeof(x));
	switch (random_below(4)) {
	case 0: /* XSTATE_BV, XCOMP_BV, and what must be 0 */
		at = 512 + 8 * random_below(8);
		memcpy(&word, (uint8_t *)&x + at, sizeof(word));
		word ^= random_below(2) ? 1ull << random_below(64) : 3ull << 11;
		memcpy((uint8_t *)&x + at, &word, sizeof(word));
		break;
	case 1: /* anywhere behind the header, where supervisor state would be in another format */
		at = 576 + 8 * random_below((sizeof(x) - 576) / 8);
		word = fuzz_value(f, c);
		memcpy((uint8_t *)&x + at, &word, sizeof(word));
		break;
	case 2: /* XMM */
		at = 160 + 8 * random_below(32);
		word = random_next();
		memcpy((uint8_t *)&x + at, &word, sizeof(word));
		break;
	}
	note_result(f, "set", ioctl(c->io.vcpu, KVM_SET_XSAVE, &x));
}

void step_xcrs(struct fuzz *f, struct cpu *c)
{
	struct kvm_xcrs x;

	memset(&x, 0, sizeof(x));
	note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_XCRS, &x));
	note(f, "xcr0", x.xcrs[0].value);
	x.nr_xcrs = 1;
	x.xcrs[0].value = random_below(2) ? random_below(8) : 1 | 1ull << random_below(20);
	note(f, "value", x.xcrs[0].value);
	note_result(f, "set", ioctl(c->io.vcpu, KVM_SET_XCRS, &x));
}

void step_events(struct fuzz *f, struct cpu *c)
{
	struct kvm_vcpu_events e;

	memset(&e, 0, sizeof(e));
	note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_VCPU_EVENTS, &e));
	switch (random_below(5)) {
	case 0:
		e.exception.injected = 1;
		e.exception.nr = random_below(2) ? VECTOR_CP : random_below(32);
		e.exception.has_error_code = random_below(2);
		e.exception.error_code = random_below(8);
		break;
	case 1:
		e.nmi.pending = 1;
		break;
	case 2:
		e.flags |= KVM_VCPUEVENT_VALID_SHADOW;
		e.interrupt.shadow = random_below(4);
		break;
	case 3:
		e.nmi.masked ^= 1;
		break;
	default:
		e.flags |= 1u << random_below(8);
	}
	note_result(f, "set", ioctl(c->io.vcpu, KVM_SET_VCPU_EVENTS, &e));
	note_state(f, c);
}

void step_mp_state(struct fuzz *f, struct cpu *c)
{
	struct kvm_mp_state s;

	note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_MP_STATE, &s));
	note(f, "state", s.mp_state);
	s.mp_state = random_below(2) ? KVM_MP_STATE_RUNNABLE : random_below(6);
	note(f, "value", s.mp_state);
	note_result(f, "set", ioctl(c->io.vcpu, KVM_SET_MP_STATE, &s));
}

static bool in_smm(const struct cpu *c)
{
	struct kvm_vcpu_events e;

	memset(&e, 0, sizeof(e));
	return !ioctl(c->io.vcpu, KVM_GET_VCPU_EVENTS, &e) && e.smi.smm;
}

/*
 * In SMM, a CPU is not in VMX operation, which RSM restores. KVM accepts a state that says otherwise. L1 could then
 * enter L2 in SMM, and KVM would hit a BUG() when the VM ends, as it would not find entries of its page tables again.
 */
static int set_nested_state(struct cpu *c, struct kvm_nested_state *s)
{
	const uint16_t smm = s->hdr.vmx.smm.flags;
	int ret;

	if (!kvm_is_svm() && s->hdr.vmx.vmxon_pa != ~0ull && in_smm(c))
		s->hdr.vmx.smm.flags |= KVM_STATE_NESTED_SMM_VMXON;
	ret = ioctl(c->io.vcpu, KVM_SET_NESTED_STATE, s);
	s->hdr.vmx.smm.flags = smm;
	return ret;
}

void step_nested_state(struct fuzz *f, struct cpu *c)
{
	struct kvm_nested_state **kept = &f->nested_states[random_below(ARRAY_SIZE(f->nested_states))];
	struct kvm_sregs sregs;
	unsigned int what = random_below(6);

	if (!*kept || random_below(2)) {
		if (!*kept)
			*kept = calloc(1, NESTED_SIZE);
		if (!*kept)
			tap_bail("no memory");
		(*kept)->size = random_one_in(8) ? random_below(NESTED_SIZE) : NESTED_SIZE;
		if (!note_result(f, "get", ioctl(c->io.vcpu, KVM_GET_NESTED_STATE, *kept))) {
			note(f, "size", (*kept)->size);
			note(f, "flags", (*kept)->flags);
		}
		return;
	}
	note(f, "what", what);
	switch (what) {
	case 0:
		(*kept)->flags ^= 1u << random_below(5);
		break;
	case 1:
		(*kept)->size = random_below(NESTED_SIZE);
		break;
	case 2: /* in the VMCS or VMCB */
		((uint64_t *)*kept)[16 + random_below(512)] = fuzz_value(f, c);
		break;
	}
	/* Without EFER.SVME, older kernels refuse GIF=0. */
	if (kvm_is_svm() && !(*kept)->flags && !ioctl(c->io.vcpu, KVM_GET_SREGS, &sregs) && !(sregs.efer & EFER_SVME))
		(*kept)->flags = KVM_STATE_NESTED_GIF_SET;
	note(f, "flags", (*kept)->flags);
	note_result(f, "set", set_nested_state(c, *kept));
	note_state(f, c);
}

/* The MSR filter of the VMM, and whether denied accesses exit to it. */
void step_filter(struct fuzz *f, struct cpu *c)
{
	static uint8_t bitmaps[2][16];
	struct kvm_msr_filter filter = { .flags = random_below(4) ? KVM_MSR_FILTER_DEFAULT_ALLOW : random_below(4) };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args[0] = random_below(16) };
	unsigned int i, j;

	for (i = 0; i < random_below(3); i++) {
		for (j = 0; j < sizeof(bitmaps[i]); j++)
			bitmaps[i][j] = random_next();
		filter.ranges[i] = (struct kvm_msr_filter_range) {
			.flags = 1 + random_below(3),
			.base = random_below(4) ? 0x6a0 :
				random_below(2) ? MSR_XSS :
						  0xc0000080,
			.nmsrs = 1 + random_below(8 * sizeof(bitmaps[i]) - 1),
			.bitmap = bitmaps[i],
		};
	}
	note_result(f, "filter", ioctl(c->machine->fd, KVM_X86_SET_MSR_FILTER, &filter));
	note_result(f, "exits", ioctl(c->machine->fd, KVM_ENABLE_CAP, &cap));
}

/* Interrupts between vCPUs, including INIT and SIPI; from the VMM, NMI and SMI. */
void step_interrupts(struct fuzz *f, struct cpu *c)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | c->number << 12 };

	switch (random_below(f->irqchip && !vm_of(f, c) ? 4 : 2)) {
	case 0:
		note_result(f, "nmi", ioctl(c->io.vcpu, KVM_NMI, 0));
		break;
	case 1:
		note_result(f, "smi", ioctl(c->io.vcpu, KVM_SMI, 0));
		break;
	case 2:
		msi.data = 5 << 8; /* INIT */
		note_result(f, "init", ioctl(c->machine->fd, KVM_SIGNAL_MSI, &msi));
		break;
	case 3:
		msi.data = 6 << 8 | random_below(32); /* SIPI */
		note_result(f, "sipi", ioctl(c->machine->fd, KVM_SIGNAL_MSI, &msi));
		break;
	}
	note_state(f, c);
}

void step_debug(struct fuzz *f, struct cpu *c)
{
	struct kvm_guest_debug debug = { .control = random_below(3) ? 0 : KVM_GUESTDBG_ENABLE };

	if (debug.control && random_below(2))
		debug.control |= KVM_GUESTDBG_SINGLESTEP;
	if (debug.control && random_below(2))
		debug.control |= KVM_GUESTDBG_USE_HW_BP;
	debug.arch.debugreg[0] = f->code + random_below(64);
	debug.arch.debugreg[7] = 0x401;
	note(f, "control", debug.control);
	note_result(f, "ret", ioctl(c->io.vcpu, KVM_SET_GUEST_DEBUG, &debug));
}

/* Ioctl numbers next to ours, and ours on file descriptors where they do not belong. */
void step_odd_ioctl(struct fuzz *f, struct cpu *c)
{
	static const unsigned int numbers[] = { GET_ONE_REG, SET_ONE_REG, GET_REG_LIST };
	unsigned int nr = numbers[random_below(ARRAY_SIZE(numbers))];
	int fd = random_below(3) ? c->io.vcpu : random_below(2) ? c->machine->fd : kvm_dev;
	uint64_t arg[4] = { ID_GUEST_SSP, (uintptr_t)&arg[3], 0, 0 };

	if (fd == c->io.vcpu || random_below(2))
		nr ^= random_below(2) ? 1u << 30 : 1u << (16 + random_below(14));
	note(f, "nr", nr);
	note_result(f, "ret", ioctl(fd, nr, arg));
	if (fd == kvm_dev) {
		note_result(f, "extension",
			    f->emulate ? 1 : ioctl(fd, KVM_CHECK_EXTENSION, (unsigned long)CAP_ONE_REG));
	} else {
		struct kvm_enable_cap cap = { .cap = CAP_ONE_REG };

		note_result(f, "enable", ioctl(c->io.vcpu, KVM_ENABLE_CAP, &cap));
	}
}

struct competitor {
	struct cpu *c;
	bool set;
	unsigned int bad;
};

/* Sets a register to one of two values, or checks that it has one of them. */
static void *compete(void *p)
{
	struct competitor *t = p;
	uint64_t value;
	unsigned int i;

	for (i = 0; i < 8; i++) {
		if (t->set) {
			value = i & 1 ? 0x1000 : 0x2000;
			t->bad += set_reg(&t->c->io, ID_MSR_BASE | MSR_FS_BASE, value).ret;
		} else {
			value = 0;
			t->bad += get_reg(&t->c->io, ID_MSR_BASE | MSR_FS_BASE, &value).ret ||
				  (value != 0x1000 && value != 0x2000);
		}
	}
	return NULL;
}

/* Two threads on one vCPU. */
void step_threads(struct fuzz *f, struct cpu *c)
{
	struct competitor t[2] = { { c, true, 0 }, { c, false, 0 } };
	pthread_t thread;

	if (f->emulate) {
		/* What the other thread would leave there. */
		note_result(f, "set", !msrs_set(&c->io, MSR_FS_BASE, 0x1000));
		note(f, "bad", 0);
		return;
	}
	note_result(f, "set", set_reg(&c->io, ID_MSR_BASE | MSR_FS_BASE, 0x1000).ret);
	if (pthread_create(&thread, NULL, compete, &t[0]))
		tap_bail("thread");
	compete(&t[1]);
	pthread_join(thread, NULL);
	note(f, "bad", t[0].bad + t[1].bad);
}
