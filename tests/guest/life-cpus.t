#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A host with two CPUs, which go offline and come back, and one of which lacks a feature, while guests use CET
# needs: emulated-hosts lacking
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

# shellcheck disable=SC2154 # tap.sh sets build
lacking=$build/tests/lacking-6.1/lacking.ko

like_native 1 'life hotplug kill sleep' --cpus 2
run_host '6.1, a CPU that lacks something' vmx "$("$top/tests/debian/kernel" path 6.1)" \
	"$build/$("$top/tests/debian/kernel" release 6.1)" 'life --host-without-cet refused' \
	-i "$build/tests/guest/life" -i "$lacking" -M msr -p kvm_intel.cet=1 --cpus 2
done_testing
