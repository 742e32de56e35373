// SPDX-License-Identifier: GPL-2.0
/* Who holds KVM: trace events, and BPF programs that no process has open. */
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "model/hold-tracing.h"
#include "model/hold.h"

/* The groups that kvm's tracepoints are in */
static const char * const groups[] = { "kvm", "kvmmmu" };
#define GROUPS (sizeof(groups) / sizeof(*groups))

/* Where tracefs is, or NULL */
static const char *tracefs(void)
{
	static const char * const places[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (path_exists("%s/events", places[i]))
			return places[i];
	return NULL;
}

bool kvm_tracepoint(const char *name)
{
	const char *at = tracefs();

	if (!strncmp(name, "kvm_", 4))
		return true;
	for (size_t i = 0; at && i < GROUPS && !strchr(name, '/'); i++)
		if (path_exists("%s/events/%s/%s", at, groups[i], name))
			return true;
	return false;
}

static bool of_kvm(const char *group, size_t length)
{
	for (size_t i = 0; i < GROUPS; i++)
		if (strlen(groups[i]) == length && !strncmp(groups[i], group, length))
			return true;
	return false;
}

/* "kvm:kvm_exit, kvm:kvm_entry" and the number of those that are enabled; "0*" only has a trigger */
static char *enabled_events(const char *at, const char *group, int *count)
{
	char *names = "";

	*count = 0;
	for (char **event = list_folder("%s/events/%s", at, group); *event; event++) {
		char *value = read_file("%s/events/%s/%s/enable", at, group, *event);

		if (!value || *value != '1')
			continue;
		if (++*count <= 3)
			names = format("%s%s%s:%s", names, *names ? ", " : "", group, *event);
	}
	return *count > 3 ? format("%s and %d more", names, *count - 3) : names;
}

/* Triggers of an event: each line that is no comment */
static void look_at_trigger(struct holders *holders, const char *file, const char *event, bool on_others)
{
	char *lines = read_file("%s", file);

	for (const char *line = lines; line && *line; line = next_line(line)) {
		char *one = format("%.*s", (int)strcspn(line, "\n"), line), *other = strstr(one, "_event:"), *colon;
		size_t length;

		if (*one == '#')
			continue;
		if (on_others) {
			/* enable_event:kvm:kvm_exit on another event */
			if (!other || (strncmp(one, "enable", 6) && strncmp(one, "disable", 7)))
				continue;
			other += strlen("_event:");
			if (!of_kvm(other, strcspn(other, ":")))
				continue;
		}
		/* How often it may still fire is not part of its name */
		length = strlen(one);
		if (length > 10 && !strcmp(one + length - 10, ":unlimited"))
			one[length - 10] = '\0';
		colon = strstr(one, " [active]");
		if (colon)
			*colon = '\0';
		add_hold(holders, (struct hold) { .how = on_others ? HOLDS_KVM : TRACES,
						  .what = format("trace event %s has the trigger %s", event, one),
						  .fix = format("echo '!%s' >%s", one, file) });
	}
}

/* tracefs itself, or one of its instances */
static void look_at_instance(struct holders *holders, const char *at)
{
	for (size_t i = 0; i < GROUPS; i++) {
		int count;
		char *events = enabled_events(at, groups[i], &count);

		if (count)
			add_hold(holders, (struct hold) { .how = TRACES,
							  .fix = format("echo 0 >%s/events/%s/enable", at, groups[i]),
							  .what = format("trace event%s enabled in %s: %s",
									 count == 1 ? "" : "s", at, events) });
		for (char **event = list_folder("%s/events/%s", at, groups[i]); *event; event++)
			look_at_trigger(holders, format("%s/events/%s/%s/trigger", at, groups[i], *event),
					format("%s:%s", groups[i], *event), false);
	}
}

/* "e:group/name kvm.kvm_exit ..." and "t:group/name kvm_exit ..." */
static void look_at_dynamic_events(struct holders *holders, const char *at)
{
	char *lines = read_file("%s/dynamic_events", at);

	for (const char *line = lines; line && *line; line = next_line(line)) {
		char *one = format("%.*s", (int)strcspn(line, "\n"), line), *on = strchr(one, ' '), *name;

		if (!on || (*one != 'e' && *one != 't'))
			continue;
		*on++ = '\0';
		name = strchr(one, ':');
		on[strcspn(on, " ")] = '\0';
		if (*one == 'e' ? !of_kvm(on, strcspn(on, "./")) : !kvm_tracepoint(on))
			continue;
		add_hold(holders,
			 (struct hold) { .how = *one == 'e' ? HOLDS_KVM : TRACES,
					 .what = format("dynamic trace event %s on %s", name ? name + 1 : one, on),
					 .fix = format("echo '-:%s' >>%s/dynamic_events", name ? name + 1 : one, at) });
	}
}

/* Call @look for tracefs and for each of its instances */
static void look_at_each_instance(struct holders *holders, const char *at,
				  void (*look)(struct holders *holders, const char *at))
{
	look(holders, at);
	for (char **instance = list_folder("%s/instances", at); *instance; instance++)
		look(holders, format("%s/instances/%s", at, *instance));
}

void look_at_tracefs(struct holders *holders)
{
	const char *at = tracefs();

	if (!at)
		return;
	look_at_each_instance(holders, at, look_at_instance);
	look_at_dynamic_events(holders, at);
}

static void look_at_triggers_in(struct holders *holders, const char *at)
{
	for (char **group = list_folder("%s/events", at); *group; group++) {
		if (of_kvm(*group, strlen(*group)))
			continue;
		for (char **event = list_folder("%s/events/%s", at, *group); *event; event++)
			look_at_trigger(holders, format("%s/events/%s/%s/trigger", at, *group, *event),
					format("%s:%s", *group, *event), true);
	}
}

void look_at_triggers(struct holders *holders)
{
	const char *at = tracefs();

	if (at)
		look_at_each_instance(holders, at, look_at_triggers_in);
}

static long bpf(int command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

/* The tracepoint that a link is on, or NULL */
static char *tracepoint_of(__u32 id)
{
	char name[128] = "";
	struct bpf_link_info info = { .raw_tracepoint = { .tp_name = (unsigned long)name,
							  .tp_name_len = sizeof(name) } };
	union bpf_attr get = { .link_id = id },
		       ask = { .info = { .info_len = sizeof(info), .info = (unsigned long)&info } };
	long fd = bpf(BPF_LINK_GET_FD_BY_ID, &get), error;

	if (fd < 0)
		return NULL;
	ask.info.bpf_fd = fd;
	error = bpf(BPF_OBJ_GET_INFO_BY_FD, &ask);
	close(fd);
	return error || info.type != BPF_LINK_TYPE_RAW_TRACEPOINT ? NULL : format("%s", name);
}

static bool is_named(const struct holders *holders, unsigned int link)
{
	for (int i = 0; i < holders->holds; i++)
		if (holders->hold[i].link == link)
			return true;
	return false;
}

void look_at_bpf(struct holders *holders)
{
	union bpf_attr next = { .start_id = 0 };

	for (; !*host_root() && !bpf(BPF_LINK_GET_NEXT_ID, &next); next.start_id = next.next_id) {
		char *tracepoint = tracepoint_of(next.next_id);

		if (!tracepoint || !kvm_tracepoint(tracepoint) || is_named(holders, next.next_id))
			continue;
		add_hold(holders,
			 (struct hold) {
				 .how = HOLDS_KVM,
				 .link = next.next_id,
				 .what = format("BPF link %u on the tracepoint %s", next.next_id, tracepoint),
				 .fix = format("remove what pins BPF link %u below /sys/fs/bpf (bpftool -f link show)",
					       next.next_id) });
	}
}
