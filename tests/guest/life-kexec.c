// SPDX-License-Identifier: GPL-2.0
/*
 * The host does kexec from one kernel to the next while guests run. Each kernel starts this program; the kernel
 * parameter tests.kexec tells it which one it is, and which ones are to follow: "6.12,6.1,crash:native". The kernels
 * are in the host's memory (tests/hosts/library.h). "crash:" is a crash kernel, and a panic leads to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <asm/bootparam.h>
#include <linux/kexec.h>
#include <linux/reboot.h>

#include "../hosts/library.h"
#include "life.h"

#define PARAMETER "tests.kexec="
#define FROM	  "tests.from="
#define CRASH	  "crash:"

static char path[256];	     /* what was in the parameter */
static char before[40];	     /* the kernel that this one comes from, "" at a plain boot */
static char here[40], *next; /* this kernel, and those after it in @path */
static uint64_t library_at;

static const struct {
	const char *name;
	uint32_t msr;
} state[] = {
	{ "U_CET", MSR_U_CET },
	{ "S_CET", MSR_S_CET },
	{ "PL0_SSP", MSR_PL0_SSP },
	{ "PL1_SSP", MSR_PL1_SSP },
	{ "PL2_SSP", MSR_PL2_SSP },
	{ "PL3_SSP", MSR_PL3_SSP },
	{ "INT_SSP_TAB", MSR_INT_SSP_TAB },
	{ "XSS", MSR_XSS },
};

/* In each CPU, before KVM was loaded. */
static uint64_t found[MAX_HOST_CPUS][ARRAY_SIZE(state)];

/* A kernel with the distro's modules, which offer no CET. */
static bool is_distro(void)
{
	return strstr(here, "-distro");
}

/*
 * What an earlier kernel may leave in a CPU, until KVM or the booting kernel sets it to 0: registers that are part of
 * the FPU state in that kernel, but not in this one. They stay in the CPU until the state of another task is loaded.
 */
static bool may_be_left(uint32_t msr)
{
	if (msr == MSR_PL3_SSP)
		return *before && !host_has_cet;
	return msr >= MSR_PL0_SSP && msr <= MSR_PL2_SSP && !strcmp(before, "native");
}

static bool is_clean(unsigned int cpu)
{
	unsigned int i;
	bool ok = true;

	for (i = 0; i < ARRAY_SIZE(state); i++)
		if (state[i].msr != MSR_XSS && !may_be_left(state[i].msr))
			ok &= found[cpu][i] == (state[i].msr == MSR_S_CET ? host_s_cet : 0);
	return ok;
}

static void read_parameters(void)
{
	char line[4096] = "", *p;
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
		tap_bail("/proc/cmdline");
	close(fd);
	line[strcspn(line, "\n")] = '\0';
	p = strstr(line, LIBRARY_PARAMETER);
	if (p)
		library_at = strtoull(p + strlen(LIBRARY_PARAMETER), NULL, 0);
	p = strstr(line, PARAMETER);
	if (!p)
		tap_bail("no kernel parameter " PARAMETER);
	p += strlen(PARAMETER);
	snprintf(path, sizeof(path), "%.*s", (int)strcspn(p, " "), p);
	next = strchr(path, ',');
	snprintf(here, sizeof(here), "%.*s", (int)strcspn(path, ","), path);
	if (next)
		next++;
	if (!strncmp(here, CRASH, strlen(CRASH)))
		memmove(here, here + strlen(CRASH), strlen(here) - strlen(CRASH) + 1);
	p = strstr(line, FROM);
	if (p)
		snprintf(before, sizeof(before), "%.*s", (int)strcspn(p + strlen(FROM), " "), p + strlen(FROM));
}

/* Before KVM is loaded, which clears what others left. */
bool kexec_arrive(void)
{
	static const char * const used_by_kvm[] = { "irqbypass.ko", "ccp.ko" };
	char parameters[64];
	unsigned int cpu, i;

	read_parameters();
	host_has_cet = strncmp(here, "6.1", 3) || here[3] == '2';
	host_s_cet = host_usual_s_cet();
	if (!host_load("msr.ko", NULL))
		tap_bail("msr.ko");
	for (cpu = 0; cpu < host_cpus; cpu++)
		for (i = 0; i < ARRAY_SIZE(state); i++)
			found[cpu][i] = host_rdmsr_on(cpu, state[i].msr);
	for (i = 0; i < ARRAY_SIZE(used_by_kvm); i++)
		if (!access(used_by_kvm[i], R_OK))
			host_load(used_by_kvm[i], NULL);
	snprintf(parameters, sizeof(parameters), "%s%s", kvm_is_svm() ? "" : "enable_apicv=0",
		 is_distro() ? "" : " cet=1");
	if (!host_load_kvm(parameters))
		tap_bail("KVM");
	return !is_distro();
}

static const struct library *open_library(void)
{
	int fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	const struct library *l;
	uint64_t size;

	l = fd < 0 ? MAP_FAILED : mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, library_at);
	if (l == MAP_FAILED || l->magic != LIBRARY_MAGIC)
		tap_bail("no kernels in the host's memory");
	size = l->size;
	l = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, library_at);
	if (l == MAP_FAILED)
		tap_bail("the kernels in the host's memory");
	close(fd);
	return l;
}

/* The region that is reserved for a crash kernel. */
static void find_crash_region(uint64_t *start, uint64_t *end)
{
	unsigned long long from, to;
	char line[160];
	FILE *f = fopen("/proc/iomem", "r");

	*start = 0;
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "Crash kernel") && sscanf(line, " %llx-%llx", &from, &to) == 2) {
			*start = from;
			*end = to + 1;
		}
	if (f)
		fclose(f);
	if (!*start)
		tap_bail("no memory for a crash kernel");
}

#define UP(x)	    (((x) + 0x1fffff) & ~0x1fffffull)
#define CMDLINE_AT  0x1000
#define CODE_AT	    0x2000
#define PARAMS_SIZE 0x3000

static const struct library_entry *find_in_library(const struct library *l, const char *name)
{
	for (unsigned int i = 0; i < l->entries; i++)
		if (!strcmp(l->entry[i].name, name))
			return &l->entry[i];
	tap_bail("no kernel %s", name);
}

static void read_boot_params(struct boot_params *bp)
{
	int fd = open("/sys/kernel/boot_params/data", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, bp, sizeof(*bp)) != sizeof(*bp))
		tap_bail("boot_params");
	close(fd);
}

/* Gives the next kernel only the memory for crash kernels, as the rest belongs to the crashed one. Returns its start */
static uint64_t use_crash_region(struct boot_params *bp)
{
	uint64_t start, end;

	find_crash_region(&start, &end);
	for (unsigned int i = 0; i < bp->e820_entries; i++)
		if (bp->e820_table[i].type == 1 && bp->e820_table[i].addr >= 0x100000) {
			bp->e820_table[i].addr = start;
			bp->e820_table[i].size = end - start;
		}
	return start;
}

/* movabs $params, %rsi; movabs $entry, %rax; jmp *%rax */
static void write_jump(uint8_t *code, uint64_t params, uint64_t entry)
{
	memcpy(code, "\x48\xbe", 2);
	memcpy(code + 2, &params, 8);
	memcpy(code + 10, "\x48\xb8", 2);
	memcpy(code + 12, &entry, 8);
	memcpy(code + 20, "\xff\xe0", 2);
}

/* kexec_load() of the kernel @name, as a boot loader would start it, at its 64-bit entry point. */
static void load_kernel(const char *name, bool crash)
{
	static uint8_t page[PARAMS_SIZE] __attribute__((aligned(4096)));
	struct boot_params *bp = (void *)page;
	const struct library *l = open_library();
	const struct library_entry *e = find_in_library(l, name);
	uint64_t base, initrd, params;

	read_boot_params(bp);
	base = crash ? UP(use_crash_region(bp)) : e->base;
	initrd = UP(base + e->end - e->base);
	params = UP(initrd + e->initrd_size);

	bp->hdr.cmd_line_ptr = params + CMDLINE_AT;
	bp->hdr.ramdisk_image = initrd;
	bp->hdr.ramdisk_size = e->initrd_size;
	bp->ext_ramdisk_image = 0;
	bp->ext_ramdisk_size = 0;
	bp->ext_cmd_line_ptr = 0;
	bp->hdr.setup_data = 0;
	snprintf((char *)page + CMDLINE_AT, PAGE, "%s " LIBRARY_PARAMETER "%llu " PARAMETER "%s " FROM "%s", e->cmdline,
		 (unsigned long long)library_at, next, here);
	write_jump(page + CODE_AT, params, e->entry - e->base + base);

	const struct kexec_segment {
		const void *buf;
		size_t bufsz;
		uint64_t mem;
		size_t memsz;
	} segments[] = {
		{ (const char *)l + e->kernel, e->kernel_size, base, initrd - base },
		{ (const char *)l + e->initrd, e->initrd_size, initrd, params - initrd },
		{ page, sizeof(page), params, sizeof(page) },
	};

	if (syscall(SYS_kexec_load, params + CODE_AT, ARRAY_SIZE(segments), segments,
		    KEXEC_ARCH_X86_64 | (crash ? KEXEC_ON_CRASH : 0)))
		tap_bail("kexec_load of %s: %s", name, strerror(errno));
	munmap((void *)l, l->size);
}

/*
 * Waits until the host's init has sent this program's output, and the serial line has taken it. From then on, init
 * does not send the kernel's log.
 */
static void drain(void)
{
	int quiet = open("/tmp/quiet", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int fd = open("/dev/ttyS1", O_WRONLY | O_NOCTTY | O_CLOEXEC);

	fflush(stdout);
	sleep_ms(100);
	if (quiet < 0 || fd < 0 || tcdrain(fd))
		tap_bail("the channel");
	close(quiet);
	close(fd);
}

/* On each kernel: checks what is left of the previous one, then boots the next. */
void test_kexec(void)
{
	static struct crew crew;
	char when[128], name[96], line[512];
	unsigned int cpu, i, n;
	struct machine *m;
	uint64_t cr4;
	bool crash;
	int status;

	snprintf(name, sizeof(name), "%s%s%s", here, *before ? " after " : ", booted", before);
	for (cpu = 0; cpu < host_cpus; cpu++) {
		for (n = i = 0; i < ARRAY_SIZE(state); i++)
			n += snprintf(line + n, sizeof(line) - n, " %s=%llx", state[i].name,
				      (unsigned long long)found[cpu][i]);
		/* For the comparison with a plain boot. */
		tap_diag("state %s CPU %u:%s", here, cpu, line);
		tap_ok(is_clean(cpu), "%s, before KVM is there: CPU %u has no guest's state", name, cpu);
	}
	snprintf(when, sizeof(when), "%s, a VM created", name);
	m = machine_create(NULL);
	if (is_distro()) {
		cpu_start(m->cpus[0], chain_main_cpl0, START_VALUE);
		check_stop(m->cpus[0], "call 1", "%s: a guest runs", here);
	} else {
		check_no_residue(when);
	}
	machine_destroy(m);
	if (!kvm_is_svm()) {
		cr4 = host_cr4();
		tap_ok(cr4, "%s: KVM tells the host's CR4", here);
		tap_diag("state %s CR4: %llx", here, (unsigned long long)cr4);
		tap_ok(!(cr4 & CR4_CET) == !host_has_cet, "%s: CR4.CET is the kernel's own", here);
	}
	if (!is_distro())
		check_new_guests(when);
	if (!next)
		return;

	crash = !strncmp(next, CRASH, strlen(CRASH));
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(next, ","), next);
	load_kernel(crash ? name + strlen(CRASH) : name, crash);
	status = tap_done();
	drain();

	/* From here on, only failures are printed. */
	if (!is_distro()) {
		crew_start(&crew);
		if (!crew_goes_on(&crew))
			tap_bail("the guests do not go on");
	}
	if (crash)
		host_put("/proc/sysrq-trigger", "c");
	else
		reboot(LINUX_REBOOT_CMD_KEXEC);
	tap_bail("no kexec, after status %d: %s", status, strerror(errno));
}
