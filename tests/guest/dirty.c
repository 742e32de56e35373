// SPDX-License-Identifier: GPL-2.0
/*
 * dirty: each instruction that writes to a shadow stack makes its page dirty in KVM's log, and none that only reads it
 * does. The writes succeed while the log has write-protected the page, and while the host has taken it out of EPT.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vmm.h"

#define CALL_BEFORE 1
#define CALL_AFTER  2 /* a = where a word was written, b = the word; 0: none */

/* Without IST: at CPL0 the handler stays on the same shadow stack */
#define VECTOR_PLAIN 0x90
#define VECTOR_IST   0x91

/* The pages that an operation may write to */
enum page { OWN, OTHER, PL0, IST1, USER, PAGES };

static const char * const page_names[PAGES] = {
	"its own shadow stack", "another", "that of PL0_SSP", "that of IST 1", "the user's",
};

/* The addresses of another shadow stack's token, and of a word on the user's */
static uint64_t other_token, user_word;

#define BEFORE	 "mov $1, %%eax; out %%eax, $0xe9\n\t"
#define AFTER	 "mov $2, %%eax; out %%eax, $0xe9\n\t"
#define NO_WORD	 "xor %%edi, %%edi\n\t"
#define OP(text) ({ asm volatile(text : : : "rax", "rcx", "rdx", "rdi", "rsi", "r8", "memory"); })

/* A call to the next instruction does not push to the shadow stack, so there is a NOP in between. */
static GUEST uint64_t do_call(uint64_t a)
{
	OP(BEFORE "call 1f\n2:\tnop\n1:\tadd $8, %%rsp; rdsspq %%rdi; lea 2b(%%rip), %%rsi\n\t" AFTER
		  "mov $1, %%ecx; incsspq %%rcx");
	return a;
}

static GUEST uint64_t do_ret(uint64_t a)
{
	OP("call 1f; jmp 2f\n1:\t" BEFORE "ret\n2:\t" NO_WORD AFTER);
	return a;
}

static GUEST uint64_t do_incssp(uint64_t a)
{
	OP("call 1f\n\tnop\n1:\tadd $8, %%rsp; mov $1, %%r8d\n\t" BEFORE "incsspq %%r8\n\t" NO_WORD AFTER);
	return a;
}

static GUEST uint64_t do_wrss(uint64_t a)
{
	OP("rdsspq %%rdi; sub $64, %%rdi; lea 5(%%rdi), %%rsi\n\t" BEFORE "wrssq %%rsi, (%%rdi)\n\t" AFTER);
	return a;
}

static GUEST uint64_t do_wruss(uint64_t a)
{
	OP("mov user_word(%%rip), %%rdi; lea 7(%%rdi), %%rsi\n\t" BEFORE "wrussq %%rsi, (%%rdi)\n\t" AFTER);
	return a;
}

/*
 * A word of RSTORSSP: the token that says where the old stack was. It is 8 higher than the one that SAVEPREVSSP leaves
 * there.
 */
static GUEST uint64_t do_rstorssp(uint64_t a)
{
	OP("rdsspq %%rsi; or $3, %%rsi; mov other_token(%%rip), %%rdi\n\t" BEFORE "rstorssp (%%rdi)\n\t" AFTER
	   "saveprevssp; and $~7, %%rsi; rstorssp -8(%%rsi); saveprevssp");
	return a;
}

static GUEST uint64_t do_saveprevssp(uint64_t a)
{
	OP("rdsspq %%rdi; lea 1(%%rdi), %%rsi; sub $8, %%rdi; mov other_token(%%rip), %%r8; rstorssp (%%r8)\n\t" BEFORE
	   "saveprevssp\n\t" AFTER "rstorssp (%%rdi); saveprevssp");
	return a;
}

/* A restore token on this stack leads back from that of PL0_SSP. */
#define LEAVE	  "rdsspq %%r8; lea 1(%%r8), %%rcx; sub $8, %%r8; wrssq %%rcx, (%%r8)\n\t"
#define COME_BACK "rstorssp (%%r8); mov $1, %%ecx; incsspq %%rcx"

static GUEST uint64_t do_setssbsy(uint64_t a)
{
	OP(LEAVE BEFORE "setssbsy; rdsspq %%rdi; lea 1(%%rdi), %%rsi\n\t" AFTER "clrssbsy (%%rdi)\n\t" COME_BACK);
	return a;
}

static GUEST uint64_t do_clrssbsy(uint64_t a)
{
	OP(LEAVE "setssbsy; rdsspq %%rdi; mov %%rdi, %%rsi\n\t" BEFORE "clrssbsy (%%rdi)\n\t" AFTER COME_BACK);
	return a;
}

static GUEST uint64_t do_ist(uint64_t a)
{
	OP(BEFORE "int $0x91\n\t" NO_WORD AFTER);
	return a;
}

static GUEST uint64_t do_breakpoint(uint64_t a)
{
	OP(BEFORE "int3\n\t" NO_WORD AFTER);
	return a;
}

static GUEST uint64_t do_plain(uint64_t a)
{
	OP(BEFORE "int $0x90\n\t" NO_WORD AFTER);
	return a;
}

static const struct operation {
	const char *name;
	uint64_t (*function)(uint64_t a);
	unsigned int pages; /* the pages that it makes dirty, as bits 1 << enum page */
	bool cpl0_only;
	/*
	 * The exception that it is: then @pages are dirty in the handler, and @back after its IRET, which looks for a
	 * token to free where it leaves the shadow stack, by a locked write even if there is none.
	 */
	const char *exception;
	unsigned int back;
} operations[] = {
	{ "CALL", do_call, 1 << OWN, false, NULL, 0 },
	{ "RET", do_ret, 0, false, NULL, 0 },
	{ "INCSSP", do_incssp, 0, false, NULL, 0 },
	{ "WRSS", do_wrss, 1 << OWN, false, NULL, 0 },
	{ "WRUSS", do_wruss, 1 << USER, true, NULL, 0 },
	{ "RSTORSSP", do_rstorssp, 1 << OTHER, false, NULL, 0 },
	{ "SAVEPREVSSP", do_saveprevssp, 1 << OWN, false, NULL, 0 },
	{ "SETSSBSY", do_setssbsy, 1 << PL0, true, NULL, 0 },
	{ "CLRSSBSY", do_clrssbsy, 1 << PL0, true, NULL, 0 },
	{ "an interrupt, by IST", do_ist, 1 << IST1, false, "vector 145", 1 << IST1 },
	{ "INT3, by IST", do_breakpoint, 1 << IST1, false, "#BP", 1 << IST1 },
	{ "an interrupt", do_plain, 1 << OWN, true, "vector 144", 1 << OWN },
};

enum how { WITHOUT_CLEAR, WITH_CLEAR, UNMAPPED, HOWS };

static const char * const how_names[HOWS] = {
	"KVM_GET_DIRTY_LOG",
	"KVM_CLEAR_DIRTY_LOG",
	"not in EPT",
};

static bool has_pml;

/* Without it, KVM's log works by write protection. */
static bool read_pml(void)
{
	FILE *f = fopen("/sys/module/kvm_intel/parameters/pml", "r");
	bool pml = f && getc(f) == 'Y';

	if (f)
		fclose(f);
	return pml;
}

static uint64_t bitmap[RAM_SIZE / PAGE / 64];

static void log_dirty(struct machine *m, bool on)
{
	struct kvm_userspace_memory_region region = {
		.flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		.memory_size = RAM_SIZE,
		.userspace_addr = user_addr(m->ram),
	};

	if (ioctl(m->fd, KVM_SET_USER_MEMORY_REGION, &region))
		tap_bail("KVM_MEM_LOG_DIRTY_PAGES");
}

static void get_log(struct machine *m)
{
	struct kvm_dirty_log log = { .dirty_bitmap = bitmap };

	if (ioctl(m->fd, KVM_GET_DIRTY_LOG, &log))
		tap_bail("KVM_GET_DIRTY_LOG");
}

/* All pages are clean from here on, so the next write to any of them must be logged. */
static void forget_dirty(struct machine *m, enum how how)
{
	struct kvm_clear_dirty_log clear = { .num_pages = RAM_SIZE / PAGE, .dirty_bitmap = bitmap };

	get_log(m);
	if (how != WITHOUT_CLEAR && ioctl(m->fd, KVM_CLEAR_DIRTY_LOG, &clear))
		tap_bail("KVM_CLEAR_DIRTY_LOG");
	if (how == UNMAPPED &&
	    (mprotect(m->ram, RAM_SIZE, PROT_READ) || mprotect(m->ram, RAM_SIZE, PROT_READ | PROT_WRITE)))
		tap_bail("mprotect");
}

static unsigned int dirty_pages(struct machine *m, const uint64_t pages[PAGES])
{
	unsigned int i, dirty = 0;

	get_log(m);
	for (i = 0; i < PAGES; i++)
		if (bitmap[pages[i] / PAGE / 64] >> pages[i] / PAGE % 64 & 1)
			dirty |= 1u << i;
	return dirty;
}

/* A page that is added to EPT is writable there, and therefore dirty, even if it was only read. */
static void check_dirty(unsigned int dirty, unsigned int want, enum how how, const char *text)
{
	unsigned int i;

	if (how == UNMAPPED)
		dirty &= want;
	tap_ok(dirty == want, "%s: what it writes to is dirty%s", text, how == UNMAPPED ? "" : ", and nothing else");
	for (i = 0; i < PAGES; i++)
		if ((dirty ^ want) >> i & 1)
			tap_diag("%s is %s", page_names[i], dirty >> i & 1 ? "dirty" : "clean");
}

static void run_operation(const struct operation *o, unsigned int cpl, enum how how)
{
	static const char * const texts[] = { "", ": back by IRET" };
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	uint64_t pages[PAGES], word = 0;
	char text[100];
	bool right;

	snprintf(text, sizeof(text), "%s, CPL%u: %s", how_names[how], cpl, o->name);
	if (how != WITHOUT_CLEAR) {
		struct kvm_enable_cap cap = {
			.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
			.args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
		};

		if (ioctl(m->fd, KVM_ENABLE_CAP, &cap))
			tap_bail("KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	}
	pages[OTHER] = machine_alloc(m, 1);
	*in_guest(m, &other_token) = machine_shadow_stack(m, pages[OTHER], cpl, false);
	*(uint64_t *)machine_at(m, *in_guest(m, &other_token)) = (*in_guest(m, &other_token) + 8) | 1;
	pages[OWN] = c->page + (cpl ? CPU_SS_USER_PAGE : CPU_SS_PAGE) * PAGE;
	pages[PL0] = c->page + CPU_SS_PL0_PAGE * PAGE;
	pages[IST1] = c->page + CPU_SS_IST1_PAGE * PAGE;
	pages[USER] = cpl ? pages[OTHER] : c->page + CPU_SS_USER_PAGE * PAGE;
	*in_guest(m, &user_word) = pages[USER] + 64;
	machine_gate(m, VECTOR_IST, (uintptr_t)g_exception_stubs + 16 * VECTOR_IST, 3, 1);
	machine_gate(m, VECTOR_PLAIN, (uintptr_t)g_exception_stubs + 16 * VECTOR_PLAIN, 0, 0);
	machine_touch(m);
	log_dirty(m, true);

	cpu_cet(c, GUEST_ALL);
	cpu_start_at(c, cpl, (uintptr_t)o->function, (uint64_t[3]) { 5 });
	if (!check_stop(c, "call 1", "%s begins", text))
		goto out;
	forget_dirty(m, how);
	if (o->exception) {
		if (!check_stop(c, o->exception, "%s works", text))
			goto out;
		check_dirty(dirty_pages(m, pages), o->pages, how, text);
		forget_dirty(m, how);
	}
	if (!check_stop(c, "call 2", "%s%s works", text, texts[!!o->exception]))
		goto out;
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", texts[!!o->exception]);
	check_dirty(dirty_pages(m, pages),
		    (o->exception ? o->back : o->pages) | (cpl && o->pages & 1 << OTHER ? 1 << USER : 0), how, text);
	if (c->stop.a) {
		memcpy(&word, machine_at(m, c->stop.a), sizeof(word));
		right = word == c->stop.b;
		tap_ok(right, "%s: the page has it", text);
		if (!right)
			tap_diag("at 0x%llx: 0x%llx, not 0x%llx", (unsigned long long)c->stop.a,
				 (unsigned long long)word, (unsigned long long)c->stop.b);
	}
	if (check_stop(c, "call 65536", "%s: goes on to its end", text))
		tap_ok(c->stop.a == 5, "%s: and gives the right result", text);
out:
	machine_destroy(m);
}

int main(void)
{
	unsigned int i, cpl;
	enum how how;

	vmm_open("dirty");
	has_pml = read_pml();
	tap_diag("the log is kept %s", has_pml ? "by the CPU (PML)" : "by write protection");
	for (how = 0; how < HOWS; how++)
		for (cpl = 0; cpl <= 3; cpl += 3)
			for (i = 0; i < ARRAY_SIZE(operations); i++)
				if (cpl && operations[i].cpl0_only)
					continue;
				else if (operations[i].exception && kvm_is_svm())
					tap_skip("KVM would have to know the length of INT n, see machine_touch()",
						 "%s, CPL%u: %s", how_names[how], cpl, operations[i].name);
				else
					run_operation(&operations[i], cpl, how);
	return tap_done();
}
