/* SPDX-License-Identifier: GPL-2.0 */
/* Checks of packages and DKMS. */
#ifndef DOCTOR_CHECK_PACKAGES_H
#define DOCTOR_CHECK_PACKAGES_H

void check_packages(void);
void check_dkms(void);

#endif
