/* SPDX-License-Identifier: GPL-2.0 */
/* Two of what KVM's MSR layer returns. */
#define KVM_MSR_RET_UNSUPPORTED		2
#define KVM_MSR_RET_FILTERED		3
