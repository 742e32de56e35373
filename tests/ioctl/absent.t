#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The distro's own modules do not have the ioctls: the results of the other cases come from ours.
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/on-host.sh"

for series in $("$top/tests/debian/kernel" series); do
	run_programs "$series" svm "$("$top/tests/debian/kernel" path "$series")" '' '64-onereg --absent
32-onereg --absent'
done
done_testing
