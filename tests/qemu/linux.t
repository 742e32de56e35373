#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Debian's QEMU 11 moves a Debian kernel, with a process on its own shadow stack that is in the middle of calls, and
# then in a signal handler: on native KVM and on ours.
# needs: emulated-hosts root-qemu
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/qemu/on-host.sh
. "$(dirname "$0")/on-host.sh"

linux_guest
drive_on native native "$linux_command" "${linux_files[@]}"
for series in $("$top/tests/debian/kernel" series); do
	drive_on "$series" "$series" "$linux_command" "${linux_files[@]}"
	same_points native "$series"
done
done_testing
