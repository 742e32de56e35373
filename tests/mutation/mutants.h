/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before everything else in a copy of our source that holds all mutants. Each module has the two parameters
 * of mutants-module.h.
 */
#ifndef TESTS_MUTATION_MUTANTS_H
#define TESTS_MUTATION_MUTANTS_H

#define MUTANTS_MAX 2048

extern unsigned int mutant_chosen;
extern unsigned long mutants_reached[];

/* Whether the mutant with the number @n is the one that counts. It has been reached. */
#define mutant(n) \
	(__atomic_or_fetch(&mutants_reached[(n) / 64], 1UL << ((n) % 64), __ATOMIC_RELAXED), mutant_chosen == (n))

#endif
