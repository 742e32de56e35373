#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Nested SVM with shadow stacks: on a native kernel, the reference, and on 6.12 and 6.1 with our modules; and without
# CET, on 6.12 and 6.1 with our modules and with the distro's.
#
# Environment: STRESS_ROUNDS, STRESS_SEED; $CET_SERIES: the series to test instead of 6.12 and 6.1
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

HOST=svm-cet
like_native 1 "svm-hypervisor cet --facts /out/svm-nested --stress ${STRESS_ROUNDS:-300} ${STRESS_SEED:-1}"
for series in ${CET_SERIES:-$("$top/tests/debian/kernel" series)}; do
	kernel=$("$top/tests/debian/kernel" path "$series")
	command='svm-hypervisor no-cet --facts /out/facts'
	run_host "$series-cet=0" svm-cet "$kernel" "$build/$("$top/tests/debian/kernel" release "$series")" "$command" \
		-p kvm_amd.cet=0 -i "$build/tests/guest/svm-hypervisor"
	run_host "$series-distro" svm-cet "$kernel" '' "$command" -i "$build/tests/guest/svm-hypervisor"
	ok "$series without CET: the same facts as with the distro's modules" cmp "$tmp/$series-distro/files/facts" \
		"$tmp/$series-cet=0/files/facts"
done

done_testing
