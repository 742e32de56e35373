// SPDX-License-Identifier: GPL-2.0
/* Ask the KVM of this host what it offers guests. */
#include <cpuid.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/text.h"
#include "model/kvm.h"
#include "model/lists.h"
#include "model/names.h"
#include "model/offer-ask.h"
#include "model/offer-format.h"

#define REQUEST_GUEST_PERMISSION 0x1025 /* arch_prctl(2), ARCH_REQ_XCOMP_GUEST_PERM */
#define XTILE_DATA		 18

static void put(struct json_object *object, const char *key, struct json_object *value)
{
	json_object_object_add(object, key, value);
}

static void put_string(struct json_object *object, const char *key, const char *value)
{
	char *text = value && *value ? printable_text(value) : NULL;

	put(object, key, text ? json_object_new_string(text) : NULL);
}

/* The first line of a file, or NULL */
static char *line_of(const char *name)
{
	size_t size;
	char *line = (char *)read_bytes(name, &size);

	if (line)
		line[strcspn(line, "\n")] = 0;
	return line && size ? line : NULL;
}

static void put_line(struct json_object *object, const char *key, const char *name)
{
	put_string(object, key, line_of(name));
}

/*
 * Equal in two files of one host. It is derived from /etc/machine-id, which should not leave the host (machine-id(5)):
 * by FNV-1a, to half of the bits, so there is no way back.
 */
static char *host_id(void)
{
	const char *id = line_of("/etc/machine-id");
	__u64 hash = 0xcbf29ce484222325;

	for (const char *c = id ?: ""; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
	return id && *id ? format("%016llx", hash) : NULL;
}

static struct json_object *ask_host(void)
{
	struct json_object *host = json_object_new_object();
	struct utsname names;
	char *debian = line_of("/etc/debian_version"), *text, date[32];
	time_t now = time(NULL);

	uname(&names);
	put_string(host, "name", names.nodename);
	put_string(host, "id", host_id());
	strftime(date, sizeof(date), "%FT%TZ", gmtime(&now));
	put_string(host, "date", date);
	text = debian ? format("Debian %s", debian) : NULL;
	put_string(host, "system", text);
	put_string(host, "kernel", names.release);
	put_string(host, "kernel_version", names.version);
	return host;
}

static struct json_object *describe_cpu(void)
{
	struct json_object *cpu = json_object_new_object();
	unsigned int r[4] = {}, family, model;
	char vendor[13] = "", name[49] = "", *start = name;

	__get_cpuid(0, &r[0], &r[1], &r[2], &r[3]);
	memcpy(vendor, &r[1], 4);
	memcpy(vendor + 4, &r[3], 4);
	memcpy(vendor + 8, &r[2], 4);
	for (unsigned int i = 0; i < 3; i++)
		if (__get_cpuid(0x80000002 + i, &r[0], &r[1], &r[2], &r[3]))
			memcpy(name + 16 * i, r, 16);
	while (*start == ' ')
		start++;
	__get_cpuid(1, &r[0], &r[1], &r[2], &r[3]);
	family = r[0] >> 8 & 0xf;
	model = r[0] >> 4 & 0xf;
	if (family == 6 || family == 15)
		model |= r[0] >> 12 & 0xf0;
	if (family == 15)
		family += r[0] >> 20 & 0xff;
	put_string(cpu, "vendor", vendor);
	put(cpu, "family", json_object_new_int(family));
	put(cpu, "model", json_object_new_int(model));
	put(cpu, "stepping", json_object_new_int(r[0] & 0xf));
	put_string(cpu, "name", start);
	return cpu;
}

static struct json_object *ask_kvm(const struct vcpu *vcpu)
{
	struct json_object *kvm = json_object_new_object(), *caps = json_object_new_object();
	const char *nested;
	int quirks;

	/* Only kvm-onereg's modules have a version */
	put_line(kvm, "version", "/sys/module/kvm/version");
	put_line(kvm, "kvm_intel_version", "/sys/module/kvm_intel/version");
	put_line(kvm, "kvm_amd_version", "/sys/module/kvm_amd/version");
	put_line(kvm, "kvm_intel_cet", "/sys/module/kvm_intel/parameters/cet");
	put_line(kvm, "kvm_amd_cet", "/sys/module/kvm_amd/parameters/cet");
	nested = line_of("/sys/module/kvm_intel/parameters/nested");
	put_string(kvm, "nested", nested ?: line_of("/sys/module/kvm_amd/parameters/nested"));
	quirks = ioctl(vcpu->vm, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2);
	put(kvm, "quirks", json_hexadecimal(quirks > 0 ? quirks : 0));
	put(kvm, "one_reg", json_object_new_boolean(vcpu->one_reg));
	for (const struct known_capability *one = known_capabilities; one->name; one++)
		put(caps, one->name, json_object_new_int(ioctl(vcpu->vm, KVM_CHECK_EXTENSION, one->number)));
	put(kvm, "capabilities", caps);
	return kvm;
}

static __u64 mask_of(const struct kvm_cpuid2 *cpuid, __u32 subleaf)
{
	const struct kvm_cpuid_entry2 *leaf = cpuid_leaf(cpuid, 0xd, subleaf);

	if (!leaf)
		return 0;
	return subleaf ? leaf->ecx | (__u64)leaf->edx << 32 : leaf->eax | (__u64)leaf->edx << 32;
}

/* A readable form of what the rest of the file has */
static struct json_object *ask_guest(const struct vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *sizes = cpuid_leaf(vcpu->cpuid, 0x80000008, 0);
	struct json_object *guest = json_object_new_object();
	bool shadow_stacks = has_shadow_stacks(vcpu->cpuid);

	put(guest, "shadow_stacks", json_object_new_boolean(shadow_stacks));
	put(guest, "ibt", json_object_new_boolean(has_ibt(vcpu->cpuid)));
	put_string(guest, "why_no_cet", shadow_stacks ? NULL : why_no_cet());
	put(guest, "xcr0", json_hexadecimal(mask_of(vcpu->cpuid, 0)));
	put(guest, "xss", json_hexadecimal(mask_of(vcpu->cpuid, 1)));
	put(guest, "physical_address_bits", json_object_new_int(sizes ? sizes->eax & 0xff : 36));
	put(guest, "tsc_khz", json_object_new_int(ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0)));
	put(guest, "tsc_scaling",
	    json_object_new_boolean(ioctl(vcpu->kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0));
	return guest;
}

static struct json_object *leaves(const struct kvm_cpuid2 *cpuid)
{
	struct json_object *array = json_object_new_array();

	for (__u32 i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		struct json_object *leaf = json_object_new_object();

		put(leaf, "leaf", json_hexadecimal(entry->function));
		put(leaf, "subleaf", json_hexadecimal(entry->index));
		put(leaf, "eax", json_hexadecimal(entry->eax));
		put(leaf, "ebx", json_hexadecimal(entry->ebx));
		put(leaf, "ecx", json_hexadecimal(entry->ecx));
		put(leaf, "edx", json_hexadecimal(entry->edx));
		json_object_array_add(array, leaf);
	}
	return array;
}

static struct json_object *ask_emulated(int kvm)
{
	const unsigned int n = 256;
	struct kvm_cpuid2 *cpuid = allocate(1, sizeof(*cpuid) + n * sizeof(*cpuid->entries));

	cpuid->nent = n;
	if (ioctl(kvm, KVM_GET_EMULATED_CPUID, cpuid))
		die(STATUS_CANNOT, "kvm-onereg doctor", "KVM_GET_EMULATED_CPUID: %m");
	return leaves(cpuid);
}

static struct json_object *ask_features(int kvm)
{
	struct kvm_msr_list *list = msr_list(kvm, KVM_GET_MSR_FEATURE_INDEX_LIST);
	struct json_object *array = json_object_new_array();

	for (__u32 i = 0; i < list->nmsrs; i++) {
		union {
			struct kvm_msrs head;
			char room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
		} one = { .head.nmsrs = 1 };
		struct json_object *msr;

		one.head.entries[0].index = list->indices[i];
		/* KVM lists some that the CPU does not have */
		if (ioctl(kvm, KVM_GET_MSRS, &one) != 1)
			continue;
		msr = json_object_new_object();
		put(msr, "index", json_hexadecimal(list->indices[i]));
		put_string(msr, "name", msr_name(list->indices[i]));
		put(msr, "value", json_hexadecimal(one.head.entries[0].data));
		json_object_array_add(array, msr);
	}
	return array;
}

struct json_object *offer_ask(void)
{
	struct json_object *json = json_object_new_object(), *array;
	struct kvm_msr_list *msrs;
	struct vcpu vcpu;

	/* As QEMU does: without it KVM keeps the state of AMX from its guests. Fails where there is none. */
	syscall(SYS_arch_prctl, REQUEST_GUEST_PERMISSION, XTILE_DATA);
	vcpu = vcpu_create(false);

	put_string(json, "what", ABOUT);
	put_string(json, "format", FORMAT);
	put(json, "version", json_object_new_int(VERSION_NOW));
	put_string(json, "written_by", tools_version);
	put(json, "host", ask_host());
	put(json, "cpu", describe_cpu());
	put(json, "kvm", ask_kvm(&vcpu));
	put(json, "guest", ask_guest(&vcpu));

	array = json_object_new_array();
	if (vcpu.one_reg) {
		struct kvm_reg_list *list = register_list(&vcpu);

		for (__u64 i = 0; i < list->n; i++)
			json_object_array_add(array, json_hexadecimal(list->reg[i]));
	}
	put(json, "kvm_defined_registers", array);
	put(json, "cpuid", leaves(vcpu.cpuid));
	put(json, "emulated_cpuid", ask_emulated(vcpu.kvm));
	put(json, "feature_msrs", ask_features(vcpu.kvm));
	msrs = msr_list(vcpu.kvm, KVM_GET_MSR_INDEX_LIST);
	array = json_object_new_array();
	for (__u32 i = 0; i < msrs->nmsrs; i++)
		json_object_array_add(array, json_hexadecimal(msrs->indices[i]));
	put(json, "msrs", array);
	vcpu_close(&vcpu);
	return json;
}
