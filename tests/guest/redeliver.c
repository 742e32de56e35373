// SPDX-License-Identifier: GPL-2.0
/*
 * redeliver: an EPT violation interrupts the delivery of an exception, because a page that it needs is not there yet.
 * KVM must inject the exception again, once, with its error code; also if the guest is saved and restored in between.
 *
 * userfaultfd makes the page missing, so the test sees the violation, and decides when it is over.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "chain.h"
#include "snap.h"

static int uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		tap_bail("userfaultfd");
	return fd;
}

/* Removes a page; its content goes to @content. */
static void take_away(int uffd, struct machine *m, uint64_t gpa, uint8_t *content)
{
	struct uffdio_register range = {
		.range = { .start = user_addr(machine_at(m, gpa)), .len = PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	memcpy(content, machine_at(m, gpa), PAGE);
	if (madvise(machine_at(m, gpa), PAGE, MADV_DONTNEED) || ioctl(uffd, UFFDIO_REGISTER, &range))
		tap_bail("UFFDIO_REGISTER");
}

static void give_back(int uffd, struct machine *m, uint64_t gpa, const uint8_t *content)
{
	struct uffdio_copy copy = { .dst = user_addr(machine_at(m, gpa)), .src = user_addr(content), .len = PAGE };

	if (ioctl(uffd, UFFDIO_COPY, &copy))
		tap_bail("UFFDIO_COPY");
}

#define POLLS 2000

/* Returns true if a thread waits for the page. */
static bool wait_for_fault(int uffd, struct machine *m, uint64_t gpa)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&p, 1, POLLS) != 1 || read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		return false;
	return msg.event == UFFD_EVENT_PAGEFAULT &&
	       (msg.arg.pagefault.address & ~(PAGE - 1)) == user_addr(machine_at(m, gpa));
}

static void *run(void *cpu)
{
	chain_run(cpu);
	return NULL;
}

/* The stacks on which an exception is delivered. */
static const struct needed {
	const char *name;
	unsigned int page; /* CPU_*_PAGE */
} needed[] = {
	{ "the handler's stack", CPU_IST1_PAGE },
	{ "the handler's shadow stack", CPU_SS_IST1_PAGE },
};

static const struct delivered {
	enum action action;
	unsigned int vector, error;
	bool has_error;
	const char *text;
} delivered[] = {
	{ CORRUPT_RETURN, VECTOR_CP, CP_RET, true, "#CP(1)" },
	{ BAD_JUMP, VECTOR_CP, CP_ENDBRANCH, true, "#CP(3)" },
	{ UNDEFINED, VECTOR_UD, 0, false, "#UD" },
};

static bool is_injected(struct cpu *c, const struct delivered *d)
{
	struct kvm_vcpu_events events;

	if (ioctl(c->io.vcpu, KVM_GET_VCPU_EVENTS, &events))
		tap_bail("KVM_GET_VCPU_EVENTS");
	return events.exception.injected && events.exception.nr == d->vector &&
	       events.exception.has_error_code == d->has_error && events.exception.error_code == d->error;
}

/* A guest that is about to cause the exception @d, but lacks the pages for its delivery. */
static struct cpu *start(struct machine **m, unsigned int cpl, const struct delivered *d, uint64_t *gpa,
			 const struct needed *n, int *uffd, uint8_t *content)
{
	uint64_t base;
	struct cpu *c = chain_start_deep(m, cpl, d->action, &base);

	*gpa = c->page + n->page * PAGE;
	*uffd = uffd_open();
	take_away(*uffd, *m, *gpa, content);
	return c;
}

static void redelivered(unsigned int cpl, const struct delivered *d, const struct needed *n)
{
	static uint8_t content[PAGE];
	struct machine *m;
	uint64_t gpa;
	int uffd;
	struct cpu *c = start(&m, cpl, d, &gpa, n, &uffd, content);
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, c))
		tap_bail("thread");
	tap_ok(wait_for_fault(uffd, m, gpa), "CPL%u, %s: its delivery waits for %s", cpl, d->text, n->name);
	give_back(uffd, m, gpa, content);
	pthread_join(thread, NULL);
	tap_ok(!strcmp(stop_text(c), d->text), "CPL%u, %s: delivered when %s is there", cpl, d->text, n->name);
	if (c->stop.kind == STOP_EXCEPTION)
		tap_ok((c->stop.frame->cs & 3) == cpl, "CPL%u, %s: from there", cpl, d->text);
	/*
	 * Once: now the handler returns. The cause is still there, but at CPL0 the tracker has seen the handler's
	 * ENDBR64.
	 */
	chain_run(c);
	tap_ok(!strcmp(stop_text(c), d->action == BAD_JUMP && !cpl ? "call 66" : d->text), "CPL%u, %s: once", cpl,
	       d->text);
	machine_destroy(m);
	close(uffd);
}

/* A signal ends KVM_RUN in the middle of the delivery. */
static void saved_in_between(unsigned int cpl, const struct delivered *d, const struct needed *n)
{
	static uint8_t content[PAGE];
	struct machine *m;
	uint64_t gpa;
	int uffd;
	struct cpu *c = start(&m, cpl, d, &gpa, n, &uffd, content);
	struct snapshot *s;
	pthread_t thread;
	unsigned int i;

	if (pthread_create(&thread, NULL, run, c))
		tap_bail("thread");
	if (!wait_for_fault(uffd, m, gpa))
		tap_bail("the guest does not need %s", n->name);
	/*
	 * It may get there only after the page fault is known here. Before Linux 6.2 it does not end the wait for the
	 * page, but KVM_RUN after that.
	 */
	for (i = 0; i < POLLS && !__atomic_load_n(&c->stop.err, __ATOMIC_ACQUIRE); i++) {
		pthread_kill(thread, SIGUSR1);
		sleep_ms(1);
	}
	give_back(uffd, m, gpa, content);
	pthread_join(thread, NULL);
	tap_ok(is_injected(c, d), "CPL%u, %s, %s: KVM_GET_VCPU_EVENTS has it, and its error code", cpl, d->text,
	       n->name);
	s = snapshot_take(c);
	check_stop(c, d->text, "CPL%u, %s, %s: the same vCPU has it", cpl, d->text, n->name);
	machine_destroy(m);

	m = snapshot_restore(s, 0);
	tap_ok(is_injected(m->cpus[0], d), "CPL%u, %s, %s: restored", cpl, d->text, n->name);
	check_stop(m->cpus[0], d->text, "CPL%u, %s, %s: the restored vCPU has it", cpl, d->text, n->name);
	machine_destroy(m);

	if (d->has_error) {
		char other[16];

		/* The saved exception is delivered, not a new one. */
		s->events.exception.error_code = CP_SETSSBSY;
		snprintf(other, sizeof(other), "#CP(%u)", CP_SETSSBSY);
		m = snapshot_restore(s, 0);
		check_stop(m->cpus[0], other, "CPL%u, %s, %s: falsified: its error code", cpl, d->text, n->name);
		machine_destroy(m);
	}
	free(s);
	close(uffd);
}

int main(void)
{
	unsigned int cpl, i, k;

	vmm_open("redeliver");
	signals_end_run();
	for (cpl = 0; cpl <= 3; cpl += 3) {
		for (i = 0; i < ARRAY_SIZE(delivered); i++) {
			if (delivered[i].action == BAD_JUMP && !kvm_has_ibt()) {
				tap_skip("KVM offers no IBT", "CPL%u, %s", cpl, delivered[i].text);
				continue;
			}
			for (k = 0; k < ARRAY_SIZE(needed); k++) {
				redelivered(cpl, &delivered[i], &needed[k]);
				saved_in_between(cpl, &delivered[i], &needed[k]);
			}
		}
	}
	return tap_done();
}
