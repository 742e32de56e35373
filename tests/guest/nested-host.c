// SPDX-License-Identifier: GPL-2.0
/* How often a vCPU has exited, from KVM's statistics. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "nested-vmx.h"

uint64_t exits_of(struct nested *n)
{
	struct kvm_stats_header head;
	struct kvm_stats_desc *d;
	uint64_t value = 0;
	bool found = false;
	size_t size;
	uint32_t i;
	int fd;

	fd = ioctl(n->c->io.vcpu, KVM_GET_STATS_FD, NULL);
	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head))
		tap_bail("KVM_GET_STATS_FD");
	size = sizeof(*d) + head.name_size;
	d = malloc(size);
	for (i = 0; d && !found && i < head.num_desc; i++) {
		if (pread(fd, d, size, head.desc_offset + i * size) != (ssize_t)size)
			break;
		found = !strcmp(d->name, "exits") &&
			pread(fd, &value, sizeof(value), head.data_offset + d->offset) == sizeof(value);
	}
	free(d);
	close(fd);
	if (!found)
		tap_bail("KVM does not count exits");
	return value;
}
