/* SPDX-License-Identifier: GPL-2.0 */
/* CPU models that QEMU and libvirt have under the same name. */
#ifndef CPU_MODELS_H
#define CPU_MODELS_H

/* Ended by .name NULL. The versions are as in struct feature. */
extern const struct cpu_model {
	const char *name, *vendor; /* of the CPU, "" for any */
	unsigned int qemu_since, libvirt_since;
	const char *features; /* that a guest has with QEMU and KVM; those of vmx and svm, if it has them */
	const char *libvirt;  /* what libvirt takes for a part of the model, and QEMU and KVM do not */
} cpu_models[];

#endif
