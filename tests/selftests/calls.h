/* SPDX-License-Identifier: GPL-2.0 */
/* Between calls.c, in the test, which counts, and counted.c, its parent, which prints */
#ifndef CALLS_H
#define CALLS_H

/* Number of the file descriptor that both of them map */
#define CALLS_FD "ONEREG_CALLS_FD"

enum { GET_ONE_REG, SET_ONE_REG, GET_REG_LIST, CALLS };

struct calls {
	unsigned int made[CALLS];
	unsigned int succeeded[CALLS];
};

/* ld --wrap=ioctl: what ioctl() is, and what takes its place */
int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, ...);

#endif
