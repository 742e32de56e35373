#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# CET as a VMM sees it: natively and with kvm_intel.cet=1, answer by answer; and what knows nothing of CET, with it.
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/on-host.sh"

commands='64-cet --kvm both --facts /out/cet-64
32-cet --kvm both --facts /out/cet-32
64-fuzz 4000 3 cet
32-fuzz 4000 4 cet
64-onereg --facts /out/onereg'

on_host native vmx "$("$top/tests/debian/kernel" path native)" '' "$commands"
release=$("$top/tests/debian/kernel" release 6.12)
on_host 6.12 vmx "$("$top/tests/debian/kernel" path 6.12)" "$build/$release" "$commands
64-cet --kvm both bitmap" -p kvm_intel.cet=1
for facts in cet-64 cet-32 onereg; do
	ok "6.12: same answers as native: $facts" "$top/tests/ioctl/compare-facts" \
		"$tmp/native/files/$facts" "$tmp/6.12/files/$facts" "vmx-6.12-cet"
done
done_testing
