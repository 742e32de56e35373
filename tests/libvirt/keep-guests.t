#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg swap --keep-guests and Debian's libvirtd: a domain without CET goes to the distro's modules and back,
# running or paused; one with CET survives a swap to another build of our modules, and is not taken to the distro's.
#
# THOROUGH=y: the one with CET, and the other on the same host
# needs: emulated-hosts root-qemu
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/command/lib.sh
. "$top/tests/command/lib.sh"
# shellcheck source=tests/libvirt/on-host.sh
. "$(dirname "$0")/on-host.sh"

make_host tree trixie
is "there is a host" $? 0
# keep_on NAME HOST ACTIONS [OPTION]...
keep_on() {
	local name=$1 host=$2 vendor=amd program=$3
	shift 3
	[ "$host" != vmx ] || vendor=intel
	# shellcheck disable=SC2154 # make_host sets kernel
	run_host "$name" "$host" "$kernel" '' "modprobe kvm_$vendor
/usr/bin/bash /host/inside.sh $program" -N -r 512 -t 1500 -I "$("$top/tests/libvirt/tree")" -I "$tmp/tree" \
		-i "$top/tests/libvirt/inside.sh" -i "$build/tests/libvirt/plain.bin" "$@"
}

keep_on amd svm keep
if [ "${THOROUGH:-}" = y ]; then
	ok "the documentation has a CPU" cpu_of_docs qemu64 "$tmp/cpu.xml"
	echo 'options kvm_intel cet=1 enable_apicv=0' >"$tmp/tree/etc/modprobe.d/kvm-onereg.conf"
	# shellcheck disable=SC2154 # make_host sets K
	f=$(echo "$tmp/tree/lib/modules/$K"/updates/dkms/kvm-intel.ko*)
	changed_module "$f" .note.gnu.build-id 20 "$tmp/${f##*/}" && mv "$tmp/${f##*/}" "$tmp/newer"
	keep_on intel vmx "keep_cet keep" -i "$tmp/cpu.xml" -i "$tmp/newer" -i "$build/tests/qemu/guest.bin"
fi
done_testing
