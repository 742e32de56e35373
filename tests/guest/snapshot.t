#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Guests on live shadow stacks and IBT are saved and restored: on native, the judge, and on 6.12 with our modules; moved
# from each to the other; and refused where KVM does not offer CET
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$(dirname "$0")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

native=$("$top/tests/debian/kernel" path native)
kernel=$("$top/tests/debian/kernel" path 6.12)
modules=$build/$("$top/tests/debian/kernel" release 6.12)

# on NAME KERNEL MODULES CET COMMANDS [OPTION]...: CET is kvm_intel.cet, or nothing where there is no such parameter
on() {
	local name=$1 where=$2 with=$3 cet=$4 commands=$5 p options=()
	shift 5

	while read -r p; do
		options+=(-i "$build/tests/guest/$p")
	done < <(awk '{ print $1 }' <<<"$commands" | sort -u)
	[ -z "$cet" ] || options+=(-p "kvm_intel.cet=$cet")
	run_host "$name" vmx "$where" "$with" "$commands" "${options[@]}" "$@"
}

# What each of the two runs, and leaves for the other.
commands='snapshot --save /out/deep
tracker
reset
smm
redeliver
guest32'
# files NAME: what it left.
files() { printf '%s\n' -i "$tmp/$1/files/deep.0" -i "$tmp/$1/files/deep.3"; }

on native "$native" '' 1 "$commands"
mapfile -t from_native < <(files native)
on 6.12 "$kernel" "$modules" 1 "$commands
snapshot --load deep" "${from_native[@]}"
mapfile -t from_ours < <(files 6.12)
on 'native, moved from 6.12' "$native" '' 1 'snapshot --load deep' "${from_ours[@]}"

on 'native, cet=0' "$native" '' 0 'snapshot --refused deep' "${from_native[@]}"
on '6.12, cet=0' "$kernel" "$modules" 0 'snapshot --refused deep' "${from_native[@]}"
on '6.12 of the distro' "$kernel" '' '' 'snapshot --refused deep' "${from_native[@]}"

done_testing
