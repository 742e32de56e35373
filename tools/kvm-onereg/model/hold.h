/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who holds KVM: processes with VMs, other modules, and whatever else keeps kvm or its vendor module from unloading.
 *
 * The kernel counts what holds a module and does not say who it is. A VM, /dev/kvm and their like hold the vendor
 * module. A perf event or a BPF program on a tracepoint of KVM holds kvm alone: then the vendor module unloads, and
 * kvm does not. Trace events hold neither, and are lost with kvm, or make the kernel warn.
 */
#ifndef MODEL_HOLD_H
#define MODEL_HOLD_H

#include <json-c/json.h>
#include <stdbool.h>

/* A process that has files of KVM */
struct holder {
	int pid;
	char *command; /* the kernel's name of the process */
	char *name;    /* what QEMU's -name says, or NULL */
	int vms, vcpus;
	bool device;   /* has /dev/kvm open, under whatever name */
	char *part;    /* what else it has of KVM ("kvm-vm-stats"), or NULL */
	int kvm_files; /* files that hold kvm itself, at most */
};

/* Anything else that holds KVM, or may */
struct hold {
	int pid;    /* 0: not a process */
	char *what; /* "4711 perf: has a perf event open" */
	char *fix;  /* how to end it */
	enum {
		MAYBE,	      /* it may hold KVM: the kernel does not say */
		TRACES,	      /* it holds nothing, but KVM should not be unloaded while it exists */
		HOLDS_KVM,    /* one reference to kvm */
		HOLDS_VENDOR, /* references to kvm_intel or kvm_amd */
	} how;
	unsigned int link; /* of a BPF link: its id */
};

struct holders {
	struct holder *process;
	int processes, vms;
	bool complete;	       /* every process could be examined */
	char **module;	       /* modules other than the vendor's that use KVM, ended by NULL */
	int kvm_references;    /* to kvm, beyond the modules that use it; 0 if not known */
	int vendor_references; /* the same of kvm_intel or kvm_amd */
	struct hold *hold;
	int holds;
	bool unnamed; /* something holds KVM that .process and .hold do not explain for sure */
};

void add_hold(struct holders *holders, struct hold hold);
/* Whether anything at all holds KVM, so that it cannot be unloaded, or should not be */
bool is_held(const struct holders *holders);
/* "1234 qemu-system-x86 (web1): 1 VM, 4 vCPUs" */
char *describe_holder(const struct holder *holder);
/* One sentence about holders that are not named, or NULL */
char *describe_unnamed(const struct holders *holders);
struct json_object *holders_json(const struct holders *holders);

/* @name, in which whatever the reader's terminal or JSON would not take is '?' */
char *printable(char *name);
/* The kernel's name of a process, printable */
char *command_of(int pid);

#endif
