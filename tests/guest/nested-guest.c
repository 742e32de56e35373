// SPDX-License-Identifier: GPL-2.0
/* Most of what nested-guest.h declares. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nested-guest.h"

uint64_t nested_l1_cet;
struct triple nested_seen;

struct nested *nested_new(struct machine *m)
{
	struct nested *n = calloc(1, sizeof(*n));

	if (!n)
		tap_bail("no memory");
	n->m = m;
	n->c = m->cpus[0];
	n->l2.machine = m;
	return n;
}

void nested_destroy(struct nested *n)
{
	machine_destroy(n->m);
	free(n);
}

bool went(struct nested *n, enum place where, const char *want, const char *fmt, ...)
{
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	ok = check_place(where == AT_STOP ? n->c : NULL, where_text(n, where), want, fmt, ap);
	va_end(ap);
	return ok;
}

uint64_t l2_ssp(const struct nested *n)
{
	return cpu_shadow_stack(&n->l2, CPU_SS_PAGE);
}

uint64_t l2_table(const struct nested *n)
{
	return n->l2.page + CPU_SSP_TABLE;
}

void nested_fresh_tokens(struct nested *n)
{
	static const unsigned int pages[] = { CPU_SS_IST1_PAGE, CPU_SS_IST2_PAGE };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		uint64_t top = cpu_shadow_stack(&n->l2, pages[i]);

		memcpy(machine_at(n->m, top), &top, sizeof(top));
	}
}

void filter_cet_msrs(struct machine *m, bool deny)
{
	uint8_t allow[2] = { 0, 0xfe }; /* 0x6a9 and up */
	struct kvm_msr_filter f = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {
			.flags = deny ? KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE : 0,
			.nmsrs = deny ? 16 : 0,
			.base = MSR_U_CET,
			.bitmap = deny ? allow : NULL,
		},
	};

	if (ioctl(m->fd, KVM_X86_SET_MSR_FILTER, &f))
		tap_bail("KVM_X86_SET_MSR_FILTER");
}

/*
 * A guest that is saved
 */
void blob_take(struct cpu *c, struct blob *b)
{
	memset(b, 0, sizeof(*b));
	b->head.size = sizeof(*b);
	if (ioctl(c->io.vcpu, KVM_GET_NESTED_STATE, b))
		tap_bail("KVM_GET_NESTED_STATE");
	if (b->head.size != sizeof(*b))
		tap_bail("KVM_GET_NESTED_STATE: %u bytes", b->head.size);
}

int blob_put(struct cpu *c, const struct blob *b)
{
	return ioctl(c->io.vcpu, KVM_SET_NESTED_STATE, b) ? errno : 0;
}

uint64_t blob_get(const struct blob *b, unsigned int at)
{
	uint64_t value;

	memcpy(&value, b->block + at, sizeof(value));
	return value;
}

void blob_set(struct blob *b, unsigned int at, uint64_t value)
{
	memcpy(b->block + at, &value, sizeof(value));
}

struct saved saved_copy(const struct saved *s)
{
	struct saved copy = *s;

	copy.vm = snapshot_copy(s->vm);
	if (s->capabilities)
		copy.capabilities = snapshot_copy(s->capabilities);
	return copy;
}

void saved_free(struct saved *s)
{
	free(s->vm);
	free(s->capabilities);
}

void put_state(const struct saved *s, struct cpu *c, const char *order)
{
	static const char letters[] = "SRMPE";
	static const enum part parts[] = { PART_SREGS, PART_REGS, PART_MSRS, PART_ONE_REG, PART_EVENTS },
			       rest[] = { PART_XCRS, PART_XSAVE, PART_EVENTS, PART_MP_STATE, PART_DEBUGREGS };
	uint32_t msr = 0;
	unsigned int i;
	const char *p;
	int err;

	for (p = order; *p; p++) {
		const char *letter = strchr(letters, *p);

		err = letter ? -snapshot_put(s->vm, c, parts[letter - letters], &msr) : blob_put(c, &s->blob);
		if (err)
			tap_bail("order %s, at %c: %s, MSR 0x%x", order, *p, errno_name(err), msr);
	}
	for (i = 0; i < ARRAY_SIZE(rest); i++)
		snapshot_put(s->vm, c, rest[i], NULL);
}

void check_unwinding(struct nested *n, const struct saved *s, unsigned int depth, const char *name)
{
	enum place w;

	equals(cpu_rdmsr(n->c, MSR_U_CET), CET_SHSTK, "%s: U_CET", name);
	equals(cpu_rdmsr(n->c, MSR_PL3_SSP), UNWINDING_PL3_SSP, "%s: PL3_SSP", name);
	w = nested_go(n);
	if (went(n, w, "call 273", "%s: L2 returns", name))
		equals(n->c->stop.a, depth, "%s: from all its calls", name);
	equals(n->c->stop.b, s->l2.ssp + (depth + 1) * 8, "%s: L2's SSP is right again", name);
	equals(n->c->stop.c, s->l2.s_cet, "%s: L2's S_CET is right", name);
	w = nested_go(n);
	went(n, w, "#UD", "%s: L2 takes an exception on another shadow stack", name);
}

/*
 * Another VM
 */
static GUEST uint64_t reads_pl3_ssp(uint64_t unused)
{
	(void)unused;
	for (;;)
		g_call(1, g_rdmsr(MSR_PL3_SSP), 0, 0);
	return 0;
}

struct machine *other_create(uint64_t pl3_ssp)
{
	struct machine *m = machine_create(NULL);

	cpu_wrmsr(m->cpus[0], MSR_PL3_SSP, pl3_ssp);
	cpu_start(m->cpus[0], reads_pl3_ssp, 0);
	return m;
}

uint64_t other_pl3_ssp(struct machine *m)
{
	cpu_run(m->cpus[0]);
	return m->cpus[0]->stop.a;
}

/*
 * Groups of checks
 */
void list_groups(const struct group *groups, unsigned int count)
{
	unsigned int i;

	fprintf(stderr, "groups:\n");
	for (i = 0; i < count; i++)
		fprintf(stderr, " %s%s", groups[i].name, i + 1 == count ? "\n" : "");
}

static bool is_among(const char *name, char **names)
{
	for (; *names; names++)
		if (!strcmp(*names, name))
			return true;
	return false;
}

void run_groups(const struct group *groups, unsigned int count, bool cet, char **names, void (*after)(const char *name))
{
	unsigned int i;
	char **p;

	for (p = names; *p; p++) {
		for (i = 0; i < count && strcmp(groups[i].name, *p); i++)
			;
		if (i == count)
			tap_bail("there is no group %s", *p);
	}
	for (i = 0; i < count; i++) {
		if (groups[i].cet != cet || (*names && !is_among(groups[i].name, names)))
			continue;
		tap_diag("%s", groups[i].name);
		groups[i].run();
		if (after)
			after(groups[i].name);
	}
}
