/* SPDX-License-Identifier: GPL-2.0 */
/*
 * At the end of src/module_info.h in a copy of our source that holds all mutants: included once in each module.
 *
 * mutant   the number of the one that counts, 0: none
 * reached  those that were reached since the module was loaded, as hexadecimal numbers of 64 bits, the first one of
 *          mutants 0 to 63
 */
#include <linux/moduleparam.h>
#include <linux/sysfs.h>

unsigned int mutant_chosen __attribute__((section(".mutant"))) = 0;
module_param_named(mutant, mutant_chosen, uint, 0644);

unsigned long mutants_reached[MUTANTS_MAX / 64];

static int mutants_show_reached(char *buffer, const struct kernel_param *kp)
{
	int i, size = 0;

	for (i = 0; i < MUTANTS_MAX / 64; i++)
		size += sysfs_emit_at(buffer, size, "%lx ", mutants_reached[i]);
	return size;
}

static const struct kernel_param_ops mutants_reached_ops = { .get = mutants_show_reached };
module_param_cb(reached, &mutants_reached_ops, NULL, 0444);
