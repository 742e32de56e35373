// SPDX-License-Identifier: GPL-2.0
/*
 * tracker: saved between an indirect branch and its target, by single-stepping over the branch. The waiting IBT tracker
 * is S_CET[11] at CPL0 and U_CET[11] at CPL3; S_CET[10] and U_CET[10] suppress it.
 *
 *	tracker --save FILE	also leaves snapshots with a waiting tracker for another kernel, as FILE.0 and FILE.3
 *	tracker --load FILE	continues with these instead
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snap.h"

/* ---- the guest ---- */

#define CALL_READY  1  /* the branch is next */
#define CALL_LANDED 10 /* with ENDBR64 */
#define CALL_GADGET 66 /* without */

void branch_jmp(void);
void branch_call(void);
void landing(void);
void gadget(void);

/* RDI is where to go; the VMM writes it. */
__asm__(".pushsection .text\n"
	".global branch_jmp, branch_call, landing, gadget\n"
	"branch_jmp:\n"
	"	endbr64\n"
	"	mov	$1, %eax\n"
	"	out	%eax, $0xe9\n"
	"	jmp	*%rdi\n"
	"branch_call:\n"
	"	endbr64\n"
	"	mov	$1, %eax\n"
	"	out	%eax, $0xe9\n"
	"	call	*%rdi\n"
	"landing:\n"
	"	endbr64\n"
	"	mov	$10, %eax\n"
	"	out	%eax, $0xe9\n"
	"	ud2\n"
	"gadget:\n"
	"	mov	$66, %eax\n"
	"	out	%eax, $0xe9\n"
	"	ud2\n"
	".popsection");

/* ---- the VMM ---- */

static const struct branch {
	const char *name;
	void (*code)(void);
} branches[] = {
	{ "jmp *%rdi", branch_jmp },
	{ "call *%rdi", branch_call },
};

static uint32_t governing(unsigned int cpl)
{
	return cpl ? MSR_U_CET : MSR_S_CET;
}

/* Stopped before the branch, which goes to @target. */
static struct cpu *start(struct machine **m, unsigned int cpl, const struct branch *b, void (*target)(void))
{
	struct kvm_regs regs;
	struct cpu *c;

	*m = machine_create(NULL);
	c = (*m)->cpus[0];
	cpu_cet(c, GUEST_ALL);
	cpu_start_at(c, cpl, (uintptr_t)b->code, (uint64_t[3]) { 0 });
	cpu_run(c);
	if (!cpu_called(c, CALL_READY))
		tap_bail("the guest does not get to its branch: %s", stop_text(c));
	cpu_get_regs(c, &regs);
	regs.rdi = (uintptr_t)target;
	cpu_set_regs(c, &regs);
	return c;
}

static void check_end(const struct snapshot *s, const char *want, const char *text, const char *branch,
		      unsigned int cpl)
{
	struct machine *m = snapshot_restore(s, 0);

	check_stop(m->cpus[0], want, "CPL%u, %s, %s: %s", cpl, branch, text, want);
	machine_destroy(m);
}

static void saved_behind_the_branch(unsigned int cpl, const struct branch *b, void (*target)(void), const char *name,
				    const char *end, const char *save)
{
	struct machine *m;
	struct cpu *c = start(&m, cpl, b, target);
	uint32_t msr = governing(cpl), other = governing(cpl ? 0 : 3);
	struct snapshot *s, *copy;
	struct kvm_regs regs;
	uint64_t other_before = cpu_rdmsr(c, other);
	char text[80];

	tap_ok(!(cpu_rdmsr(c, msr) & CET_WAIT_ENDBR), "CPL%u, %s: the tracker is idle before", cpl, b->name);
	cpu_debug(c, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
	check_stop(c, "debug", "CPL%u, %s: single step", cpl, b->name);
	cpu_debug(c, 0);
	cpu_get_regs(c, &regs);
	tap_ok(regs.rip == (uintptr_t)target, "CPL%u, %s to %s: one step goes there", cpl, b->name, name);
	tap_ok(cpu_rdmsr(c, msr) == (CET_SHSTK | CET_WRSS | CET_ENDBR | CET_WAIT_ENDBR) &&
		       cpu_rdmsr(c, other) == other_before,
	       "CPL%u, %s to %s: the tracker waits", cpl, b->name, name);
	s = snapshot_take(c);
	machine_destroy(m);
	if (save)
		tap_ok(snapshot_save_cpl(s, save, cpl), "CPL%u: a snapshot in a file", cpl);

	snprintf(text, sizeof(text), "restored before %s", name);
	check_end(s, end, text, b->name, cpl);
	copy = snapshot_copy(s);
	*snapshot_msr(copy, msr) &= ~(uint64_t)CET_WAIT_ENDBR;
	snprintf(text, sizeof(text), "restored before %s, falsified: tracker idle", name);
	check_end(copy, target == landing ? end : "call 66", text, b->name, cpl);
	free(copy);
	free(s);
}

/* Saved before the branch, and the tracker falsified. */
static void saved_before_the_branch(unsigned int cpl, const struct branch *b)
{
	struct machine *m;
	struct snapshot *s = snapshot_take(start(&m, cpl, b, gadget));
	uint32_t msr = governing(cpl);

	machine_destroy(m);
	check_end(s, "#CP(3)", "restored before the branch", b->name, cpl);
	*snapshot_msr(s, msr) |= CET_SUPPRESS;
	check_end(s, "call 66", "restored before the branch, falsified: tracker suppressed", b->name, cpl);
	*snapshot_msr(s, msr) ^= CET_SUPPRESS | CET_WAIT_ENDBR;
	memcpy(&s->ram[(uintptr_t)gadget], "\xf3\x0f\x1e\xfa", 4);
	check_end(s, "#CP(3)", "restored before the branch, falsified: tracker waits", b->name, cpl);
	free(s);
}

/* A snapshot of another kernel, of before a place without ENDBR64. */
static void go_on(const char *name, unsigned int cpl)
{
	struct snapshot *s = snapshot_load_cpl(name, cpl), *copy;
	char from[80];

	snapshot_adapt(s);
	snprintf(from, sizeof(from), "from %s", basename(name));
	check_end(s, "#CP(3)", "the tracker waits", from, cpl);
	copy = snapshot_copy(s);
	*snapshot_msr(copy, governing(cpl)) &= ~(uint64_t)CET_WAIT_ENDBR;
	check_end(copy, "call 66", "falsified: tracker idle", from, cpl);
	free(copy);
	s->regs.rip = (uintptr_t)landing;
	check_end(s, "call 10", "at ENDBR64", from, cpl);
	free(s);
}

int main(int argc, char **argv)
{
	const char *mode = argc == 3 ? argv[1] : "", *file = argc == 3 ? argv[2] : NULL;
	unsigned int cpl, i;

	vmm_open(strcmp(mode, "--load") ? "tracker" : "tracker --load");
	for (cpl = 0; cpl <= 3; cpl += 3) {
		if (!strcmp(mode, "--load")) {
			go_on(file, cpl);
			continue;
		}
		for (i = 0; i < ARRAY_SIZE(branches); i++) {
			saved_behind_the_branch(cpl, &branches[i], landing, "ENDBR64", "call 10", NULL);
			saved_behind_the_branch(cpl, &branches[i], gadget, "no ENDBR64", "#CP(3)",
						i || strcmp(mode, "--save") ? NULL : file);
			saved_before_the_branch(cpl, &branches[i]);
		}
	}
	return tap_done();
}
