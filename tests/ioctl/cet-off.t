#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Without kvm_intel.cet=1, VMMs, guests and tracers see the same with our modules as with the distro's.
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/on-host.sh"

# same_as_distro NAME HOST-SERIES: "visible" wrote the same on NAME as with the distro's modules.
same_as_distro() {
	REFERENCE=distro ok "$1: same as with the distro's modules" "$top/tests/ioctl/compare-facts" \
		"$tmp/${1%-*}-distro/files/facts" "$tmp/$1/files/facts" "$2" "$top/tests/ioctl/differences-from-distro"
}

# It concerns kvm.ko alone, so one host is enough. The modules are loaded whole, for their BTF.
tracing=$'\n64-tracing --facts /out/tracing'
for host in svm vmx; do
	options=()
	[ $host != svm ] || options=(--whole-modules)
	for series in $("$top/tests/debian/kernel" series); do
		kernel=$("$top/tests/debian/kernel" path "$series")
		modules=$build/$("$top/tests/debian/kernel" release "$series")
		run_programs $host-"$series"-distro $host "$kernel" '' \
			"64-visible --facts /out/facts${options:+$tracing}" "${options[@]}"
		run_programs $host-"$series"-ours $host "$kernel" "$modules" "64-visible --facts /out/facts
64-cet --kvm none
32-cet --kvm none${options:+$tracing}" "${options[@]}"
		same_as_distro $host-"$series"-ours $host-"$series"
		[ $host = svm ] || continue
		# The headers of 6.1 do not include vmlinux, without which modules have no BTF.
		btf='is there'
		[ "$series" != 6.1 ] || btf=none
		for m in kvm kvm_amd; do
			is "$series: BTF of ours: $m" \
				"$(sed -n "s/^BTF_of_$m //p" "$tmp/svm-$series-ours/files/tracing")" "$btf"
			is "$series: BTF of the distro's: $m" \
				"$(sed -n "s/^BTF_of_$m //p" "$tmp/svm-$series-distro/files/tracing")" 'is there'
		done
		for f in distro ours; do grep -v '^BTF_of_' "$tmp/svm-$series-$f/files/tracing" >"$tmp/tracing-$f"; done
		REFERENCE=distro ok "$series: trace events, their formats, and statistics are the distro's" \
			"$top/tests/ioctl/compare-facts" \
			"$tmp/tracing-distro" "$tmp/tracing-ours" "tracing-$series" \
			"$top/tests/ioctl/differences-from-distro"
	done
done
done_testing
