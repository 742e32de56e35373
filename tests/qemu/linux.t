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

make -s -C "$top/tests/hosts"
kernel=$("$top/tests/debian/kernel" path 6.12)
mkdir "$tmp/kernel" "$tmp/root"
"$build/hosts/bin/mkboot" kernel "$kernel/boot/vmlinuz-$("$top/tests/debian/kernel" release 6.12)" "$tmp/kernel"
cp "$build/tests/qemu/user" "$tmp/root/init"
(cd "$tmp/root" && echo init | cpio -o -H newc --quiet) >"$tmp/guest-initrd"

# As tests/hosts/run has it, and no driver for the serial port, as the guest reads it itself
line="quiet panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check cryptomgr.notests audit=0 apparmor=0 numa=off"
line+=" initcall_blacklist=jent_mod_init,trace_eval_init,load_system_certificate_list 8250.nr_uarts=0"
command="drive -m 128 -f /tmp/image move -kernel /host/vmlinux -initrd /host/guest-initrd -append '$line'"
files=(-i "$tmp/kernel/vmlinux" -i "$tmp/guest-initrd" -r 1024)

drive_on native native "$command" "${files[@]}"
for series in 6.12 6.1; do
	drive_on $series $series "$command" "${files[@]}"
	same_points native $series
done
done_testing
