/* SPDX-License-Identifier: GPL-2.0 */
/* Empty, as 6.1 does not define the features that src/compat.h adds. */
