/* SPDX-License-Identifier: GPL-2.0 */
/* The block for a bug report. */
#ifndef DOCTOR_BUG_REPORT_H
#define DOCTOR_BUG_REPORT_H

/* Versions and states, but nothing that names the host or its users */
char *bug_report(void);

#endif
