/* SPDX-License-Identifier: GPL-2.0 */
/* Who holds KVM. */
#ifndef MODEL_HOLDERS_H
#define MODEL_HOLDERS_H

#include "model/hold.h"

struct holders who_holds_kvm(void);

#endif
