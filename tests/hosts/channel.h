/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What an emulated host sends over its second serial port, apart from the
 * console: frames of a header line "TYPE LENGTH NAME\n" (NAME may be empty) and
 * LENGTH bytes.
 *
 * A file takes as many frames as it needs, each with its name; an empty file
 * takes one frame of length 0.
 */
#ifndef TESTS_HOSTS_CHANNEL_H
#define TESTS_HOSTS_CHANNEL_H

#define FRAME_OUTPUT 'o' /* of the programs, stdout and stderr */
#define FRAME_KMSG   'k' /* kernel log as dmesg(1) shows it */
#define FRAME_FILE   'f' /* part of a file below /out */
#define FRAME_REPORT 'r' /* one line about the host, see below */
#define FRAME_END    'e' /* nothing follows: the host has done everything */

/*
 * Report lines:
 *	kernel RELEASE
 *	module FILE ok
 *	module FILE failed REASON
 *	command NUMBER exit STATUS
 *	command NUMBER signal NUMBER
 *	taint NUMBER
 *	error TEXT
 */

#define FRAME_NAME_MAX 1024
#define FRAME_DATA_MAX 4096

#endif
