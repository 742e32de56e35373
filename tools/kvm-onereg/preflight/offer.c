// SPDX-License-Identifier: GPL-2.0
/* What a host offers a guest that matters for migration: ask KVM for it, write and read the file. */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/message.h"
#include "base/text.h"
#include "model/kvm.h"
#include "model/lists.h"
#include "model/names.h"
#include "preflight/offer.h"

#define FORMAT		"kvm-onereg preflight"
#define ABOUT \
	"What the KVM of a host offers guests that matters for migration. To compare: kvm-onereg preflight --compare FILE"
#define VERSION_NOW	1
/* A file of a large host has 60 KiB */
#define LARGEST_FILE	(4 << 20)
#define LARGEST_ARRAY	(1 << 16)
#define DEEPEST		8

#define REQUEST_GUEST_PERMISSION	0x1025	/* arch_prctl(2), ARCH_REQ_XCOMP_GUEST_PERM */
#define XTILE_DATA	18

/* What QEMU's migration stream is made of, or depends on. */
#define CAP(name)	{ #name, name }
static const struct {
	const char *name;
	int number;
} capabilities[] = {
	CAP(KVM_CAP_IRQCHIP), CAP(KVM_CAP_SPLIT_IRQCHIP), CAP(KVM_CAP_X2APIC_API), CAP(KVM_CAP_PIT_STATE2),
	CAP(KVM_CAP_MP_STATE), CAP(KVM_CAP_ADJUST_CLOCK), CAP(KVM_CAP_VCPU_EVENTS), CAP(KVM_CAP_EXCEPTION_PAYLOAD),
	CAP(KVM_CAP_X86_TRIPLE_FAULT_EVENT), CAP(KVM_CAP_DEBUGREGS), CAP(KVM_CAP_XCRS), CAP(KVM_CAP_XSAVE),
	CAP(KVM_CAP_XSAVE2), CAP(KVM_CAP_SREGS2), CAP(KVM_CAP_NESTED_STATE), CAP(KVM_CAP_X86_SMM), CAP(KVM_CAP_MCE),
	CAP(KVM_CAP_GET_TSC_KHZ), CAP(KVM_CAP_TSC_CONTROL), CAP(KVM_CAP_TSC_DEADLINE_TIMER), CAP(KVM_CAP_ASYNC_PF),
	CAP(KVM_CAP_ASYNC_PF_INT), CAP(KVM_CAP_STEAL_TIME), CAP(KVM_CAP_HYPERV), CAP(KVM_CAP_HYPERV_SYNIC2),
	CAP(KVM_CAP_VAPIC), CAP(KVM_CAP_MAX_VCPUS), CAP(KVM_CAP_ONE_REG),
};

/* ---- asking */

static void put(struct json_object *object, const char *key, struct json_object *value)
{
	json_object_object_add(object, key, value);
}

/* ASCII, without control characters */
static char *cleaned(const char *text)
{
	char *copy = format("%.200s", text);

	for (char *c = copy; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return copy;
}

static void put_string(struct json_object *object, const char *key, const char *value)
{
	char *text = value && *value ? cleaned(value) : NULL;

	put(object, key, text ? json_object_new_string(text) : NULL);
	free(text);
}

static struct json_object *hexadecimal(__u64 number)
{
	char text[20];

	snprintf(text, sizeof(text), "0x%llx", number);
	return json_object_new_string(text);
}

/* The first line of a file, or NULL. To be freed. */
static char *line_of(const char *name)
{
	FILE *file = fopen(name, "r");
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return NULL;
	if (getline(&line, &size, file) < 0) {
		free(line);
		line = NULL;
	}
	fclose(file);
	if (line)
		line[strcspn(line, "\n")] = 0;
	return line;
}

static void put_line(struct json_object *object, const char *key, const char *name)
{
	char *line = line_of(name);

	put_string(object, key, line);
	free(line);
}

static struct json_object *ask_host(void)
{
	struct json_object *host = json_object_new_object();
	struct utsname names;
	char *debian = line_of("/etc/debian_version"), *text, date[32];
	time_t now = time(NULL);

	uname(&names);
	put_string(host, "name", names.nodename);
	strftime(date, sizeof(date), "%FT%TZ", gmtime(&now));
	put_string(host, "date", date);
	text = debian ? format("Debian %s", debian) : NULL;
	put_string(host, "system", text);
	free(text);
	free(debian);
	put_string(host, "kernel", names.release);
	put_string(host, "kernel_version", names.version);
	return host;
}

static struct json_object *ask_cpu(void)
{
	struct json_object *cpu = json_object_new_object();
	unsigned int r[4] = { }, family, model;
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

	/* Only kvm-onereg's modules have a version */
	put_line(kvm, "version", "/sys/module/kvm/version");
	put_line(kvm, "kvm_intel_version", "/sys/module/kvm_intel/version");
	put_line(kvm, "kvm_amd_version", "/sys/module/kvm_amd/version");
	put_line(kvm, "kvm_intel_cet", "/sys/module/kvm_intel/parameters/cet");
	put(kvm, "one_reg", json_object_new_boolean(vcpu->one_reg));
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(*capabilities); i++)
		put(caps, capabilities[i].name, json_object_new_int(ioctl(vcpu->vm, KVM_CHECK_EXTENSION, capabilities[i].number)));
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

/* What the rest of the file says in a way that is hard to read */
static struct json_object *ask_guest(const struct vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *sizes = cpuid_leaf(vcpu->cpuid, 0x80000008, 0);
	struct json_object *guest = json_object_new_object();
	bool shadow_stacks = has_shadow_stacks(vcpu->cpuid);

	put(guest, "shadow_stacks", json_object_new_boolean(shadow_stacks));
	put(guest, "ibt", json_object_new_boolean(has_ibt(vcpu->cpuid)));
	put_string(guest, "why_no_cet", shadow_stacks ? NULL : why_no_cet());
	put(guest, "xcr0", hexadecimal(mask_of(vcpu->cpuid, 0)));
	put(guest, "xss", hexadecimal(mask_of(vcpu->cpuid, 1)));
	put(guest, "physical_address_bits", json_object_new_int(sizes ? sizes->eax & 0xff : 36));
	put(guest, "tsc_khz", json_object_new_int(ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0)));
	put(guest, "tsc_scaling", json_object_new_boolean(ioctl(vcpu->kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0));
	return guest;
}

static struct json_object *leaves(const struct kvm_cpuid2 *cpuid)
{
	struct json_object *array = json_object_new_array();

	for (__u32 i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		struct json_object *leaf = json_object_new_object();

		put(leaf, "leaf", hexadecimal(entry->function));
		put(leaf, "subleaf", hexadecimal(entry->index));
		put(leaf, "eax", hexadecimal(entry->eax));
		put(leaf, "ebx", hexadecimal(entry->ebx));
		put(leaf, "ecx", hexadecimal(entry->ecx));
		put(leaf, "edx", hexadecimal(entry->edx));
		json_object_array_add(array, leaf);
	}
	return array;
}

static struct json_object *ask_emulated(int kvm)
{
	const unsigned int n = 256;
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + n * sizeof(*cpuid->entries));
	struct json_object *array;

	if (!cpuid)
		die(STATUS_CANNOT, NULL, "no memory");
	cpuid->nent = n;
	if (ioctl(kvm, KVM_GET_EMULATED_CPUID, cpuid))
		die(STATUS_CANNOT, "kvm-onereg doctor", "KVM_GET_EMULATED_CPUID: %m");
	array = leaves(cpuid);
	free(cpuid);
	return array;
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
		/* Of those that the CPU does not have, KVM lists some */
		if (ioctl(kvm, KVM_GET_MSRS, &one) != 1)
			continue;
		msr = json_object_new_object();
		put(msr, "index", hexadecimal(list->indices[i]));
		put_string(msr, "name", msr_name(list->indices[i]));
		put(msr, "value", hexadecimal(one.head.entries[0].data));
		json_object_array_add(array, msr);
	}
	free(list);
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
	put(json, "cpu", ask_cpu());
	put(json, "kvm", ask_kvm(&vcpu));
	put(json, "guest", ask_guest(&vcpu));

	array = json_object_new_array();
	if (vcpu.one_reg) {
		struct kvm_reg_list *list = register_list(&vcpu);

		for (__u64 i = 0; i < list->n; i++)
			json_object_array_add(array, hexadecimal(list->reg[i]));
		free(list);
	}
	put(json, "kvm_defined_registers", array);
	put(json, "cpuid", leaves(vcpu.cpuid));
	put(json, "emulated_cpuid", ask_emulated(vcpu.kvm));
	put(json, "feature_msrs", ask_features(vcpu.kvm));
	msrs = msr_list(vcpu.kvm, KVM_GET_MSR_INDEX_LIST);
	array = json_object_new_array();
	for (__u32 i = 0; i < msrs->nmsrs; i++)
		json_object_array_add(array, hexadecimal(msrs->indices[i]));
	free(msrs);
	put(json, "msrs", array);
	vcpu_close(&vcpu);
	return json;
}

/* ---- reading */

#define ADVICE	"save it again: kvm-onereg preflight --save FILE"

/* Where in the document the reader is, for messages. */
struct place {
	const char *file, *part;
	size_t i;
};

static struct json_object *get(struct json_object *object, const char *key, enum json_type type, const struct place *at)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(object, json_type_object))
		die(STATUS_USAGE, ADVICE, "%s: damaged: %s[%zu] is no object", at->file, at->part, at->i);
	if (!json_object_object_get_ex(object, key, &value) || !json_object_is_type(value, type))
		die(STATUS_USAGE, ADVICE, "%s: damaged: in %s[%zu], '%s' is missing or no %s", at->file, at->part, at->i, key,
		    json_type_to_name(type));
	return value;
}

/* Text for the terminal: nothing in it controls it. NULL if it may be missing and is. */
static const char *get_text(struct json_object *object, const char *key, bool optional, const struct place *at)
{
	struct json_object *value;
	char *text;

	if (optional && json_object_object_get_ex(object, key, &value) && !value)
		return NULL;
	value = get(object, key, json_type_string, at);
	text = cleaned(json_object_get_string(value));
	json_object_set_string(value, text);
	free(text);
	return json_object_get_string(value);
}

static int get_int(struct json_object *object, const char *key, const struct place *at)
{
	__s64 number = json_object_get_int64(get(object, key, json_type_int, at));

	if (number < INT_MIN || number > INT_MAX)
		die(STATUS_USAGE, ADVICE, "%s: damaged: %s '%s' is out of range", at->file, at->part, key);
	return number;
}

static bool get_bool(struct json_object *object, const char *key, const struct place *at)
{
	return json_object_get_boolean(get(object, key, json_type_boolean, at));
}

static __u64 number_of(struct json_object *value, __u64 most, const char *key, const struct place *at)
{
	const char *text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
	size_t n = strlen(text);
	__u64 number;

	if (n < 3 || n > 18 || strncmp(text, "0x", 2) || strspn(text + 2, "0123456789abcdef") != n - 2)
		die(STATUS_USAGE, ADVICE, "%s: damaged: %s[%zu] %s is no number \"0x...\"", at->file, at->part, at->i, key);
	number = strtoull(text, NULL, 16);
	if (number > most)
		die(STATUS_USAGE, ADVICE, "%s: damaged: %s[%zu] %s is too large", at->file, at->part, at->i, key);
	return number;
}

static __u64 get_number(struct json_object *object, const char *key, __u64 most, const struct place *at)
{
	return number_of(get(object, key, json_type_string, at), most, key, at);
}

/* Room for the members of an array, and their number. */
static void *get_array(struct json_object *json, struct place *at, const char *part, size_t size,
		       struct json_object **array, size_t *n)
{
	void *room;

	*at = (struct place) { at->file, "document", 0 };
	*array = get(json, part, json_type_array, at);
	at->part = part;
	*n = json_object_array_length(*array);
	if (*n > LARGEST_ARRAY)
		die(STATUS_USAGE, ADVICE, "%s: damaged: %s is too long", at->file, part);
	room = calloc(*n + 1, size);
	if (!room)
		die(STATUS_CANNOT, NULL, "no memory");
	return room;
}

static struct leaf *read_leaves(struct json_object *json, struct place *at, const char *part, size_t *n)
{
	static const char *const names[] = { [EAX] = "eax", [EBX] = "ebx", [ECX] = "ecx", [EDX] = "edx" };
	struct json_object *array;
	struct leaf *list = get_array(json, at, part, sizeof(*list), &array, n);

	for (at->i = 0; at->i < *n; at->i++) {
		struct json_object *object = json_object_array_get_idx(array, at->i);
		struct leaf *leaf = &list[at->i];

		leaf->leaf = get_number(object, "leaf", UINT_MAX, at);
		leaf->subleaf = get_number(object, "subleaf", UINT_MAX, at);
		for (int r = EAX; r <= EDX; r++)
			leaf->reg[r] = get_number(object, names[r], UINT_MAX, at);
	}
	return list;
}

static void read_kvm(struct offer *offer, struct json_object *kvm, struct place *at)
{
	struct json_object *caps;

	at->part = "kvm";
	offer->kvm_version = get_text(kvm, "version", true, at);
	offer->one_reg = get_bool(kvm, "one_reg", at);
	caps = get(kvm, "capabilities", json_type_object, at);
	at->part = "capabilities";
	offer->capabilities = calloc(json_object_object_length(caps) + 1, sizeof(*offer->capabilities));
	if (!offer->capabilities)
		die(STATUS_CANNOT, NULL, "no memory");
	/* Of others than those known here nothing could be said */
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(*capabilities); i++) {
		if (!json_object_object_get_ex(caps, capabilities[i].name, NULL))
			continue;
		offer->capabilities[offer->n_capabilities].name = capabilities[i].name;
		offer->capabilities[offer->n_capabilities++].value = get_int(caps, capabilities[i].name, at);
	}
}

struct offer offer_read(struct json_object *json, const char *file)
{
	struct place at = { file, "document", 0 };
	struct offer offer = { .json = json };
	struct json_object *object, *array;
	int format_version;

	if (!json_object_is_type(json, json_type_object) || !json_object_object_get_ex(json, "format", &object) ||
	    !json_object_is_type(object, json_type_string) || strcmp(json_object_get_string(object), FORMAT))
		die(STATUS_USAGE, "name a file that \"kvm-onereg preflight --save FILE\" wrote", "%s: not a file of preflight", file);
	format_version = get_int(json, "version", &at);
	if (format_version > VERSION_NOW)
		die(STATUS_USAGE, "install the kvm-onereg-tools that wrote it, or a newer one",
		    "%s: written by a newer kvm-onereg, in version %d of the format; this one knows version %d", file, format_version,
		    VERSION_NOW);
	if (format_version < 1)
		die(STATUS_USAGE, ADVICE, "%s: damaged: version %d", file, format_version);

	object = get(json, "host", json_type_object, &at);
	at.part = "host";
	offer.host = get_text(object, "name", false, &at);
	offer.system = get_text(object, "system", true, &at);
	offer.kernel = get_text(object, "kernel", false, &at);
	offer.kernel_version = get_text(object, "kernel_version", false, &at);

	at.part = "document";
	object = get(json, "cpu", json_type_object, &at);
	at.part = "cpu";
	offer.vendor = get_text(object, "vendor", false, &at);
	offer.cpu = get_text(object, "name", true, &at);
	offer.family = get_int(object, "family", &at);
	offer.model = get_int(object, "model", &at);
	offer.stepping = get_int(object, "stepping", &at);

	at.part = "document";
	read_kvm(&offer, get(json, "kvm", json_type_object, &at), &at);

	at.part = "document";
	object = get(json, "guest", json_type_object, &at);
	at.part = "guest";
	offer.why_no_cet = get_text(object, "why_no_cet", true, &at);
	offer.tsc_khz = get_int(object, "tsc_khz", &at);
	offer.tsc_scaling = get_bool(object, "tsc_scaling", &at);

	offer.cpuid = read_leaves(json, &at, "cpuid", &offer.n_cpuid);
	offer.emulated = read_leaves(json, &at, "emulated_cpuid", &offer.n_emulated);
	offer.features = get_array(json, &at, "feature_msrs", sizeof(*offer.features), &array, &offer.n_features);
	for (at.i = 0; at.i < offer.n_features; at.i++) {
		object = json_object_array_get_idx(array, at.i);
		offer.features[at.i].index = get_number(object, "index", UINT_MAX, &at);
		offer.features[at.i].value = get_number(object, "value", ULLONG_MAX, &at);
	}
	offer.msrs = get_array(json, &at, "msrs", sizeof(*offer.msrs), &array, &offer.n_msrs);
	for (at.i = 0; at.i < offer.n_msrs; at.i++)
		offer.msrs[at.i] = number_of(json_object_array_get_idx(array, at.i), UINT_MAX, "index", &at);
	offer.registers = get_array(json, &at, "kvm_defined_registers", sizeof(*offer.registers), &array, &offer.n_registers);
	for (at.i = 0; at.i < offer.n_registers; at.i++)
		offer.registers[at.i] = number_of(json_object_array_get_idx(array, at.i), ULLONG_MAX, "id", &at);
	return offer;
}

struct offer offer_load(const char *name)
{
	struct json_tokener *tokener = json_tokener_new_ex(DEEPEST);
	char *text = malloc(LARGEST_FILE + 1);
	struct json_object *json;
	enum json_tokener_error error;
	size_t n = 0;
	FILE *file;

	if (!tokener || !text)
		die(STATUS_CANNOT, NULL, "no memory");
	file = fopen(name, "re");
	if (!file)
		die(STATUS_USAGE, NULL, "%s: %m", name);
	n = fread(text, 1, LARGEST_FILE + 1, file);
	if (ferror(file))
		die(STATUS_USAGE, NULL, "%s: %m", name);
	fclose(file);
	if (!n)
		die(STATUS_USAGE, ADVICE, "%s: the file is empty", name);
	if (n > LARGEST_FILE)
		die(STATUS_USAGE, "name a file that \"kvm-onereg preflight --save FILE\" wrote", "%s: not a file of preflight: too large", name);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	json = json_tokener_parse_ex(tokener, text, n);
	error = json_tokener_get_error(tokener);
	if (error == json_tokener_continue)
		die(STATUS_USAGE, ADVICE, "%s: damaged: it ends too early, after %zu bytes", name, n);
	if (error != json_tokener_success)
		die(STATUS_USAGE, ADVICE, "%s: damaged, or not a file of preflight: %s at byte %zu", name, json_tokener_error_desc(error),
		    json_tokener_get_parse_end(tokener));
	json_tokener_free(tokener);
	free(text);
	return offer_read(json, name);
}

void offer_free(struct offer *offer)
{
	json_object_put(offer->json);
	free(offer->cpuid);
	free(offer->emulated);
	free(offer->features);
	free(offer->capabilities);
	free(offer->msrs);
	free(offer->registers);
}

void offer_save(struct json_object *json, const char *name)
{
	char *target = realpath(name, NULL), *part;
	struct stat status;
	mode_t mask = umask(0);
	FILE *file;
	int fd;

	umask(mask);
	if (!target)
		target = format("%s", name);
	if (!stat(target, &status) && !S_ISREG(status.st_mode))
		die(STATUS_USAGE, "\"kvm-onereg preflight --json\" prints it", "%s: not a regular file", name);
	part = format("%s.XXXXXX", target);
	fd = mkstemp(part);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		die(STATUS_CANNOT, NULL, "%s cannot be written: %m", name);
	fprintf(file, "%s\n", json_object_to_json_string_ext(json, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
							     JSON_C_TO_STRING_NOSLASHESCAPE));
	if (fflush(file) || ferror(file) || fchmod(fd, 0666 & ~mask) || fsync(fd) || rename(part, target)) {
		int error = errno;

		unlink(part);
		errno = error;
		die(STATUS_CANNOT, NULL, "%s cannot be written: %m", name);
	}
	fclose(file);
	free(part);
	free(target);
}

/* ---- looking up */

struct leaf offer_leaf(const struct offer *offer, __u32 leaf, __u32 subleaf)
{
	for (size_t i = 0; i < offer->n_cpuid; i++)
		if (offer->cpuid[i].leaf == leaf && offer->cpuid[i].subleaf == subleaf)
			return offer->cpuid[i];
	return (struct leaf) { .leaf = leaf, .subleaf = subleaf };
}

bool offer_bit(const struct offer *offer, __u32 leaf, __u32 subleaf, enum cpuid_register which, unsigned int bit)
{
	return offer_leaf(offer, leaf, subleaf).reg[which] >> bit & 1;
}

__u64 offer_xcr0(const struct offer *offer)
{
	struct leaf leaf = offer_leaf(offer, 0xd, 0);

	return leaf.reg[EAX] | (__u64)leaf.reg[EDX] << 32;
}

__u64 offer_xss(const struct offer *offer)
{
	struct leaf leaf = offer_leaf(offer, 0xd, 1);

	return leaf.reg[ECX] | (__u64)leaf.reg[EDX] << 32;
}
