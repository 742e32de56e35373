// SPDX-License-Identifier: GPL-2.0
/*
 * lacking - a host module for the program life: CPU 1 lacks what CET for guests needs
 *
 * While /sys/module/lacking/parameters/on is 1, CPU 1 has IA32_S_CET.SH_STK_EN set, as if the kernel used shadow stacks
 * itself. The bit has no effect: the kernel is 6.1, and CR4.CET is 0. When a CPU comes online, the bit is set before
 * the hotplug callbacks of modules that were loaded later are called.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/module.h>
#include <linux/smp.h>

#include <asm/msr.h>

#define LACKING_CPU 1
#define S_CET	    0x6a2
#define SH_STK_EN   BIT_ULL(0)

static bool on;
static int state;

static void set_here(void *unused)
{
	if (smp_processor_id() != LACKING_CPU)
		return;
	wrmsrl(S_CET, on ? SH_STK_EN : 0);
}

static int lacking_online(unsigned int cpu)
{
	set_here(NULL);
	return 0;
}

static int set_on(const char *value, const struct kernel_param *param)
{
	int r = param_set_bool(value, param);

	if (!r)
		on_each_cpu(set_here, NULL, 1);
	return r;
}

static const struct kernel_param_ops on_ops = { .set = set_on, .get = param_get_bool };
module_param_cb(on, &on_ops, &on, 0600);
MODULE_PARM_DESC(on, "CPU 1 has IA32_S_CET.SH_STK_EN set");

static int __init lacking_init(void)
{
	state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "lacking:online", lacking_online, NULL);
	return state < 0 ? state : 0;
}

static void __exit lacking_exit(void)
{
	on = false;
	on_each_cpu(set_here, NULL, 1);
	cpuhp_remove_state_nocalls(state);
}

module_init(lacking_init);
module_exit(lacking_exit);
MODULE_DESCRIPTION("A CPU that lacks what CET for guests needs");
MODULE_LICENSE("GPL");
