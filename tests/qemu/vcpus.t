#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Guests with two vCPUs move between hosts with two CPUs, with each vCPU in the middle of its own calls on its own
# shadow stacks: under Debian's QEMU 11 to a file, by precopy while their shadow stacks change, and by postcopy, where
# the shadow stacks arrive late; and under the VMM of tests/guest. On 6.1 this is without PML: KVM write-protects the
# pages that it logs. The guests also run on while the host keeps taking their pages out of EPT, so that EPT violations
# occur in the middle of calls, returns, exceptions and INT n.
#
# By default only a part: a QEMU that loses nothing, on 6.1, and from there to 6.12. THOROUGH=y also tests native, and
# each direction between the three.
# needs: emulated-hosts root-qemu
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/qemu/on-host.sh
. "$(dirname "$0")/on-host.sh"

guest='-bios /host/guest.bin'
# A CPU model that all three hosts have
model='-cpu qemu64,+xsave,+xsaves,+cet-ss,+cet-ibt,enforce -smp 2'
# QEMU with a fault: it loses part of the state
moved='#direction here two-vCPUs moved'
losses="drive second $guest $model $moved
drive swap $guest $model $moved
drive dirty $guest $model $moved
drive empty $guest $model $moved"

# keep_both NAME: keep what either VMM left for the hosts that follow
keep_both() {
	local files=$tmp/$1/files
	keep "$1" && saved+=(-i "$files/vcpus-$1.0" -i "$files/vcpus-$1.3")
}
unmapped="drive unmap $guest $model $moved"
# own NAME: commands for a guest of its own
own() {
	printf '%s\n' "drive busy $guest $model $moved" "vcpus --save /out/vcpus-$1" "vcpus --load /out/vcpus-$1 $moved"
}
# from NAME...: commands for guests that were saved on other hosts
from() {
	local name come
	for name; do
		come="#direction $name two-vCPUs moved"
		printf '%s\n' "drive -f /host/from-$name take $guest $model $come" "vcpus --load vcpus-$name $come"
	done
}
# two_cpus NAME KERNEL COMMANDS [OPTION]...
two_cpus() {
	local name=$1 kernel=$2 commands=$3
	shift 3
	drive_on "$name" "$kernel" "$commands" --cpus 2 -i "$build/tests/guest/vcpus" "${saved[@]}" "$@"
}
without_pml=(-i "$build/tests/guest/dirty" -p kvm_intel.pml=0)

if [ "${THOROUGH:-}" != y ]; then
	two_cpus 6.1 6.1 "$(own 6.1)
$unmapped
dirty" "${without_pml[@]}"
	keep_both 6.1
	two_cpus 6.12 6.12 "$(from 6.1)
drive -f /host/from-6.1 unmap $guest $model"
	done_testing
fi

two_cpus native native "$(own native)
$unmapped
$losses
dirty" "${without_pml[@]}"
keep_both native
two_cpus 6.1 6.1 "$(from native)
$(own 6.1)
$unmapped
$losses
dirty" "${without_pml[@]}"
keep_both 6.1
same_points native 6.1
two_cpus 6.12 6.12 "$(from native 6.1)
$(own 6.12)
$unmapped
$losses"
keep_both 6.12
two_cpus 'native, from the others' native "$(from 6.1 6.12)"
two_cpus '6.1, from 6.12' 6.1 "$(from 6.12)" "${without_pml[@]}"
done_testing
