// SPDX-License-Identifier: GPL-2.0
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <asm/kvm_onereg.h>

#include "vmm.h"

#define PROGRAM_BASE 0x200000ull

/* The memory for machine_alloc(): above what real-mode code of a test may use, below the program. */
#define ALLOC_FIRST 0x10000ull

static struct kvm_cpuid2 *supported;

bool machines_keep_memory;

/* The memory of machines that were destroyed. */
static uint8_t *spare_memory[2];

static struct kvm_cpuid2 *new_cpuid(void)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));

	if (!cpuid)
		tap_bail("no memory");
	cpuid->nent = MAX_CPUID;
	return cpuid;
}

#define SHSTK (1u << 7)	 /* CPUID(7,0).ECX */
#define IBT   (1u << 20) /* CPUID(7,0).EDX */

uint64_t cet_control_bits = ~0ull;

static struct kvm_cpuid2 *supported_cpuid(void)
{
	const struct kvm_cpuid_entry2 *e;

	if (supported)
		return supported;
	supported = kvm_cpuid(KVM_GET_SUPPORTED_CPUID);
	e = find_cpuid(supported, 7, 0);
	if (!e || !(e->edx & IBT))
		cet_control_bits = CET_SHSTK | CET_WRSS;
	return supported;
}

bool kvm_has_shstk(void)
{
	struct kvm_cpuid_entry2 *e = find_cpuid(supported_cpuid(), 7, 0);

	return e && e->ecx & SHSTK;
}

bool kvm_has_ibt(void)
{
	struct kvm_cpuid_entry2 *e = find_cpuid(supported_cpuid(), 7, 0);

	return e && e->edx & IBT;
}

void check_forced_emulation(void)
{
	char forced = 0;

	tap_ok(kvm_param_get("force_emulation_prefix", &forced) && (forced == '1' || forced == 'Y'),
	       "KVM's prefix for emulation is on");
}

void cpuid_hide_shstk(struct kvm_cpuid2 *cpuid)
{
	find_cpuid(cpuid, 7, 0)->ecx &= ~SHSTK;
}

void cpuid_hide_ibt(struct kvm_cpuid2 *cpuid)
{
	find_cpuid(cpuid, 7, 0)->edx &= ~IBT;
}

void vmm_open(const char *program)
{
	kvm_open(program);
	if (!kvm_has_shstk()) {
		printf("1..0 # SKIP KVM does not offer CET\n");
		exit(77);
	}
}

const char *stop_by_ibt(const char *want)
{
	return kvm_has_ibt() ? want : "call 66";
}

bool kvm_is_svm(void)
{
	unsigned int eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	return ebx == signature_AMD_ebx;
}

const uint32_t cet_msrs[CET_MSRS_XSS] = {
	MSR_U_CET, MSR_S_CET, MSR_PL0_SSP, MSR_PL1_SSP, MSR_PL2_SSP, MSR_PL3_SSP, MSR_INT_SSP_TAB, MSR_XSS,
};

static void no_op(int number)
{
	(void)number;
}

static void end_run_by(int number)
{
	struct sigaction sa = { .sa_handler = no_op };

	if (sigaction(number, &sa, NULL))
		tap_bail("sigaction");
}

void signals_end_run(void)
{
	end_run_by(SIGUSR1);
}

static void alarm_in(unsigned int us, unsigned int again)
{
	struct itimerval timer = { { .tv_usec = again }, { .tv_usec = us } };

	end_run_by(SIGALRM);
	if (setitimer(ITIMER_REAL, &timer, NULL))
		tap_bail("setitimer");
}

void time_limit_us(unsigned int us)
{
	/* Repeatedly, because the first one may come before KVM_RUN. */
	alarm_in(us, us);
}

void time_limit(unsigned int ms)
{
	time_limit_us(ms * 1000);
}

void time_limit_once(unsigned int us)
{
	alarm_in(us, 0);
}

const struct test_part *find_test_part(const struct test_part *parts, unsigned int n, const char *name)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (!strcmp(parts[i].name, name))
			return &parts[i];
	tap_bail("no part %s", name);
}

void *machine_at(struct machine *m, uint64_t gpa)
{
	if (gpa >= RAM_SIZE)
		tap_bail("0x%llx is not an address in the guest's RAM", (unsigned long long)gpa);
	return m->ram + gpa;
}

static void put64(struct machine *m, uint64_t gpa, uint64_t value)
{
	memcpy(machine_at(m, gpa), &value, sizeof(value));
}

static uint64_t take64(struct machine *m, uint64_t gpa)
{
	uint64_t value;

	memcpy(&value, machine_at(m, gpa), sizeof(value));
	return value;
}

uint64_t machine_alloc(struct machine *m, unsigned int pages)
{
	uint64_t gpa = m->free;

	m->free += pages * PAGE;
	if (m->free > PROGRAM_BASE)
		tap_bail("the guest's memory is used up");
	return gpa;
}

void machine_slot(struct machine *m, unsigned int space, uint64_t gpa, void *memory, uint64_t size, uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = space << 16 | m->slots++,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = user_addr(memory),
	};

	if (ioctl(m->fd, KVM_SET_USER_MEMORY_REGION, &region))
		tap_bail("KVM_SET_USER_MEMORY_REGION 0x%llx", (unsigned long long)gpa);
}

#define PTE_ADDRESS 0x000ffffffffff000ull

void machine_map(struct machine *m, uint64_t linear, uint64_t gpa, uint64_t bits)
{
	uint64_t table = m->cr3, entry;
	unsigned int shift;

	for (shift = 39; shift > 12; shift -= 9) {
		entry = table + (linear >> shift & 511) * 8;
		if (!take64(m, entry))
			put64(m, entry, machine_alloc(m, 1) | PTE_NORMAL);
		table = take64(m, entry) & PTE_ADDRESS;
	}
	put64(m, table + (linear >> 12 & 511) * 8, bits ? gpa | bits : 0);
}

void machine_gate(struct machine *m, unsigned int vector, uint64_t handler, unsigned int dpl, unsigned int ist)
{
	machine_gate_to(m, vector, SEL_CODE64, handler, dpl, ist);
}

void machine_gate_to(struct machine *m, unsigned int vector, unsigned int selector, uint64_t handler, unsigned int dpl,
		     unsigned int ist)
{
	put64(m, m->idt + 16 * vector,
	      (handler & 0xffff) | selector << 16 | (uint64_t)ist << 32 | (uint64_t)(0x8e | dpl << 5) << 40 |
		      (handler >> 16 & 0xffff) << 48);
	put64(m, m->idt + 16 * vector + 8, handler >> 32);
}

void cpu_descriptor(struct cpu *c, unsigned int selector, uint64_t descriptor)
{
	put64(c->machine, c->page + CPU_GDT + (selector & ~7), descriptor);
}

/* Some room at the upper end: an IRET looks for a token there, and tests may look past it. */
#define HEADROOM 40

uint64_t cpu_stack(const struct cpu *c, unsigned int page, unsigned int pages)
{
	return c->page + (page + pages) * PAGE - HEADROOM;
}

uint64_t cpu_shadow_stack(const struct cpu *c, unsigned int page)
{
	return c->page + (page + 1) * PAGE - HEADROOM;
}

uint64_t machine_shadow_stack(struct machine *m, uint64_t page, bool user, bool token)
{
	uint64_t top = page + PAGE - HEADROOM;

	machine_map(m, page, page, user ? PTE_USER_SHADOW : PTE_SHADOW);
	if (token)
		put64(m, top, top);
	return top;
}

static void load_program(struct machine *m)
{
	const Elf64_Phdr *p = (void *)getauxval(AT_PHDR);
	unsigned long n = getauxval(AT_PHNUM);

	for (; n--; p++) {
		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_vaddr < PROGRAM_BASE || p->p_vaddr + p->p_memsz > RAM_SIZE)
			tap_bail("this program is not where the guest expects it");
		memcpy(m->ram + p->p_vaddr, (void *)p->p_vaddr, p->p_memsz);
	}
}

static void make_tables(struct machine *m)
{
	uint64_t gpa;
	unsigned int i;

	m->cr3 = machine_alloc(m, 1);
	for (gpa = PAGE; gpa < RAM_SIZE; gpa += PAGE)
		machine_map(m, gpa, gpa, PTE_NORMAL);
	m->idt = machine_alloc(m, 1);
	for (i = 0; i < 256; i++)
		machine_gate(m, i, (uintptr_t)g_exception_stubs + 16 * i, 3, i == VECTOR_DF ? 2 : 1);
	machine_gate(m, VECTOR_USER_RETURN, (uintptr_t)g_user_return, 3, 0);
}

static void make_cpu_pages(struct cpu *c)
{
	struct machine *m = c->machine;
	uint64_t tss;

	c->page = machine_alloc(m, CPU_PAGES);
	machine_shadow_stack(m, c->page + CPU_SS_PAGE * PAGE, false, false);
	machine_shadow_stack(m, c->page + CPU_SS_PL0_PAGE * PAGE, false, true);
	put64(m, c->page + CPU_SSP_TABLE + 8, machine_shadow_stack(m, c->page + CPU_SS_IST1_PAGE * PAGE, false, true));
	put64(m, c->page + CPU_SSP_TABLE + 16, machine_shadow_stack(m, c->page + CPU_SS_IST2_PAGE * PAGE, false, true));
	machine_shadow_stack(m, c->page + CPU_SS_USER_PAGE * PAGE, true, false);

	put64(m, c->page + CPU_RSP0, cpu_stack(c, CPU_RSP0_PAGE, 1));
	put64(m, c->page + CPU_IST(1), cpu_stack(c, CPU_IST1_PAGE, 1));
	put64(m, c->page + CPU_IST(2), cpu_stack(c, CPU_IST2_PAGE, 1));
	put64(m, c->page + CPU_USER_RSP, cpu_stack(c, CPU_USER_PAGE, 2));
	put64(m, c->page + CPU_NUMBER, c->number);

	cpu_descriptor(c, SEL_CODE64, DESC_CODE64);
	cpu_descriptor(c, SEL_DATA, DESC_DATA);
	cpu_descriptor(c, SEL_CODE32, DESC_CODE32);
	cpu_descriptor(c, SEL_USER32, DESC_CODE32 | DESC_DPL3);
	cpu_descriptor(c, SEL_USER_DATA, DESC_DATA | DESC_DPL3);
	cpu_descriptor(c, SEL_USER64, DESC_CODE64 | DESC_DPL3);
	tss = c->page + CPU_TSS;
	cpu_descriptor(c, SEL_TSS, 0x67 | (tss & 0xffffff) << 16 | 0x8bull << 40 | (tss >> 24 & 0xff) << 56);
	cpu_descriptor(c, SEL_TSS + 8, tss >> 32);
}

static struct cpu *new_cpu(struct machine *m, unsigned int number)
{
	struct cpu *c = calloc(1, sizeof(*c));

	if (!c)
		tap_bail("no memory");
	c->machine = m;
	c->number = number;
	c->io.fd = m->fd;
	c->io.vcpu = ioctl(m->fd, KVM_CREATE_VCPU, number);
	if (c->io.vcpu < 0)
		tap_bail("KVM_CREATE_VCPU");
	c->io.run_size = ioctl(kvm_dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	c->io.run = mmap(NULL, c->io.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->io.vcpu, 0);
	if (c->io.run == MAP_FAILED)
		tap_bail("struct kvm_run");
	return c;
}

static void free_cpu(struct cpu *c)
{
	munmap(c->io.run, c->io.run_size);
	close(c->io.vcpu);
	free(c->cpuid);
	free(c);
}

static void add_cpu(struct machine *m, const struct machine_config *config)
{
	const struct kvm_cpuid2 *all = supported_cpuid();
	struct cpu *c = new_cpu(m, m->ncpus);

	c->cpuid = new_cpuid();
	memcpy(c->cpuid, all, sizeof(*all) + all->nent * sizeof(all->entries[0]));
	if (config->cpuid)
		config->cpuid(c->cpuid, c->number);
	if (!config->no_cpuid && ioctl(c->io.vcpu, KVM_SET_CPUID2, c->cpuid))
		tap_bail("KVM_SET_CPUID2");
	if (!config->blank)
		make_cpu_pages(c);
	m->cpus[m->ncpus++] = c;
}

static void *new_memory(void)
{
	unsigned int i;
	void *ram;

	for (i = 0; i < ARRAY_SIZE(spare_memory); i++)
		if (spare_memory[i]) {
			ram = memset(spare_memory[i], 0, RAM_SIZE);
			spare_memory[i] = NULL;
			return ram;
		}
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/*
	 * Page by page, so that a page can be removed without its neighbours leaving EPT. fork() must not copy all.
	 */
	if (ram == MAP_FAILED || madvise(ram, RAM_SIZE, MADV_DONTFORK) ||
	    (madvise(ram, RAM_SIZE, MADV_NOHUGEPAGE) && errno != EINVAL))
		tap_bail("RAM");
	return ram;
}

static void free_memory(uint8_t *ram)
{
	unsigned int i;

	for (i = 0; machines_keep_memory && i < ARRAY_SIZE(spare_memory); i++)
		if (!spare_memory[i]) {
			spare_memory[i] = ram;
			return;
		}
	munmap(ram, RAM_SIZE);
}

struct machine *machine_create(const struct machine_config *config)
{
	static const struct machine_config usual;
	struct machine *m = calloc(1, sizeof(*m));
	unsigned int i;

	if (!m)
		tap_bail("no memory");
	if (!config)
		config = &usual;
	/* The guest needs to know this, too. */
	supported_cpuid();
	do {
		m->fd = ioctl(kvm_dev, KVM_CREATE_VM, 0);
	} while (m->fd < 0 && errno == EINTR);
	if (m->fd < 0)
		tap_bail("KVM_CREATE_VM");
	if (config->irqchip && ioctl(m->fd, KVM_CREATE_IRQCHIP, 0))
		tap_bail("KVM_CREATE_IRQCHIP");
	m->ram = new_memory();
	machine_slot(m, 0, 0, m->ram, RAM_SIZE, 0);
	m->free = ALLOC_FIRST;
	if (!config->blank) {
		load_program(m);
		make_tables(m);
	}
	for (i = 0; i < (config->cpus ? config->cpus : 1); i++)
		add_cpu(m, config);
	machine_touch(m);
	return m;
}

void machine_end_touching(struct machine *m)
{
	if (m->toucher)
		free_cpu(m->toucher);
	m->toucher = NULL;
}

void machine_destroy(struct machine *m)
{
	unsigned int i;

	for (i = 0; i < m->ncpus; i++)
		free_cpu(m->cpus[i]);
	machine_end_touching(m);
	close(m->fd);
	free_memory(m->ram);
	free(m);
}

void cpu_get_regs(struct cpu *c, struct kvm_regs *regs)
{
	if (ioctl(c->io.vcpu, KVM_GET_REGS, regs))
		tap_bail("KVM_GET_REGS");
}

void cpu_set_regs(struct cpu *c, const struct kvm_regs *regs)
{
	if (ioctl(c->io.vcpu, KVM_SET_REGS, regs))
		tap_bail("KVM_SET_REGS");
}

void cpu_get_sregs(struct cpu *c, struct kvm_sregs *sregs)
{
	if (ioctl(c->io.vcpu, KVM_GET_SREGS, sregs))
		tap_bail("KVM_GET_SREGS");
}

void cpu_set_sregs(struct cpu *c, const struct kvm_sregs *sregs)
{
	if (ioctl(c->io.vcpu, KVM_SET_SREGS, sregs))
		tap_bail("KVM_SET_SREGS");
}

uint64_t cpu_rdmsr(struct cpu *c, uint32_t msr)
{
	uint64_t value;

	if (!msrs_get(&c->io, msr, &value))
		tap_bail("KVM_GET_MSRS 0x%x", msr);
	return value;
}

void cpu_wrmsr(struct cpu *c, uint32_t msr, uint64_t value)
{
	if (!msrs_set(&c->io, msr, value))
		tap_bail("KVM_SET_MSRS 0x%x = 0x%llx", msr, (unsigned long long)value);
}

uint64_t cpu_ssp(struct cpu *c)
{
	uint64_t value;

	if (get_reg(&c->io, KVM_X86_REG_KVM(KVM_REG_GUEST_SSP), &value).ret)
		tap_bail("KVM_GET_ONE_REG: SSP");
	return value;
}

void cpu_set_ssp(struct cpu *c, uint64_t ssp)
{
	if (set_reg(&c->io, KVM_X86_REG_KVM(KVM_REG_GUEST_SSP), ssp).ret)
		tap_bail("KVM_SET_ONE_REG: SSP = 0x%llx", (unsigned long long)ssp);
}

void cpu_debug(struct cpu *c, uint32_t control)
{
	struct kvm_guest_debug debug = { .control = control };

	if (ioctl(c->io.vcpu, KVM_SET_GUEST_DEBUG, &debug))
		tap_bail("KVM_SET_GUEST_DEBUG");
}

static struct kvm_segment segment(unsigned int selector, unsigned int type, bool code)
{
	return (struct kvm_segment) {
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.dpl = selector & 3,
		.db = !code,
		.s = 1,
		.l = code,
		.g = 1,
	};
}

void cpu_usual_sregs(struct cpu *c, unsigned int cpl, struct kvm_sregs *sregs)
{
	struct machine *m = c->machine;

	cpu_get_sregs(c, sregs);
	sregs->cs = segment(cpl ? SEL_USER64 : SEL_CODE64, 0xb, true);
	sregs->ss = segment(cpl ? SEL_USER_DATA : SEL_DATA, 3, false);
	sregs->ds = sregs->ss;
	sregs->es = sregs->ss;
	sregs->fs = sregs->ss;
	sregs->gs = sregs->ss;
	sregs->gs.base = c->page;
	sregs->tr = segment(SEL_TSS, 0xb, false);
	sregs->tr.base = c->page + CPU_TSS;
	sregs->tr.limit = 0x67;
	sregs->tr.s = 0;
	sregs->tr.g = 0;
	sregs->tr.db = 0;
	sregs->ldt = (struct kvm_segment) { .unusable = 1, .type = 2 };
	sregs->gdt.base = c->page + CPU_GDT;
	sregs->gdt.limit = CPU_GDT_SIZE - 1;
	sregs->idt.base = m->idt;
	sregs->idt.limit = 256 * 16 - 1;
	sregs->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	sregs->cr3 = m->cr3;
	sregs->cr4 = (sregs->cr4 & CR4_CET) | CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	sregs->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
}

struct kvm_regs cpu_usual_regs(const struct cpu *c, unsigned int cpl, uint64_t function)
{
	return (struct kvm_regs) {
		.rip = (uintptr_t)g_start,
		.rsp = cpl ? cpu_stack(c, CPU_USER_PAGE, 2) : cpu_stack(c, CPU_STACK_PAGE, 2),
		.rflags = RFLAGS_FIXED | RFLAGS_IF | (cpl ? RFLAGS_IOPL3 : 0),
		.rbx = function,
	};
}

void cpu_start_at(struct cpu *c, unsigned int cpl, uint64_t function, const uint64_t arguments[3])
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = cpu_usual_regs(c, cpl, function);
	uint64_t cet;

	regs.rdi = arguments[0];
	regs.rsi = arguments[1];
	regs.rdx = arguments[2];
	cpu_usual_sregs(c, cpl, &sregs);
	cpu_set_sregs(c, &sregs);
	cpu_set_regs(c, &regs);
	/* Shadow stacks that cpu_cet() gave: this CPL's. */
	if (msrs_get(&c->io, cpl ? MSR_U_CET : MSR_S_CET, &cet) && cet & CET_SHSTK)
		cpu_set_ssp(c, cpu_shadow_stack(c, cpl ? CPU_SS_USER_PAGE : CPU_SS_PAGE));
}

static uint64_t controls(bool shstk, bool ibt)
{
	return (shstk ? CET_SHSTK | CET_WRSS : 0) | (ibt ? cet_control(CET_ENDBR) : 0);
}

void cpu_cet(struct cpu *c, unsigned int features)
{
	struct kvm_sregs sregs;

	cpu_get_sregs(c, &sregs);
	sregs.cr0 |= CR0_PE | CR0_WP | CR0_NE | CR0_ET;
	sregs.cr4 |= CR4_CET;
	cpu_set_sregs(c, &sregs);
	cpu_wrmsr(c, MSR_S_CET, controls(features & GUEST_SHSTK, features & GUEST_IBT));
	cpu_wrmsr(c, MSR_U_CET, controls(features & GUEST_USER_SHSTK, features & GUEST_USER_IBT));
	if (features & GUEST_SHSTK) {
		cpu_wrmsr(c, MSR_PL0_SSP, cpu_shadow_stack(c, CPU_SS_PL0_PAGE));
		cpu_wrmsr(c, MSR_INT_SSP_TAB, c->page + CPU_SSP_TABLE);
	}
	if (features & GUEST_USER_SHSTK)
		cpu_wrmsr(c, MSR_PL3_SSP, cpu_shadow_stack(c, CPU_SS_USER_PAGE));
	if (sregs.cs.l && features & (sregs.cs.dpl ? GUEST_USER_SHSTK : GUEST_SHSTK))
		cpu_set_ssp(c, cpu_shadow_stack(c, sregs.cs.dpl ? CPU_SS_USER_PAGE : CPU_SS_PAGE));
}

/* KVM_RUN, and the next KVM_RUN, which completes this stop without running the guest. */
static int run_once(struct cpu *c)
{
	struct kvm_run *run = c->io.run;

	if (ioctl(c->io.vcpu, KVM_RUN, 0))
		return errno;
	if (run->exit_reason == KVM_EXIT_IO) {
		run->immediate_exit = 1;
		if (!ioctl(c->io.vcpu, KVM_RUN, 0) || errno != EINTR)
			tap_bail("KVM_RUN does not complete the guest's OUT");
		run->immediate_exit = 0;
		run->exit_reason = KVM_EXIT_IO;
	}
	return 0;
}

/* A fault of G_TRY(): continues after it; the shadow stack gets the new address, too. */
static bool recover(struct cpu *c, struct exception_frame *f)
{
	if (f->r9 != TRY_MAGIC)
		return false;
	if (f->ssp && !(f->cs & 3))
		put64(c->machine, f->ssp + 8, f->r10);
	f->rip = f->r10;
	f->r9 = FAULT(f->vector);
	f->r10 = f->error;
	return true;
}

/* Flat 32-bit code without paging: reads and writes at each address of the list at ESI, up to a zero, then OUT. */
static const uint8_t touch_code[] = {
	0xad,		 /* 1: lodsl */
	0x85, 0xc0,	 /* test %eax, %eax */
	0x74, 0x06,	 /* jz 2f */
	0x8b, 0x10,	 /* mov (%eax), %edx */
	0x89, 0x10,	 /* mov %edx, (%eax) */
	0xeb, 0xf5,	 /* jmp 1b */
	0xe6, PORT_CALL, /* 2: outb %al, $PORT_CALL */
};

#define TOUCH_CODE 0x1000
#define TOUCH_LIST (TOUCH_CODE + sizeof(touch_code))
#define TOUCH_END  (2 * TOUCH_CODE)

/* The id of the vCPU that touches the pages; no other vCPU has it. */
#define TOUCHER 200

void machine_touch(struct machine *m)
{
	struct kvm_regs regs = { .rip = TOUCH_CODE, .rsi = TOUCH_LIST, .rflags = RFLAGS_FIXED | RFLAGS_IF };
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	uint8_t *at = machine_at(m, TOUCH_CODE), old[TOUCH_END - TOUCH_CODE];
	struct kvm_sregs sregs;
	unsigned int n = 0;
	uint32_t gpa;

	if (!kvm_is_svm() || m->free == ALLOC_FIRST)
		return;
	if ((m->free - ALLOC_FIRST) / PAGE > (TOUCH_END - TOUCH_LIST) / sizeof(gpa) - 1)
		tap_bail("too many pages to touch");
	if (!m->toucher)
		m->toucher = new_cpu(m, TOUCHER);
	memcpy(old, at, sizeof(old));
	memcpy(at, touch_code, sizeof(touch_code));
	at += sizeof(touch_code);
	for (gpa = ALLOC_FIRST; gpa < m->free; gpa += PAGE)
		memcpy(at + sizeof(gpa) * n++, &gpa, sizeof(gpa));
	memset(at + sizeof(gpa) * n, 0, sizeof(gpa));
	cpu_get_sregs(m->toucher, &sregs);
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE;
	sregs.cs = segment(SEL_CODE32, 0xb, false);
	sregs.ss = segment(SEL_DATA, 3, false);
	sregs.ds = sregs.ss;
	sregs.es = sregs.ss;
	cpu_set_sregs(m->toucher, &sregs);
	cpu_set_regs(m->toucher, &regs);
	if (ioctl(m->toucher->io.vcpu, KVM_SET_MP_STATE, &runnable))
		tap_bail("KVM_SET_MP_STATE");
	if (run_once(m->toucher) || m->toucher->io.run->exit_reason != KVM_EXIT_IO)
		tap_bail("touching the guest's memory: exit reason %u", m->toucher->io.run->exit_reason);
	memcpy(machine_at(m, TOUCH_CODE), old, sizeof(old));
}

const struct stop *cpu_run(struct cpu *c)
{
	struct stop *s = &c->stop;
	struct kvm_run *run = c->io.run;
	struct kvm_regs regs;
	unsigned int port;

again:
	memset(s, 0, sizeof(*s));
	s->err = run_once(c);
	if (s->err) {
		s->kind = s->err == EINTR ? STOP_SIGNAL : STOP_FAILED;
		return s;
	}
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		port = run->io.port;
		if (run->io.direction != KVM_EXIT_IO_OUT || (port != PORT_CALL && port != PORT_EXCEPTION)) {
			s->kind = STOP_OTHER;
			break;
		}
		cpu_get_regs(c, &regs);
		if (port == PORT_EXCEPTION) {
			s->kind = STOP_EXCEPTION;
			s->frame = machine_at(c->machine, regs.rdi);
			if (recover(c, s->frame))
				goto again;
			break;
		}
		s->kind = STOP_CALL;
		s->number = (uint32_t)regs.rax;
		s->a = regs.rdi;
		s->b = regs.rsi;
		s->c = regs.rdx;
		break;
	case KVM_EXIT_HLT:
		s->kind = STOP_HLT;
		break;
	case KVM_EXIT_SHUTDOWN:
		s->kind = STOP_SHUTDOWN;
		break;
	case KVM_EXIT_FAIL_ENTRY:
		s->kind = STOP_FAIL_ENTRY;
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		s->kind = STOP_INTERNAL_ERROR;
		break;
	case KVM_EXIT_DEBUG:
		s->kind = STOP_DEBUG;
		break;
	case KVM_EXIT_MMIO:
		s->kind = STOP_MMIO;
		break;
	default:
		s->kind = STOP_OTHER;
	}
	return s;
}

void cpu_answer(struct cpu *c, uint64_t value)
{
	struct kvm_regs regs;

	cpu_get_regs(c, &regs);
	regs.rax = value;
	cpu_set_regs(c, &regs);
}

static const char *exception_text(char *text, size_t size, const struct exception_frame *f)
{
	static const char * const names[32] = {
		"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", NULL,  "#TS",
		"#NP", "#SS", "#GP", "#PF", NULL,  "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
	};
	const char *name = f->vector < 32 ? names[f->vector] : NULL;

	if (!name)
		snprintf(text, size, "vector %u", (unsigned int)f->vector);
	else if (f->vector == VECTOR_CP || f->error)
		snprintf(text, size, f->error < 10 ? "%s(%llx)" : "%s(0x%llx)", name, (unsigned long long)f->error);
	else
		snprintf(text, size, "%s", name);
	return text;
}

bool cpu_called(const struct cpu *c, uint64_t number)
{
	return c->stop.kind == STOP_CALL && c->stop.number == number;
}

const char *stop_text(const struct cpu *c)
{
	static __thread char text[80];
	const struct stop *s = &c->stop;

	switch (s->kind) {
	case STOP_CALL:
		snprintf(text, sizeof(text), "call %u", (unsigned int)s->number);
		return text;
	case STOP_EXCEPTION:
		return exception_text(text, sizeof(text), s->frame);
	case STOP_HLT:
		return "hlt";
	case STOP_SHUTDOWN:
		return "shutdown";
	case STOP_FAIL_ENTRY:
		return "fail entry";
	case STOP_INTERNAL_ERROR:
		return "internal error";
	case STOP_DEBUG:
		return "debug";
	case STOP_MMIO:
		return "mmio";
	case STOP_SIGNAL:
		return "signal";
	case STOP_FAILED:
		snprintf(text, sizeof(text), "KVM_RUN: %s", errno_name(s->err));
		return text;
	case STOP_OTHER:
		break;
	}
	snprintf(text, sizeof(text), "exit %u", c->io.run->exit_reason);
	return text;
}

static void tell_where(struct cpu *c)
{
	struct kvm_regs regs;
	uint64_t ssp = 0;

	if (c->stop.kind == STOP_EXCEPTION)
		tap_diag("at 0x%llx:0x%llx, rsp 0x%llx, cr2 0x%llx", (unsigned long long)c->stop.frame->cs,
			 (unsigned long long)c->stop.frame->rip, (unsigned long long)c->stop.frame->rsp,
			 (unsigned long long)c->stop.frame->cr2);
	cpu_get_regs(c, &regs);
	get_reg(&c->io, KVM_X86_REG_KVM(KVM_REG_GUEST_SSP), &ssp);
	tap_diag("rip 0x%llx, rsp 0x%llx, ssp 0x%llx", (unsigned long long)regs.rip, (unsigned long long)regs.rsp,
		 (unsigned long long)ssp);
}

bool check_stop(struct cpu *c, const char *want, const char *fmt, ...)
{
	char name[160];
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	cpu_run(c);
	ok = !strcmp(stop_text(c), want);
	tap_ok(ok, "%s", name);
	if (!ok) {
		tap_diag("wanted: %s", want);
		tap_diag("got: %s", stop_text(c));
		tell_where(c);
	}
	return ok;
}
