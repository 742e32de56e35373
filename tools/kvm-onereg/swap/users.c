// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: who holds KVM. */
#include "base/text.h"
#include "model/hold.h"
#include "model/holders.h"
#include "swap/report.h"
#include "swap/users.h"

/* @list and one more, with @between */
static char *joined(char *list, const char *between, const char *one)
{
	return list ? format("%s%s%s", list, between, one) : format("%s", one);
}

char *who_holds(char **fix)
{
	struct holders holders = who_holds_kvm();

	return describe_holds(&holders, fix);
}

char *describe_holds(const struct holders *of, char **fix)
{
	struct holders holders = *of;
	char *names = NULL, *modules = NULL, *maybe = NULL, *end = NULL, *unnamed = describe_unnamed(&holders);

	report_users(holders_json(&holders));
	*fix = NULL;
	if (!is_held(&holders))
		return NULL;
	for (int i = 0; i < holders.processes; i++)
		names = format("%s\n    %s", names ? names : "", describe_holder(&holders.process[i]));
	if (names)
		*fix = format("end or migrate %s", holders.processes == 1 ? "it" : "them");
	for (char **module = holders.module; *module; module++) {
		names = format("%s\n    module %s", names ? names : "", *module);
		modules = joined(modules, " ", *module);
	}
	if (modules)
		*fix = joined(*fix, "; ", format("modprobe -r %s", modules));
	for (int i = 0; i < holders.holds; i++) {
		struct hold *hold = &holders.hold[i];

		if (hold->how == MAYBE) {
			end = maybe ? "end what is named here, one by one" : hold->fix;
			maybe = format("%s\n    maybe %s", maybe ? maybe : "", hold->what);
			continue;
		}
		names = format("%s\n    %s", names ? names : "", hold->what);
		*fix = joined(*fix, "; ", hold->fix);
	}
	if (unnamed && maybe)
		*fix = joined(*fix, "; ", end);
	else if (unnamed && holders.vendor_references && !holders.processes)
		*fix = joined(*fix, "; ",
			      "look for it on the host itself, outside of containers: ls -l /proc/*/fd | grep kvm");
	else if (unnamed)
		*fix = joined(*fix, "; ",
			      "end what traces KVM on this host: ls -l /proc/*/fd | grep -e perf_event -e bpf; "
			      "bpftool link show");
	if (*fix)
		*fix = format("%s, then run this again", *fix);
	if (!unnamed)
		return names ? format("KVM is in use by%s", names) : "KVM is in use";
	return format("%s%s%s", names ? format("KVM is in use by%s\n    and ", names) : "", unnamed,
		      maybe ? maybe : "");
}
