// SPDX-License-Identifier: GPL-2.0
/* CET for guests. */
#include <cpuid.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/kernel-log.h"
#include "base/text.h"
#include "model/cet.h"
#include "model/configuration.h"
#include "model/module-file.h"

#define MSR_VMX_BASIC	    0x480
#define MSR_VMX_EXIT_CTLS   0x483
#define MSR_VMX_ENTRY_CTLS  0x484
#define BASIC_NO_ERROR_CODE (1ull << 56)
#define EXIT_LOAD_CET	    (1ull << (32 + 28))
#define ENTRY_LOAD_CET	    (1ull << (32 + 20))

/* As the kernel reads a bool; no value means yes */
static bool is_yes(const char *value)
{
	return !*value || strchr("yY1tT", *value) || !strncasecmp(value, "on", 2);
}

static bool is_no(const char *value)
{
	return strchr("nN0fF", *value) || !strncasecmp(value, "of", 2);
}

static void find_request(struct cet *cet)
{
	struct setting setting = find_setting(OPTIONS, cet->module, "cet");

	cet->asked_in = setting.where;
	cet->asked = setting.value && is_yes(setting.value);
	if (setting.value && !cet->asked && !is_no(setting.value))
		cet->invalid = setting.value;
}

static void ask_cpu_for_cet(struct cet *cet)
{
	char *flags = value_of(read_file("/proc/cpuinfo"), "flags", ":");
	unsigned int a, b, c, d;

	if (*host_root()) {
		/* A tree that stands for a host has no CPU */
		cet->shadow_stacks = has_word(flags, "user_shstk") ? YES : flags ? NO : UNKNOWN;
		cet->ibt = has_word(flags, "ibt") ? YES : flags ? NO : UNKNOWN;
		return;
	}
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		c = 0;
		d = 0;
	}
	cet->shadow_stacks = c & bit_SHSTK ? YES : NO;
	cet->ibt = d & bit_IBT ? YES : NO;
}

static bool read_msr(int fd, unsigned int msr, uint64_t *value)
{
	return pread(fd, value, sizeof(*value), msr) == sizeof(*value);
}

static enum answer ask_vmx(void)
{
	int fd = open(rooted_path("/dev/cpu/0/msr"), O_RDONLY | O_CLOEXEC);
	enum answer answer = UNKNOWN;
	uint64_t basic, exit, entry;

	if (fd < 0)
		return UNKNOWN;
	if (read_msr(fd, MSR_VMX_BASIC, &basic) && read_msr(fd, MSR_VMX_EXIT_CTLS, &exit) &&
	    read_msr(fd, MSR_VMX_ENTRY_CTLS, &entry))
		answer = basic & BASIC_NO_ERROR_CODE && exit & EXIT_LOAD_CET && entry & ENTRY_LOAD_CET ? YES : NO;
	close(fd);
	return answer;
}

struct cet look_at_cet(void)
{
	bool amd = has_word(value_of(read_file("/proc/cpuinfo"), "flags", ":"), "svm");
	struct cet cet = { .vendor = amd ? KVM_AMD : KVM_INTEL, .vmx = amd ? UNKNOWN : ask_vmx() };
	char *value;

	cet.module = amd ? "kvm_amd" : "kvm_intel";
	value = read_file("/sys/module/%s/parameters/cet", cet.module);
	find_request(&cet);
	ask_cpu_for_cet(&cet);
	if (value)
		cet.value = *value;
	if (cet.value == 'N')
		cet.reason = last_line(kernel_log(), "guests get no CET, although");
	return cet;
}

bool offers_cet(const struct cet *cet, bool native)
{
	return cet->value ? cet->value == 'Y' : native && cet->shadow_stacks == YES;
}

bool wants_cet(const struct cet *cet)
{
	return cet->asked || cet->value == 'Y';
}

const char *answer_name(enum answer answer)
{
	return answer == UNKNOWN ? "unknown" : answer == YES ? "yes" : "no";
}

static struct json_object *answer_json(enum answer answer)
{
	return answer == UNKNOWN ? NULL : json_object_new_boolean(answer == YES);
}

struct json_object *cet_json(const struct cet *cet)
{
	struct json_object *all = json_object_new_object();

	json_object_object_add(all, "parameter", json_object_new_string(format("%s.cet", cet->module)));
	json_object_object_add(all, "asked", json_object_new_boolean(cet->asked));
	json_object_object_add(all, "asked_in", cet->asked_in ? json_object_new_string(cet->asked_in) : NULL);
	json_object_object_add(all, "effective", cet->value ? json_object_new_boolean(cet->value == 'Y') : NULL);
	json_object_object_add(all, "cpu_shadow_stacks", answer_json(cet->shadow_stacks));
	json_object_object_add(all, "cpu_ibt", answer_json(cet->ibt));
	json_object_object_add(all, "cpu_vmx_controls", answer_json(cet->vmx));
	json_object_object_add(all, "reason", cet->reason ? json_object_new_string(cet->reason) : NULL);
	return all;
}
