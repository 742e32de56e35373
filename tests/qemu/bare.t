#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Debian's QEMU 11 moves a guest without an operating system that is in the middle of calls on its shadow stacks: on
# native KVM, on ours, and between the two. Where it must not work, QEMU says so and the guest does not run.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/qemu/on-host.sh
. "$(dirname "$0")/on-host.sh"

guest='-bios /host/guest.bin'
commands="drive move $guest
drive forget $guest
drive -e 'Failed to set special registers' refuse $guest -cpu host,-cet-ss,-cet-ibt
drive -e 'failed to set MSR 0x6a0' refuse $guest -cpu host,-cet-ss
drive -e 'Failed to set special registers' stay $guest --to -cpu host,-cet-ss,-cet-ibt
drive reload cet=0 enable_apicv=0
drive absent $guest
drive -e 'Failed to set special registers' refuse $guest
drive -e \"Host doesn't support requested features\" refuse $guest -cpu host,+cet-ss,+cet-ibt,enforce"

drive_on native native "$commands"
cp "$tmp/native/files/image" "$tmp/image"
drive_on 6.12 6.12 "drive -f /host/image take $guest
drive move $guest -cpu qemu64,+xsave,+xsaves,+cet-ss,+cet-ibt,enforce
$commands" -i "$tmp/image"
same_points native 6.12
drive_on 'back to native' native "drive -f /host/image take $guest" -i "$tmp/6.12/files/image"

drive_on distro distro "drive -f /host/image -e 'Failed to set special registers' refuse $guest
drive absent $guest" -i "$tmp/image"
# Debian 13's QEMU 10 cannot save it
qemu=emulators drive_on 'QEMU 10' 6.12 "drive absent $guest"
done_testing
