#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# CET as a VMM sees it: natively and with kvm_intel.cet=1, answer by answer; and the tests that do not know CET, with it
# enabled. On 6.12 and 6.1, or on the series in $CET_SERIES
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/on-host.sh"

commands='64-cet --kvm both --facts /out/cet-64
32-cet --kvm both --facts /out/cet-32
64-fuzz 4000 3 cet
32-fuzz 4000 4 cet
64-onereg --facts /out/onereg'

run_programs native vmx "$("$top/tests/debian/kernel" path native)" '' "$commands"
for series in ${CET_SERIES:-$("$top/tests/debian/kernel" series)}; do
	release=$("$top/tests/debian/kernel" release "$series")
	run_programs "$series" vmx "$("$top/tests/debian/kernel" path "$series")" "$build/$release" "$commands
64-cet --kvm both bitmap" -p kvm_intel.cet=1 -p kvm_intel.dump_invalid_vmcs=1
	like "$series: the dump of a rejected VMCS has the guest's CET state" "$(cat "$tmp/$series/dmesg")" \
		'Guest S_CET = 0x[0-9a-f]{16}  SSP = 0x[0-9a-f]{16}  INTR_SSP_TABLE = 0x[0-9a-f]{16}$'
	# 6.12 uses IBT in the kernel itself, 6.1 does not.
	endbr=4
	[ "${series%-bpo12}" != 6.1 ] || endbr=0
	like "$series: ... and the host's" "$(cat "$tmp/$series/dmesg")" \
		"Host S_CET = 0x000000000000000$endbr  SSP = 0x0000000000000000  INTR_SSP_TABLE = 0x0000000000000000\$"
	for facts in cet-64 cet-32 onereg; do
		ok "$series: same answers as native: $facts" "$top/tests/ioctl/compare-facts" \
			"$tmp/native/files/$facts" "$tmp/$series/files/$facts" "vmx-${series%-bpo12}-cet"
	done
done
done_testing
