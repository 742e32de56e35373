/* SPDX-License-Identifier: GPL-2.0 */
/* As in 6.1, which has no name for what src/compat.h adds. */
