// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg doctor: what is wrong with a kernel. */
#include "doctor/facts.h"
#include "doctor/found.h"
#include "doctor/report.h"
#include "model/kernel.h"

/* The kernel that is running, boots next, or was requested */
static bool matters(const struct kernel *kernel, const char *only)
{
	return only || kernel->running || kernel == host.outlook.next.kernel;
}

void report_on_kernel(const struct kernel *kernel, const char *only, const char *code, const char *fix, char *sentence)
{
	if (matters(kernel, only))
		report_problem(code, fix, sentence);
	else
		report_remark(sentence, fix);
}
