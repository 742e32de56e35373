/* SPDX-License-Identifier: GPL-2.0 */
/* What is wrong with a kernel. */
#ifndef DOCTOR_FOUND_H
#define DOCTOR_FOUND_H

#include "model/kernel.h"

/* A problem if the kernel is running, boots next, or was requested with @only; otherwise a remark */
void report_on_kernel(const struct kernel *kernel, const char *only, const char *code, const char *fix, char *sentence);

#endif
