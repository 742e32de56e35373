// SPDX-License-Identifier: GPL-2.0
/* Suspend to RAM and to disk, with guests in all stages, and with KVM's modules reloaded afterwards. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/suspend_ioctls.h>

#include "life.h"

static uint64_t slept_ms(void)
{
	struct timespec all, awake;

	clock_gettime(CLOCK_BOOTTIME, &all);
	clock_gettime(CLOCK_MONOTONIC, &awake);
	return (all.tv_sec - awake.tv_sec) * 1000 + (all.tv_nsec - awake.tv_nsec) / 1000000;
}

/* How often the host has slept in RAM, and woken up. */
static unsigned int count_sleeps(void)
{
	FILE *f = fopen("/sys/power/suspend_stats/success", "r");
	unsigned int n;

	if (!f || fscanf(f, "%u", &n) != 1)
		tap_bail("no suspend_stats");
	fclose(f);
	return n;
}

static bool sleep_to_ram(void)
{
	unsigned int before = count_sleeps();

	return host_put("/sys/power/mem_sleep", "deep") && host_put("/sys/power/state", "mem") &&
	       count_sleeps() == before + 1;
}

static volatile bool after_image;

/*
 * Suspend to disk without powering off: the host makes its image, continues, then loads the image and resumes from it.
 * It does not matter where the image is meanwhile: here, it is in memory that is not part of it.
 */
static bool sleep_to_disk(void)
{
	const size_t room = 256 << 20;
	int fd = open("/dev/snapshot", O_RDONLY | O_CLOEXEC), in_suspend = 0;
	char *image = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t size = 0, done = 0;
	ssize_t n = 0;

	if (fd < 0 || image == MAP_FAILED || ioctl(fd, SNAPSHOT_FREEZE))
		tap_bail("/dev/snapshot: %s", strerror(errno));
	after_image = false;
	if (ioctl(fd, SNAPSHOT_CREATE_IMAGE, &in_suspend))
		tap_bail("the host makes no image: %s", strerror(errno));
	if (!in_suspend) {
		/* This is what the image held. */
		close(fd);
		munmap(image, room);
		return !after_image;
	}
	after_image = true;
	while (size < room && (n = read(fd, image + size, room - size)) > 0)
		size += n;
	close(fd);
	if (n < 0 || size == room)
		tap_bail("the host's image: %s", n < 0 ? strerror(errno) : "too large");
	fd = open("/dev/snapshot", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, SNAPSHOT_FREEZE))
		tap_bail("/dev/snapshot: %s", strerror(errno));
	while (done < size && (n = write(fd, image + done, size - done)) > 0)
		done += n;
	if (done == size)
		ioctl(fd, SNAPSHOT_ATOMIC_RESTORE);
	tap_bail("the host does not take up its image: %s", strerror(errno));
}

/* All CPUs but the first went offline and came back: where were the threads? */
static bool walkers_return(struct walker *w)
{
	unsigned int i;
	bool ok = true;

	for (i = 0; i < host_cpus; i++)
		ok &= host_move(w[i].tid, i) && walker_goes_on(&w[i]);
	return ok;
}

#define TAINT_OOPS    (1ul << 7)
#define TAINT_WARNING (1ul << 9)

/* A host whose KVM did not wake up would run into one Oops after another. */
static void stop_if_broken(void)
{
	FILE *f = fopen("/proc/sys/kernel/tainted", "r");
	unsigned long taint;

	if (!f || fscanf(f, "%lu", &taint) != 1 || taint & (TAINT_OOPS | TAINT_WARNING))
		tap_bail("the kernel complained");
	fclose(f);
}

static void with_guests(const char *how, bool (*sleep)(void))
{
	uint64_t before = slept_ms();
	struct crew crew;
	bool ok;

	crew_start(&crew);
	ok = sleep();
	tap_ok(ok, "%s: the host sleeps and wakes up, with guests that run", how);
	stop_if_broken();
	tap_diag("slept for %u ms", (unsigned int)(slept_ms() - before));
	tap_ok(walkers_return(crew.walkers), "%s: the guests go on", how);
	crew_end(&crew, how);
	check_no_residue(how);
}

static void without_vm(const char *how, bool (*sleep)(void))
{
	bool ok = sleep();
	unsigned int i;
	char when[80];

	tap_ok(ok, "%s: the host sleeps and wakes up, without a VM", how);
	stop_if_broken();
	/* S_CET of CPU 0 may be 0 until a guest has run there. Native KVM, if loaded then, takes 0 for the host's. */
	if (access("/sys/module/kvm/version", F_OK))
		check_new_guests(how);
	for (i = 1; i <= 2; i++) {
		snprintf(when, sizeof(when), "%s, and the modules loaded anew, %u", how, i);
		tap_ok(unload_kvm() && load_kvm(), "%s", when);
		tap_ok(kvm_offers_cet(), "%s: KVM offers CET", when);
		check_new_guests(when);
		check_no_residue(when);
	}
}

void test_sleep(void)
{
	/* It does not get that far, whatever its KVM. */
	if (!host_has_cet && host_cpus > 1) {
		tap_skip("6.1 with two CPUs does not come back on the emulator", "suspend to RAM");
		return;
	}
	with_guests("suspend to RAM", sleep_to_ram);
	without_vm("suspend to RAM", sleep_to_ram);
}

void test_disk(void)
{
	/* The power stays on here, so CPUs do not lose their state. */
	if (kvm_is_svm()) {
		tap_skip("the emulator keeps what it has of VMCBs by their clean bits", "suspend to disk");
		return;
	}
	with_guests("suspend to disk", sleep_to_disk);
}
