// SPDX-License-Identifier: GPL-2.0
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "smram.h"

#define SMBASE	    0x30000
#define SMRAM_SIZE  0x10000
#define SMRAM_ENTRY 0x8000

/* KVM's address space for SMM. */
#define SPACE_SMM 1

static const uint8_t handler[] = {
	0xe6, PORT_CALL, /* out %al, $PORT_CALL */
	0x0f, 0xaa,	 /* rsm */
};

/* In 16-bit mode: mov $MSR_S_CET, %ecx; mov $..., %eax; xor %edx, %edx; wrmsr */
static const uint8_t write_s_cet[] = {
	0x66, 0xb9, 0xa2, 0x06, 0, 0, 0x66, 0xb8, 0, 0, 0, 0, 0x66, 0x31, 0xd2, 0x0f, 0x30,
};

#define WRITE_S_CET_VALUE 8

static uint8_t *smram;

void smram_attach(struct cpu *c)
{
	machine_slot(c->machine, SPACE_SMM, SMBASE, smram, SMRAM_SIZE, 0);
}

void smram_create(struct cpu *c)
{
	if (!smram) {
		if (ioctl(kvm_dev, KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM) <= 0)
			tap_bail("KVM has no SMM");
		smram = mmap(NULL, SMRAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (smram == MAP_FAILED)
			tap_bail("SMRAM");
	}
	memset(smram, 0, SMRAM_SIZE);
	memcpy(smram + SMRAM_ENTRY, handler, sizeof(handler));
	smram_attach(c);
}

void smram_write_s_cet(uint32_t value)
{
	uint8_t *code = smram + SMRAM_ENTRY;

	memcpy(code, write_s_cet, sizeof(write_s_cet));
	memcpy(code + WRITE_S_CET_VALUE, &value, sizeof(value));
	memcpy(code + sizeof(write_s_cet), handler, sizeof(handler));
}

void smram_smi(struct cpu *c)
{
	if (ioctl(c->io.vcpu, KVM_SMI))
		tap_bail("KVM_SMI");
	/* Other threads may send signals meanwhile. */
	do
		cpu_run(c);
	while (c->stop.kind == STOP_SIGNAL);
	if (c->stop.kind != STOP_CALL || !(c->io.run->flags & KVM_RUN_X86_SMM))
		tap_bail("no SMM: %s", stop_text(c));
}

uint64_t smram_get(unsigned int offset)
{
	uint64_t value;

	memcpy(&value, smram + offset, sizeof(value));
	return value;
}

void smram_put(unsigned int offset, uint64_t value)
{
	memcpy(smram + offset, &value, sizeof(value));
}
