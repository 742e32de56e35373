#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The ONE_REG ioctls cost no more than required, and nothing else costs more than with the distro's modules, by exact
# counts of instructions. The first measurement is quick. If it does not meet each requirement, which may be due to a
# compiler that is newer than the distro's modules, or to the addresses of one boot, a second one as in make bench
# decides. make bench counts on the host svm-cet, too.
. "$(dirname "$0")/../tap.sh"

# counted OPTION...: count into $tmp/counts, and compare with the requirements into $tmp/verdicts; false on failure
counted() {
	"$top/tests/bench/measure" "$@" plain ours native vmx-{plain,ours,on,native} >"$tmp/counts" &&
		awk -f "$top/tests/bench/verdict.awk" "$tmp/counts" >"$tmp/verdicts"
}

# shellcheck disable=SC2154 # tap.sh sets tmp
if ! counted -q || grep '^not ok' "$tmp/verdicts" | sed 's/^/# quick: /' | grep .; then
	if ! counted; then
		ok "the hosts count instructions" false
		done_testing
	fi
fi
sed 's/^/# /' "$tmp/counts"
while read -r line; do
	is "${line#*ok }" "${line%%ok *}" ""
done <"$tmp/verdicts"
done_testing
