/* SPDX-License-Identifier: GPL-2.0 */
/* Shared by calls.c, which counts in the test, and counted.c, the test's parent, which prints the counts */
#ifndef CALLS_H
#define CALLS_H

/* The environment variable with the number of the file descriptor that both map */
#define CALLS_FD "ONEREG_CALLS_FD"

enum { GET_ONE_REG, SET_ONE_REG, GET_REG_LIST, CALLS };

struct calls {
	unsigned int made[CALLS];
	unsigned int succeeded[CALLS];
};

/* ld --wrap=ioctl: the original function, and its replacement */
int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, ...);

#endif
