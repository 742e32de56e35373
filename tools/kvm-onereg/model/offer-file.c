// SPDX-License-Identifier: GPL-2.0
/* Read and write the document. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/message.h"
#include "base/text.h"
#include "model/names.h"
#include "model/offer-file.h"
#include "model/offer-format.h"
#include "model/offer.h"

/* A file of a large host has 60 KiB */
#define LARGEST_FILE  (4 << 20)
#define LARGEST_ARRAY (1 << 16)
#define DEEPEST	      8

#define ADVICE "save it again: kvm-onereg preflight --save FILE"

/* Where in the document the reader is, for messages. */
struct place {
	const char *file, *part;
	size_t i;
};

static struct json_object *get(struct json_object *object, const char *key, enum json_type type, const struct place *at)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(object, json_type_object))
		die(STATUS_USAGE, ADVICE, "%s: damaged: %s[%zu] is not an object", at->file, at->part, at->i);
	if (!json_object_object_get_ex(object, key, &value) || !json_object_is_type(value, type))
		die(STATUS_USAGE, ADVICE, "%s: damaged: in %s[%zu], '%s' is missing or not of type %s", at->file,
		    at->part, at->i, key, json_type_to_name(type));
	return value;
}

/* Text that is safe for the terminal. NULL if it is missing, and may be. */
static const char *get_text(struct json_object *object, const char *key, bool optional, const struct place *at)
{
	struct json_object *value;

	if (optional && json_object_object_get_ex(object, key, &value) && !value)
		return NULL;
	value = get(object, key, json_type_string, at);
	json_object_set_string(value, printable_text(json_object_get_string(value)));
	return json_object_get_string(value);
}

static int int_at(struct json_object *object, const char *key, const struct place *at)
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
		die(STATUS_USAGE, ADVICE, "%s: damaged: %s[%zu] %s is not a number \"0x...\"", at->file, at->part,
		    at->i, key);
	number = strtoull(text, NULL, 16);
	if (number > most)
		die(STATUS_USAGE, ADVICE, "%s: damaged: %s[%zu] %s is too large", at->file, at->part, at->i, key);
	return number;
}

static __u64 number_at(struct json_object *object, const char *key, __u64 most, const struct place *at)
{
	return number_of(get(object, key, json_type_string, at), most, key, at);
}

/* Room for the members of an array, and their number. */
static void *get_array(struct json_object *json, struct place *at, const char *part, size_t size,
		       struct json_object **array, size_t *n)
{
	*at = (struct place) { at->file, "document", 0 };
	*array = get(json, part, json_type_array, at);
	at->part = part;
	*n = json_object_array_length(*array);
	if (*n > LARGEST_ARRAY)
		die(STATUS_USAGE, ADVICE, "%s: damaged: %s is too long", at->file, part);
	return allocate(*n + 1, size);
}

static struct leaf *read_leaves(struct json_object *json, struct place *at, const char *part, size_t *n)
{
	static const char * const names[] = { [EAX] = "eax", [EBX] = "ebx", [ECX] = "ecx", [EDX] = "edx" };
	struct json_object *array;
	struct leaf *list = get_array(json, at, part, sizeof(*list), &array, n);

	for (at->i = 0; at->i < *n; at->i++) {
		struct json_object *object = json_object_array_get_idx(array, at->i);
		struct leaf *leaf = &list[at->i];

		leaf->leaf = number_at(object, "leaf", UINT_MAX, at);
		leaf->subleaf = number_at(object, "subleaf", UINT_MAX, at);
		for (int r = EAX; r <= EDX; r++)
			leaf->reg[r] = number_at(object, names[r], UINT_MAX, at);
	}
	return list;
}

static void read_kvm(struct offer *offer, struct json_object *kvm, struct place *at)
{
	struct json_object *caps;

	at->part = "kvm";
	offer->kvm_version = get_text(kvm, "version", true, at);
	offer->one_reg = get_bool(kvm, "one_reg", at);
	if (offer->version >= 2) {
		offer->nested = get_text(kvm, "nested", true, at);
		offer->quirks = number_at(kvm, "quirks", ULLONG_MAX, at);
	}
	caps = get(kvm, "capabilities", json_type_object, at);
	at->part = "capabilities";
	offer->capabilities = allocate(json_object_object_length(caps) + 1, sizeof(*offer->capabilities));
	/* Nothing could be said about versions other than those known here */
	for (const struct known_capability *one = known_capabilities; one->name; one++) {
		if (!json_object_object_get_ex(caps, one->name, NULL))
			continue;
		offer->capabilities[offer->n_capabilities].name = one->name;
		offer->capabilities[offer->n_capabilities++].value = int_at(caps, one->name, at);
	}
}

/* The version of the format, which this command must know */
static int read_version(struct json_object *json, const struct place *at)
{
	struct json_object *format;
	int version;

	if (!json_object_is_type(json, json_type_object) || !json_object_object_get_ex(json, "format", &format) ||
	    !json_object_is_type(format, json_type_string) || strcmp(json_object_get_string(format), FORMAT))
		die(STATUS_USAGE, "name a file that \"kvm-onereg preflight --save FILE\" wrote",
		    "%s: not a file of preflight", at->file);
	version = int_at(json, "version", at);
	if (version > VERSION_NOW)
		die(STATUS_USAGE, "install the kvm-onereg-tools that wrote it, or a newer one",
		    "%s: written by a newer kvm-onereg, in version %d of the format; this one knows version %d",
		    at->file, version, VERSION_NOW);
	if (version < 1)
		die(STATUS_USAGE, ADVICE, "%s: damaged: version %d", at->file, version);
	return version;
}

static void read_msrs(struct offer *offer, struct json_object *json, struct place *at)
{
	struct json_object *object, *array;

	offer->features = get_array(json, at, "feature_msrs", sizeof(*offer->features), &array, &offer->n_features);
	for (at->i = 0; at->i < offer->n_features; at->i++) {
		object = json_object_array_get_idx(array, at->i);
		offer->features[at->i].index = number_at(object, "index", UINT_MAX, at);
		offer->features[at->i].value = number_at(object, "value", ULLONG_MAX, at);
	}
	offer->msrs = get_array(json, at, "msrs", sizeof(*offer->msrs), &array, &offer->n_msrs);
	for (at->i = 0; at->i < offer->n_msrs; at->i++)
		offer->msrs[at->i] = number_of(json_object_array_get_idx(array, at->i), UINT_MAX, "index", at);
	offer->registers = get_array(json, at, "kvm_defined_registers", sizeof(*offer->registers), &array,
				     &offer->n_registers);
	for (at->i = 0; at->i < offer->n_registers; at->i++)
		offer->registers[at->i] = number_of(json_object_array_get_idx(array, at->i), ULLONG_MAX, "id", at);
}

struct offer offer_read(struct json_object *json, const char *file)
{
	struct place at = { file, "document", 0 };
	struct offer offer = { .json = json };
	struct json_object *object;

	offer.version = read_version(json, &at);

	object = get(json, "host", json_type_object, &at);
	at.part = "host";
	offer.host = get_text(object, "name", false, &at);
	offer.date = get_text(object, "date", false, &at);
	offer.id = offer.version < 2 ? NULL : get_text(object, "id", true, &at);
	offer.system = get_text(object, "system", true, &at);
	offer.kernel = get_text(object, "kernel", false, &at);
	offer.kernel_version = get_text(object, "kernel_version", false, &at);

	at.part = "document";
	object = get(json, "cpu", json_type_object, &at);
	at.part = "cpu";
	offer.vendor = get_text(object, "vendor", false, &at);
	offer.cpu = get_text(object, "name", true, &at);
	offer.family = int_at(object, "family", &at);
	offer.model = int_at(object, "model", &at);
	offer.stepping = int_at(object, "stepping", &at);

	at.part = "document";
	read_kvm(&offer, get(json, "kvm", json_type_object, &at), &at);

	at.part = "document";
	object = get(json, "guest", json_type_object, &at);
	at.part = "guest";
	offer.why_no_cet = get_text(object, "why_no_cet", true, &at);
	offer.tsc_khz = int_at(object, "tsc_khz", &at);
	offer.tsc_scaling = get_bool(object, "tsc_scaling", &at);

	offer.cpuid = read_leaves(json, &at, "cpuid", &offer.n_cpuid);
	offer.emulated = read_leaves(json, &at, "emulated_cpuid", &offer.n_emulated);
	read_msrs(&offer, json, &at);
	return offer;
}

struct offer offer_load(const char *name)
{
	struct json_tokener *tokener = json_tokener_new_ex(DEEPEST);
	char *text = allocate(1, LARGEST_FILE + 1);
	struct json_object *json;
	enum json_tokener_error error;
	size_t n = 0;
	FILE *file;

	if (!tokener)
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
		die(STATUS_USAGE, "name a file that \"kvm-onereg preflight --save FILE\" wrote",
		    "%s: not a file of preflight: too large", name);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	json = json_tokener_parse_ex(tokener, text, n);
	error = json_tokener_get_error(tokener);
	if (error == json_tokener_continue)
		die(STATUS_USAGE, ADVICE, "%s: damaged: it ends too early, after %zu bytes", name, n);
	if (error != json_tokener_success)
		die(STATUS_USAGE, ADVICE, "%s: damaged, or not a file of preflight: %s at byte %zu", name,
		    json_tokener_error_desc(error), json_tokener_get_parse_end(tokener));
	json_tokener_free(tokener);
	return offer_read(json, name);
}

void offer_save(struct json_object *json, const char *name)
{
	char *target = realpath(name, NULL), *part;
	struct stat status;
	mode_t mask = umask(0);
	FILE *file;
	int fd;

	umask(mask);
	target = target ? keep_memory(target) : format("%s", name);
	if (!stat(target, &status) && !S_ISREG(status.st_mode))
		die(STATUS_USAGE, "\"kvm-onereg preflight --json\" prints it", "%s: not a regular file", name);
	part = format("%s.XXXXXX", target);
	fd = mkstemp(part);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		die(STATUS_CANNOT, NULL, "%s cannot be written: %m", name);
	fprintf(file, "%s\n",
		json_object_to_json_string_ext(json, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
							     JSON_C_TO_STRING_NOSLASHESCAPE));
	if (fflush(file) || ferror(file) || fchmod(fd, 0666 & ~mask) || fsync(fd) || rename(part, target)) {
		int error = errno;

		unlink(part);
		errno = error;
		die(STATUS_CANNOT, NULL, "%s cannot be written: %m", name);
	}
	fclose(file);
}
