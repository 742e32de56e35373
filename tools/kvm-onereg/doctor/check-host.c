// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg doctor: the machine, its configuration and what is loaded. */
#include <ctype.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/kernel-log.h"
#include "base/text.h"
#include "doctor/check-host.h"
#include "doctor/facts.h"
#include "doctor/report.h"
#include "model/cet.h"
#include "model/configuration.h"
#include "model/hold.h"
#include "model/holders.h"
#include "model/kernel.h"
#include "model/kvm.h"
#include "model/loaded.h"
#include "model/module-file.h"
#include "model/series.h"
#include "model/unfinished.h"
#include "model/vmm.h"

static const char *vendor_module(void)
{
	return has_word(host.flags, "svm") ? "kvm_amd" : "kvm_intel";
}

void check_cpu(void)
{
	const char *by_firmware = last_line(kernel_log(), "disabled by bios");

	begin_check("CPU and firmware");
	if (!host.flags) {
		skip_check("cannot read /proc/cpuinfo");
	} else if (host.access == KVM_ONE_REG || host.access == KVM_NO_ONE_REG) {
		check_is_good("KVM works");
	} else if (has_word(host.flags, "svm")) {
		check_is_good("AMD SVM");
	} else if (has_word(host.flags, "vmx")) {
		check_is_good("Intel VMX");
	} else if (by_firmware) {
		report_problem(
			"cpu-disabled",
			"enable virtualization (VT-x, SVM) in the firmware setup, then power the machine off and on",
			format("the firmware disables virtualization. The kernel says: %s", by_firmware));
	} else if (has_word(host.flags, "hypervisor")) {
		report_problem(
			"cpu-no-virtualization",
			"on the outer host: enable nested virtualization, and use -cpu host for this VM",
			format("this is a VM whose CPU has no virtualization (neither vmx nor svm in /proc/cpuinfo)"));
	} else {
		report_problem(
			"cpu-no-virtualization",
			"enable virtualization (VT-x, SVM) in the firmware setup, if the CPU has it",
			"neither vmx nor svm in /proc/cpuinfo: the CPU does not have it, or it is off in the firmware");
	}
	if (by_firmware && host.flags && (has_word(host.flags, "svm") || has_word(host.flags, "vmx")) &&
	    !host.running.vendor)
		report_problem(
			"cpu-disabled",
			"enable virtualization (VT-x, SVM) in the firmware setup, then power the machine off and on",
			format("the firmware disables virtualization. The kernel says: %s", by_firmware));
}

/* The command line's lists of modules that must not load */
static bool listed(const char *parameter, const char *module)
{
	const char *at = host.command_line;
	size_t length = strlen(parameter);

	while (at && (at = strstr(at, parameter))) {
		if ((at == host.command_line || at[-1] == ' ') && at[length] == '=') {
			char *names = format("%.*s", (int)strcspn(at + length + 1, " "), at + length + 1);

			for (char *c = names; *c; c++)
				if (*c == '-')
					*c = '_';
			if (has_word(names, module))
				return true;
		}
		at += length;
	}
	return false;
}

void check_configuration(void)
{
	static const char * const patterns[] = { "kvm\\b", "kvm[-_]intel", "kvm[-_]amd" };

	begin_check("modprobe.d and the kernel's command line");
	if (!path_exists("/etc/modprobe.d") && !path_exists("/usr/lib/modprobe.d") && !path_exists("/lib/modprobe.d"))
		skip_check("there is no modprobe.d");
	for (int i = 0; i < MODULES; i++) {
		const char *name = loaded_names[i];
		struct setting setting = find_setting(BLACKLIST, name, NULL);

		if (i != KVM && host.flags && strcmp(name, vendor_module()))
			continue;
		if (setting.where)
			report_problem("blacklisted",
				       format("sed -i '/^ *blacklist  *%s/d' %s && modprobe %s", patterns[i],
					      setting.where, name),
				       format("%s is not loaded at boot: %s has \"blacklist %s\"", name, setting.where,
					      name));
		setting = find_setting(INSTALL, name, NULL);
		if (setting.where && (strstr(setting.value, "/false") || strstr(setting.value, "/true")))
			report_problem(
				"install-command",
				format("sed -i '/^ *install  *%s/d' %s && modprobe %s", patterns[i], setting.where,
				       name),
				format("modprobe %s runs a command instead of loading it: %s has \"install %s %s\"",
				       name, setting.where, name, setting.value));
		for (size_t c = 0; c < 2; c++) {
			static const char * const parameters[] = { "module_blacklist", "modprobe.blacklist" };

			if (listed(parameters[c], name))
				report_problem("blacklisted",
					       format("remove %s from %s= in /etc/default/grub; update-grub && reboot",
						      name, parameters[c]),
					       format("the kernel's command line has %s=, which keeps %s from loading",
						      parameters[c], name));
		}
	}
}

void check_device(void)
{
	struct passwd *user = getpwuid(geteuid());
	struct stat device;
	bool half;

	begin_check("/dev/kvm");
	if (*host_root()) {
		skip_check("KVM_ONEREG_ROOT is set");
		return;
	}
	switch (host.access) {
	case KVM_ONE_REG:
		check_is_good("KVM_CAP_ONE_REG is 1");
		return;
	case KVM_NO_ONE_REG:
		check_is_good("KVM_CAP_ONE_REG is 0");
		return;
	case KVM_FORBIDDEN:
		report_problem("device-forbidden",
			       format("adduser %s kvm     # then log in again", user ? user->pw_name : "USER"),
			       format("this user may not open /dev/kvm"));
		return;
	case KVM_UNUSABLE:
		report_problem("device-unusable", format("rmmod %s kvm; modprobe %s", vendor_module(), vendor_module()),
			       format("/dev/kvm exists, but does not open or respond"));
		return;
	case KVM_ABSENT:
		break;
	}
	/* modprobe would load the vendor module of one set on top of the kvm of another */
	half = !host.running.as_resolved && (host.running.set == OURS || host.running.set == DISTRO);
	if (host.running.vendor && stat("/dev/kvm", &device))
		report_problem("device-missing",
			       "mknod -m 660 /dev/kvm c 10 232     # in a container: start it with --device /dev/kvm",
			       format("KVM is loaded, but /dev/kvm does not exist"));
	else if (!host.running.vendor && host.flags && (has_word(host.flags, "vmx") || has_word(host.flags, "svm")))
		report_problem("not-loaded",
			       half ? format("kvm-onereg swap %s", whose_names[host.running.set]) :
				      format("modprobe %s", vendor_module()),
			       format("%s is not loaded, so no VM can run", vendor_module()));
	else
		check_is_good("does not exist, because no vendor module is loaded");
}

void check_loaded(void)
{
	const struct running *running = &host.running;
	char *why, *names = "";

	begin_check("loaded modules");
	for (int i = 0; i < MODULES; i++)
		if (running->module[i].there)
			names = format("%s%s%s %s", names, *names ? ", " : "", loaded_names[i],
				       whose_names[running->module[i].whose]);
	if (running->set == MISSING) {
		check_is_good("none");
		return;
	}
	check_is_good(names);
	if (running->set == MIXED)
		report_problem("loaded-mixed", "kvm-onereg swap ours",
			       format("the loaded modules do not belong together: %s. VMs run, but without CET",
				      names));
	else if (running->set == FOREIGN)
		report_problem("loaded-foreign", "kvm-onereg swap distro",
			       format("the loaded KVM is neither the distro's nor ours"));
	if (running->set != MIXED && !running->as_resolved && host.kernel &&
	    (host.kernel->set == OURS || host.kernel->set == DISTRO)) {
		why = format("the loaded modules are not those on disk: %s%s is loaded%s%s, and modprobe would load %s",
			     whose_names[running->set],
			     running->set == OURS ? format(" %s", running->module[KVM].version) : "",
			     host.outlook.loaded_source ? ", built from " : "",
			     host.outlook.loaded_source ? host.outlook.loaded_source : "",
			     describe_kernel(host.kernel));
		report_problem("swap-pending",
			       host.outlook.upgraded	? "reboot     # the running kernel was upgraded on disk, too" :
			       host.kernel->set == OURS ? "kvm-onereg swap ours     # with no VM running; or reboot" :
							  "kvm-onereg swap distro     # with no VM running; or reboot",
			       why);
	}
}

/* The fix for the kernel's reason: a parameter "(MODULE.NAME)" that is off, our kvm, or another host */
static const char *cet_fix(const struct cet *cet)
{
	static const char again[] = "kvm-onereg swap distro && kvm-onereg swap ours";
	const char *prefix = format("(%s.", cet->module), *parameter = strstr(cet->reason, prefix);
	char *name;

	if (parameter) {
		name = format("%.*s", (int)strcspn(parameter, ")") - (int)strlen(prefix), parameter + strlen(prefix));
		return format("sed -i 's/ %s=[^ ]*//' /etc/modprobe.d/*.conf && %s", name, again);
	}
	if (strstr(cet->reason, "same package") || strstr(cet->reason, "same build"))
		return "kvm-onereg swap ours     # with no VM running";
	if (*cet->asked_in == '/')
		return format("sed -i '/kvm[-_]%s.*cet/d' %s     # this host cannot offer CET", cet->module + 4,
			      cet->asked_in);
	return format("remove %s.cet=1 from /etc/default/grub, then: update-grub     # this host cannot offer CET",
		      cet->module);
}

void check_cet(void)
{
	const struct cet *cet = &host.cet;
	const char *fix;
	char *remark;

	begin_check(format("CET (%s.cet)", cet->module));
	if (cet->invalid) {
		report_problem("cet-invalid",
			       format("sed -i 's/cet=%s/cet=1/' %s     # or cet=0", cet->invalid,
				      *cet->asked_in == '/' ? cet->asked_in : "/etc/default/grub && update-grub"),
			       format("%s says %s.cet=%s, which is neither yes nor no: %s does not load", cet->asked_in,
				      cet->module, cet->invalid, cet->module));
		return;
	}
	if (!cet->asked && cet->value == 'Y') {
		check_is_good("on, set by hand");
		remark = format("%s.cet is on, but %s: it was set when %s loaded, and is lost at the next load",
				cet->module,
				cet->asked_in ? format("%s says cet=0", cet->asked_in) :
						"neither modprobe.d nor the kernel's command line asks for it",
				cet->module);
		fix = format("echo 'options %s cet=1' >>/etc/modprobe.d/kvm-onereg.conf", cet->module);
		report_remark(remark, cet->asked_in ? NULL : fix);
		return;
	}
	if (!cet->asked) {
		check_is_good("not requested");
		return;
	}
	if (!host.running.module[cet->vendor].there) {
		check_is_good(format("requested in %s; %s is not loaded", cet->asked_in, cet->module));
		return;
	}
	if (cet->value == 'Y') {
		check_is_good("requested, and on");
		return;
	}
	if (!cet->value && host.running.set == NATIVE)
		report_remark(format("%s sets %s.cet: a kernel of " NATIVE_SINCE " or later has no such parameter",
				     cet->asked_in, cet->module),
			      NULL);
	else if (!cet->value)
		report_problem("cet-off", "kvm-onereg swap ours     # with no VM running",
			       format("%s asks for %s.cet=1, but the loaded %s has no such parameter", cet->asked_in,
				      cet->module, cet->module));
	else if (cet->reason)
		report_problem("cet-off", cet_fix(cet),
			       format("%s asks for %s.cet=1, but it is N. The kernel says: %s", cet->asked_in,
				      cet->module, cet->reason));
	else
		report_problem("cet-off",
			       "kvm-onereg swap distro && kvm-onereg swap ours     # loads it with the option",
			       format("%s asks for %s.cet=1, but it is N: the module was loaded before that was set",
				      cet->asked_in, cet->module));
}

void check_vmms(void)
{
	struct holders holders;
	int vms = 0, losing = 0;

	begin_check("VMMs and CET");
	if (!offers_cet(&host.cet, host.running.set == NATIVE)) {
		check_is_good("guests have no CET");
		return;
	}
	holders = who_holds_kvm();
	for (int i = 0; i < holders.processes; i++) {
		const struct holder *holder = &holders.process[i];
		struct vmm vmm;
		char *text;

		if (!holder->vms)
			continue;
		vms++;
		vmm = look_at_vmm(holder);
		text = describe_vmm(&vmm);
		if (!text)
			continue;
		losing += loses_cet(&vmm);
		text = format("%d %s%s: %s", holder->pid, holder->command,
			      holder->name ? format(" (%s)", holder->name) : "", text);
		if (loses_cet(&vmm))
			report_problem("vmm-loses-cet",
				       "shut this guest down instead of moving or saving it; see docs/cet-migration.md",
				       format("%s, and its guest has CET: a migration or snapshot breaks it", text));
		else
			report_remark(text, NULL);
	}
	if (!holders.complete)
		skip_check("not every process could be examined: run this as root");
	else if (!losing)
		check_is_good(vms ? format("%d VM%s", vms, vms == 1 ? "" : "s") : "no VM");
}

void check_swap(void)
{
	struct unfinished unfinished = look_at_unfinished();

	begin_check("swaps that keep guests");
	if (unfinished.there)
		report_problem("swap-interrupted", fix_unfinished(&unfinished), describe_unfinished(&unfinished));
	else if (unfinished.readable)
		check_is_good("none is interrupted");
	else
		skip_check("only root can see whether one is interrupted");
}

void check_disk(void)
{
	static const struct {
		const char *folder;
		unsigned long megabytes;
	} places[] = {
		{ "/var/lib/dkms", 100 }, { "/var/lib", 100 }, { "/usr/src", 2 },
		{ "/lib/modules", 30 },	  { "/tmp", 10 },
	};

	begin_check("disk space");
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		char *folder = rooted_path("%s", places[i].folder);
		struct statvfs fs;
		unsigned long free;

		if (statvfs(folder, &fs))
			continue;
		free = (unsigned long long)fs.f_bavail * fs.f_frsize >> 20;
		if (free < places[i].megabytes)
			report_problem("disk-full",
				       format("apt-get clean; apt-get autoremove --purge     # or see: du -xh %s",
					      places[i].folder),
				       format("%s has %lu MB free, but a build needs %lu", places[i].folder, free,
					      places[i].megabytes));
		else if (fs.f_files && !fs.f_favail)
			report_problem("disk-full", format("du -x --inodes %s | sort -n | tail", places[i].folder),
				       format("%s has no inodes left", places[i].folder));
		else if (fs.f_flag & ST_RDONLY && strcmp(places[i].folder, "/tmp"))
			report_problem("read-only", format("mount -o remount,rw %s", places[i].folder),
				       format("%s is read-only", places[i].folder));
	}
}
