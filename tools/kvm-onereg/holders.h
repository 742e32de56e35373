/* SPDX-License-Identifier: GPL-2.0 */
/* Who holds KVM: processes with VMs, and modules. */
#ifndef HOLDERS_H
#define HOLDERS_H

#include <json-c/json.h>
#include <stdbool.h>

struct holder {
	int pid;
	char *command;		/* the kernel's name of the process */
	char *name;		/* what QEMU's -name says, or NULL */
	int vms, vcpus;
	bool device;		/* has /dev/kvm open */
};

struct holders {
	struct holder *process;
	int processes, vms;
	bool complete;		/* every process could be looked at */
	char **module;		/* modules other than the vendor's that use KVM, ended by NULL */
};

struct holders who_holds_kvm(void);
/* "1234 qemu-system-x86 (web1): 1 VM, 4 vCPUs" */
char *describe_holder(const struct holder *holder);
struct json_object *holders_json(const struct holders *holders);

#endif
