// SPDX-License-Identifier: GPL-2.0
#include "../module_info.h"
