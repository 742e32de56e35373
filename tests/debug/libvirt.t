#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The libvirt and QEMU of Debian 12 and 13 themselves, which do not know CET: a domain is saved and restored, and by
# managedsave, over swaps of KVM's modules in both directions, and the guest counts on.
# needs: emulated-hosts root-qemu
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/command/lib.sh
. "$top/tests/command/lib.sh"
# shellcheck source=tests/libvirt/on-host.sh
. "$top/tests/libvirt/on-host.sh"

echo "<cpu mode='host-model'/>" >"$tmp/cpu.xml"
for release in bookworm trixie; do
	make_host "$release-tree" $release
	is "$release: there is a host" $? 0
	# libvirt's tree first: the command needs the newer libc
	run_host $release svm "$kernel" '' "modprobe kvm_amd
/usr/bin/bash /host/inside.sh plain" -N -r 512 -t 600 -I "$("$top/tests/libvirt/tree" libvirt-$release)" \
		-I "$tmp/$release-tree" -i "$top/tests/libvirt/inside.sh" -i "$tmp/cpu.xml" \
		-i "$build/tests/libvirt/plain.bin"
done
done_testing
