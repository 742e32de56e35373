/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Results: TAP points on stdout, and facts, one line per probed input, that
 * can be compared between kernels.
 */
#ifndef TESTS_IOCTL_TAP_H
#define TESTS_IOCTL_TAP_H

#include <stdbool.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#ifndef __printf
#define __printf(fmt, args) __attribute__((format(printf, fmt, args)))
#endif

/* What an ioctl returned, and errno if that was -1. */
struct outcome {
	int ret;
	int err;
};

int tap_open_facts(const char *path);
int tap_done(void);
void tap_diag(const char *fmt, ...) __printf(1, 2);
void tap_ok(bool ok, const char *fmt, ...) __printf(2, 3);
void tap_skip(const char *reason, const char *fmt, ...) __printf(2, 3);
_Noreturn void tap_bail(const char *fmt, ...) __printf(1, 2);

/*
 * A point and a fact at once. @want is the expected errno, 0 for success.
 * check_value() is for values that the architecture defines: the value
 * becomes part of the fact.
 */
void check_errno(struct outcome o, int want, const char *fmt, ...) __printf(3, 4);
void check_value(struct outcome o, uint64_t got, uint64_t want, const char *fmt, ...) __printf(4, 5);

/* A fact without a check: neither right nor wrong, but it has to be the same everywhere. */
void tap_fact(const char *name, const char *fmt, ...) __printf(2, 3);

const char *errno_name(int err);

#endif
