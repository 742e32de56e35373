#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Debian's QEMU 11 moves a guest without an operating system that is in the middle of calls on its shadow stacks: on
# native KVM and on ours, and from each host to newer and older ones. If that cannot work, QEMU says so and the guest
# does not run.
#
# THOROUGH=y: from each of the three hosts to each
# needs: emulated-hosts root-qemu
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/qemu/on-host.sh
. "$(dirname "$0")/on-host.sh"

guest='-bios /host/guest.bin'
# A CPU model that all three hosts have
plain='-cpu qemu64,+xsave,+xsaves'
model="$plain,+cet-ss,+cet-ibt,enforce"

# What each host runs with a guest of its own
moved='#direction here QEMU moved' refused='#direction here QEMU refused'
commands="drive move $guest $model $moved
drive forget $guest $model $moved
drive stale $guest $model $moved
drive -e 'Failed to set special registers' refuse $guest $plain $refused
drive -e 'failed to set MSR 0x6a0' refuse $guest $plain,+cet-ibt $refused
drive -e 'Failed to set special registers' stay $guest $model --to $plain $refused
drive -f /out/host-model move $guest"
without="drive reload cet=0 enable_apicv=0
drive absent $guest
drive -e 'Failed to set special registers' refuse $guest $plain $refused
drive -e \"Host doesn't support requested features\" refuse $guest $model $refused"

# from NAME...: commands for guests that were saved on other hosts
from() {
	local name scenario
	for name; do
		for scenario in take forget stale; do
			echo "drive -f /host/from-$name $scenario $guest $model #direction $name QEMU moved"
		done
	done
}

drive_on native native "$commands
$without"
keep native
drive_on 6.12 6.12 "$(from native)
$commands
$without
$(refuse native)" "${saved[@]}"
keep 6.12
same_points native 6.12
drive_on 6.1 6.1 "$(from native 6.12)
$commands
$without
$(refuse native 6.12)" "${saved[@]}"
keep 6.1
same_points native 6.1
if [ "${THOROUGH:-}" = y ]; then
	drive_on 'native, from the others' native "$(from 6.12 6.1)
drive reload cet=0 enable_apicv=0
$(refuse 6.12 6.1)" "${saved[@]}"
fi
drive_on '6.12, from 6.1' 6.12 "$(from 6.1)
drive reload cet=0 enable_apicv=0
$(refuse 6.1)" "${saved[@]}"

for series in $("$top/tests/debian/kernel" series); do
	drive_on distro-"$series" distro-"$series" "$(refuse native)
drive absent $guest" "${saved[@]}"
done
# Debian 13's QEMU 10 cannot save it
qemu=emulators drive_on 'QEMU 10' 6.12 "drive absent $guest"
done_testing
