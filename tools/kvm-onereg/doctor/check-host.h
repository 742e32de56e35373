/* SPDX-License-Identifier: GPL-2.0 */
/* Checks of the machine, its configuration and what is loaded. */
#ifndef DOCTOR_CHECK_HOST_H
#define DOCTOR_CHECK_HOST_H

void check_cpu(void);
void check_configuration(void);
void check_device(void);
void check_loaded(void);
void check_cet(void);
void check_vmms(void);
void check_swap(void);
void check_disk(void);

#endif
