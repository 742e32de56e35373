#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A guest's thread is preempted wherever KVM handles CET state, and continues on another CPU
#
# Not on native: there are no headers of that kernel here, for which the module could be built.
# needs: emulated-hosts jostle
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/../hosts/relay.sh"

for series in 6.12 6.1; do
	release=$("$top/tests/debian/kernel" release "$series")
	without=
	[ "$series" != 6.1 ] || without=--host-without-cet
	run_host "$series" vmx "$("$top/tests/debian/kernel" path "$series")" "$build/$release" \
		"life $without --jostles ${JOSTLES:-1} jostle" -i "$build/tests/guest/life" \
		-i "$build/tests/jostle-$series/jostle.ko" -M msr -p kvm_intel.cet=1 --cpus 2 -c preempt=full
done
done_testing
