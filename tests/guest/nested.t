#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Nested VMX with CET: on native, the judge, and on 6.12 with our modules; L2 moved from each to the other; and on 6.12
# without CET, with our modules and with the distro's
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$(dirname "$0")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

ours=$build/$("$top/tests/debian/kernel" release 6.12)

# nested NAME KERNEL MODULES CET COMMAND [FILE]...: COMMAND is a line of the program's arguments, FILEs are put beside it.
# What it leaves is in $tmp/NAME/files.
nested() {
	local name=$1 kernel=$2 modules=$3 cet=$4 command=$5 f options=(-M msr -i "$build/tests/guest/hypervisor")
	shift 5

	[ -z "$cet" ] || options+=(-p "kvm_intel.cet=$cet")
	for f; do
		options+=(-i "$f")
	done
	run_host "$name" vmx "$("$top/tests/debian/kernel" path "$kernel")" "$modules" "hypervisor $command" "${options[@]}"
}

nested native native '' 1 'cet --facts /out/facts --save /out/l2'
saved=("$tmp/native/files/l2.state" "$tmp/native/files/l2.image")
nested ours 6.12 "$ours" 1 'cet --facts /out/facts --save /out/l2 --load /host/l2' "${saved[@]}"
ok "the same facts as native" "$top/tests/ioctl/compare-facts" "$tmp/native/files/facts" "$tmp/ours/files/facts" vmx-6.12 \
	"$top/tests/guest/nested-differences"
ok "the same nested state as native, to the bit" cmp "$tmp/native/files/l2.state" "$tmp/ours/files/l2.state"
nested from-ours native '' 1 'cet --load /host/l2 foreign' "$tmp/ours/files/l2.state" "$tmp/ours/files/l2.image"

nested cet=0 6.12 "$ours" 0 'no-cet --facts /out/facts --load /host/l2' "${saved[@]}"
nested distro 6.12 '' '' 'no-cet --facts /out/facts capabilities-without fields-without entries-without'
ok "without CET: the same facts as with the distro's modules" cmp "$tmp/distro/files/facts" "$tmp/cet=0/files/facts"

done_testing
