// SPDX-License-Identifier: GPL-2.0
/* src/vendor/, for SVM. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpuhotplug.h>
#include <linux/kvm_host.h>

#include <asm/fpu/api.h>
#include <asm/fpu/xstate.h>
#include <asm/tlbflush.h>

#include "cpuid.h"
#include "fpu.h"
#include "x86.h"
#include "svm/svm.h"
#if !ON_6_1
#include "smm.h"
#endif

#include "../generated.h"
#include "../vendor/cet_state.h"
#include "cet_vendor.h"

#include "../vendor/cet_state.c"
#include "../vendor/cet_msr.c"
#include "../vendor/cet_setup.c"
