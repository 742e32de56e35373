#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# CET as a VMM sees it: natively and with kvm_intel.cet=1, answer by answer; and what knows nothing of CET, with it. On
# 6.12 and 6.1, or on what $CET_SERIES names
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/on-host.sh"

commands='64-cet --kvm both --facts /out/cet-64
32-cet --kvm both --facts /out/cet-32
64-fuzz 4000 3 cet
32-fuzz 4000 4 cet
64-onereg --facts /out/onereg'

on_host native vmx "$("$top/tests/debian/kernel" path native)" '' "$commands"
for series in ${CET_SERIES:-6.12 6.1}; do
	release=$("$top/tests/debian/kernel" release "$series")
	on_host "$series" vmx "$("$top/tests/debian/kernel" path "$series")" "$build/$release" "$commands
64-cet --kvm both bitmap" -p kvm_intel.cet=1
	for facts in cet-64 cet-32 onereg; do
		ok "$series: same answers as native: $facts" "$top/tests/ioctl/compare-facts" \
			"$tmp/native/files/$facts" "$tmp/$series/files/$facts" "vmx-${series%-bpo12}-cet"
	done
done
done_testing
