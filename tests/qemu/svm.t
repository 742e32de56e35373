#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Debian's QEMU 11 moves guests on AMD's shadow stacks, on native KVM and on ours: each host's own, and from native and
# 6.12 to the others.
#
# THOROUGH=y: the other directions as well, and a Debian kernel with a process on its own shadow stack
# needs: emulated-hosts root-qemu
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/qemu/on-host.sh
. "$(dirname "$0")/on-host.sh"

HOST=svm-cet
guest='-bios /host/guest.bin'
plain='-cpu qemu64,+xsave,+xsaves'
model="$plain,+cet-ss,enforce"

# What each host runs with a guest of its own
moved='#direction here QEMU moved' refused='#direction here QEMU refused'
commands="drive move $guest $model $moved
drive forget $guest $model $moved
drive stale $guest $model $moved
drive -e 'Failed to set special registers' refuse $guest $plain $refused
drive -e 'Failed to set special registers' stay $guest $model --to $plain $refused
drive -e \"Host doesn't support requested features\" refuse $guest $model,+cet-ibt $refused"
# On our hosts, as kvm_amd of a native kernel has no such parameter
without="drive reload cet=0
drive absent $guest
drive -e 'Failed to set special registers' refuse $guest $plain $refused
drive -e \"Host doesn't support requested features\" refuse $guest $model $refused"

# from NAME...: commands for guests that were saved on other hosts
from() {
	local name scenario
	for name; do
		for scenario in take stale; do
			echo "drive -f /host/from-$name $scenario $guest $model #direction $name QEMU moved"
		done
	done
}

drive_on native native "$commands"
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
drive reload npt=0
$(refuse 6.12 6.1)" "${saved[@]}"
	drive_on '6.12, from 6.1' 6.12 "$(from 6.1)
drive reload cet=0
$(refuse 6.1)" "${saved[@]}"

	linux_guest
	drive_on 'native, Linux' native "$linux_command" "${linux_files[@]}"
	for series in $("$top/tests/debian/kernel" series); do
		drive_on "$series, Linux" "$series" "$linux_command" "${linux_files[@]}"
		same_points 'native, Linux' "$series, Linux"
	done
fi
done_testing
