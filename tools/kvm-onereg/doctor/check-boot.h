/* SPDX-License-Identifier: GPL-2.0 */
/* Checks of the running kernel, of the one that boots next, and of Secure Boot. */
#ifndef DOCTOR_CHECK_BOOT_H
#define DOCTOR_CHECK_BOOT_H

void check_secure_boot(void);
void check_boot(void);
void check_next_boot(void);

#endif
