// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg regs: the registers of a temporary vCPU, through ONE_REG. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/options.h"
#include "base/text.h"
#include "model/kvm.h"
#include "model/lists.h"
#include "model/names.h"
#include "model/series.h"
#include "regs.h"

#define ID_TYPE(id) ((unsigned int)((id) >> 32 & 0xff))
/* Of 8 bytes, as all that there are today; KVM tells whether it has it. */
#define KVM_DEFINED(index) (KVM_X86_REG_KVM(KVM_REG_GUEST_SSP) - KVM_REG_GUEST_SSP + (index))

#define WIDEST_NAME 29

struct reg {
	__u64 id, value;
	int error; /* of reading */
	bool settable;
	const char *asked; /* how the user named it, NULL if KVM lists it */
};

static struct reg *regs;
static size_t n_regs, room;

static void add_register(__u64 id, const char *asked)
{
	if (n_regs == room) {
		room = room ? 2 * room : 64;
		regs = enlarged(regs, n_regs, room - n_regs, sizeof(*regs));
	}
	regs[n_regs++] = (struct reg) { .id = id, .asked = asked };
}

static const char *name_of_register(__u64 id)
{
	const char *name = NULL;

	if (ID_TYPE(id) == KVM_X86_REG_TYPE_MSR)
		name = msr_name(id);
	else if (ID_TYPE(id) == KVM_X86_REG_TYPE_KVM)
		name = kvm_register_name(id);
	return name ? name : "-";
}

static bool parse_number(const char *text, __u64 *number)
{
	char *end;

	if (text[0] != '0' || (text[1] != 'x' && text[1] != 'X') || !strchr("0123456789abcdefABCDEF", text[2]) ||
	    !text[2])
		return false;
	errno = 0;
	*number = strtoull(text, &end, 16);
	return !*end && !errno;
}

/* MSR, NAME, kvm:NAME, 0xINDEX, msr:INDEX or a whole id */
static __u64 parse(const char *text)
{
	bool kvm = !strncasecmp(text, "kvm:", 4), msr = !strncasecmp(text, "msr:", 4);
	const char *name = kvm || msr ? text + 4 : text;
	__u64 number;
	__u32 index;
	char *like;

	if (parse_number(name, &number)) {
		if (number > 0xffffffff && (kvm || msr))
			usage_error("regs", "'%s': an index has 32 bits", text);
		if (number > 0xffffffff)
			return number;
		return kvm ? KVM_DEFINED(number) : KVM_X86_REG_MSR(number);
	}
	if (!kvm && msr_find(name, &index))
		return KVM_X86_REG_MSR(index);
	if (!msr && kvm_register_find(name, &index))
		return KVM_DEFINED(index);
	if (*name >= '0' && *name <= '9')
		usage_error("regs", "'%s' is not a number: write 0x and hexadecimal digits, up to 64 bits", text);
	like = names_like(name);
	if (like)
		usage_error("regs", "no register is called '%s'; the nearest: %s", text, like);
	usage_error("regs", "no register is called '%s'; \"kvm-onereg regs --names\" lists the names", text);
}

static int by_id(const void *a, const void *b)
{
	__u64 x = ((const struct reg *)a)->id, y = ((const struct reg *)b)->id;

	return x < y ? -1 : x > y;
}

static void add_lists(const struct vcpu *vcpu, bool features)
{
	struct kvm_msr_list *msrs = msr_list(vcpu->kvm, KVM_GET_MSR_INDEX_LIST);
	struct kvm_reg_list *list = register_list(vcpu);
	size_t n = 0;

	for (__u32 i = 0; i < msrs->nmsrs; i++)
		add_register(KVM_X86_REG_MSR(msrs->indices[i]), NULL);
	for (__u64 i = 0; i < list->n; i++)
		add_register(list->reg[i], NULL);
	if (features) {
		msrs = msr_list(vcpu->kvm, KVM_GET_MSR_FEATURE_INDEX_LIST);
		for (__u32 i = 0; i < msrs->nmsrs; i++)
			add_register(KVM_X86_REG_MSR(msrs->indices[i]), NULL);
	}
	/* Some are on both lists */
	qsort(regs, n_regs, sizeof(*regs), by_id);
	for (size_t i = 0; i < n_regs; i++)
		if (!n || regs[i].id != regs[n - 1].id)
			regs[n++] = regs[i];
	n_regs = n;
}

static void read_all(const struct vcpu *vcpu)
{
	for (size_t i = 0; i < n_regs; i++)
		regs[i].error = vcpu_get(vcpu, regs[i].id, &regs[i].value);
	/* Only afterwards, because a write to one may change the value of another */
	for (size_t i = 0; i < n_regs; i++)
		regs[i].settable = !regs[i].error && !vcpu_set(vcpu, regs[i].id, regs[i].value);
}

static char *reason(const struct vcpu *vcpu, const struct reg *reg, bool bare)
{
	if (reg->error != EINVAL)
		return format("%s", strerror(reg->error));
	if (reg->id == KVM_DEFINED(KVM_REG_GUEST_SSP)) {
		if (bare)
			return format("not a register of this vCPU: without CPUID (--bare) it has no shadow stacks");
		if (!has_shadow_stacks(vcpu->cpuid))
			return format("not a register of this vCPU, because guests have no shadow stacks here: %s",
				      why_no_cet());
	}
	if (ID_TYPE(reg->id) == KVM_X86_REG_TYPE_MSR && reg->id == KVM_X86_REG_MSR((__u32)reg->id))
		return format(
			"not a register of this vCPU: %s",
			bare ? "it has few registers without CPUID (--bare)" :
			       "this KVM does not have the MSR, or only with a feature that guests cannot have here");
	return format("not a register of this vCPU: the id is malformed, or KVM defines no such register");
}

static const char *type_of(__u64 id)
{
	static char number[8];

	if (ID_TYPE(id) == KVM_X86_REG_TYPE_MSR)
		return "msr";
	if (ID_TYPE(id) == KVM_X86_REG_TYPE_KVM)
		return "kvm";
	snprintf(number, sizeof(number), "%u", ID_TYPE(id));
	return number;
}

static void print_text(void)
{
	size_t width = 4;
	bool missing = false;

	/* 80 columns; the few names that are longer move what follows */
	for (size_t i = 0; i < n_regs; i++)
		if (strlen(name_of_register(regs[i].id)) > width && width < WIDEST_NAME)
			width = strlen(name_of_register(regs[i].id));
	if (width > WIDEST_NAME)
		width = WIDEST_NAME;
	printf("%s%-18s  %-4s  %-*s  %-18s  %s%s\n", colour(BOLD), "ID", "TYPE", (int)width, "NAME", "VALUE", "SET",
	       colour(PLAIN));
	for (size_t i = 0; i < n_regs; i++) {
		const struct reg *reg = &regs[i];

		printf("0x%016llx  %-4s  %-*s  ", reg->id, type_of(reg->id), (int)width, name_of_register(reg->id));
		if (reg->error)
			printf("%s%-18s%s  -\n", colour(YELLOW), strerrorname_np(reg->error), colour(PLAIN));
		else
			printf("0x%016llx  %s\n", reg->value, reg->settable ? "yes" : "no");
		missing |= reg->error == EINVAL && !reg->asked;
	}
	if (missing)
		printf("\nEINVAL: KVM lists the MSR, but this vCPU does not have it: it lacks the feature\n"
		       "that the MSR belongs to, or an APIC.\n");
}

static void print_as_json(const struct vcpu *vcpu, bool bare)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < n_regs; i++) {
		const struct reg *reg = &regs[i];
		struct json_object *object = json_object_new_object();
		const char *name = name_of_register(reg->id);

		json_object_object_add(object, "id", json_hexadecimal(reg->id));
		json_object_object_add(object, "type", json_object_new_string(type_of(reg->id)));
		json_object_object_add(object, "index", json_hexadecimal((__u32)reg->id));
		json_object_object_add(object, "name", strcmp(name, "-") ? json_object_new_string(name) : NULL);
		json_object_object_add(object, "value", reg->error ? NULL : json_hexadecimal(reg->value));
		json_object_object_add(object, "settable", reg->error ? NULL : json_object_new_boolean(reg->settable));
		if (reg->error) {
			char *text = reason(vcpu, reg, bare);

			json_object_object_add(object, "error", json_object_new_string(strerrorname_np(reg->error)));
			json_object_object_add(object, "reason", json_object_new_string(text));
		}
		json_object_array_add(array, object);
	}
	print_json(array);
}

static const char help[] = "usage: kvm-onereg regs [OPTION]... [REGISTER]...\n\n"
			   "Prints the registers of a temporary vCPU with all features that KVM offers, read\n"
			   "with KVM_GET_ONE_REG. SET says whether KVM accepts the same value back. Without\n"
			   "REGISTER: all MSRs that KVM lists, and the KVM-defined registers of the vCPU.\n\n"
			   "REGISTER is\n"
			   "  NAME           an MSR: IA32_TSC, TSC or MSR_IA32_TSC; case does not matter\n"
			   "  kvm:NAME       a KVM-defined register, such as kvm:GUEST_SSP\n"
			   "  0xINDEX        an MSR by its number; also msr:0xINDEX, kvm:0xINDEX\n"
			   "  0x2030...      an id of 64 bits, as KVM_GET_ONE_REG takes it\n\n"
			   "  --bare         use a vCPU without CPUID\n"
			   "  --features     without REGISTER: also the MSRs that describe features\n"
			   "  --json         print an array of objects; numbers are strings, \"0x...\"\n"
			   "  --names        print all known names, and nothing else\n"
			   "  --help         this text\n\n"
			   "Exit status: 0; 1 a REGISTER cannot be read; 2 wrong usage, or no such name;\n"
			   "3 no usable KVM, or one without ONE_REG.\n";

int cmd_regs(int argc, char **argv)
{
	bool bare = false, features = false, json = false, names = false;
	const struct known_option options[] = {
		{ "bare", .flag = &bare },
		{ "features", .flag = &features },
		{ "json", .flag = &json },
		{ "names", .flag = &names },
		{},
	};
	int status = STATUS_OK;
	struct vcpu vcpu;

	if (!read_options("regs", help, options, argc, argv))
		return STATUS_OK;
	if (names) {
		names_print(stdout);
		return STATUS_OK;
	}
	if (features && optind < argc)
		usage_error("regs", "--features is for the list, not for REGISTERs");
	for (int i = optind; i < argc; i++)
		add_register(parse(argv[i]), argv[i]);

	vcpu = vcpu_create(bare);
	if (!vcpu.one_reg)
		die(STATUS_CANNOT,
		    "\"kvm-onereg status\" shows whose modules are loaded; \"kvm-onereg swap ours\" loads kvm-onereg's",
		    "the loaded KVM has no ONE_REG (it is the distro's, from before Linux " NATIVE_SINCE ")");
	if (!n_regs)
		add_lists(&vcpu, features);
	read_all(&vcpu);
	if (json)
		print_as_json(&vcpu, bare);
	else
		print_text();
	for (size_t i = 0; i < n_regs; i++) {
		char *text;

		if (!regs[i].asked || !regs[i].error)
			continue;
		text = reason(&vcpu, &regs[i], bare);
		complain(NULL, "%s: %s: %s", regs[i].asked, strerrorname_np(regs[i].error), text);
		status = STATUS_NO;
	}
	vcpu_close(&vcpu);
	return status;
}
