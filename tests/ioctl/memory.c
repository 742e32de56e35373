// SPDX-License-Identifier: GPL-2.0
/* User memory: what is read and written, in which order, and which accesses fault. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "kvm.h"
#include "onereg.h"

#define CANARY	    0xa5a5a5a5a5a5a5a5ull
#define LSTAR_VALUE 0x0000123456789abcull

static struct pages pages;

static void check_argp(const struct vm *vm)
{
	uint64_t value = 0;
	struct kvm_one_reg reg = { .id = ID_EFER, .addr = user_addr(&value) };
	static const struct {
		unsigned int nr;
		const char *name;
	} ioctls[] = { { GET_ONE_REG, "GET" }, { SET_ONE_REG, "SET" } };
	uint8_t unaligned[sizeof(reg) + 3];
	unsigned int i;

	memcpy(unaligned + 3, &reg, sizeof(reg));
	memcpy(pages.rw_end - sizeof(reg), &reg, sizeof(reg));
	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		unsigned int nr = ioctls[i].nr;
		const char *name = ioctls[i].name;

		check_errno(xioctl(vm->vcpu, nr, NULL), EFAULT, "%s: argp NULL", name);
		check_errno(xioctl(vm->vcpu, nr, pages.none), EFAULT, "%s: argp inaccessible", name);
		check_errno(xioctl(vm->vcpu, nr, (void *)(uintptr_t)-4096ll), EFAULT, "%s: argp kernel address", name);
		check_errno(xioctl(vm->vcpu, nr, pages.rw_end - 8), EFAULT, "%s: argp across the end of memory", name);
		check_errno(xioctl(vm->vcpu, nr, pages.rw_end - 15), EFAULT, "%s: argp one byte short", name);
		check_errno(xioctl(vm->vcpu, nr, pages.rw_end - 16), 0, "%s: argp up to the end of memory", name);
		check_errno(xioctl(vm->vcpu, nr, unaligned + 3), 0, "%s: argp unaligned", name);
	}
	tap_ok(!memcmp(unaligned + 3, &reg, sizeof(reg)) && !memcmp(pages.rw_end - 16, &reg, sizeof(reg)),
	       "argp is never written");

	/* The value may even overwrite the argument. */
	reg.id = ID_LSTAR;
	reg.addr = user_addr(&reg.addr);
	check_errno(set_reg(vm, ID_LSTAR, LSTAR_VALUE), 0, "LSTAR before GET into its own argument: SET");
	check_errno(xioctl(vm->vcpu, GET_ONE_REG, &reg), 0, "GET: into its own argument");
	tap_ok(reg.id == ID_LSTAR && reg.addr == LSTAR_VALUE, "GET: into its own argument stores the value");
}

static void check_read_only_argp(const struct vm *vm)
{
	static uint64_t value;
	/* In a page without write permission. */
	struct kvm_one_reg *reg = (void *)(pages.ro_end - sizeof(*reg));
	size_t size = sysconf(_SC_PAGESIZE);

	mprotect(pages.ro_end - size, size, PROT_READ | PROT_WRITE);
	reg->id = ID_EFER;
	reg->addr = user_addr(&value);
	mprotect(pages.ro_end - size, size, PROT_READ);
	check_errno(xioctl(vm->vcpu, GET_ONE_REG, reg), 0, "GET: argp read-only");
	check_errno(xioctl(vm->vcpu, SET_ONE_REG, reg), 0, "SET: argp read-only");
}

static void check_addr(const struct vm *vm)
{
	uint64_t value = 0, good = user_addr(&value);
	const struct {
		uint64_t addr;
		const char *name;
	} bad[] = {
		{ 0, "NULL" },
		{ user_addr(pages.none), "inaccessible" },
		{ user_addr(pages.rw_end) - 7, "one byte short" },
		{ user_addr(pages.rw_end) - 1, "seven bytes short" },
		{ 0xffff888000000000ull, "kernel address" },
		{ 0xfffffffffffffff8ull, "last 8 bytes" },
		{ 0xffffffffffffffffull, "last byte" },
		{ good | 1ull << 63, "good but for bit 63" },
#if __SIZEOF_POINTER__ == 4
		{ good | 1ull << 32, "good but for bit 32" },
#endif
	};
	unsigned int i;
	uint64_t lstar;

	/* What SET would use from the readable part. */
	memset(pages.rw_end - 8, 0, 8);
	check_errno(set_reg(vm, ID_LSTAR, LSTAR_VALUE), 0, "LSTAR before bad addr: SET");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t addr = bad[i].addr;
		const char *name = bad[i].name;

		check_errno(one_reg(vm->vcpu, GET_ONE_REG, ID_LSTAR, addr), EFAULT, "GET: addr %s", name);
		check_errno(one_reg(vm->vcpu, SET_ONE_REG, ID_LSTAR, addr), EFAULT, "SET: addr %s", name);
		/* The register is read before memory is touched ... */
		check_errno(one_reg(vm->vcpu, GET_ONE_REG, ID_UNKNOWN, addr), EINVAL, "GET: addr %s, unknown MSR",
			    name);
		/* ... and memory before the register. */
		check_errno(one_reg(vm->vcpu, SET_ONE_REG, ID_UNKNOWN, addr), EFAULT, "SET: addr %s, unknown MSR",
			    name);
		/* The id comes before both. */
		check_errno(one_reg(vm->vcpu, GET_ONE_REG, ID_GUEST_SSP, addr), EINVAL, "GET: addr %s, GUEST_SSP",
			    name);
		check_errno(one_reg(vm->vcpu, SET_ONE_REG, ID_GUEST_SSP, addr), EINVAL, "SET: addr %s, GUEST_SSP",
			    name);
		check_errno(one_reg(vm->vcpu, SET_ONE_REG, 0x2020000200000010ull, addr), EINVAL,
			    "SET: addr %s, bad size", name);
	}
	for (lstar = 0, i = 1; i <= 7; i++)
		lstar |= pages.rw_end[-(int)i];
	tap_ok(!lstar, "GET: addr one byte short stores nothing");
	get_reg(vm, ID_LSTAR, &lstar);
	tap_ok(lstar == LSTAR_VALUE, "SET: bad addr leaves the register alone");
	tap_ok(value == 0, "GET: bad addr stores nothing");

	check_errno(one_reg(vm->vcpu, GET_ONE_REG, ID_LSTAR, user_addr(pages.ro_end - 8)), EFAULT,
		    "GET: addr read-only");
	check_errno(one_reg(vm->vcpu, SET_ONE_REG, ID_LSTAR, user_addr(pages.ro_end - 128)), 0, "SET: addr read-only");
}

static void check_eight_bytes(const struct vm *vm)
{
	uint8_t *end = pages.rw_end;
	unsigned int offset, i;
	uint64_t value = LSTAR_VALUE;
	bool exact;

	for (offset = 0; offset < 8; offset++) {
		uint8_t *at = end - 8 - offset;

		memset(end - 32, 0xa5, 32);
		memcpy(at, &value, 8);
		check_errno(one_reg(vm->vcpu, SET_ONE_REG, ID_LSTAR, user_addr(at)), 0,
			    "SET: addr %u bytes before the end", offset + 8);
		memset(end - 32, 0xa5, 32);
		check_errno(one_reg(vm->vcpu, GET_ONE_REG, ID_LSTAR, user_addr(at)), 0,
			    "GET: addr %u bytes before the end", offset + 8);
		exact = !memcmp(at, &value, 8);
		for (i = 1; i <= 32; i++)
			if ((end - i < at || end - i >= at + 8) && end[-(int)i] != 0xa5)
				exact = false;
		tap_ok(exact, "GET: addr %u bytes before the end: exactly 8 bytes stored", offset + 8);
	}
}

static void check_failed_get(const struct vm *vm)
{
	uint64_t value = CANARY;

	check_errno(get_reg(vm, ID_UNKNOWN, &value), EINVAL, "unknown MSR: GET");
	tap_ok(value == CANARY, "unknown MSR: GET stores nothing");
	check_errno(set_reg(vm, ID_UNKNOWN, 0), EINVAL, "unknown MSR: SET 0");
	check_errno(set_reg(vm, ID_UNKNOWN, 1), EINVAL, "unknown MSR: SET 1");
}

/* Memory that has to be paged in while the ioctl is under way. */
static void check_absent_page(const struct vm *vm, uint8_t *page, size_t size, const char *name)
{
	bool stored = true, fetched = true;
	uint64_t value, id = ID_LSTAR;
	unsigned int i;

	for (i = 0; i < 50; i++) {
		value = LSTAR_VALUE + i;
		set_reg(vm, id, value);
		madvise(page, size, MADV_DONTNEED);
		if (one_reg(vm->vcpu, GET_ONE_REG, id, user_addr(page)).ret || memcmp(page, &value, 8))
			stored = false;
		madvise(page, size, MADV_DONTNEED);
		/* Reads as zero, or as the content of the file. */
		if (one_reg(vm->vcpu, SET_ONE_REG, id, user_addr(page)).ret || get_reg(vm, id, &value).ret ||
		    memcmp(page, &value, 8))
			fetched = false;
	}
	tap_ok(stored, "GET: into a dropped %s page", name);
	tap_ok(fetched, "SET: from a dropped %s page", name);
}

static void check_absent_pages(const struct vm *vm)
{
	size_t size = sysconf(_SC_PAGESIZE);
	char path[] = "/tmp/onereg-XXXXXX";
	uint8_t *page;
	int fd;

	page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check_absent_page(vm, page, size, "anonymous");
	munmap(page, size);

	fd = mkstemp(path);
	if (fd < 0 || ftruncate(fd, size))
		tap_bail("%s", path);
	page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check_absent_page(vm, page, size, "file");
	munmap(page, size);

	/* Behind the end of the file. */
	if (ftruncate(fd, 0))
		tap_bail("%s", path);
	page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check_errno(one_reg(vm->vcpu, GET_ONE_REG, ID_LSTAR, user_addr(page)), EFAULT,
		    "GET: addr behind the end of a file");
	check_errno(one_reg(vm->vcpu, SET_ONE_REG, ID_LSTAR, user_addr(page)), EFAULT,
		    "SET: addr behind the end of a file");
	munmap(page, size);
	close(fd);
	unlink(path);
}

struct pager {
	int fd;
	uint8_t *content; /* a page */
	unsigned int faults;
};

static void *serve_one_fault(void *arg)
{
	struct pager *p = arg;
	struct uffd_msg msg;
	size_t size = sysconf(_SC_PAGESIZE);
	struct uffdio_copy copy = {
		.src = user_addr(p->content),
		.len = size,
	};

	if (read(p->fd, &msg, sizeof(msg)) != sizeof(msg) || msg.event != UFFD_EVENT_PAGEFAULT)
		return NULL;
	/* Let the ioctl wait for a while, with all the locks that it holds. */
	sleep_ms(2);
	copy.dst = msg.arg.pagefault.address & ~(uint64_t)(size - 1);
	p->faults++;
	ioctl(p->fd, UFFDIO_COPY, &copy);
	return NULL;
}

static void check_user_fault(const struct vm *vm, unsigned int nr, const char *name)
{
	size_t size = sysconf(_SC_PAGESIZE);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct pager p = { .faults = 0 };
	uint64_t value = LSTAR_VALUE + 1, got = 0;
	struct outcome o;
	pthread_t thread;
	uint8_t *page;

	p.fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (p.fd < 0 || ioctl(p.fd, UFFDIO_API, &api)) {
		tap_skip("no userfaultfd", "%s: addr behind userfaultfd", name);
		tap_skip("no userfaultfd", "%s: addr behind userfaultfd: value", name);
		return;
	}
	page = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p.content = page + size;
	memset(p.content, 0, size);
	reg.range.start = user_addr(page);
	reg.range.len = size;
	if (page == MAP_FAILED || ioctl(p.fd, UFFDIO_REGISTER, &reg))
		tap_bail("UFFDIO_REGISTER");

	/* GET overwrites what the pager provides, SET uses it. */
	set_reg(vm, ID_LSTAR, nr == GET_ONE_REG ? value : 0);
	if (nr == SET_ONE_REG)
		memcpy(p.content, &value, 8);
	pthread_create(&thread, NULL, serve_one_fault, &p);
	o = one_reg(vm->vcpu, nr, ID_LSTAR, user_addr(page));
	check_errno(o, 0, "%s: addr behind userfaultfd", name);
	/* If the page was not accessed, the thread still waits. */
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	get_reg(vm, ID_LSTAR, &got);
	tap_ok(p.faults == 1 && got == value && !memcmp(page, &value, 8), "%s: addr behind userfaultfd: value", name);
	munmap(page, 2 * size);
	close(p.fd);
}

void test_memory(void)
{
	struct vm vm;

	pages_create(&pages);
	vm_create(&vm, VM_CPUID);
	check_argp(&vm);
	check_read_only_argp(&vm);
	check_addr(&vm);
	check_eight_bytes(&vm);
	check_failed_get(&vm);
	check_absent_pages(&vm);
	check_user_fault(&vm, GET_ONE_REG, "GET");
	check_user_fault(&vm, SET_ONE_REG, "SET");
	vm_destroy(&vm);
}
