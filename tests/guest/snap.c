// SPDX-License-Identifier: GPL-2.0
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <asm/kvm_onereg.h>

#include "snap.h"

#define ID_SSP KVM_X86_REG_KVM(KVM_REG_GUEST_SSP)

#define MSR_TSC 0x10u
/* The capabilities of nested VMX: the two kernels differ in what has nothing to do with CET. */
#define MSR_VMX_FIRST	       0x480u
#define MSR_VMX_LAST	       0x492u
#define MSR_KVM_ASYNC_PF_INT   0x4b564d06u
#define MSR_HV_VP_RUNTIME      0x40000010u
#define MSR_HV_REFERENCE_COUNT 0x40000020u

/* Time passes between two snapshots: this is not compared. */
static bool is_clock(uint32_t msr)
{
	return msr == MSR_TSC || msr == MSR_HV_VP_RUNTIME || msr == MSR_HV_REFERENCE_COUNT;
}

const char *part_name(enum part part)
{
	static const char * const names[PARTS] = {
		[PART_SREGS] = "SREGS2",  [PART_REGS] = "REGS",		[PART_XCRS] = "XCRS",
		[PART_XSAVE] = "XSAVE",	  [PART_MSRS] = "MSRS",		[PART_ONE_REG] = "ONE_REG",
		[PART_EVENTS] = "EVENTS", [PART_MP_STATE] = "MP_STATE", [PART_DEBUGREGS] = "DEBUGREGS",
	};

	return names[part];
}

static struct snapshot *new_snapshot(void)
{
	/* Pages that are never written cost nothing. */
	struct snapshot *s = calloc(1, sizeof(*s));

	if (!s)
		tap_bail("no memory");
	return s;
}

static void take(struct cpu *c, unsigned int nr, void *to, const char *name)
{
	if (ioctl(c->io.vcpu, nr, to))
		tap_bail("%s", name);
}

static void take_msrs(struct snapshot *s, struct cpu *c)
{
	struct kvm_msr_list *list = msr_list(KVM_GET_MSR_INDEX_LIST);
	unsigned int i;

	for (i = 0; i < list->nmsrs; i++) {
		struct kvm_msr_entry *e = &s->msr_entries[s->msrs.nmsrs];
		uint64_t value;

		/*
		 * What the guest's CPUID does not have is listed, but cannot be read. ASYNC_PF_INT can be read, but
		 * without a local APIC in KVM not be written, not even with what it has.
		 */
		if (list->indices[i] == MSR_KVM_ASYNC_PF_INT || !msrs_get(&c->io, list->indices[i], &value))
			continue;
		if (s->msrs.nmsrs == SNAP_MSRS)
			tap_bail("too many MSRs");
		e->index = list->indices[i];
		e->data = value;
		s->msrs.nmsrs++;
	}
	free(list);
}

static void take_regs(struct snapshot *s, struct cpu *c)
{
	struct {
		uint64_t n, reg[SNAP_REGS];
	} list = { .n = SNAP_REGS };
	unsigned int i;

	take(c, GET_REG_LIST, &list, "KVM_GET_REG_LIST");
	s->nregs = list.n;
	for (i = 0; i < list.n; i++) {
		s->reg_ids[i] = list.reg[i];
		if (get_reg(&c->io, list.reg[i], &s->reg_values[i]).ret)
			tap_bail("KVM_GET_ONE_REG 0x%llx", (unsigned long long)list.reg[i]);
	}
}

static void take_ram(struct snapshot *s, struct machine *m)
{
	uint64_t page;

	if (mincore(m->ram, RAM_SIZE, s->present))
		tap_bail("mincore");
	for (page = 0; page < RAM_SIZE / PAGE; page++) {
		/* The kernel decides about the other bits. */
		s->present[page] &= 1;
		if (s->present[page])
			memcpy(s->ram + page * PAGE, m->ram + page * PAGE, PAGE);
	}
}

struct snapshot *snapshot_take(struct cpu *c)
{
	struct snapshot *s = new_snapshot();
	struct machine *m = c->machine;
	int size = ioctl(m->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	if (size > SNAP_XSAVE)
		tap_bail("XSAVE needs %d bytes", size);
	s->cpuid.nent = MAX_CPUID;
	take(c, KVM_GET_CPUID2, &s->cpuid, "KVM_GET_CPUID2");
	/* First, as QEMU does: this may have to take in an INIT. */
	if (ioctl(c->io.vcpu, KVM_GET_MP_STATE, &s->mp_state))
		tap_bail("KVM_GET_MP_STATE");
	take(c, KVM_GET_SREGS2, &s->sregs, "KVM_GET_SREGS2");
	take(c, KVM_GET_REGS, &s->regs, "KVM_GET_REGS");
	take(c, KVM_GET_XCRS, &s->xcrs, "KVM_GET_XCRS");
	take(c, size > 0 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, s->xsave, "KVM_GET_XSAVE2");
	take_msrs(s, c);
	take_regs(s, c);
	take(c, KVM_GET_VCPU_EVENTS, &s->events, "KVM_GET_VCPU_EVENTS");
	take(c, KVM_GET_DEBUGREGS, &s->debugregs, "KVM_GET_DEBUGREGS");

	s->cr3 = m->cr3;
	s->idt = m->idt;
	s->free = m->free;
	s->page = c->page;
	take_ram(s, m);
	return s;
}

struct snapshot *snapshot_copy(const struct snapshot *s)
{
	struct snapshot *copy = new_snapshot();
	uint64_t page;

	memcpy(copy, s, offsetof(struct snapshot, ram));
	for (page = 0; page < RAM_SIZE / PAGE; page++)
		if (s->present[page])
			memcpy(copy->ram + page * PAGE, s->ram + page * PAGE, PAGE);
	return copy;
}

static struct kvm_msr_entry *find_msr(struct snapshot *s, uint32_t msr)
{
	unsigned int i;

	for (i = 0; i < s->msrs.nmsrs; i++)
		if (s->msr_entries[i].index == msr)
			return &s->msr_entries[i];
	tap_bail("MSR 0x%x is not in the snapshot", msr);
}

uint64_t *snapshot_msr(struct snapshot *s, uint32_t msr)
{
	return (uint64_t *)&find_msr(s, msr)->data;
}

void snapshot_drop_msr(struct snapshot *s, uint32_t msr)
{
	struct kvm_msr_entry *e = find_msr(s, msr);

	s->msrs.nmsrs--;
	memmove(e, e + 1, (char *)&s->msr_entries[s->msrs.nmsrs] - (char *)e);
}

uint64_t *snapshot_ssp(struct snapshot *s)
{
	unsigned int i;

	for (i = 0; i < s->nregs; i++)
		if (s->reg_ids[i] == ID_SSP)
			return &s->reg_values[i];
	tap_bail("SSP is not in the snapshot");
}

struct machine *snapshot_machines(const struct snapshot *all[], unsigned int n)
{
	const struct machine_config config = { .cpus = n, .blank = true, .no_cpuid = true };
	struct machine *m = machine_create(&config);
	const struct snapshot *s = all[0];
	unsigned int i;
	uint64_t page;

	for (page = 0; page < RAM_SIZE / PAGE; page++)
		if (s->present[page])
			memcpy(m->ram + page * PAGE, s->ram + page * PAGE, PAGE);
	for (i = 0; i < n; i++) {
		if (ioctl(m->cpus[i]->io.vcpu, KVM_SET_CPUID2, &all[i]->cpuid))
			tap_bail("KVM_SET_CPUID2");
		m->cpus[i]->page = all[i]->page;
	}
	m->cr3 = s->cr3;
	m->idt = s->idt;
	m->free = s->free;
	machine_touch(m);
	return m;
}

struct machine *snapshot_machine(const struct snapshot *s)
{
	return snapshot_machines(&s, 1);
}

static int put(struct cpu *c, unsigned int nr, const void *from)
{
	return ioctl(c->io.vcpu, nr, from) < 0 ? -errno : 0;
}

static int put_msrs(const struct snapshot *s, struct cpu *c, uint32_t *msr)
{
	unsigned int i;

	for (i = 0; i < s->msrs.nmsrs; i++) {
		if (!msrs_set(&c->io, s->msr_entries[i].index, s->msr_entries[i].data)) {
			if (msr)
				*msr = s->msr_entries[i].index;
			return -EINVAL;
		}
	}
	return 0;
}

int snapshot_put(const struct snapshot *s, struct cpu *c, enum part part, uint32_t *msr)
{
	unsigned int i;

	switch (part) {
	case PART_SREGS:
		return put(c, KVM_SET_SREGS2, &s->sregs);
	case PART_REGS:
		return put(c, KVM_SET_REGS, &s->regs);
	case PART_XCRS:
		return put(c, KVM_SET_XCRS, &s->xcrs);
	case PART_XSAVE:
		return put(c, KVM_SET_XSAVE, s->xsave);
	case PART_MSRS:
		return put_msrs(s, c, msr);
	case PART_ONE_REG:
		for (i = 0; i < s->nregs; i++) {
			struct outcome o = set_reg(&c->io, s->reg_ids[i], s->reg_values[i]);

			if (o.ret)
				return -o.err;
		}
		return 0;
	case PART_EVENTS:
		return put(c, KVM_SET_VCPU_EVENTS, &s->events);
	case PART_MP_STATE:
		return put(c, KVM_SET_MP_STATE, &s->mp_state);
	case PART_DEBUGREGS:
		return put(c, KVM_SET_DEBUGREGS, &s->debugregs);
	case PARTS:
		break;
	}
	return -ENOENT;
}

static void put_or_bail(const struct snapshot *s, struct cpu *c, enum part part)
{
	uint32_t msr = 0;
	int err = snapshot_put(s, c, part, &msr);

	if (err)
		tap_bail("restoring %s: %s, MSR 0x%x", part_name(part), errno_name(-err), msr);
}

struct machine *snapshot_restore(const struct snapshot *s, unsigned int without)
{
	struct machine *m = snapshot_machine(s);
	enum part part;

	for (part = 0; part < PARTS; part++)
		if (!(without & 1u << part))
			put_or_bail(s, m->cpus[0], part);
	return m;
}

struct machine *snapshot_restore_order(const struct snapshot *s, const enum part order[PARTS])
{
	struct machine *m = snapshot_machine(s);
	unsigned int i;

	for (i = 0; i < PARTS; i++)
		put_or_bail(s, m->cpus[0], order[i]);
	return m;
}

static const char *msr_difference(const struct snapshot *a, const struct snapshot *b)
{
	static char text[80];
	unsigned int i;

	if (a->msrs.nmsrs != b->msrs.nmsrs)
		return "number of MSRs";
	for (i = 0; i < a->msrs.nmsrs; i++) {
		const struct kvm_msr_entry *x = &a->msr_entries[i], *y = &b->msr_entries[i];

		if (x->index == y->index && (x->data == y->data || is_clock(x->index)))
			continue;
		snprintf(text, sizeof(text), "MSR 0x%x: 0x%llx, 0x%llx", x->index, x->data, y->data);
		return text;
	}
	return NULL;
}

const char *snapshot_difference(const struct snapshot *a, const struct snapshot *b)
{
	static char text[80];
	unsigned int i;

	if (memcmp(&a->sregs, &b->sregs, sizeof(a->sregs)))
		return "SREGS2";
	if (memcmp(&a->regs, &b->regs, sizeof(a->regs)))
		return "REGS";
	if (memcmp(&a->xcrs, &b->xcrs, sizeof(a->xcrs)))
		return "XCRS";
	if (memcmp(a->xsave, b->xsave, sizeof(a->xsave)))
		return "XSAVE";
	if (memcmp(&a->events, &b->events, sizeof(a->events)))
		return "VCPU_EVENTS";
	if (memcmp(&a->mp_state, &b->mp_state, sizeof(a->mp_state)))
		return "MP_STATE";
	if (memcmp(&a->debugregs, &b->debugregs, sizeof(a->debugregs)))
		return "DEBUGREGS";
	if (a->nregs != b->nregs)
		return "KVM_GET_REG_LIST";
	for (i = 0; i < a->nregs; i++) {
		if (a->reg_ids[i] == b->reg_ids[i] && a->reg_values[i] == b->reg_values[i])
			continue;
		snprintf(text, sizeof(text), "ONE_REG 0x%llx: 0x%llx, 0x%llx", (unsigned long long)a->reg_ids[i],
			 (unsigned long long)a->reg_values[i], (unsigned long long)b->reg_values[i]);
		return text;
	}
	return msr_difference(a, b);
}

/* Whether a page equals this program's code: then the same program has it on another host, too. */
static bool is_own_code(uint64_t gpa, const uint8_t *content)
{
	const Elf64_Phdr *p = (void *)getauxval(AT_PHDR);
	unsigned long n = getauxval(AT_PHNUM);

	for (; n--; p++)
		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W) && gpa >= p->p_vaddr &&
		    gpa + PAGE <= p->p_vaddr + p->p_filesz)
			return !memcmp((void *)(uintptr_t)gpa, content, PAGE);
	return false;
}

#define PRESENT_IN_FILE	   1
#define PRESENT_IN_PROGRAM 2

bool snapshot_save(const struct snapshot *s, const char *path)
{
	struct snapshot *copy = snapshot_copy(s);
	FILE *f = fopen(path, "w");
	uint64_t page;
	bool ok;

	for (page = 0; page < RAM_SIZE / PAGE; page++)
		if (s->present[page] && is_own_code(page * PAGE, s->ram + page * PAGE))
			copy->present[page] = PRESENT_IN_PROGRAM;
	ok = f && fwrite(copy, offsetof(struct snapshot, ram), 1, f) == 1;
	for (page = 0; ok && page < RAM_SIZE / PAGE; page++)
		if (copy->present[page] == PRESENT_IN_FILE)
			ok = fwrite(s->ram + page * PAGE, PAGE, 1, f) == 1;
	free(copy);
	return f && !fclose(f) && ok;
}

struct snapshot *snapshot_load(const char *path)
{
	struct snapshot *s = new_snapshot();
	FILE *f = fopen(path, "r");
	uint64_t page;

	if (!f || fread(s, offsetof(struct snapshot, ram), 1, f) != 1)
		tap_bail("%s", path);
	for (page = 0; page < RAM_SIZE / PAGE; page++) {
		if (s->present[page] == PRESENT_IN_PROGRAM)
			memcpy(s->ram + page * PAGE, (void *)(uintptr_t)(page * PAGE), PAGE);
		else if (s->present[page] && fread(s->ram + page * PAGE, PAGE, 1, f) != 1)
			tap_bail("%s is too short", path);
	}
	fclose(f);
	return s;
}

static const char *file_of_cpl(const char *name, unsigned int cpl)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s.%u", name, cpl);
	return path;
}

bool snapshot_save_cpl(const struct snapshot *s, const char *name, unsigned int cpl)
{
	return snapshot_save(s, file_of_cpl(name, cpl));
}

struct snapshot *snapshot_load_cpl(const char *name, unsigned int cpl)
{
	return snapshot_load(file_of_cpl(name, cpl));
}

void snapshot_adapt(struct snapshot *s)
{
	struct kvm_msr_list *list = msr_list(KVM_GET_MSR_INDEX_LIST);
	unsigned int i = 0;

	while (i < s->msrs.nmsrs) {
		uint32_t msr = s->msr_entries[i].index;

		if (msr_listed(list, msr) && !(msr >= MSR_VMX_FIRST && msr <= MSR_VMX_LAST))
			i++;
		else
			snapshot_drop_msr(s, msr);
	}
	free(list);
}

struct cpu *migrate(struct machine **m)
{
	struct snapshot *s = snapshot_take((*m)->cpus[0]);

	machine_destroy(*m);
	*m = snapshot_restore(s, 0);
	free(s);
	return (*m)->cpus[0];
}
