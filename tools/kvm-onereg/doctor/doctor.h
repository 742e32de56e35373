/* SPDX-License-Identifier: GPL-2.0 */
/* kvm-onereg doctor */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

int cmd_doctor(int argc, char **argv);

#endif
