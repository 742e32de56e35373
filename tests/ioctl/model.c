// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "kvm.h"
#include "model.h"

uint32_t one_reg_msr(uint64_t id)
{
	return id == ID_GUEST_SSP ? MSR_INTERNAL_SSP : id;
}

int one_reg_model(const struct vm *vm, unsigned int nr, enum pointer_place argp, enum pointer_place addr, uint64_t id,
		  uint64_t value, bool shadow_stacks, uint64_t *got)
{
	if (!place_readable(argp))
		return -EFAULT;
	if (id >> 56 != 0x20)
		return -EINVAL;
	if (id >> 40 & 0xfff)
		return -EINVAL;
	/* Without shadow stacks there is no KVM-defined register. */
	if ((id >> 32 & 0xff) == 3 && (!shadow_stacks || (uint32_t)id))
		return -EINVAL;
	if ((id >> 32 & 0xff) != 2 && (id >> 32 & 0xff) != 3)
		return -EINVAL;
	if ((id >> 52 & 0xf) != 3)
		return -EINVAL;
	if (nr == GET_ONE_REG) {
		if (!msrs_get(vm, one_reg_msr(id), got))
			return -EINVAL;
		return place_writable(addr) ? 0 : -EFAULT;
	}
	if (!place_readable(addr))
		return -EFAULT;
	return msrs_set(vm, one_reg_msr(id), value) ? 0 : -EINVAL;
}

int reg_list_model(enum pointer_place argp, uint64_t n, bool shadow_stacks)
{
	if (!place_writable(argp))
		return -EFAULT;
	if (n < shadow_stacks)
		return -E2BIG;
	/* The id goes behind n, where memory may have ended. */
	return shadow_stacks && argp == PLACE_AT_END ? -EFAULT : 0;
}
