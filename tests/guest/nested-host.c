// SPDX-License-Identifier: GPL-2.0
/* What nested.h declares about the host. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hypervisor.h"

uint64_t host_s_cet(void)
{
	static int fd = -1;
	uint64_t value;

	if (fd < 0)
		fd = open("/dev/cpu/0/msr", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		tap_bail("/dev/cpu/0/msr: is the msr module loaded?");
	if (pread(fd, &value, sizeof(value), MSR_S_CET) != sizeof(value))
		tap_bail("the host has no S_CET");
	return value;
}

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
