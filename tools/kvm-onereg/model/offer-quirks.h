/* SPDX-License-Identifier: GPL-2.0 */
/* KVM's quirks: behaviour that differs from hardware's, is on by default, and that a VMM can disable. */
#ifndef MODEL_OFFER_QUIRKS_H
#define MODEL_OFFER_QUIRKS_H

#include <linux/types.h>
#include <stdbool.h>

/* "KVM_X86_QUIRK_SLOT_ZAP_ALL": a bit of KVM_CAP_DISABLE_QUIRKS2 */
char *quirk_name(unsigned int bit);
/* A guest of a guest has its own PAT if this is off, which KVM_GET_NESTED_STATE then has */
#define QUIRK_NESTED_SVM_SHARED_PAT 11

/* Those that a new VM has, of those that the KVM of an Intel or AMD CPU knows */
__u64 quirks_on(__u64 quirks, bool amd);
/* The names of all in a mask, or "none" */
char *quirk_names(__u64 quirks);

#endif
