// SPDX-License-Identifier: GPL-2.0
/*
 * nested-stress: nested VMX as Windows with virtualization-based security uses it, with CET on both levels.
 *
 * L1 runs inside an interrupt handler, so on a shadow stack that INT_SSP_TAB names and whose token is busy. L2 is on
 * shadow stacks and IBT. In each round L1 starts L2 anew, with LOAD_CET on entry and exit or not, and L2 calls,
 * returns, exits, breaks the rules and changes its CET MSRs. Meanwhile there are NMIs, SMIs, #CP injected and
 * intercepted, shadow stacks that are absent when a CALL pushes (in L1's EPT, in the host's memory, in the VM's
 * memslots), signals, exits from inside a handler, VM entries that fail late, and moves to a new VM. After each of them
 * S_CET, SSP, INT_SSP_TAB and the tokens of both are what a simple model says.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "nested-vmx.h"
#include "smram.h"

#define TABLE_SIZE 64 /* of an INT_SSP_TAB */

/*
 * L2 does what the VMM asks for, in an endless loop.
 */
enum l2_kind {
	L2_CALLS,  /* stops at the bottom */
	L2_VMCALL, /* at the bottom */
	L2_BAD_RETURN,
	L2_BAD_JUMP,
	L2_MSRS, /* S_CET and INT_SSP_TAB become @a and @b */
	L2_UD,
	L2_KINDS
};

#define CALL_L2_IDLE   (CALL_L2 + 1)
#define CALL_L2_BOTTOM (CALL_L2 + 2)

static struct {
	uint64_t kind, depth, a, b;
} l2_mail;

static GUEST void l2_main(void)
{
	static const uint8_t bottoms[] = { BOTTOM_CALL, BOTTOM_VMCALL, BOTTOM_BAD_RETURN, BOTTOM_BAD_JUMP };
	uint64_t (* volatile chain)(uint64_t, uint64_t, uint64_t) = nested_chain;
	uint64_t returns = 0;

	for (;;) {
		g_call(CALL_L2_IDLE, g_rdssp(), g_rdmsr(MSR_S_CET), returns);
		returns = 0;
		switch (l2_mail.kind) {
		case L2_MSRS:
			g_wrmsr(MSR_S_CET, l2_mail.a);
			g_wrmsr(MSR_INT_SSP_TAB, l2_mail.b);
			break;
		case L2_UD:
			asm volatile("ud2");
			break;
		default:
			returns = chain(l2_mail.depth, bottoms[l2_mail.kind], CALL_L2_BOTTOM);
		}
	}
}

static GUEST void l1_ud(void)
{
	asm volatile("ud2");
}

/*
 * The VMM
 */
enum absent { PRESENT, NOT_IN_L1, NOT_IN_HOST, NOT_IN_SLOT };

enum count {
	ENTRIES,
	EXITS,
	FAILED_ENTRIES,
	NMI_L1,
	NMI_L2,
	NMI_EXITS,
	SMI_L1,
	SMI_L2,
	INJECTED,
	INTERCEPTED,
	OWN_CP,
	OWN_UD,
	ABSENT_L1,
	ABSENT_HOST,
	ABSENT_SLOT,
	SIGNALS,
	HANDLER_EXITS,
	MOVES,
	MOVES_SMM,
	MOVES_SIGNAL,
	COUNTS
};

static const char * const count_names[COUNTS] = {
	"entries",
	"exits",
	"entries that failed late",
	"NMIs in L1",
	"NMIs in L2",
	"NMIs that exit",
	"SMIs in L1",
	"SMIs in L2",
	"#CP injected",
	"#CP intercepted",
	"#CP of L2's own",
	"#UD of L2's own",
	"shadow stacks absent in L1's EPT",
	"shadow stacks absent in the host",
	"shadow stacks absent in the memslots",
	"signals",
	"exits from a handler of L2",
	"moves",
	"moves in SMM",
	"moves after a signal",
};

bool native;

static struct nested *n;
static struct triple l1_has, l2_has, host_fields; /* the model, while the guest is stopped */
static bool entry, exits, intercept, nmi_exits;	  /* LOAD_CET on entry, on exit; what L1 gets */
static bool in_l1;
static bool l2_busy[2]; /* tokens of IST 1 and IST 2 */
static bool nmi;	/* is pending */
static bool resuming;	/* L2, by RSM */
static enum absent absent;
static uint64_t absent_page;
static uint64_t l1_tables[2], l2_tables[2], ept_table;
static unsigned long counts[COUNTS], mistakes, round_number, seed;

static uint64_t random_state;

static unsigned int rnd(unsigned int below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * 0x2545f4914f6cdd1dull >> 33) % below;
}

/* True once in @times times. */
static bool one_in(unsigned int times)
{
	return !rnd(times);
}

/* The events of this round. */
static const char *history[64];
static unsigned int nhistory;

static void happens(enum count what)
{
	counts[what]++;
	if (nhistory < ARRAY_SIZE(history))
		history[nhistory++] = count_names[what];
}

static void tell_history(void)
{
	unsigned int i;

	tap_diag("LOAD_CET on %s, and:", load_cet_text(entry, exits));
	for (i = 0; i < nhistory; i++)
		tap_diag("  %s", history[i]);
}

static void __printf(1, 2) mistake(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (++mistakes > 10)
		return;
	tap_diag("round %lu, seed %lu: %s", round_number, seed, text);
	tell_history();
}

static void expect_triple(const struct triple *got, const struct triple *want, const char *what)
{
	if (same(got, want))
		return;
	mistake("%s", what);
	if (mistakes <= 10) {
		tell_triple("got", got);
		tell_triple("wanted", want);
	}
}

static void expect(uint64_t got, uint64_t want, const char *what)
{
	if (got != want)
		mistake("%s: got 0x%llx, wanted 0x%llx", what, (unsigned long long)got, (unsigned long long)want);
}

static _Noreturn void lost(enum place w, const char *what)
{
	struct kvm_regs regs;

	cpu_get_regs(n->c, &regs);
	tap_diag("round %lu, seed %lu: L2 at 0x%llx", round_number, seed, (unsigned long long)regs.rip);
	tell_history();
	tell_triple("L2 had", &l2_has);
	tap_bail("%s: %s", what, where_text(n, w));
}

/* The fields that L1 writes to its VMCS, all at once before it enters L2. */
static struct l1_field writes[L1_FIELDS_MAX];
static unsigned int nwrites;

static void put(uint32_t field, uint64_t value)
{
	if (nwrites == L1_FIELDS_MAX)
		tap_bail("too many fields");
	writes[nwrites++] = (struct l1_field) { field, 1, value };
}

static void put_all(void)
{
	vmfields(n, writes, nwrites);
	nwrites = 0;
}

/* The controls without those that change. */
static uint64_t entry_controls, exit_controls, pin_controls;

static uint64_t token(uint64_t top)
{
	return *(uint64_t *)machine_at(n->m, top);
}

static void expect_tokens(const char *when)
{
	uint64_t top;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		top = cpu_shadow_stack(n->c, i ? CPU_SS_IST2_PAGE : CPU_SS_IST1_PAGE);
		if (token(top) != (top | !i))
			mistake("%s: L1's token %u is 0x%llx", when, i + 1, (unsigned long long)token(top));
		top = cpu_shadow_stack(&n->l2, i ? CPU_SS_IST2_PAGE : CPU_SS_IST1_PAGE);
		if (token(top) != (top | l2_busy[i]))
			mistake("%s: L2's token %u is 0x%llx", when, i + 1, (unsigned long long)token(top));
	}
}

/*
 * Memory: L2's shadow stack has a memslot of its own, and L1's EPT has small pages there.
 */
#define SLOT_ALL    0
#define SLOT_SHADOW 50

static void slot(unsigned int number, uint64_t gpa, uint64_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = number,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)n->m->ram + gpa,
	};

	if (ioctl(n->m->fd, KVM_SET_USER_MEMORY_REGION, &region))
		tap_bail("memslot %u", number);
}

static uint64_t l2_shadow_page(void)
{
	return n->l2.page + CPU_SS_PAGE * PAGE;
}

static void split_slots(void)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args[0] = 1 };
	uint64_t page = l2_shadow_page();

	/* Otherwise L2 gets #UD if its shadow stack has no memory. */
	if (ioctl(n->m->fd, KVM_ENABLE_CAP, &cap))
		tap_bail("KVM_CAP_EXIT_ON_EMULATION_FAILURE");
	slot(SLOT_ALL, 0, 0);
	slot(SLOT_ALL, 0, page);
	slot(SLOT_SHADOW, page, PAGE);
	slot(SLOT_SHADOW + 1, page + PAGE, RAM_SIZE - page - PAGE);
}

static void split_ept(void)
{
	uint64_t table = machine_alloc(n->m, 1), *ptes = machine_at(n->m, table);
	uint64_t *directory = machine_at(n->m, (n->mail->eptp & ~(PAGE - 1)) + 2 * PAGE);
	unsigned int i;

	for (i = 0; i < 512; i++)
		ptes[i] = i * PAGE | 7 | 6 << 3;
	directory[0] = table | 7;
	ept_table = table;
}

/* Removes the page that L2's shadow stack will use next. */
static void take_page(enum absent how)
{
	/* All that L2 pushes and pops is in this one page. */
	absent_page = l2_has.ssp & ~(PAGE - 1);
	if (how == NOT_IN_SLOT && absent_page != l2_shadow_page())
		how = NOT_IN_HOST;
	switch (how) {
	case NOT_IN_L1:
		l1(n, L1_STORE, ept_table + absent_page / PAGE * 8, 0);
		l1(n, L1_INVEPT, 0, 0);
		expect(n->status, DONE, "INVEPT");
		break;
	case NOT_IN_HOST:
		if (mprotect(n->m->ram + absent_page, PAGE, PROT_NONE))
			tap_bail("mprotect");
		break;
	default:
		slot(SLOT_SHADOW, absent_page, 0);
		break;
	}
	absent = how;
}

/* Restores it. */
static void give_page(void)
{
	switch (absent) {
	case NOT_IN_L1:
		l1(n, L1_STORE, ept_table + absent_page / PAGE * 8, absent_page | 7 | 6 << 3);
		break;
	case NOT_IN_HOST:
		if (mprotect(n->m->ram + absent_page, PAGE, PROT_READ | PROT_WRITE))
			tap_bail("mprotect");
		break;
	case NOT_IN_SLOT:
		slot(SLOT_SHADOW, absent_page, PAGE);
		break;
	case PRESENT:
		break;
	}
	absent = PRESENT;
}

/*
 * The guest moves to a new VM.
 */
static void move(void)
{
	struct nested *old = n;
	struct saved s;

	if (absent == NOT_IN_HOST || absent == NOT_IN_SLOT)
		give_page();
	save(&s, n);
	/* Events come first only where they must: if L2 is active, what they say about NMIs applies to L2. */
	if (s.vm->events.smi.smm)
		n = restore(&s, one_in(2) ? "ESNRMP" : "ESRMPN");
	else
		n = restore(&s, one_in(2) ? "SNRMP" : "SRMPN");
	n->repair = old->repair;
	n->launched = old->launched;
	nested_destroy(old);
	smram_attach(n->c);
	split_slots();
	saved_free(&s);
	happens(MOVES);
}

/* S_CET, SSP and INT_SSP_TAB stay as they are; natively those of L2 become what a VM exit loads. */
static void smi(bool in_l2)
{
	struct triple *has = in_l2 ? &l2_has : &l1_has, now;

	smram_smi(n->c);
	happens(in_l2 ? SMI_L2 : SMI_L1);
	resuming = in_l2;
	now = triple_now(n);
	if (native && in_l2 && exits && (now.s_cet != has->s_cet || now.table != has->table)) {
		expect(now.s_cet, host_fields.s_cet, "SMM: S_CET, natively");
		expect(now.table, host_fields.table, "SMM: INT_SSP_TAB, natively");
		cpu_wrmsr(n->c, MSR_S_CET, has->s_cet);
		cpu_wrmsr(n->c, MSR_INT_SSP_TAB, has->table);
	} else {
		expect(now.s_cet, has->s_cet, "SMM: S_CET");
		expect(now.table, has->table, "SMM: INT_SSP_TAB");
	}
	expect(smram_get(SMRAM_SSP), has->ssp, "SMM: SSP in SMRAM");
	expect_tokens("SMM");
	if (one_in(60)) {
		move();
		happens(MOVES_SMM);
	}
}

/* L1 right after an exit, and the state that the exit stored. */
static void check_exit(void)
{
	struct l1_field f[] = { { .field = GUEST_S_CET }, { .field = GUEST_SSP }, { .field = GUEST_SSP_TABLE } };
	struct triple want = exits ? host_fields : l2_has, guest;

	vmfields(n, f, ARRAY_SIZE(f));
	guest = (struct triple) { f[0].value, f[1].value, f[2].value };
	if (exits)
		want.ssp = n->own.ssp;
	/* HOST_RIP is an ENDBR. */
	want.s_cet &= ~(uint64_t)CET_WAIT_ENDBR;
	expect_triple(&guest, &l2_has, "exit: L2's state is stored");
	expect_triple(&n->after, &want, "exit: what L1 has");
	expect_triple(&n->l1_sees, &want, "exit: what L1 sees");
	expect_tokens("exit");
	/* Without LOAD_CET, the library restores L1's own state. */
	if (exits) {
		l1_has.s_cet = host_fields.s_cet;
		l1_has.table = host_fields.table;
	}
	happens(EXITS);
}

static enum place enter(void)
{
	struct triple own = triple_now(n);

	expect_triple(&own, &l1_has, "L1 before an entry");
	if (nwrites)
		put_all();
	happens(ENTRIES);
	return nested_enter(n);
}

static void in_handler(unsigned int ist, uint64_t vector, uint64_t error);

/* L1 has its own NMI handler: an IRET, which unblocks the next NMI. */
static void end_of_nmi(void)
{
	n->mail->kind = L1_INTERRUPT;
	cpu_run(n->c);
	if (n->c->stop.kind != STOP_EXCEPTION || n->c->stop.frame->vector != VECTOR_L1)
		lost(AT_STOP, "INT in L1");
	expect(n->c->stop.frame->ssp, l1_has.ssp - 8 - 24, "INT in L1: SSP");
	cpu_run(n->c);
	if (!cpu_called(n->c, CALL_IDLE))
		lost(AT_STOP, "IRET in L1");
}

/*
 * L2 runs on, from where it stopped or from L1, up to what the test has to deal with. Right after an exit l2_has is
 * what it was when L2 stopped last.
 */
static enum place run(void)
{
	enum place w;

	for (;;) {
		if (in_l1) {
			/* Since the exit, the VMCS has L2's state. */
			if (!entry)
				put(ENTRY_CONTROLS, entry_controls | ENTRY_LOAD_CET);
			in_l1 = false;
			w = enter();
		} else {
			w = nested_go(n);
		}
		time_limit(0);
		if (w == AT_STOP && n->c->stop.kind == STOP_SIGNAL) {
			happens(SIGNALS);
			/*
			 * Not between RSM and L2: KVM, native's too, then says that an entry is pending, and the new VM
			 * would deliver once more what L1 injected with its last VMLAUNCH or VMRESUME.
			 */
			if (!resuming && one_in(8)) {
				move();
				happens(MOVES_SIGNAL);
			}
			continue;
		}
		resuming = false;
		if (w == AT_STOP && n->c->stop.kind == STOP_FAILED && absent == NOT_IN_HOST) {
			expect(n->c->stop.err, EFAULT, "absent in the host");
			expect(cpu_ssp(n->c), l2_has.ssp, "absent in the host: SSP");
			give_page();
			happens(ABSENT_HOST);
		} else if (w == AT_STOP && n->c->stop.kind == STOP_INTERNAL_ERROR && absent == NOT_IN_SLOT) {
			expect(cpu_ssp(n->c), l2_has.ssp, "absent in the memslots: SSP");
			give_page();
			happens(ABSENT_SLOT);
		} else if (w == AT_EXIT && n->reason == REASON_EPT_VIOLATION && absent == NOT_IN_L1) {
			expect(vmread(n, GUEST_PHYSICAL) & ~(PAGE - 1), absent_page, "absent in L1's EPT: where");
			check_exit();
			give_page();
			in_l1 = true;
			happens(ABSENT_L1);
		} else if (w == AT_EXIT && nmi && nmi_exits && n->reason == REASON_EXCEPTION &&
			   n->intr_info == (INTR_VALID | INTR_NMI | VECTOR_NMI)) {
			check_exit();
			nmi = false;
			end_of_nmi();
			in_l1 = true;
			happens(NMI_EXITS);
		} else if (w == AT_STOP && nmi && n->c->stop.kind == STOP_EXCEPTION &&
			   n->c->stop.frame->vector == VECTOR_NMI) {
			nmi = false;
			happens(NMI_L2);
			in_handler(2, VECTOR_NMI, 0);
		} else {
			return w;
		}
	}
}

/* L2 is stopped: it exits to L1 from there, and continues later as if nothing had happened. */
static void leave_and_return(void)
{
	struct kvm_regs regs;
	enum place w;

	cpu_get_regs(n->c, &regs);
	w = nested_leave(n);
	if (w != AT_EXIT || n->reason != REASON_VMCALL)
		lost(w, "L2 exits from a handler");
	check_exit();
	put(GUEST_RIP, regs.rip);
	in_l1 = true;
	happens(HANDLER_EXITS);
}

/* A handler of L2 has stopped: checks it, may do something in the meantime, and prepares it to continue. */
static void in_handler(unsigned int ist, uint64_t vector, uint64_t error)
{
	uint64_t top = cpu_shadow_stack(&n->l2, ist == 1 ? CPU_SS_IST1_PAGE : CPU_SS_IST2_PAGE);
	struct exception_frame *f = n->c->stop.frame;
	struct triple interrupted = l2_has, now;

	l2_has.ssp = handler_ssp(top);
	/* The handler's ENDBR has been executed. */
	l2_has.s_cet &= ~(uint64_t)CET_WAIT_ENDBR;
	l2_busy[ist - 1] = true;
	now = triple_now(n);
	expect_triple(&now, &l2_has, "handler");
	expect(f->vector, vector, "handler: vector");
	expect(f->error, error, "handler: error code");
	expect(token(handler_ssp(top)), interrupted.ssp, "handler: the interrupted SSP");
	expect_tokens("handler");
	if (one_in(8))
		smi(true);
	else if (one_in(150))
		move();
	else if (one_in(4))
		leave_and_return();
	/* The next check is after the IRET. */
	l2_has = interrupted;
	l2_has.s_cet &= ~(uint64_t)CET_WAIT_ENDBR;
	l2_busy[ist - 1] = false;
}

/*
 * What happens while L2 does the next thing: before that, at its stop or in L1.
 */
static void disturb(void)
{
	bool l2 = !in_l1;

	if (l2 && one_in(5))
		smi(true);
	if (one_in(400))
		move();
	/* Not while L2 is on L1's table, where a token is busy. */
	if (l2 && entry && one_in(5)) {
		if (ioctl(n->c->io.vcpu, KVM_NMI))
			tap_bail("KVM_NMI");
		nmi = true;
	}
	if (absent == PRESENT && one_in(4))
		take_page(in_l1 ? NOT_IN_L1 : one_in(10) ? NOT_IN_SLOT : NOT_IN_HOST);
	if (one_in(5))
		time_limit_once(1 + rnd(60));
}

static void expect_stop(enum place w, uint64_t call, const char *what)
{
	struct triple now;

	if (w != AT_STOP || !cpu_called(n->c, call))
		lost(w, what);
	now = triple_now(n);
	expect_triple(&now, &l2_has, what);
	expect_tokens(what);
}

/* L2 at its bad RET: its stack gets what its shadow stack has. */
static void mend_return(uint64_t rsp)
{
	*(uint64_t *)machine_at(n->m, rsp) = token(l2_has.ssp);
}

/* L2 has broken a rule below its calls. Whoever gets the #CP makes sure that L2 can continue. */
static void broken(enum place w, enum l2_kind kind)
{
	uint64_t code = kind == L2_BAD_RETURN ? CP_RET : CP_ENDBRANCH;

	if (kind == L2_BAD_JUMP)
		l2_has.s_cet |= CET_WAIT_ENDBR;
	if (intercept) {
		if (w != AT_EXIT || n->reason != REASON_EXCEPTION)
			lost(w, "#CP in L2, for L1");
		expect(n->intr_info, INTR_VALID | INTR_CODE | INTR_HARD | VECTOR_CP, "#CP in L2, for L1: what");
		expect(n->error_code, code, "#CP in L2, for L1: error code");
		check_exit();
		in_l1 = true;
		l2_has.s_cet &= ~(uint64_t)CET_WAIT_ENDBR;
		if (kind == L2_BAD_JUMP)
			put(GUEST_S_CET, l2_has.s_cet);
		else
			mend_return(vmread(n, GUEST_RSP));
		happens(INTERCEPTED);
		return;
	}
	if (w != AT_STOP || n->c->stop.kind != STOP_EXCEPTION || n->c->stop.frame->vector != VECTOR_CP)
		lost(w, "#CP in L2");
	if (kind == L2_BAD_RETURN)
		mend_return(n->c->stop.frame->rsp);
	happens(OWN_CP);
	in_handler(1, VECTOR_CP, code);
}

/* UD2 is two bytes long; the shadow stack of the handler has its address too. */
static void skip_ud(enum place w)
{
	struct exception_frame *f = n->c->stop.frame;
	uint64_t lip = handler_ssp(cpu_shadow_stack(&n->l2, CPU_SS_IST1_PAGE)) + 8;

	if (w != AT_STOP || n->c->stop.kind != STOP_EXCEPTION || f->vector != VECTOR_UD)
		lost(w, "#UD in L2");
	f->rip += 2;
	expect(token(lip), f->rip - 2, "#UD in L2: LIP");
	*(uint64_t *)machine_at(n->m, lip) = f->rip;
	happens(OWN_UD);
	in_handler(1, VECTOR_UD, 0);
}

/* L2 waits for an order, and afterwards for the next one. */
static void order_l2(enum l2_kind kind)
{
	unsigned int depth = rnd(6);
	uint64_t ssp = l2_has.ssp, bottom = ssp - 8 * (depth + 1);
	struct triple next = l2_has;
	enum place w;

	*in_guest(n->m, &l2_mail.kind) = kind;
	*in_guest(n->m, &l2_mail.depth) = depth;
	if (kind == L2_MSRS) {
		next.s_cet ^= S_CET_NOTRACK;
		next.table = l2_tables[rnd(2)];
		*in_guest(n->m, &l2_mail.a) = next.s_cet;
		*in_guest(n->m, &l2_mail.b) = next.table;
	}
	disturb();
	w = run();
	switch (kind) {
	case L2_MSRS:
		l2_has = next;
		break;
	case L2_UD:
		skip_ud(w);
		w = run();
		break;
	case L2_CALLS:
		l2_has.ssp = bottom;
		expect_stop(w, CALL_L2_BOTTOM, "L2 below its calls");
		disturb();
		w = run();
		break;
	case L2_VMCALL:
		l2_has.ssp = bottom;
		if (w != AT_EXIT || n->reason != REASON_VMCALL)
			lost(w, "VMCALL below calls");
		check_exit();
		nested_skip(n);
		in_l1 = true;
		disturb();
		w = run();
		break;
	default:
		l2_has.ssp = bottom;
		broken(w, kind);
		/* L2's own handler has not returned yet. */
		if (in_l1)
			disturb();
		w = run();
	}
	l2_has.ssp = ssp;
	expect_stop(w, CALL_L2_IDLE, "L2 waits for an order");
	if (kind == L2_BAD_JUMP)
		depth += (uintptr_t)nested_bad_target; /* its register is also used for the result */
	if (kind != L2_MSRS && kind != L2_UD)
		expect(n->c->stop.c, depth, "L2: returns");
	/* L2 may not have used the page. */
	if (absent != PRESENT && absent != NOT_IN_L1)
		give_page();
}

/* While L1 waits for the next operation. */
static void disturb_l1(void)
{
	if (one_in(20)) {
		uint64_t top = cpu_shadow_stack(n->c, CPU_SS_IST2_PAGE);

		if (ioctl(n->c->io.vcpu, KVM_NMI))
			tap_bail("KVM_NMI");
		n->mail->kind = L1_RDSSP;
		cpu_run(n->c);
		if (n->c->stop.kind != STOP_EXCEPTION || n->c->stop.frame->vector != VECTOR_NMI)
			lost(AT_STOP, "NMI in L1");
		expect(n->c->stop.frame->ssp, handler_ssp(top), "NMI in L1: SSP");
		expect(token(top), top | 1, "NMI in L1: token");
		cpu_run(n->c);
		if (!cpu_called(n->c, CALL_IDLE))
			lost(AT_STOP, "L1 after an NMI");
		expect_tokens("L1 after an NMI");
		happens(NMI_L1);
	}
	if (one_in(20)) {
		smi(false);
		l1(n, L1_RDSSP, 0, 0);
	}
	if (one_in(400))
		move();
}

/* An entry that fails after the checks of controls and host state. */
static void failed_entry(void)
{
	static const struct {
		uint32_t field;
		uint64_t flip;
		uint64_t reason;
	} ways[] = {
		{ GUEST_ACTIVITY, 7, 0x80000021 },
		{ LINK_POINTER, 0xff0, 0x80000021 },
		{ GUEST_RFLAGS, 2, 0x80000021 },
		{ ENTRY_LOAD_COUNT, 1, 0x80000022 },
	};
	unsigned int way = rnd(ARRAY_SIZE(ways));
	struct triple want = l1_has, guest = l2_has;
	uint64_t old;
	enum place w;

	old = vmread(n, ways[way].field);
	put(ways[way].field, old ^ ways[way].flip);
	w = enter();
	want.ssp = n->own.ssp;
	if (w != AT_EXIT || n->reason != ways[way].reason)
		lost(w, "an entry that fails");
	if (exits) {
		want.s_cet = host_fields.s_cet;
		want.table = host_fields.table;
		l1_has.s_cet = want.s_cet;
		l1_has.table = want.table;
	} else if (entry && ways[way].field == ENTRY_LOAD_COUNT) {
		want = guest;
	}
	/* On a native kernel, it may be what the guest fields have. */
	if (!native || exits || !same(&n->after, &guest))
		expect_triple(&n->after, &want, "L1 after an entry that failed");
	put(ways[way].field, old);
	happens(FAILED_ENTRIES);
}

static void fresh_l2(void)
{
	l2_has.s_cet = CET_SHSTK | CET_WRSS | CET_ENDBR | (one_in(2) ? S_CET_NOTRACK : 0);
	l2_has.ssp = l2_ssp(n);
	l2_has.table = l2_tables[rnd(2)];
	put(GUEST_S_CET, l2_has.s_cet);
	put(GUEST_SSP, l2_has.ssp);
	put(GUEST_SSP_TABLE, l2_has.table);
	put(GUEST_RIP, (uintptr_t)l2_main);
	put(GUEST_RSP, cpu_stack(&n->l2, CPU_STACK_PAGE, 2));
	put(GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
}

/* Whether L1 injects an event, too */
static bool choose_controls(void)
{
	bool inject;

	entry = !one_in(4);
	exits = !one_in(4);
	intercept = one_in(2);
	nmi_exits = entry && one_in(2);
	inject = entry && one_in(4);
	n->repair = !exits;
	host_fields.s_cet = CET_SHSTK | CET_WRSS | CET_ENDBR | (one_in(2) ? S_CET_NOTRACK : 0);
	host_fields.table = l1_tables[rnd(2)];
	put(HOST_S_CET, host_fields.s_cet);
	put(HOST_SSP_TABLE, host_fields.table);
	put(ENTRY_CONTROLS, entry_controls | (entry ? ENTRY_LOAD_CET : 0));
	put(EXIT_CONTROLS, exit_controls | (exits ? EXIT_LOAD_CET : 0));
	put(PIN_CONTROLS, pin_controls | (nmi_exits ? PIN_NMI_EXITING : 0));
	put(EXCEPTION_BITMAP, intercept ? 1u << VECTOR_CP : 0);
	return inject;
}

/* L1 enters L2, which may have to be run several times until it stops for a reason of its own */
static enum place enter_disturbed(void)
{
	enum place w;

	if (one_in(5))
		time_limit_once(1 + rnd(60));
	w = enter();
	while (w == AT_STOP && n->c->stop.kind == STOP_SIGNAL) {
		happens(SIGNALS);
		if (one_in(8)) {
			move();
			happens(MOVES_SIGNAL);
		}
		w = nested_go(n);
	}
	time_limit(0);
	return w;
}

static void round_of(void)
{
	bool inject;
	unsigned int i;
	enum place w;

	nhistory = 0;
	inject = choose_controls();
	fresh_l2();
	disturb_l1();
	if (one_in(8)) {
		failed_entry();
		fresh_l2();
	}
	if (inject) {
		put(ENTRY_INTR_INFO, INTR_VALID | INTR_HARD | INTR_CODE | VECTOR_CP);
		put(ENTRY_ERROR_CODE, CP_RSTORSSP);
	}

	if (!entry) {
		/* L1 enters it two calls deeper. */
		l2_has = l1_has;
		l2_has.ssp -= 16;
	}
	w = enter_disturbed();
	if (inject) {
		if (w != AT_STOP || n->c->stop.kind != STOP_EXCEPTION)
			lost(w, "#CP that L1 injects");
		happens(INJECTED);
		in_handler(1, VECTOR_CP, CP_RSTORSSP);
		w = run();
	}
	expect_stop(w, CALL_L2_IDLE, "L2 starts");
	for (i = rnd(3); i--;) {
		static const enum l2_kind harmless[] = { L2_CALLS, L2_VMCALL };

		order_l2(entry ? rnd(L2_KINDS) : harmless[rnd(2)]);
	}
	w = nested_leave(n);
	if (w != AT_EXIT || n->reason != REASON_VMCALL)
		lost(w, "the end of a round");
	check_exit();
	if (absent == NOT_IN_L1)
		give_page();
}

/* L1 takes an exception, and stays in its handler. */
static void start(void)
{
	struct kvm_regs regs;
	unsigned int i;

	n = nested_create(NULL);
	split_slots();
	split_ept();
	smram_create(n->c);
	machine_gate(n->m, VECTOR_NMI, (uintptr_t)g_exception_stubs + 16 * VECTOR_NMI, 3, 2);
	machine_gate(n->m, VECTOR_L1, (uintptr_t)g_exception_stubs + 16 * VECTOR_L1, 3, 0);
	l1_tables[0] = n->c->page + CPU_SSP_TABLE;
	l2_tables[0] = l2_table(n);
	l1_tables[1] = machine_alloc(n->m, 1);
	l2_tables[1] = l1_tables[1] + TABLE_SIZE;
	for (i = 0; i < 2; i++)
		memcpy(machine_at(n->m, i ? l2_tables[1] : l1_tables[1]),
		       machine_at(n->m, i ? l2_tables[0] : l1_tables[0]), TABLE_SIZE);

	cpu_get_regs(n->c, &regs);
	regs.rip = (uintptr_t)l1_ud;
	cpu_set_regs(n->c, &regs);
	check_stop(n->c, "#UD", "L1 takes an exception");
	cpu_get_regs(n->c, &regs);
	regs.rip = (uintptr_t)nested_l1;
	regs.rsp = (regs.rsp & ~15ull) - 8;
	cpu_set_regs(n->c, &regs);
	check_stop(n->c, "call 256", "L1 goes on in its handler");
	nested_prepare(n, GUEST_SHSTK | GUEST_IBT, NULL, 0, 0, 0);
	entry_controls = vmread(n, ENTRY_CONTROLS) & ~(uint64_t)ENTRY_LOAD_CET;
	exit_controls = vmread(n, EXIT_CONTROLS) & ~(uint64_t)EXIT_LOAD_CET;
	pin_controls = vmread(n, PIN_CONTROLS);
	vmwrite(n, ENTRY_LOAD_LIST, machine_alloc(n->m, 1));
	((uint64_t *)machine_at(n->m, vmread(n, ENTRY_LOAD_LIST)))[0] = MSR_S_CET;
	((uint64_t *)machine_at(n->m, vmread(n, ENTRY_LOAD_LIST)))[1] = 1 << 6;
	l1_has = triple_now(n);
}

/*
 * The host's watchdogs must be on. A hang that they do not detect ends with the time limit of tests/hosts/boot.
 */
static void host_watches(const char *name)
{
	char path[80];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/sys/kernel/%s", name);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%ld", &value) != 1)
			value = -1;
		fclose(f);
	}
	tap_ok(value > 0, "the host watches: %s is %ld", name, value);
}

/* After this many rounds, each event must have occurred. */
#define ROUNDS_FOR_ALL 1000

int main(int argc, char **argv)
{
	unsigned long rounds;
	uint64_t s_cet;
	unsigned int i;

	native = argc > 1 && !strcmp(argv[1], "--native");
	argv += native;
	argc -= native;
	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: nested-stress [--native] ROUNDS [SEED]\n");
		return 2;
	}
	rounds = strtoul(argv[1], NULL, 0);
	seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	random_state = seed * 0x9e3779b97f4a7c15ull + 1;
	vmm_open("nested-stress");
	host_watches("softlockup_panic");
	host_watches("hung_task_panic");
	host_watches("panic_on_rcu_stall");
	host_watches("watchdog");
	s_cet = host_rdmsr(MSR_S_CET);
	start();
	for (round_number = 0; round_number < rounds && mistakes < 10; round_number++) {
		round_of();
		if (round_number % 100 == 0 && host_rdmsr(MSR_S_CET) != s_cet)
			mistake("the host's S_CET is 0x%llx", (unsigned long long)host_rdmsr(MSR_S_CET));
		if (round_number % 5000 == 4999)
			tap_diag("%lu rounds", round_number + 1);
	}
	nested_destroy(n);
	for (i = 0; i < COUNTS; i++) {
		tap_diag("%lu %s", counts[i], count_names[i]);
		if (rounds >= ROUNDS_FOR_ALL)
			tap_ok(counts[i], "there were %s", count_names[i]);
	}
	equals(host_rdmsr(MSR_S_CET), s_cet, "the host's S_CET is as before");
	equals(mistakes, 0, "%lu rounds from seed %lu: L1 and L2 always had what they should", rounds, seed);
	return tap_done();
}
