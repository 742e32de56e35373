#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the ONE_REG ioctls cost, and that nothing else costs more: exact counts of instructions. make bench counts
# them on the host svm-cet, too.
. "$(dirname "$0")/../tap.sh"

if ! "$top/tests/bench/measure" plain ours native vmx-{plain,ours,on,native} >"$tmp/counts"; then
	ok "the hosts count instructions" false
	done_testing
fi
sed 's/^/# /' "$tmp/counts"
while read -r line; do
	is "${line#*ok }" "${line%%ok *}" ""
done < <(awk -f "$top/tests/bench/verdict.awk" "$tmp/counts")
done_testing
