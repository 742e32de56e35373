/* SPDX-License-Identifier: GPL-2.0 */
/* kvm-onereg preflight */
#ifndef PREFLIGHT_PREFLIGHT_H
#define PREFLIGHT_PREFLIGHT_H

int cmd_preflight(int argc, char **argv);

#endif
