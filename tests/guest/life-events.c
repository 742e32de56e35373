// SPDX-License-Identifier: GPL-2.0
/* SMIs that reach a vCPU at any point of its code. */
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "life.h"
#include "smram.h"

/*
 * SMIs at any instruction of a walker, one after another. A signal takes the vCPU out of KVM_RUN, and its thread asks
 * for the SMI.
 */
void test_smi(void)
{
	struct machine *m = machine_create(NULL);
	struct cpu *c = m->cpus[0];
	struct walker w;
	unsigned int i, tries;
	bool ok = true;

	smram_create(c);
	walker_start(&w, c, 0);
	signals_end_run();
	for (i = 0; i < smis && ok; i++) {
		__atomic_store_n(&w.smi, 1, __ATOMIC_RELEASE);
		/* The signal may come before KVM_RUN begins, so more than one. */
		for (tries = 0; tries < 1000 && __atomic_load_n(&w.smi, __ATOMIC_ACQUIRE); tries++) {
			pthread_kill(w.thread, SIGUSR1);
			usleep(20 + i % 31);
		}
		ok = !__atomic_load_n(&w.smi, __ATOMIC_ACQUIRE);
	}
	tap_ok(ok, "%u SMIs anywhere on a guest's way", smis);
	tap_ok(walker_goes_on(&w), "the guest goes on");
	walker_stop(&w, "SMIs");
	check_supervisor_msrs("SMIs");
	machine_destroy(m);
	check_no_residue("SMIs");
}
