// SPDX-License-Identifier: GPL-2.0
/*
 * A guest with L2 active is restored with some of its state left out or falsified: it does not go on as if nothing had
 * happened, so what the other tests restore is what makes it go on.
 */
#include <stdio.h>
#include <string.h>

#include "nested-guest.h"

void no_ssp(struct saved *s)
{
	*snapshot_ssp(s->vm) = 0;
}

void ssp_8_off(struct saved *s)
{
	*snapshot_ssp(s->vm) += 8;
}

void l1s_ssp(struct saved *s)
{
	*snapshot_ssp(s->vm) = s->l1.ssp;
}

void no_s_cet(struct saved *s)
{
	snapshot_drop_msr(s->vm, MSR_S_CET);
}

void no_table(struct saved *s)
{
	snapshot_drop_msr(s->vm, MSR_INT_SSP_TAB);
}

/* Where the restored guest stops, in words. */
static const char *progress(struct nested *n, const struct saved *s, const char *end)
{
	static char text[80];
	struct triple now;
	enum place w;

	w = nested_go(n);
	if (w != AT_STOP || !cpu_called(n->c, CALL_L2 + 1)) {
		snprintf(text, sizeof(text), "L2: %s", where_text(n, w));
		return text;
	}
	if (n->c->stop.c != s->l2.s_cet) {
		snprintf(text, sizeof(text), "L2 has S_CET 0x%llx", (unsigned long long)n->c->stop.c);
		return text;
	}
	w = nested_go(n);
	if (w != AT_STOP || strcmp(stop_text(n->c), "#UD")) {
		snprintf(text, sizeof(text), "L2: %s", where_text(n, w));
		return text;
	}
	w = nested_leave(n);
	if (w != AT_EXIT || strcmp(where_text(n, w), end)) {
		snprintf(text, sizeof(text), "L1: %s", where_text(n, w));
		return text;
	}
	now = triple_of(n->c);
	if (now.s_cet != s->l1.s_cet) {
		snprintf(text, sizeof(text), "L1 has S_CET 0x%llx", (unsigned long long)now.s_cet);
		return text;
	}
	if (now.table != s->l1.table) {
		snprintf(text, sizeof(text), "L1 has table 0x%llx", (unsigned long long)now.table);
		return text;
	}
	return "goes on";
}

static void check_falsehood(const struct saved *s, const struct falsehood *f, const char *order, const char *end)
{
	struct saved copy = saved_copy(s);
	struct nested *n;
	const char *got;

	if (f->falsify)
		f->falsify(&copy);
	n = restore(&copy, order);
	got = progress(n, s, end);
	tap_ok(!strcmp(got, f->want), "%s, order %s: %s", f->name, order, f->want);
	if (strcmp(got, f->want))
		tap_diag("got: %s", got);
	nested_destroy(n);
	saved_free(&copy);
}

void check_falsehoods(const struct saved *s, const struct falsehood *falsehoods, unsigned int count, const char *end)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		check_falsehood(s, &falsehoods[i], "SNRMP", end);
		check_falsehood(s, &falsehoods[i], "SRMPN", end);
	}
}
