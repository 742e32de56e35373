// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg swap: domains of libvirt.
 *
 * libvirtd keeps its own account of what is saved: a managed save is taken by the next start, once, and a domain that
 * is started otherwise does not go on with an old one.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "model/cet.h"
#include "model/vmm.h"
#include "swap/guest.h"
#include "swap/libvirt.h"
#include "swap/report.h"
#include "swap/started.h"

#define QUICK_SECONDS 60
/* How often is said what is waited for */
#define TELL_SECONDS 10
#define MARGIN	     (64ll << 20)

#define VIRSH "virsh", "-q", "-c", "qemu:///system"

static struct program_result virsh(const char *command, const char *name)
{
	return run_program_for(QUICK_SECONDS, (const char * const[]) { VIRSH, command, "--domain", name, NULL });
}

/* NULL, or the last line that virsh printed */
static char *failure(const struct program_result *result, const char *what)
{
	const char *line;
	char *text;

	if (result->ended && !result->status)
		return NULL;
	if (!result->found)
		return format("there is no virsh: apt-get install libvirt-clients");
	text = format("%.*s", (int)strcspn(result->output, "\n"), result->output);
	for (line = result->output; line && *line; line = next_line(line))
		if (line[strspn(line, " \t\n")])
			text = format("%.*s", (int)strcspn(line, "\n"), line);
	return format("virsh %s: %s", what, *text ? text : "no answer");
}

/* The name of the domain with this process, from what a libvirtd keeps in its folder */
static char *domain_in(const char *folder, int pid)
{
	for (char **name = list_folder("%s", folder); *name; name++) {
		size_t n = strlen(*name);
		char *text;

		if (n <= 4 || strcmp(*name + n - 4, ".pid"))
			continue;
		text = read_file("%s/%s", folder, *name);
		if (text && atoi(text) == pid)
			return format("%.*s", (int)n - 4, *name);
	}
	return NULL;
}

static char *info(const char *name, const char *key)
{
	struct program_result result = virsh("dominfo", name);

	return failure(&result, "dominfo") ? NULL : value_of(result.output, key, ":");
}

static char *state_of(const char *name, char **why)
{
	struct program_result result = virsh("domstate", name);

	*why = failure(&result, "domstate");
	return *why ? NULL : format("%.*s", (int)strcspn(result.output, "\n"), result.output);
}

static void check_xml(const struct holder *holder, bool with_cet, struct guest *guest)
{
	static const struct {
		const char *text, *reason;
	} refused[] = {
		{ "<hostdev ", "it has a passed-through device (hostdev)" },
		{ "type='hostdev'", "it has a passed-through device (hostdev)" },
		{ "<redirdev ", "it has a redirected USB device (redirdev)" },
		{ "type='vhostuser'", "it has a device of another process (vhostuser)" },
		{ "type='vhostvdpa'", "it has a passed-through device (vDPA)" },
		{ "type='virtiofs'", "it has a file system of another process (virtiofs)" },
		{ "<shmem ", "it has memory that other guests share (shmem)" },
		{ "<transient", "the changes to its disk end with its process (transient)" },
		{ "<vsock ", "it has a socket to the host (vsock)" },
		{ "<backend type='passthrough'", "it has the host's TPM" },
	};
	static const char * const features[] = { "name='shstk'", "name='cet-ss'", "name='ibt'", "name='cet-ibt'" };
	struct program_result result = virsh("dumpxml", guest->name);
	char *why = failure(&result, "dumpxml");
	struct vmm vmm = look_at_vmm(holder);
	struct cet cet = look_at_cet();

	if (why) {
		refuse_guest(guest, why, "see that libvirtd runs: systemctl start libvirtd");
		return;
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		if (strstr(result.output, refused[i].text))
			refuse_guest(guest, refused[i].reason, "shut this guest down, or migrate it");
	for (size_t i = 0; i < sizeof(features) / sizeof(*features); i++) {
		char *at = strstr(result.output, features[i]), *line;

		line = at ? first_line(result.output, features[i]) : NULL;
		guest->cet |= line && !strstr(line, "policy='disable'") && !strstr(line, "policy='forbid'");
	}
	/* A CPU that is the host's has what KVM offers, if its QEMU knows it */
	if (strstr(result.output, "mode='host-passthrough'") || strstr(result.output, "mode='maximum'"))
		guest->cet |= vmm.saves == YES || vmm.has_cet == YES;
	guest->cet = guest->cet && offers_cet(&cet, false);
	guest->nested = true;
	if (guest->cet && vmm.saves != YES)
		refuse_guest(guest, format("it may have CET, and %s", describe_vmm(&vmm)),
			     "shut this guest down, and start it without CET or with a later QEMU");
	else if (guest->cet && !with_cet)
		refuse_guest(guest, "it may have CET, which the modules that are to be loaded do not offer",
			     "shut this guest down, or migrate it to a host with CET");
}

bool look_at_domain(const struct holder *holder, bool with_cet, struct guest *guest)
{
	char *name = domain_in("/run/libvirt/qemu", holder->pid), *why, *state, *memory;

	*guest = (struct guest) { .pid = holder->pid, .libvirt = true, .qmp.fd = -1, .cgroup_holder = -1 };
	guest->time = start_time(holder->pid);
	for (char **user = list_folder("/run/user"); *user && !name; user++) {
		guest->name = domain_in(format("/run/user/%s/libvirt/qemu/run", *user), holder->pid);
		if (!guest->name)
			continue;
		guest->file = format("%s/%s.save", LIBVIRT_SAVES, guest->name);
		refuse_guest(guest, format("it belongs to a libvirt of user %s (qemu:///session)", *user),
			     format("as this user: virsh -c qemu:///session managedsave %s; start it after the swap",
				    guest->name));
		return true;
	}
	if (!name)
		return false;
	guest->name = name;
	guest->file = format("%s/%s.save", LIBVIRT_SAVES, name);
	state = state_of(name, &why);
	if (!state) {
		refuse_guest(guest, why, "see that libvirtd runs: systemctl start libvirtd");
		return true;
	}
	guest->ran = !strcmp(state, "running");
	if (!guest->ran && strcmp(state, "paused"))
		refuse_guest(guest, format("its state is %s, neither running nor paused", state),
			     "resume this guest, or shut it down");
	if (!same_text(info(name, "Persistent"), "yes"))
		refuse_guest(guest, "it is transient: libvirt cannot keep its state",
			     format("virsh dumpxml %s >%s.xml; virsh define %s.xml", name, name, name));
	check_xml(holder, with_cet, guest);
	memory = info(name, "Used memory");
	guest->bytes = MARGIN + (memory ? atoll(memory) << 10 : 0);
	return true;
}

/* Called each second that virsh takes for a domain */

static void wait_for_save(int seconds, void *data)
{
	const struct guest *guest = data;
	struct stat status;

	if (seconds % TELL_SECONDS == 0)
		tell_progress(format("%d s, %lld MiB of at most %lld are written", seconds,
				     stat(guest->file, &status) ? 0 : (long long)status.st_size >> 20,
				     guest->bytes >> 20));
}

static void wait_or_abort(int seconds, void *data)
{
	const struct guest *guest = data;

	if (interrupted())
		virsh("domjobabort", guest->name);
	else
		wait_for_save(seconds, data);
}

static void wait_for_start(int seconds, void *data)
{
	const struct guest *guest = data;

	if (seconds % TELL_SECONDS == 0)
		tell_progress(format("%d s: libvirt restores %s", seconds, guest->name));
}

char *domain_save(struct guest *guest, bool first)
{
	const char * const words[] = {
		VIRSH, "managedsave", "--domain", guest->name, guest->ran ? "--running" : "--paused", NULL
	};
	struct program_result result;
	char *why;

	if (first)
		guest->stopped = real_milliseconds();
	result = run_program_to_end(first ? wait_or_abort : wait_for_save, guest, words);
	why = failure(&result, "managedsave");
	return why && first && interrupted() ? format("interrupted") : why;
}

char *domain_restore(struct guest *guest)
{
	const char * const words[] = { VIRSH, "start", "--domain", guest->name, "--paused", NULL };
	struct program_result result;
	char *why, *text;

	/* Without it, start would boot the guest from the beginning */
	if (!same_text(info(guest->name, "Managed save"), "yes"))
		return format("libvirt has no saved state of it any more");
	result = run_program_to_end(wait_for_start, guest, words);
	why = failure(&result, "start");
	text = why ? NULL : read_file("/run/libvirt/qemu/%s.pid", guest->name);
	guest->pid = text ? atoi(text) : 0;
	guest->time = start_time(guest->pid);
	return why;
}

char *domain_resume(struct guest *guest)
{
	struct program_result result = virsh("resume", guest->name);
	char *why = failure(&result, "resume");

	if (!why)
		guest->resumed = real_milliseconds();
	return why;
}

bool domain_phase(struct guest *guest, enum phase *phase)
{
	char *why, *state = state_of(guest->name, &why);

	if (!state)
		return false;
	*phase = !strcmp(state, "running")			     ? RUNNING :
		 !strcmp(state, "paused")			     ? RESTORING :
		 same_text(info(guest->name, "Managed save"), "yes") ? GONE :
								       LOST;
	return true;
}
