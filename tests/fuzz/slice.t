#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A short run of the fuzzer: the same random operations on a native kernel and on our modules, on an emulated Intel
# machine with CET, and on AMD machines without and with shadow stacks. Every difference has an explanation. With the
# distro's modules in place of ours, the first sequences differ.
#
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"

# shellcheck disable=SC2154 # tap.sh sets top and tmp
# shellcheck disable=SC2317 # ok calls it
fuzz() { FUZZ_READY=y FUZZ_SHRINK=0 "$top/tests/fuzz/compare" -o "$tmp/$1-$2" -H "$1" -k "$2" "${@:3}"; }

# HOST KERNEL SEED OPERATIONS
while read -r host series seed operations; do
	ok "$host, $series, seed $seed: no difference without an explanation" fuzz "$host" "$series" -s "$seed" \
		-n "$operations"
	diag "$output"
	like "$host, $series, seed $seed: so many operations" "$(tail -n 1 <<<"$output")" '^[0-9]{5} operations, '
done <<-'END'
	vmx 6.12 7 20000
	svm 6.1 7 12000
	svm-cet 6.12 7 20000
END

# Without files, the distro's modules stay.
mkdir "$tmp/none"
not_ok "the distro's modules on vmx: it fails" 1 fuzz vmx 6.12 -s 7 -n 4000 -f -m "$tmp/none"
# shellcheck disable=SC2154 # not_ok sets output
like "it says after how many operations, and where" "$(tail -n 1 <<<"$output")" \
	'^found within [0-9]+ operations: [0-9]+\.[0-9]+ [a-z_0-9]+ cpu=[0-2]$'

done_testing
