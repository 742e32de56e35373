/* SPDX-License-Identifier: GPL-2.0 */
/* Processes that may hold KVM, if the kernel does not say. */
#ifndef MODEL_HOLD_SUSPECTS_H
#define MODEL_HOLD_SUSPECTS_H

#include <stdbool.h>

#include "model/hold.h"

/* With @kvm, also those that may hold only kvm */
void look_at_suspects(struct holders *holders, bool kvm);

#endif
