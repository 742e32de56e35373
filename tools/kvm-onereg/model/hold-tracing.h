/* SPDX-License-Identifier: GPL-2.0 */
/* Who holds KVM: trace events, and BPF programs that no process has open. */
#ifndef MODEL_HOLD_TRACING_H
#define MODEL_HOLD_TRACING_H

#include <stdbool.h>

#include "model/hold.h"

/* Trace events and triggers of KVM in tracefs */
void look_at_tracefs(struct holders *holders);
/* What holds kvm from tracefs without being an event of it */
void look_at_triggers(struct holders *holders);
/* BPF links on tracepoints of KVM that are in none of @holders' processes */
void look_at_bpf(struct holders *holders);
/* Whether a tracepoint is one of KVM's */
bool kvm_tracepoint(const char *name);

#endif
