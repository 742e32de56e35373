// SPDX-License-Identifier: GPL-2.0
/*
 * forget: preloaded into QEMU, makes it a VMM that loses state. $FAULT in the environment says which:
 *
 *   all        does not restore GUEST_SSP
 *   second     the same for the second vCPU only
 *   stale      restores it 8 too high
 *   swap       gives each of two vCPUs that of the other
 *   dirty      does not see that pages with shadow stacks have become dirty
 *   slow       loses nothing: in postcopy, the shadow stack that each CPU waits on comes when the guest asks for it,
 *              and not before
 *   empty      in postcopy, has zeros instead of the pages with the stacks that the guest waits on
 *   unmap      loses nothing: keeps taking the guest's memory out of its second-level page tables, as a host does when
 *              it merges, moves or counts pages
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm.h>
#include <linux/userfaultfd.h>

#include <asm/kvm_onereg.h>

#include "guest/layout.h"

#define PAGE 0x1000ul

static int (*real)(int fd, unsigned long request, void *argument);
/* By their numbers */
static int vcpus[CPUS] = { -1, -1 };
static uint64_t ssps[CPUS];
/* The slot at address 0 */
static uint32_t slot;
static uint64_t memory;
static pthread_t unmapper;

/* Microseconds */
#define UNMAP_PAUSE 300

static int is(const char *fault)
{
	const char *wanted = getenv("FAULT");

	return wanted && !strcmp(wanted, fault);
}

static int set_ssp(int fd, uint64_t ssp)
{
	struct kvm_one_reg reg = { .id = KVM_X86_REG_KVM(KVM_REG_GUEST_SSP), .addr = (uintptr_t)&ssp };

	return real(fd, KVM_SET_ONE_REG, &reg);
}

static int restore_ssp(int fd, uint64_t ssp)
{
	const int second = fd == vcpus[1];

	if (is("all") || (is("second") && second))
		return 0;
	if (is("stale"))
		return set_ssp(fd, ssp + 8);
	if (!is("swap"))
		return set_ssp(fd, ssp);
	ssps[second] = ssp;
	return ssps[!second] ? set_ssp(fd, ssps[!second]) | set_ssp(vcpus[!second], ssp) : 0;
}

static void lose_dirty(const struct kvm_dirty_log *log)
{
	uint64_t page;

	if (log->slot != slot)
		return;
	for (page = SHADOWS / PAGE; page < SHADOW_END / PAGE; page++)
		((uint8_t *)log->dirty_bitmap)[page / 8] &= ~(1 << page % 8);
}

/* Of each CPU, the page with the shadow stack that it waits on in postcopy */
static struct {
	uint64_t gpa;
	/* The guest has asked for it; it has come, and is in @content */
	int wanted, held;
	uint8_t content[PAGE] __attribute__((aligned(PAGE)));
} slow_pages[CPUS] = {
	{ .gpa = SHADOWS + SHADOW_USER - PAGE },
	{ .gpa = SHADOWS + 2 * SHADOW_SIZE - PAGE },
};

static pthread_mutex_t slow_lock = PTHREAD_MUTEX_INITIALIZER;
static int userfault = -1;

static int slow_page(uint64_t gpa)
{
	int i;

	for (i = 0; i < CPUS && slow_pages[i].gpa != gpa; i++)
		;
	return i;
}

static void give_slow_page(int i)
{
	struct uffdio_copy copy = {
		.dst = memory + slow_pages[i].gpa,
		.src = (uintptr_t)slow_pages[i].content,
		.len = PAGE,
	};

	if (slow_pages[i].held)
		real(userfault, UFFDIO_COPY, &copy);
	slow_pages[i].held = 0;
}

static int copy_slow_page(int fd, struct uffdio_copy *copy)
{
	int i = slow_page(copy->dst - memory), ret = 0, tries;

	/* Postcopy does not end meanwhile. The CPU may need another page first, which comes behind this one */
	for (tries = 0; i < CPUS && !__atomic_load_n(&slow_pages[i].wanted, __ATOMIC_RELAXED) && tries < 500; tries++)
		usleep(1000);
	pthread_mutex_lock(&slow_lock);
	if (i < CPUS && !slow_pages[i].wanted) {
		memcpy(slow_pages[i].content, (void *)(uintptr_t)copy->src, PAGE);
		slow_pages[i].held = 1;
		copy->copy = PAGE;
	} else {
		ret = real(fd, UFFDIO_COPY, copy);
	}
	pthread_mutex_unlock(&slow_lock);
	return ret;
}

/* QEMU believes that it has the page, and would not ask for it any more */
static void want_slow_page(uint64_t gpa)
{
	int i = slow_page(gpa);

	if (i == CPUS)
		return;
	pthread_mutex_lock(&slow_lock);
	__atomic_store_n(&slow_pages[i].wanted, 1, __ATOMIC_RELAXED);
	give_slow_page(i);
	pthread_mutex_unlock(&slow_lock);
}

ssize_t read(int fd, void *buffer, size_t size)
{
	static ssize_t (*real_read)(int fd, void *buffer, size_t size);
	const struct uffd_msg *message = buffer;
	ssize_t n;

	if (!real_read)
		real_read = dlsym(RTLD_NEXT, "read");
	n = real_read(fd, buffer, size);
	if (fd == userfault && is("slow") && n == sizeof(*message) && message->event == UFFD_EVENT_PAGEFAULT)
		want_slow_page((message->arg.pagefault.address & -PAGE) - memory);
	return n;
}

static int copy_late_page(int fd, struct uffdio_copy *copy)
{
	static uint8_t zeros[PAGE] __attribute__((aligned(PAGE)));
	uint64_t gpa = copy->dst - memory;
	struct uffdio_copy empty = *copy;
	int ret;

	if (is("slow"))
		return copy_slow_page(fd, copy);
	if (gpa < SHADOWS || gpa >= SHADOW_END || (gpa - SHADOWS) % SHADOW_SIZE < SHADOW_SYSCALL)
		return real(fd, UFFDIO_COPY, copy);
	empty.src = (uintptr_t)zeros;
	ret = real(fd, UFFDIO_COPY, &empty);
	copy->copy = empty.copy;
	return ret;
}

/* There is enough memory, so these pages are not freed: MADV_FREE only invalidates their mappings */
static void *unmap(void *size)
{
	while (!madvise((void *)(uintptr_t)memory, (uintptr_t)size, MADV_FREE))
		usleep(UNMAP_PAUSE);
	perror("madvise");
	abort();
}

int ioctl(int fd, unsigned long request, ...)
{
	const struct kvm_userspace_memory_region *region;
	const struct kvm_one_reg *reg;
	void *argument;
	va_list ap;
	int i, ret;

	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);
	if (!real)
		real = dlsym(RTLD_NEXT, "ioctl");
	region = argument;
	reg = argument;
	if (request == KVM_SET_ONE_REG && reg->id == KVM_X86_REG_KVM(KVM_REG_GUEST_SSP))
		return restore_ssp(fd, *(uint64_t *)(uintptr_t)reg->addr);
	if (request == UFFDIO_COPY && (is("empty") || is("slow")))
		return copy_late_page(fd, argument);
	/* No page may be missing when postcopy ends */
	if (request == UFFDIO_UNREGISTER)
		for (i = 0; i < CPUS; i++)
			give_slow_page(i);
	ret = real(fd, request, argument);
	if (request == UFFDIO_REGISTER)
		userfault = fd;
	if (request == KVM_CREATE_VCPU && (uintptr_t)argument < CPUS)
		vcpus[(uintptr_t)argument] = ret;
	/* KVM_SET_USER_MEMORY_REGION2 begins with the same */
	if ((request == KVM_SET_USER_MEMORY_REGION || request == KVM_SET_USER_MEMORY_REGION2) &&
	    !region->guest_phys_addr && region->memory_size) {
		slot = region->slot;
		memory = region->userspace_addr;
		if (is("unmap") && !unmapper)
			pthread_create(&unmapper, NULL, unmap, (void *)(uintptr_t)region->memory_size);
	}
	if (request == KVM_GET_DIRTY_LOG && is("dirty"))
		lose_dirty(argument);
	return ret;
}
