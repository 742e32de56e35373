// SPDX-License-Identifier: GPL-2.0
/* CPUs that go offline and come back, and one that lacks what CET needs. */
#include <string.h>
#include <unistd.h>

#include "life.h"

#define ROUNDS 3

void test_hotplug(void)
{
	struct crew crew;
	struct walker *walkers = crew.walkers;
	unsigned int i;

	if (host_cpus != 2)
		tap_bail("hotplug is for two CPUs");
	crew_start(&crew);
	for (i = 0; i < ROUNDS; i++) {
		tap_ok(host_set_online(1, false) && !host_is_online(1) && host_cpu_of(walkers[1].tid) == 0,
		       "CPU 1 goes offline under a guest");
		tap_ok(crew_goes_on(&crew), "both vCPUs go on");
		/* Threads that could run there immediately are moved elsewhere. */
		tap_ok(host_move(walkers[1].tid, 0) && host_set_online(1, true) && host_is_online(1),
		       "CPU 1 comes back");
		tap_ok(cpu_is_clean(1), "CPU 1 has nothing of a guest, and the host's S_CET");
		tap_ok(host_move(walkers[1].tid, 1) && crew_goes_on(&crew), "a vCPU moves there and goes on");
		tap_ok(host_move(walkers[0].tid, 1) && host_move(walkers[1].tid, 0) && crew_goes_on(&crew),
		       "so does the other one");
		tap_ok(host_move(walkers[0].tid, 0) && host_move(walkers[1].tid, 1), "both move back");
	}
	crew_end(&crew, "CPU 1 offline and online");
}

/* lacking.c: S_CET of CPU 1 says that the kernel uses shadow stacks, so guests cannot have them there. */
#define LACKING "/sys/module/lacking/parameters/on"

void test_refused(void)
{
	struct crew crew;
	struct machine *m;
	unsigned int i;

	if (host_cpus != 2)
		tap_bail("refused is for two CPUs");
	/* Before KVM, so that it is called first for a CPU that comes online. */
	if (!unload_kvm() || !host_load("lacking.ko", NULL) || !load_kvm())
		tap_bail("modules");

	crew_start(&crew);
	tap_ok(host_set_online(1, false) && host_put(LACKING, "1"), "CPU 1 is offline, and will lack something");
	for (i = 0; i < 2; i++) {
		tap_ok(!host_set_online(1, true) && !host_is_online(1), "CPU 1 is refused");
		tap_ok(crew_goes_on(&crew), "both vCPUs go on without it");
	}
	tap_ok(host_put(LACKING, "0") && host_set_online(1, true) && host_is_online(1),
	       "CPU 1 is accepted when it lacks nothing");
	tap_ok(cpu_is_clean(1), "CPU 1 has nothing of a guest");
	tap_ok(host_move(crew.walkers[1].tid, 1) && crew_goes_on(&crew), "a vCPU moves there and goes on");
	crew_end(&crew, "CPU 1 refused and taken");
	check_no_residue("CPU 1 refused and taken");

	tap_ok(unload_kvm() && host_put(LACKING, "1") && load_kvm(),
	       "one CPU lacks something: the modules can be loaded");
	tap_ok(!kvm_offers_cet(), "KVM offers no CET then");
	m = machine_create(NULL);
	tap_ok(!msrs_set(&m->cpus[0]->io, MSR_S_CET, CET_SHSTK), "a VM has no CET");
	cpu_start(m->cpus[0], chain_main_cpl0, START_VALUE);
	check_stop(m->cpus[0], "call 1", "a VM without CET runs");
	machine_destroy(m);
	check_supervisor_msrs("without CET");
	tap_ok(unload_kvm() && host_put(LACKING, "0") && load_kvm() && kvm_offers_cet(),
	       "it lacks nothing: KVM offers CET");
	check_new_guests("the modules loaded anew");
	tap_ok(unload_kvm() && host_unload("lacking") && load_kvm(), "everything is as before");
}
