/* SPDX-License-Identifier: GPL-2.0 */
/* kvm-onereg status */
#ifndef STATUS_H
#define STATUS_H

int cmd_status(int argc, char **argv);

#endif
