# SPDX-License-Identifier: GPL-2.0
#
# Everything a person types. DKMS and the tests call the same targets.

MAKEFLAGS += --no-builtin-rules
SHELL = /bin/bash
.DEFAULT_GOAL := help

# Kernel release to build for, and its headers, or the folder where it was built, which tells its release.
ifdef KDIR
ifndef KVER
KVER := $(shell sed -n 's/^.define UTS_RELEASE "\(.*\)"$$/\1/p' '$(KDIR)/include/generated/utsrelease.h' 2>/dev/null)
endif
endif
KVER ?=
KDIR ?= /lib/modules/$(KVER)/build
# Kernel source: a tarball, a linux-source .deb or an unpacked tree. Empty: that of the kernel's own Debian version.
KVM_SOURCE ?=
# Anything but yes: download no source that is not on this machine.
FETCH ?= yes
# Where extracted source is kept, one folder per version, and where results go.
STORE ?= build/source
OUT ?= build/$(KVER)
export SOURCE_DIR ?= /usr/src
# To sign what deb-modules packages: a private key and its certificate.
SIGN_KEY ?=
SIGN_CERT ?=
# Of nested-stress; empty: as in make check. fuzz and fuzz-parsers take SEED, too.
ROUNDS ?=
RUNS ?=
SEED ?=
HOSTS ?=
# Of mutation: begin nothing after so long.
SECONDS ?=
# Of fuzz: an emulated host, a kernel series (the newest), and the least number of operations. hostile takes the first
# two, the number of attempts on each, and how many CPUs the host has; without them, as in make check.
HOST ?= svm
KERNEL ?=
OPS ?= 100000
ATTEMPTS ?=
CPUS ?=
# y makes every compiler warning an error.
WERROR ?=
# no: without debug information, as DKMS builds, where BTF does not need it.
DEBUG_INFO ?= yes

out = $(abspath $(OUT))
tree = $(out)/tree
fetch = $(if $(filter yes,$(FETCH)),-f)

##@ Use

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { print "\n" substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables: KVER=<kernel release> KDIR=<headers> KVM_SOURCE=<tarball, .deb or tree> '
	@printf 'FETCH=no STORE=<folder> OUT=<folder> SOURCE_DIR=<folder> SIGN_KEY=<file> SIGN_CERT=<file> '
	@printf 'W=1 WERROR=y DEBUG_INFO=no V=1\n'

.PHONY: demo
demo: ## show the main job: build, install into Debian roots with dkms, boot, read registers (as root)
	@tests/demo/demo

.PHONY: check
check: ## run all tests (as root)
	@tests/run

.PHONY: install
install: ## build and install for the installed kernels, with DKMS (as root)
	@tools/install

.PHONY: uninstall
uninstall: ## remove from DKMS; the distro's modules resolve again (as root)
	@tools/install --remove

##@ Develop

.PHONY: modules
modules: ## build kvm.ko, kvm-intel.ko, kvm-amd.ko for KVER into build/KVER/
	@[ -n "$(KVER)" ] || { $(if $(filter file,$(origin KDIR)), \
		echo "make modules: say for which kernel: make modules KVER=<release>"; \
		echo "  with headers here:" $$(cd /lib/modules 2>/dev/null && ls -d */build 2>/dev/null | sed 's|/build||'); exit 2, \
		echo 'make modules: $(KDIR) does not hold a built kernel: include/generated/utsrelease.h is missing'; \
		echo '  to fix: build it, or name the folder where it was built: KDIR=<folder>'; exit 10); } >&2
	+@mkdir -p '$(out)' && exec 8>'$(out)/.lock' && flock 8 && \
	{ src/prepare -k '$(KVER)' -d '$(KDIR)' -s '$(STORE)' -o '$(tree)' $(fetch) $(if $(KVM_SOURCE),-u '$(KVM_SOURCE)') || \
		{ s=$$?; rm -f '$(out)'/kvm*.ko; [ $$s -ne 3 ] || exit 0; exit $$s; }; } && \
	[ -e '$(tree)/.state' ] && \
	$(MAKE) -C '$(KDIR)' M='$(tree)/arch/x86/kvm' WERROR='$(WERROR)' DEBUG_INFO='$(DEBUG_INFO)' modules && \
	src/check-exports '$(KDIR)/Module.symvers' '$(tree)/arch/x86/kvm/Module.symvers' && \
	src/publish '$(tree)/arch/x86/kvm' '$(out)' $$(cat '$(tree)/src/modules')

.PHONY: source
source: ## get the exact KVM source of KVER into the store (modules does it too)
	@[ -n "$(KVER)" ] || { echo "make source: say for which kernel: make source KVER=<release>"; exit 2; } >&2
	@src/prepare -k '$(KVER)' -d '$(KDIR)' -s '$(STORE)' -S $(fetch)

.PHONY: unit
unit: ## run the tests that need no root and take seconds
	@tests/run unit

.PHONY: matrix
matrix: ## build for every kernel that Debian offers; writes docs/kernels.md (as root, long)
	@tests/matrix

.PHONY: matrix-migration
matrix-migration: ## move CET guests from every host to every host; writes docs/migration.md (as root, long)
	@tests/matrix-migration

.PHONY: outcomes
outcomes: ## move CET guests to CPUs that have less or more of CET; writes docs/cet-outcomes.md (as root, minutes)
	@$(MAKE) -s -C tests emulated-hosts root-qemu
	@tests/qemu/outcomes >docs/cet-outcomes.md.part || { rm -f docs/cet-outcomes.md.part; exit 1; }
	@mv docs/cet-outcomes.md.part docs/cet-outcomes.md

.PHONY: pauses
pauses: ## measure how long guests pause in a swap, by their memory; writes docs/pauses.md (as root, minutes)
	/pauses/pauses

.PHONY: debug-check
debug-check: ## run tests on kernels that it builds: 6.12 and 6.1 with KASAN, lockdep and more, one that is not Debian's (as root, hours)
	@TEST_TIMEOUT=14400 tests/run debug

.PHONY: nested-stress
nested-stress: ## run nested guests with CET for so many ROUNDS, from SEED, on each kernel (as root, 100000 take an hour)
	@STRESS_ROUNDS='$(ROUNDS)' STRESS_SEED='$(SEED)' STRESS_HOSTS='$(HOSTS)' TEST_TIMEOUT=86400 tests/run tests/guest/nested-stress.t

.PHONY: rust-vmm
rust-vmm: ## move CET guests under a VMM on rust-vmm's kvm-ioctls, from Debian unstable (as root)
	@tests/run rust

.PHONY: fuzz
fuzz: ## compare ours with native over random operations: HOST, KERNEL, SEED, OPS (as root)
	@tests/fuzz/compare -H '$(HOST)' $(if $(KERNEL),-k '$(KERNEL)') -s '$(or $(SEED),1)' -n '$(OPS)'

.PHONY: hostile
hostile: ## let hostile VMMs and guests loose on a host: HOST, KERNEL, SEED, ATTEMPTS, CPUS (as root)
	@HOSTILE_HOSTS='$(if $(filter-out file,$(origin HOST)),$(HOST))' HOSTILE_KERNELS='$(KERNEL)' HOSTILE_SEED='$(SEED)' \
		HOSTILE_ATTEMPTS='$(ATTEMPTS)' HOSTILE_CPUS='$(CPUS)' TEST_TIMEOUT=86400 tests/run tests/fuzz/hostile.t

.PHONY: fuzz-parsers
fuzz-parsers: ## let libFuzzer look for files that the command kvm-onereg does not take well: RUNS, SEED (as root)
	@tests/debian/root run compilers -n -b '$(CURDIR)' -w '$(CURDIR)' -- tests/fuzz/parsers -c \
		$(if $(RUNS),-n '$(RUNS)') $(if $(SEED),-s '$(SEED)')

.PHONY: fuzz-seeded
fuzz-seeded: ## put faults into a copy of the source, one at a time: the fuzzer, or hostile guests, must find each (as root, hours)
	@tests/fuzz/seeded
	@tests/fuzz/seeded -H

.PHONY: mutation
mutation: ## change the source in one place at a time, for at most SECONDS: do tests notice? writes docs/mutation.md (as root, hours)
	@tests/mutation/mutants $(if $(SECONDS),-t '$(SECONDS)') || [ -e build/mutation/results ]
	@tests/mutation/page build/mutation >docs/mutation.md.part || { rm -f docs/mutation.md.part; exit 1; }
	@mv docs/mutation.md.part docs/mutation.md

.PHONY: bench
bench: ## count instructions per call: distro, ours, native; writes docs/benchmark.md (as root)
	@tests/bench/benchmark

.PHONY: deb
deb: ## build the Debian packages into build/deb/ (on Debian 12 or 13)
	@debian/build '$(abspath build/deb)'

.PHONY: deb-modules
deb-modules: ## package the modules for KVER into build/deb-modules/, for hosts without a compiler
	+@KVER='$(KVER)' KDIR='$(KDIR)' KVM_SOURCE='$(KVM_SOURCE)' STORE='$(STORE)' OUT='$(out)' \
		SIGN_KEY='$(SIGN_KEY)' SIGN_CERT='$(SIGN_CERT)' debian/build-modules '$(abspath build/deb-modules)'

.PHONY: clean
clean: ## remove what was built; keep what was downloaded
	rm -rf build/[0-9]* build/tests build/tmp

.PHONY: distclean
distclean: ## remove everything that is not in the repository
	rm -rf build
