// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg preflight: CPU models that QEMU and libvirt have under the same name. */
#include <stddef.h>

#include "preflight/cpu-models.h"

const struct cpu_model cpu_models[] = {
/* From cpu-models.txt */
#include "cpu-models.inc"
	{}
};
