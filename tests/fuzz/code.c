// SPDX-License-Identifier: GPL-2.0
/* Random code for guests: instructions around shadow stacks, IBT, MSRs, state and rings, in 64-bit mode. */
#include <string.h>

#include "fuzz.h"

struct emitter {
	struct fuzz *f;
	const struct cpu *c;
	uint8_t *at, *start;
};

static void emit(struct emitter *e, const void *bytes, size_t n)
{
	memcpy(e->at, bytes, n);
	e->at += n;
}

#define BYTES(e, ...) emit(e, (const uint8_t[]) { __VA_ARGS__ }, sizeof((const uint8_t[]) { __VA_ARGS__ }))

/* mov $value, %reg */
static void load(struct emitter *e, unsigned int reg, uint64_t value)
{
	BYTES(e, 0x48 | reg >> 3, 0xb8 | (reg & 7));
	emit(e, &value, sizeof(value));
}

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 };

/* An address of data, a stack, a shadow stack, a token, or code; or of nothing. */
static uint64_t address(struct emitter *e)
{
	const struct cpu *c = e->c;

	switch (random_below(12)) {
	case 0:
		return cpu_shadow_stack(c, CPU_SS_PAGE) - 64 - 8 * random_below(8);
	case 1:
		return cpu_shadow_stack(c, CPU_SS_USER_PAGE) - 64 - 8 * random_below(8);
	case 2:
		return cpu_shadow_stack(c, CPU_SS_PL0_PAGE);
	case 3:
		return cpu_shadow_stack(c, CPU_SS_IST1_PAGE);
	case 4:
		return cpu_shadow_stack(c, CPU_SS_PAGE) - 512 + 8 * random_below(16);
	case 5:
		return cpu_stack(c, CPU_STACK_PAGE, 1);
	case 6:
		return e->f->code + random_below(PAGE);
	case 7:
		return fuzz_value(e->f, c);
	default:
		return e->f->data + (random_below(2 * PAGE) & ~63u);
	}
}

static void access_msr(struct emitter *e, uint32_t msr, bool write)
{
	uint64_t value = msr_value(e->f, e->c, msr);

	/* What it reads would get into a register. */
	if (!write && msr_moves(msr))
		return;
	load(e, RCX, msr);
	load(e, RAX, (uint32_t)value);
	load(e, RDX, value >> 32);
	BYTES(e, 0x0f, write ? 0x30 : 0x32);
}

/* Control registers, with the bits that leave paging on more often than others. */
static void control_register(struct emitter *e)
{
	static const uint8_t cr4_bits[] = { 23, 23, 23, 23, 20, 21, 22, 17, 18, 7, 9, 10, 11, 16, 13 };

	switch (random_below(5)) {
	case 0: /* mov %cr4, %rax; btc $bit, %rax; mov %rax, %cr4 */
		BYTES(e, 0x0f, 0x20, 0xe0, 0x48, 0x0f, 0xba, 0xf8, cr4_bits[random_below(sizeof(cr4_bits))], 0x0f, 0x22,
		      0xe0);
		break;
	case 1: /* the same with CR0: WP, TS, MP, AM, NE, or any */
		BYTES(e, 0x0f, 0x20, 0xc0, 0x48, 0x0f, 0xba, 0xf8, random_below(3) ? 16 : random_below(32), 0x0f, 0x22,
		      0xc0);
		break;
	case 2: /* mov %cr3, %rax; mov %rax, %cr3 */
		BYTES(e, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8);
		break;
	case 3: /* mov %rax, %cr8 */
		load(e, RAX, random_below(17));
		BYTES(e, 0x44, 0x0f, 0x22, 0xc0);
		break;
	case 4: /* WP off: mov %cr0, %rax; btr $16, %rax; mov %rax, %cr0; and CET on: the same with CR4, bts $23 */
		BYTES(e, 0x0f, 0x20, 0xc0, 0x48, 0x0f, 0xba, 0xf0, 16, 0x0f, 0x22, 0xc0);
		BYTES(e, 0x0f, 0x20, 0xe0, 0x48, 0x0f, 0xba, 0xe8, 23, 0x0f, 0x22, 0xe0);
		break;
	}
}

static void shadow_stack(struct emitter *e)
{
	switch (random_below(9)) {
	case 0: /* rdsspq %rax */
		BYTES(e, 0xf3, 0x48, 0x0f, 0x1e, 0xc8);
		break;
	case 1: /* incsspq %rax */
		load(e, RAX, random_below(4));
		BYTES(e, 0xf3, 0x48, 0x0f, 0xae, 0xe8);
		break;
	case 2: /* saveprevssp */
		BYTES(e, 0xf3, 0x0f, 0x01, 0xea);
		break;
	case 3: /* rstorssp (%rbx) */
		load(e, RBX, address(e));
		BYTES(e, 0xf3, 0x0f, 0x01, 0x2b);
		break;
	case 4: /* wrssq %rax, (%rbx): tokens are written with it, too */
		load(e, RBX, address(e));
		load(e, RAX, random_below(2) ? address(e) | random_below(4) : fuzz_value(e->f, e->c));
		BYTES(e, 0x48, 0x0f, 0x38, 0xf6, 0x03);
		break;
	case 5: /* wrussq %rax, (%rbx) */
		load(e, RBX, address(e));
		BYTES(e, 0x66, 0x48, 0x0f, 0x38, 0xf5, 0x03);
		break;
	case 6: /* setssbsy */
		BYTES(e, 0xf3, 0x0f, 0x01, 0xe8);
		break;
	case 7: /* clrssbsy (%rbx) */
		load(e, RBX, address(e));
		BYTES(e, 0xf3, 0x0f, 0xae, 0x33);
		break;
	case 8: /* rdsspd %eax */
		BYTES(e, 0xf3, 0x0f, 0x1e, 0xc8);
		break;
	}
}

static void branch(struct emitter *e)
{
	const bool endbr = !random_below(2);

	switch (random_below(8)) {
	case 0: /* call 1f; 1: the return address stays on both stacks */
		BYTES(e, 0xe8);
		emit(e, &(uint32_t) { 0 }, 4);
		break;
	case 1: /* call 1f; jmp 2f; 1: ret; 2: */
		BYTES(e, 0xe8, 2, 0, 0, 0, 0xeb, 1, 0xc3);
		break;
	case 2: /* push of an address, and a return to it: the shadow stack has none */
		load(e, RAX, e->f->code + (e->at - e->start) + 12);
		BYTES(e, 0x50, 0xc3);
		break;
	case 3: /* lea 1f(%rip), %rax; jmp *%rax; 1: without ENDBR64, or with it, or with NOTRACK */
		BYTES(e, 0x48, 0x8d, 0x05);
		emit(e, &(uint32_t) { random_below(2) ? 2 : 3 }, 4);
		if (e->at[-4] == 3)
			BYTES(e, 0x3e);
		BYTES(e, 0xff, 0xe0);
		if (endbr)
			BYTES(e, 0xf3, 0x0f, 0x1e, 0xfa);
		break;
	case 4: /* lea 1f(%rip), %rax; call *%rax; 1: endbr64 */
		BYTES(e, 0x48, 0x8d, 0x05, 2, 0, 0, 0, 0xff, 0xd0);
		if (random_below(4))
			BYTES(e, 0xf3, 0x0f, 0x1e, 0xfa);
		break;
	case 5: /* endbr64, endbr32 */
		BYTES(e, 0xf3, 0x0f, 0x1e, random_below(2) ? 0xfa : 0xfb);
		break;
	case 6: /* push $selector; push 1f; lretq; 1: */
		BYTES(e, 0x6a, random_below(3) ? SEL_CODE64 : SEL_USER64);
		BYTES(e, 0x48, 0x8d, 0x05, 3, 0, 0, 0, 0x50, 0x48, 0xcb);
		break;
	case 7: /* ret $8 */
		BYTES(e, 0xc2, 8, 0);
		break;
	}
}

static void state(struct emitter *e)
{
	static const uint8_t insns[][4] = {
		{ 0x48, 0x0f, 0xae, 0x23 }, /* xsave64 (%rbx) */
		{ 0x48, 0x0f, 0xae, 0x2b }, /* xrstor64 */
		{ 0x48, 0x0f, 0xc7, 0x2b }, /* xsaves64 */
		{ 0x48, 0x0f, 0xc7, 0x1b }, /* xrstors64 */
		{ 0x48, 0x0f, 0xc7, 0x23 }, /* xsavec64 */
	};
	unsigned int i = random_below(ARRAY_SIZE(insns) + 2);

	if (i < ARRAY_SIZE(insns)) {
		load(e, RBX, random_below(8) ? e->f->data + 64 * random_below(16) : address(e));
		load(e, RAX, random_below(4) ? (random_below(4) << 11) | random_below(8) : (uint32_t)random_next());
		load(e, RDX, 0);
		emit(e, insns[i], 4);
		return;
	}
	load(e, RCX, random_below(8) ? 0 : random_below(3));
	load(e, RAX, random_below(8));
	load(e, RDX, 0);
	BYTES(e, 0x0f, 0x01, i == ARRAY_SIZE(insns) ? 0xd1 : 0xd0); /* xsetbv, xgetbv */
}

/* Other rings, and the ways back. */
static void ring(struct emitter *e)
{
	const bool user = random_below(2);

	switch (random_below(8)) {
	case 0:								  /* iretq with a frame that leads behind it */
		BYTES(e, 0x48, 0x89, 0xe0);				  /* mov %rsp, %rax */
		BYTES(e, 0x6a, user ? SEL_USER_DATA : SEL_DATA, 0x50);	  /* ss, rsp */
		BYTES(e, 0x68, 0x02, user ? 0x32 : 0x02, 0, 0);		  /* rflags */
		BYTES(e, 0x6a, user ? SEL_USER64 : SEL_CODE64);		  /* cs */
		BYTES(e, 0x48, 0x8d, 0x05, 3, 0, 0, 0, 0x50, 0x48, 0xcf); /* rip; iretq */
		break;
	case 1:								  /* sysretq to what follows */
		BYTES(e, 0x48, 0x8d, 0x0d, 10, 0, 0, 0);		  /* lea 1f(%rip), %rcx */
		BYTES(e, 0x41, 0xbb, 0x02, 0x32, 0, 0, 0x48, 0x0f, 0x07); /* mov $flags, %r11d; sysretq */
		BYTES(e, 0x90);
		break;
	case 2:
		BYTES(e, 0x0f, 0x05); /* syscall */
		break;
	case 3:
		BYTES(e, 0x0f, 0x34); /* sysenter */
		break;
	case 4:
		BYTES(e, 0xcd, random_below(2) ? VECTOR_USER_RETURN : random_below(256)); /* int n */
		break;
	case 5:
		/* int3, int1 */
		BYTES(e, random_below(2) || kvm_is_svm() ? 0xcc : FUZZ_INT1);
		break;
	case 6: /* swapgs twice, as the second undoes the first */
		BYTES(e, 0x0f, 0x01, 0xf8, 0x0f, 0x01, 0xf8);
		break;
	case 7: /* mov %ax, %ds */
		load(e, RAX, random_below(0x60));
		BYTES(e, 0x8e, 0xd8);
		break;
	}
}

static void memory(struct emitter *e)
{
	load(e, RBX, address(e));
	switch (random_below(5)) {
	case 0: /* mov (%rbx), %rax */
		BYTES(e, 0x48, 0x8b, 0x03);
		break;
	case 1: /* mov %rax, (%rbx) */
		BYTES(e, 0x48, 0x89, 0x03);
		break;
	case 2: /* lock cmpxchg %rcx, (%rbx) */
		BYTES(e, 0xf0, 0x48, 0x0f, 0xb1, 0x0b);
		break;
	case 3: /* invlpg (%rbx) */
		BYTES(e, 0x0f, 0x01, 0x3b);
		break;
	case 4: /* push (%rbx); pop %rcx */
		BYTES(e, 0xff, 0x33, 0x59);
		break;
	}
}

/* Instructions of hypervisors, in a guest that is not one: they fault, or it becomes one. */
static void virtualization(struct emitter *e)
{
	static const uint8_t insns[][5] = {
		{ 3, 0x0f, 0x01, 0xc1 },       /* vmcall */
		{ 3, 0x0f, 0x01, 0xd9 },       /* vmmcall */
		{ 4, 0xf3, 0x0f, 0xc7, 0x33 }, /* vmxon (%rbx) */
		{ 3, 0x0f, 0x01, 0xc4 },       /* vmxoff */
		{ 4, 0x66, 0x0f, 0xc7, 0x33 }, /* vmclear (%rbx) */
		{ 3, 0x0f, 0xc7, 0x33 },       /* vmptrld (%rbx) */
		{ 3, 0x0f, 0x01, 0xc2 },       /* vmlaunch */
		{ 3, 0x0f, 0x78, 0xc3 },       /* vmread %rax, %rbx */
		{ 3, 0x0f, 0x79, 0xc3 },       /* vmwrite %rbx, %rax */
		{ 3, 0x0f, 0x01, 0xd8 },       /* vmrun */
		{ 3, 0x0f, 0x01, 0xda },       /* vmload */
		{ 3, 0x0f, 0x01, 0xdb },       /* vmsave */
		{ 3, 0x0f, 0x01, 0xdc },       /* stgi */
		{ 3, 0x0f, 0x01, 0xdd },       /* clgi */
	};
	const uint8_t *insn = insns[random_below(ARRAY_SIZE(insns))];
	uint64_t at = random_below(4) ? e->f->data : address(e);

	/* For VMRUN, VMLOAD and VMSAVE, newer kernels use all bits of it, and it is an error if there is no memory. */
	if (kvm_is_svm())
		at = at < RAM_SIZE / 2 ? at & ~(PAGE - 1) : e->f->data;
	load(e, RBX, at);
	/* A hypercall's number; of those, none depends on the clock. */
	load(e, RAX, insn[3] == 0xc1 || insn[3] == 0xd9 ? 0x100 + random_below(8) : at);
	emit(e, insn + 1, insn[0]);
}

/* Without RDTSC, RDTSCP, RDRAND, RDSEED, RDPMC, whose results cannot be compared. */
static bool is_deterministic(const uint8_t *b, unsigned int n)
{
	unsigned int i;

	for (i = 0; i + 1 < n; i++)
		if (b[i] == 0x0f && (b[i + 1] == 0x31 || b[i + 1] == 0x33 || b[i + 1] == 0xc7 || b[i + 1] == 0x01))
			return false;
	return true;
}

static void garbage(struct emitter *e)
{
	uint8_t bytes[6];
	unsigned int i, n = 1 + random_below(sizeof(bytes));

	do {
		for (i = 0; i < n; i++)
			bytes[i] = random_next();
	} while (!is_deterministic(bytes, n));
	/*
	 * FNSTENV and FNSAVE store the address of the last x87 instruction, which is the kernel's where it has to clear
	 * the guest's (FXSAVE_LEAK of AMD's CPUs): FNSTCW and FNSTSW instead.
	 */
	for (i = 0; i + 1 < n; i++)
		if ((bytes[i] == 0xd9 || bytes[i] == 0xdd) && bytes[i + 1] < 0xc0 && (bytes[i + 1] >> 3 & 7) == 6)
			bytes[i + 1] |= 8;
	for (i = 0; i < n; i++)
		if (bytes[i] == FUZZ_INT1 && kvm_is_svm())
			bytes[i] = 0x90;
	emit(e, bytes, n);
}

static void other(struct emitter *e)
{
	unsigned int dr;

	switch (random_below(7)) {
	case 0: /* cpuid of a leaf that fuzz_cpuid() leaves alone */
		load(e, RAX, random_below(2) ? 7 : 0xd);
		load(e, RCX, random_below(3));
		BYTES(e, 0x0f, 0xa2);
		break;
	case 1: /* ud2, or KVM's prefix before the next instruction */
		BYTES(e, 0x0f, 0x0b);
		if (random_below(2))
			emit(e, "kvm", 3);
		break;
	case 2: /* in, out */
		BYTES(e, 0xe4 | random_below(2) << 1, PORT_CALL - 1);
		break;
	case 3: /* mov %rax, %dr0..7; when older kernels emulate it, they do not check bits 63:32 of DR4 and DR5 */
		dr = random_below(8);
		load(e, RAX, random_below(2) || dr == 4 || dr == 5 ? 0 : fuzz_value(e->f, e->c));
		BYTES(e, 0x0f, 0x23, 0xc0 | dr << 3);
		break;
	case 4:
		BYTES(e, 0x9c, 0x9d); /* pushf; popf */
		break;
	case 5:
		BYTES(e, 0x90);
		break;
	case 6: /* rsm */
		BYTES(e, 0x0f, 0xaa);
		break;
	}
}

/* The instructions that is_deterministic() rejects must not appear across two others, either. */
static bool may_tell_time(const uint8_t *b, const uint8_t *end)
{
	for (; b + 2 < end; b++)
		if (b[0] == 0x0f &&
		    (b[1] == 0x31 || b[1] == 0x33 || (b[1] == 0xc7 && b[2] >= 0xf0) || (b[1] == 0x01 && b[2] == 0xf9)))
			return true;
	return false;
}

static uint8_t *one_code(struct fuzz *f, struct cpu *c, uint8_t *at)
{
	struct emitter e = { f, c, at, at };
	unsigned int n = 1 + random_below(12);

	memset(at, FUZZ_NO_CODE, PAGE);
	if (random_below(2))
		BYTES(&e, 0xf3, 0x0f, 0x1e, 0xfa);
	while (n--) {
		switch (random_below(20)) {
		case 0 ... 3:
			shadow_stack(&e);
			break;
		case 4 ... 6:
			branch(&e);
			break;
		case 7 ... 9:
			access_msr(&e, fuzz_msr(), random_below(3));
			break;
		case 10 ... 11:
			state(&e);
			break;
		case 12 ... 13:
			ring(&e);
			break;
		case 14:
			control_register(&e);
			break;
		case 15 ... 16:
			memory(&e);
			break;
		case 17:
			virtualization(&e);
			break;
		case 18:
			other(&e);
			break;
		case 19:
			if (random_one_in(4))
				garbage(&e);
			else
				other(&e);
			break;
		}
	}
	BYTES(&e, 0xe6, PORT_CALL); /* out %al, $PORT_CALL */
	return e.at;
}

void fuzz_code(struct fuzz *f, struct cpu *c, uint8_t *at)
{
	while (may_tell_time(at, one_code(f, c, at)))
		;
}

void fuzz_msr_access(struct fuzz *f, struct cpu *c, uint8_t *at)
{
	struct emitter e = { f, c, at, at };

	memset(at, FUZZ_NO_CODE, PAGE);
	BYTES(&e, 0xf3, 0x0f, 0x1e, 0xfa); /* endbr64 */
	access_msr(&e, fuzz_cet_msr(), random_below(2));
	BYTES(&e, 0xe6, PORT_CALL);
}
