#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What libvirt remembers of KVM's capabilities follows a swap of KVM's modules, while libvirtd runs: domcapabilities and
# hypervisor-cpu-compare. If cet= changes without a swap, the command in docs/libvirt.md makes libvirt ask again.
#
# THOROUGH=y: all of it
# needs: emulated-hosts root-qemu
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
[ "${THOROUGH:-}" = y ] || skip_all "THOROUGH=y runs it"
# shellcheck source=tests/command/lib.sh
. "$top/tests/command/lib.sh"
# shellcheck source=tests/libvirt/on-host.sh
. "$(dirname "$0")/on-host.sh"

ok "the documentation has a CPU" cpu_of_docs qemu64 "$tmp/cpu.xml"
sed -n 's/^    \(touch .*\)/\1/p' "$top/docs/libvirt.md" | head -n 1 >"$tmp/command"
like "... and a command" "$(cat "$tmp/command")" '^touch /'

make_host tree trixie
is "there is a host" $? 0
echo 'options kvm_intel cet=1 enable_apicv=0' >"$tmp/tree/etc/modprobe.d/kvm-onereg.conf"
run_host swap vmx "$kernel" '' "modprobe kvm_intel
/usr/bin/bash /host/inside.sh swap" -N -r 512 -t 1500 -I "$("$top/tests/libvirt/tree")" -I "$tmp/tree" \
	-i "$top/tests/libvirt/inside.sh" \
	-i "$tmp/cpu.xml" -i "$tmp/command" -i "$build/tests/qemu/guest.bin"
done_testing
