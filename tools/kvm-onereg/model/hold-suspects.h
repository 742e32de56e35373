/* SPDX-License-Identifier: GPL-2.0 */
/* Processes that may hold KVM, where the kernel does not tell. */
#ifndef MODEL_HOLD_SUSPECTS_H
#define MODEL_HOLD_SUSPECTS_H

#include <stdbool.h>

#include "model/hold.h"

/* With @kvm, those too that may hold kvm alone */
void look_at_suspects(struct holders *holders, bool kvm);

#endif
