/* SPDX-License-Identifier: GPL-2.0 */
/* kvm-onereg swap */
#ifndef SWAP_SWAP_H
#define SWAP_SWAP_H

int cmd_swap(int argc, char **argv);

#endif
