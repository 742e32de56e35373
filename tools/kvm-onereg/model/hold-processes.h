/* SPDX-License-Identifier: GPL-2.0 */
/* Processes with VMs, or with files of KVM. */
#ifndef MODEL_HOLD_PROCESSES_H
#define MODEL_HOLD_PROCESSES_H

#include <stdbool.h>

#include "model/hold.h"

/* With @mappings, also those that have a file of KVM mapped, and not open: that takes time */
void look_at_processes(struct holders *holders, bool mappings);

#endif
