#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Nested VMX with CET: on a native kernel, the reference, and on 6.12 and 6.1 with our modules; L2 moves from each to
# the others; and without CET, on 6.12 and 6.1 with our modules and with the distro's. $CET_SERIES: the series to test
# instead of 6.12 and 6.1
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$(dirname "$0")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

# nested NAME KERNEL MODULES CET COMMAND [FILE]...: COMMAND is the program's command line, and FILEs are put next to it.
# What it writes to /out is in $tmp/NAME/files.
nested() {
	local name=$1 kernel=$2 modules=$3 cet=$4 command=$5 f options=(-M msr -i "$build/tests/guest/hypervisor")
	shift 5

	[ -z "$cet" ] || options+=(-p "kvm_intel.cet=$cet")
	for f; do
		options+=(-i "$f")
	done
	run_host "$name" vmx "$("$top/tests/debian/kernel" path "$kernel")" "$modules" \
		"$(for_series "$kernel" "hypervisor $command")" "${options[@]}"
}

nested native native '' 1 'cet --native --facts /out/facts --save /out/l2'
saved=("$tmp/native/files/l2.state" "$tmp/native/files/l2.image")
for series in ${CET_SERIES:-$("$top/tests/debian/kernel" series)}; do
	ours=$build/$("$top/tests/debian/kernel" release "$series")
	nested "$series" "$series" "$ours" 1 'cet --facts /out/facts --save /out/l2 --load /host/l2' "${saved[@]}"
	ok "$series: the same facts as native" "$top/tests/ioctl/compare-facts" "$tmp/native/files/facts" \
		"$tmp/$series/files/facts" "vmx-${series%-bpo12}" "$top/tests/guest/nested-differences"
	ok "$series: the same nested state as native, to the bit" cmp "$tmp/native/files/l2.state" \
		"$tmp/$series/files/l2.state"
	nested "from-$series" native '' 1 'cet --load /host/l2 foreign' "$tmp/$series/files/l2.state" \
		"$tmp/$series/files/l2.image"

	nested "$series-cet=0" "$series" "$ours" 0 'no-cet --facts /out/facts --load /host/l2' "${saved[@]}"
	nested "$series-distro" "$series" '' '' \
		'no-cet --facts /out/facts capabilities-without fields-without entries-without'
	ok "$series without CET: the same facts as with the distro's modules" cmp "$tmp/$series-distro/files/facts" \
		"$tmp/$series-cet=0/files/facts"
done

done_testing
