#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A kernel that is not Debian's, built here as a developer builds one: it boots, its own KVM does not have the ioctls,
# and ours, built from its tree, does.
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/../ioctl/on-host.sh"

made=$top/tests/debian/built
{ kernel=$("$made" path own) && modules=$("$made" modules own); } || {
	echo "Bail out! no kernel"
	exit 1
}
release=$("$made" release own)

not_ok "nothing in its build names Debian" 1 grep -r -i -l debian "$kernel/objects/include/generated/package.h" \
	"$kernel/objects/include/generated/utsrelease.h"
is "the modules are those of the vendor that it is configured for" "$(cd "$modules" && echo *.ko)" "kvm-amd.ko kvm.ko"
for m in kvm kvm-amd; do
	is "$m.ko names its tree" "$(modinfo -F origin "$modules/$m.ko")" "tree $kernel/source $release"
	is "... and is for this kernel" "$(modinfo -F vermagic "$modules/$m.ko")" \
		"$(modinfo -F vermagic "$kernel/lib/modules/$release/kernel/arch/x86/kvm/$m.ko")"
done
like "all exports are equal to the kernel's own, and there were no CRCs" \
	"$(grep '^kvm-onereg: exports' "$modules.log")" \
	'exports: ([1-9][0-9]*) of \1 equal to .*; \1 have no CRC to compare'

# Its TSC is not stable there, and without ACPI there is nothing to calibrate it by. A clock that counts instructions
# does not need calibration.
run_programs "its own KVM" svm "$kernel" '' '64-onereg --absent' --icount
run_programs ours svm "$kernel" "$modules" '64-onereg' --icount
done_testing
