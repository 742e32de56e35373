// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-onereg doctor: finds what keeps this host from running our KVM, and names the command that helps.
 *
 * A check reports problems, or says that it could not look, or is good. What a kernel lacks that neither runs nor
 * boots next is told as a remark: it harms nobody until that kernel is booted.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/kernel-log.h"
#include "base/message.h"
#include "base/process.h"
#include "base/text.h"
#include "doctor/doctor.h"
#include "kernel-options.h"
#include "model/cet.h"
#include "model/hold.h"
#include "model/holders.h"
#include "model/kernel.h"
#include "model/kvm.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "model/outlook.h"
#include "model/packages.h"
#include "model/series.h"

struct facts host;

static struct json_object *checks, *problems, *remarks, *check;

/* ---- What checks report ---- */

void begin(const char *name)
{
	check = json_object_new_object();
	json_object_object_add(check, "check", string(name));
	json_object_object_add(check, "result", string("ok"));
	json_object_object_add(check, "detail", NULL);
	json_object_array_add(checks, check);
}

void good(const char *detail)
{
	json_object_object_add(check, "detail", string(detail));
}

void skipped(const char *why)
{
	json_object_object_add(check, "result", string("skipped"));
	json_object_object_add(check, "detail", string(why));
}

void problem(const char *code, const char *fix, char *sentence)
{
	struct json_object *one = json_object_new_object();

	json_object_object_add(check, "result", string("problem"));
	json_object_object_add(check, "detail", NULL);
	json_object_object_add(one, "code", string(code));
	json_object_object_add(one, "problem", string(sentence));
	json_object_object_add(one, "fix", string(fix));
	json_object_array_add(problems, one);
}

void remark(char *sentence, const char *fix)
{
	json_object_array_add(remarks, string(fix ? text("%s (%s)", sentence, fix) : sentence));
}

/* ---- Output ---- */

/* The last lines of the kernel's log that are of KVM as a host */
static char *last_of_kvm(const char *log)
{
	char *lines[12] = { NULL }, *all = "";
	int n = 0;

	for (const char *line = log; line && *line; line = strchr(line, '\n'), line += !!line) {
		char *one = text("%.*s", (int)strcspn(line, "\n"), line);

		if (strcasestr(one, "kvm") && !strcasestr(one, "kvm-clock") && !strcasestr(one, "kvm-guest") &&
		    !strstr(one, "guest rIP") && !strcasestr(one, "command line"))
			lines[n++ % 12] = one;
	}
	for (int i = n > 12 ? n - 12 : 0; i < n; i++)
		all = text("%slog: %s\n", all, lines[i % 12]);
	return all;
}

/* What a bug report needs: versions and states, and nothing that names the host or its users */
static char *report(void)
{
	char *release = value_of(read_file("/etc/os-release"), "PRETTY_NAME", "="), *cpu = read_file("/proc/cpuinfo");
	char *lines = text(PACKAGE " %s; %s; kernel %s\n", tools_version, release ? release : "no os-release",
		running_release());
	static const char *const parameters[] = { "kvm_intel/parameters/cet", "kvm_intel/parameters/nested",
		"kvm_intel/parameters/ept", "kvm_amd/parameters/nested", "kvm_amd/parameters/npt",
		"kvm/parameters/ignore_msrs" };
	struct holders holders = who_holds_kvm();

	for (struct kernel *kernel = host.kernels; kernel->release; kernel++)
		lines = text("%sdisk %s: %s; built from %s\n", lines, kernel->release, describe(kernel),
			     built_from(kernel->release) ? built_from(kernel->release) : "?");
	for (int i = 0; i < MODULES; i++) {
		const struct loaded *loaded = &host.running.module[i];

		if (loaded->there)
			lines = text("%sloaded %s: %s %s, build-id %s, %s\n", lines, loaded_names[i],
				whose_names[loaded->whose],
				     loaded->version ? loaded->version : "", loaded->build_id ? loaded->build_id : "?",
				     loaded->file ? shown(loaded->file->file) : "of no file on disk");
	}
	lines = text("%sloaded source: %s; next boot: %s (%s)\n", lines, host.outlook.loaded_source ?
		     host.outlook.loaded_source : "?", host.outlook.next.release ? host.outlook.next.release : "?",
		     host.outlook.next.by);
	for (size_t i = 0; i < sizeof(parameters) / sizeof(*parameters); i++) {
		char *value = read_file("/sys/module/%s", parameters[i]);

		if (value)
			lines = text("%s%s=%s\n", lines, parameters[i], value);
	}
	lines = text("%scpu: %s, %s; VMs: %d\n", lines, value_of(cpu, "model name", ":") ? value_of(cpu, "model name",
		":") : "?",
		     has_word(host.flags, "svm") ? "svm" : has_word(host.flags, "vmx") ? "vmx" : "no virtualization",
		     holders.vms);
	lines = text("%sSecure Boot: %s; lockdown: %s\n", lines,
		host.secure_boot ? "on" : host.secure_boot_known ? "off" : "?",
		     host.lockdown ? host.lockdown : "?");
	for (const char *line = packages()->ended ? packages()->output : ""; *line; line += !!*line) {
		size_t n = strcspn(line, "\n");
		char *one = text("%.*s", (int)n, line);

		line += n;
		if (strncmp(one, "dpkg-query:", 11) && !strstr(one, "\tnot-installed\t"))
			lines = text("%s%s\n", lines, one);
	}
	if (host.dkms.ended)
		lines = text("%sdkms: %s%s", lines, host.dkms.output, *host.dkms.output ? "" : "nothing\n");
	lines = text("%s%s", lines, last_of_kvm(kernel_log()));
	for (size_t i = 0; i < json_object_array_length(problems); i++)
		lines = text("%sfound: %s\n", lines,
			     json_object_get_string(json_object_object_get(json_object_array_get_idx(problems, i),
			     "code")));
	return lines;
}

static const char *field(struct json_object *object, const char *name)
{
	const char *value = json_object_get_string(json_object_object_get(object, name));

	return value ? value : "";
}

/* Text after "N. ", in lines of 80 columns; words that are longer stay whole */
static void print_wrapped(const char *sentence)
{
	size_t column = 3;

	while (*sentence) {
		size_t blanks = strspn(sentence, " "), n = strcspn(sentence + blanks, "\n ");

		if (column > 3 && column + blanks + n > 80) {
			printf("\n   ");
			column = 3;
			sentence += blanks;
			blanks = 0;
		}
		printf("%.*s", (int)(blanks + n), sentence);
		column += blanks + n;
		sentence += blanks + n;
		if (*sentence == '\n') {
			putchar(*sentence++);
			column = 0;
		}
	}
}

static void print(const char *for_report)
{
	size_t n = json_object_array_length(problems);

	for (size_t i = 0; i < json_object_array_length(checks); i++) {
		struct json_object *one = json_object_array_get_idx(checks, i);
		const char *result = field(one, "result");
		enum colour shade = *result == 'o' ? GREEN : *result == 'p' ? RED : YELLOW;

		printf("%s%-8s%s %s%s%s\n", colour(shade), result, colour(PLAIN), field(one, "check"),
		       *field(one, "detail") ? ": " : "", field(one, "detail"));
	}
	putchar('\n');
	for (size_t i = 0; i < n; i++) {
		struct json_object *one = json_object_array_get_idx(problems, i);

		printf("%s%zu. ", colour(BOLD), i + 1);
		print_wrapped(field(one, "problem"));
		printf("%s\n   to fix: %s\n\n", colour(PLAIN), field(one, "fix"));
	}
	for (size_t i = 0; i < json_object_array_length(remarks); i++)
		printf("remark: %s\n%s", json_object_get_string(json_object_array_get_idx(remarks, i)),
		       i + 1 == json_object_array_length(remarks) ? "\n" : "");
	if (n)
		printf("%s%zu problem%s found.%s\n", colour(RED), n, n == 1 ? "" : "s", colour(PLAIN));
	else
		printf("%sNo problem found.%s\n", colour(GREEN), colour(PLAIN));
	if (geteuid())
		puts("Some things only root can see: run this as root for all checks.");
	printf("\n---- for a bug report: versions and states, no secrets ----\n%s---- end ----\n", for_report);
}

static const char help[] =
"usage: kvm-onereg doctor [--json] [-k KERNEL]\n"
"\n"
"  Find what keeps this host from running our KVM, and the command that helps.\n"
"  Ends with a block for a bug report. Changes nothing.\n"
"\n"
"  -k, --kernel=KERNEL  look at this kernel only; without it, at all, and what\n"
"                       neither runs nor boots next is told as a remark\n"
"      --json           for programs\n"
"\n"
"Exit status: 0 no problem found, 1 problems found, 2 wrong use.\n";

int cmd_doctor(int argc, char **argv)
{
	struct kernel_options options;
	struct json_object *json;
	const char *only;
	char *for_report;
	size_t found_n;

	if (!read_kernel_options(&options, "doctor", false, help, argc, argv))
		return STATUS_OK;
	only = options.release;
	host.kernels = options.all;
	host.kernel = find_kernel(host.kernels, running_release());
	host.running = what_runs(host.kernel);
	host.access = *host_root() ? KVM_ABSENT : probe(&host.running);
	host.cet = look_at_cet();
	host.outlook = look_ahead(host.kernels, host.kernel, &host.running, &host.cet);
	host.flags = value_of(read_file("/proc/cpuinfo"), "flags", ":");
	host.command_line = read_file("/proc/cmdline");
	host.dkms = RUN("dkms", "status", "-m", PACKAGE);
	look_at_boot_security();

	checks = json_object_new_array();
	problems = json_object_new_array();
	remarks = json_object_new_array();
	check_cpu();
	check_device();
	check_loaded();
	check_cet();
	check_configuration();
	check_secure_boot();
	check_boot();
	check_next_boot();
	for (struct kernel *kernel = host.kernels; kernel->release; kernel++)
		if (!only || !strcmp(only, kernel->release)) {
			check_kernel(kernel, only);
			check_initramfs(kernel, only);
		}
	check_packages();
	check_dkms();
	check_disk();

	found_n = json_object_array_length(problems);
	for_report = report();
	if (!options.json) {
		print(for_report);
		json_object_put(checks);
		json_object_put(problems);
		json_object_put(remarks);
		return found_n ? STATUS_NO : STATUS_OK;
	}
	json = json_object_new_object();
	json_object_object_add(json, "tools_version", string(tools_version));
	json_object_object_add(json, "running", string(running_release()));
	json_object_object_add(json, "checks", checks);
	json_object_object_add(json, "problems", problems);
	json_object_object_add(json, "remarks", remarks);
	json_object_object_add(json, "report", string(for_report));
	print_json(json);
	return found_n ? STATUS_NO : STATUS_OK;
}
