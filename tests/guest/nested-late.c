// SPDX-License-Identifier: GPL-2.0
/*
 * Nested: a VM entry of L1 that fails after the checks of controls and host state. L1 goes on at HOST_RIP. Without
 * LOAD_CET on exit it has the CET state that the CPU had: its own, unless that of L2 had been loaded, as it has when
 * the MSR list fails. Natively it has what the guest fields of the VMCS say, which nobody has checked.
 */
#include <stdio.h>
#include <string.h>

#include "hypervisor.h"

#define L1S_TABLE 0x123000
#define L2S_TABLE 0x77000

struct failure {
	const char *name;
	uint32_t field;
	uint64_t flip; /* these bits of it */
	const char *want;
	bool loaded; /* L2's CET state, if LOAD_CET is set on entry */
	bool entry;  /* with LOAD_CET on entry alone */
	bool no_ept;
};

static const struct failure failures[] = {
	{ "activity state", GUEST_ACTIVITY, 7, "exit 0x80000021", false, false, false },
	{ "link pointer", LINK_POINTER, 0xff0, "exit 0x80000021", false, false, false },
	{ "CR4.CET without CR0.WP", GUEST_CR0, CR0_WP, "exit 0x80000021", false, false, false },
	{ "S_CET, which KVM refuses", GUEST_S_CET, 1 << 6, "exit 0x80000021", false, true, false },
	{ "S_CET, which the CPU refuses", GUEST_S_CET, 1ull << 47, "exit 0x80000021", false, true, false },
	{ "SSP", GUEST_SSP, 1, "exit 0x80000021", false, true, false },
	{ "RFLAGS", GUEST_RFLAGS, 2, "exit 0x80000021", false, false, false },
	{ "access rights of CS", GUEST_ACCESS(1), 0x80, "exit 0x80000021", false, false, false },
	{ "CR3 without EPT", GUEST_CR3, 1ull << 62, "exit 0x80000021", false, false, true },
	{ "MSR list", ENTRY_LOAD_COUNT, 1, "exit 0x80000022", true, false, false },
};

/* The guest fields that entry does not load: values that would leave L1 unprotected, and invalid ones. */
static const struct triple garbage[] = {
	{ 0, 0x5550, L2S_TABLE },
	{ 1 << 6, 0x4000000000000001, 1ull << 62 },
};

static const char *whose_triple(const struct triple *got, const struct triple *own, const struct triple *host,
				const struct triple *guest)
{
	return same(got, own)	? "L1's own" :
	       same(got, host)	? "host fields" :
	       same(got, guest) ? "guest fields" :
				  "a mixture";
}

static uint64_t bad_list(struct nested *n)
{
	/* Two words: the MSR and the value */
	uint64_t page = machine_alloc(n->m, 1), *list = machine_at(n->m, page);

	list[0] = MSR_S_CET;
	list[1] = 1 << 6;
	return page;
}

/* L1 has survived: it enters L2 once more. */
static void enters_again(struct nested *n, const struct failure *f, bool entry, const char *name)
{
	enum place w;

	vmwrite(n, f->field, vmread(n, f->field) ^ f->flip);
	if (entry) {
		vmwrite(n, GUEST_S_CET, n->own.s_cet);
		vmwrite(n, GUEST_SSP, l2_ssp(n));
	}
	n->repair = true;
	w = nested_enter(n);
	went(n, w, "exit 18", "%s: L1 enters L2 without it", name);
}

static void late(const struct nested_config *config, const struct failure *f, bool entry, bool exit,
		 const struct triple *fields, const char *kind)
{
	struct nested *n = nested_create(config);
	unsigned int features = config ? config->features : GUEST_SHSTK | GUEST_IBT;
	bool shstk = features & GUEST_SHSTK;
	struct triple own = triple_now(n), host = own, guest, now;
	const struct triple *want;
	char name[120];
	const char *got;
	enum place w;

	snprintf(name, sizeof(name), "%sentry fails by %s, LOAD_CET on %s%s", kind, f->name,
		 entry && exit ? "both" :
		 entry	       ? "entry" :
		 exit	       ? "exit" :
				 "neither",
		 fields == &garbage[1] ? ", garbage" : "");
	if (f->no_ept)
		n->mail->eptp = 0;
	nested_prepare(n, features, NULL, 0, 0, 0);
	vmwrite(n, GUEST_RIP, (uintptr_t)nested_vmcall);
	if (f->field == ENTRY_LOAD_COUNT)
		vmwrite(n, ENTRY_LOAD_LIST, bad_list(n));
	guest = (struct triple) { own.s_cet ^ (features & GUEST_IBT ? 8 : CET_WRSS), l2_ssp(n), L2S_TABLE };
	if (entry) {
		vmwrite(n, GUEST_S_CET, guest.s_cet);
	} else {
		guest = *fields;
		clear_bits(n, ENTRY_CONTROLS, ENTRY_LOAD_CET);
		vmwrite(n, GUEST_S_CET, guest.s_cet);
	}
	if (shstk) {
		vmwrite(n, GUEST_SSP, guest.ssp);
		vmwrite(n, GUEST_SSP_TABLE, guest.table);
	} else {
		guest.ssp = 0;
		guest.table = 0;
	}
	if (!exit)
		clear_bits(n, EXIT_CONTROLS, EXIT_LOAD_CET);
	if (features & GUEST_IBT)
		host.s_cet ^= S_CET_NOTRACK;
	else
		host.s_cet ^= CET_WRSS;
	host.table = shstk ? L1S_TABLE : 0;
	vmwrite(n, HOST_S_CET, host.s_cet);
	vmwrite(n, HOST_SSP_TABLE, host.table);
	vmwrite(n, f->field, vmread(n, f->field) ^ f->flip);
	if (f->field == GUEST_S_CET)
		guest.s_cet ^= f->flip;
	if (f->field == GUEST_SSP)
		guest.ssp ^= f->flip;

	/* L1 cannot use L2's shadow stack; otherwise L1 must be able to continue by itself. */
	n->repair = native || (f->loaded && entry && !exit);
	w = nested_enter(n);
	own.ssp = n->own.ssp;
	host.ssp = n->own.ssp;
	want = exit ? &host : f->loaded && entry ? &guest : &own;
	if (w == AT_EXIT) {
		now = n->after;
		got = whose_triple(&now, &own, &host, &guest);
	} else {
		got = where_text(n, w);
	}
	tap_fact(name, "%s", got);
	if (native && w != AT_EXIT) {
		nested_destroy(n);
		return;
	}
	if (went(n, w, f->want, "%s: L1 goes on", name)) {
		if (!native)
			tap_ok(same(&now, want), "%s: L1 has what %s", name,
			       exit	      ? "the host fields say" :
			       want == &guest ? "was loaded for L2" :
						"it had");
		if (!native && !same(&now, want)) {
			tell_triple("got", &now);
			tell_triple("wanted", want);
		}
		enters_again(n, f, entry, name);
	}
	nested_destroy(n);
}

void test_late(void)
{
	const struct nested_config ibt = { .cpuid = hide_shstk, .features = GUEST_IBT };
	const struct nested_config shstk = { .cpuid = hide_ibt, .features = GUEST_SHSTK };
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(failures); i++) {
		for (j = 0; j < 4; j++) {
			bool entry = j & 1, exit = j & 2;
			const struct failure *f = &failures[i];

			if (f->entry && !entry)
				continue;
			late(NULL, f, entry, exit, &garbage[0], "");
			if (!entry)
				late(NULL, f, entry, exit, &garbage[1], "");
			if (i && i + 1 != ARRAY_SIZE(failures))
				continue;
			late(&ibt, f, entry, exit, &garbage[0], "IBT alone, ");
			late(&shstk, f, entry, exit, &garbage[0], "shadow stacks alone, ");
		}
	}
}
