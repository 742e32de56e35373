// SPDX-License-Identifier: GPL-2.0
/* Who holds KVM: the references that the kernel counts, and what explains them. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/hold-processes.h"
#include "model/hold-suspects.h"
#include "model/hold-tracing.h"
#include "model/hold.h"
#include "model/holders.h"
#include "model/module-file.h"

/* Reading /proc or /sys takes references for a moment: unexplained references are counted again */
#define COUNTS	       5
#define COUNT_PAUSE_US 20000

/* References to a module beyond those of the modules that use it; 0 if it is not loaded */
static int references(const char *name)
{
	char *value = read_file("/sys/module/%s/refcnt", name);
	int count = value ? atoi(value) : 0;

	for (char **user = list_folder("/sys/module/%s/holders", name); *user; user++)
		count--;
	return count > 0 ? count : 0;
}

static void count_references(struct holders *holders)
{
	holders->kvm_references = references(loaded_names[KVM]);
	holders->vendor_references = references(loaded_names[KVM_INTEL]) + references(loaded_names[KVM_AMD]);
}

static char **using_modules(void)
{
	char **modules = allocate(1, sizeof(*modules));
	size_t n = 0;

	for (int i = 0; i < MODULES; i++) {
		for (char **name = list_folder("/sys/module/%s/holders", loaded_names[i]); *name; name++) {
			if (!strcmp(*name, loaded_names[KVM_INTEL]) || !strcmp(*name, loaded_names[KVM_AMD]))
				continue;
			modules = enlarged(modules, n, 2, sizeof(*modules));
			modules[n++] = *name;
		}
	}
	return modules;
}

/* Whether all references to the vendor module, and to kvm, are explained */
static void explain(const struct holders *holders, bool *vendor, bool *kvm)
{
	bool holds_vendor = holders->processes;
	int of_kvm = 0;

	for (int i = 0; i < holders->processes; i++)
		of_kvm += holders->process[i].kvm_files;
	for (int i = 0; i < holders->holds; i++) {
		holds_vendor |= holders->hold[i].how == HOLDS_VENDOR;
		of_kvm += holders->hold[i].how == HOLDS_KVM;
	}
	*vendor = !holders->vendor_references || holds_vendor;
	*kvm = holders->kvm_references <= of_kvm;
}

struct holders who_holds_kvm(void)
{
	struct holders holders = { .complete = true, .module = using_modules() };
	bool vendor, kvm;

	count_references(&holders);
	look_at_processes(&holders, holders.kvm_references || holders.vendor_references);
	look_at_tracefs(&holders);
	explain(&holders, &vendor, &kvm);
	for (int i = 0; i < COUNTS && !(vendor && kvm); i++) {
		usleep(COUNT_PAUSE_US);
		count_references(&holders);
		explain(&holders, &vendor, &kvm);
	}
	if (vendor && kvm)
		return holders;
	look_at_suspects(&holders, !kvm);
	if (!kvm) {
		look_at_triggers(&holders);
		look_at_bpf(&holders);
	}
	explain(&holders, &vendor, &kvm);
	holders.unnamed = !vendor || !kvm;
	return holders;
}
