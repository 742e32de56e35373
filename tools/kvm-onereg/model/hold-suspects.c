// SPDX-License-Identifier: GPL-2.0
/* Processes that may hold KVM. */
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "model/hold-suspects.h"
#include "model/hold-tracing.h"
#include "model/hold.h"
#include "model/open-files.h"

struct suspect {
	struct holders *holders;
	int pid;
	bool kvm; /* kvm itself has references that nothing explains */
	int perf, vfio, scm;
	bool tracing;
};

static void add_process(struct suspect *one, int how, unsigned int link, const char *what)
{
	add_hold(one->holders, (struct hold) { .pid = one->pid,
					       .how = how,
					       .link = link,
					       .fix = format("end process %d", one->pid),
					       .what = format("%d %s: %s", one->pid, command_of(one->pid), what) });
}

static void see_uring(struct suspect *one, const struct file *file)
{
	char *info = read_file("%s", file->info), *files = value_of(info, "UserFiles", ":");
	char *name = info ? strstr(info, ": kvm") : NULL;

	if (!files || !atoi(files))
		return;
	if (name)
		name = format("%.*s", (int)strcspn(name + 2, "\n"), name + 2);
	add_process(one, name ? HOLDS_VENDOR : MAYBE, 0,
		    name ? format("has %s as a registered file of io_uring", printable(name)) :
			   format("has %s registered file%s of io_uring", files, atoi(files) == 1 ? "" : "s"));
}

static void see_bpf(struct suspect *one, const struct file *file)
{
	char *info = read_file("%s", file->info), *tracepoint = value_of(info, "tp_name", ":");
	char *link = value_of(info, "link_type", ":"), *id = value_of(info, "link_id", ":");
	char *program = value_of(info, "prog_type", ":");

	if (tracepoint && kvm_tracepoint(tracepoint))
		add_process(one, HOLDS_KVM, id ? atoi(id) : 0,
			    format("has a BPF program on the tracepoint %s", printable(tracepoint)));
	else if (link)
		one->tracing |= !strcmp(link, "tracing") || !strcmp(link, "kprobe_multi");
	else if (program)
		one->tracing |= atoi(program) == BPF_PROG_TYPE_TRACING;
}

static void see_suspect(void *context, const struct file *file)
{
	const char *what = starts_with(file->target, ANON) ? file->target + strlen(ANON) : "";
	struct suspect *one = context;
	char *passed;

	if (one->kvm && !strcmp(what, "[perf_event]")) {
		one->perf++;
	} else if (one->kvm && starts_with(what, "bpf")) {
		see_bpf(one, file);
	} else if (!strcmp(what, "[io_uring]")) {
		see_uring(one, file);
	} else if (starts_with(what, "[vfio-") || starts_with(file->target, "/dev/vfio/")) {
		one->vfio++;
	} else if (starts_with(file->target, "socket:")) {
		passed = value_of(read_file("%s", file->info), "scm_fds", ":");
		one->scm += passed ? atoi(passed) : 0;
	}
}

void look_at_suspects(struct holders *holders, bool kvm)
{
	static const char * const perf[] = { ANON "[perf_event]", NULL }, * const ring[] = { ANON "[io_uring]", NULL };

	for (char **name = list_folder("/proc"); *name; name++) {
		struct suspect one = { .holders = holders, .pid = atoi(*name), .kvm = kvm };
		int before = holders->holds;

		if (!one.pid)
			continue;
		each_file(one.pid, see_suspect, NULL, &one);
		if (kvm && !one.perf && find_mapping(one.pid, perf))
			one.perf = 1;
		if (one.perf)
			add_process(&one, MAYBE, 0,
				    one.perf == 1 ? "has a perf event open" :
						    format("has %d perf events open", one.perf));
		if (one.tracing)
			add_process(&one, MAYBE, 0, "has a BPF program on functions of the kernel");
		if (one.vfio)
			add_process(&one, MAYBE, 0, "has a VFIO device open");
		if (one.scm)
			add_process(&one, MAYBE, 0,
				    format("has a socket with %d file%s that nobody has received yet", one.scm,
					   one.scm == 1 ? "" : "s"));
		if (holders->holds == before && find_mapping(one.pid, ring))
			add_process(&one, MAYBE, 0, "has an io_uring mapped, maybe with registered files");
	}
}
