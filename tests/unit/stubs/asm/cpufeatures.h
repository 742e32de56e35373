/* SPDX-License-Identifier: GPL-2.0 */
/* As in 6.1, which does not define what src/compat.h adds. */
