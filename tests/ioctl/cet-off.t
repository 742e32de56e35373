#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Without kvm_intel.cet=1 VMMs and guests see of our modules what they see of the distro's.
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/on-host.sh"

# same_as_distro NAME HOST-SERIES: what "visible" wrote on NAME is what it wrote with the distro's modules.
same_as_distro() {
	REFERENCE=distro ok "$1: same as with the distro's modules" "$top/tests/ioctl/compare-facts" \
		"$tmp/${1%-*}-distro/files/facts" "$tmp/$1/files/facts" "$2" "$top/tests/ioctl/differences-from-distro"
}

for host in svm vmx; do
	for series in 6.1 6.12; do
		kernel=$("$top/tests/debian/kernel" path $series)
		modules=$build/$("$top/tests/debian/kernel" release $series)
		on_host $host-$series-distro $host "$kernel" '' '64-visible --facts /out/facts'
		on_host $host-$series-ours $host "$kernel" "$modules" '64-visible --facts /out/facts
64-cet --kvm none
32-cet --kvm none'
		same_as_distro $host-$series-ours $host-$series
	done
done
done_testing
