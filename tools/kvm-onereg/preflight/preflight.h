/* SPDX-License-Identifier: GPL-2.0 */
/* kvm-onereg preflight */
#ifndef PREFLIGHT_H
#define PREFLIGHT_H

int cmd_preflight(int argc, char **argv);

#endif
