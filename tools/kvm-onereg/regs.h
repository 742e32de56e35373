/* SPDX-License-Identifier: GPL-2.0 */
/* kvm-onereg regs */
#ifndef REGS_H
#define REGS_H

int cmd_regs(int argc, char **argv);

#endif
