#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Guests that use shadow stacks and IBT are saved and restored: on a native kernel, the reference, and on 6.12 and 6.1
# with our modules; from each of the three to each; and refused if KVM does not offer CET
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$(dirname "$0")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

native=$("$top/tests/debian/kernel" path native)
declare -A kernel modules
for series in 6.12 6.1; do
	kernel[$series]=$("$top/tests/debian/kernel" path $series)
	modules[$series]=$build/$("$top/tests/debian/kernel" release $series)
done

# on NAME KERNEL MODULES CET COMMANDS [OPTION]...: CET is kvm_intel.cet, or empty where there is no such parameter
on() {
	local name=$1 where=$2 with=$3 cet=$4 commands=$5 p options=()
	shift 5

	while read -r p; do
		options+=(-i "$build/tests/guest/$p")
	done < <(awk '{ print $1 }' <<<"$commands" | sort -u)
	[ -z "$cet" ] || options+=(-p "kvm_intel.cet=$cet")
	run_host "$name" vmx "$where" "$with" "$commands" "${options[@]}" "$@"
}

# What each host runs, and leaves for the others.
commands() { # NAME
	printf '%s\n' "snapshot --save /out/$1" "snapshot --load /out/$1" "tracker --save /out/tracker-$1" \
		"tracker --load /out/tracker-$1" reset smm redeliver guest32 dirty
}
saved=()
# keep NAME: keep what it left for the hosts that follow.
keep() {
	local f
	for f in "$tmp/$1/files/"*; do saved+=(-i "$f"); done
}
# from NAME...
from() {
	printf 'snapshot --load %s\n' "$@"
	printf 'tracker --load tracker-%s\n' "$@"
}

on native "$native" '' 1 "$(commands native)"
keep native
on 6.12 "${kernel[6.12]}" "${modules[6.12]}" 1 "$(commands 6.12)
$(from native)" "${saved[@]}"
keep 6.12
on 6.1 "${kernel[6.1]}" "${modules[6.1]}" 1 "$(commands 6.1)
$(from native 6.12)" "${saved[@]}"
keep 6.1
on 'native, from the others' "$native" '' 1 "$(from 6.12 6.1)" "${saved[@]}"
on '6.12, from 6.1' "${kernel[6.12]}" "${modules[6.12]}" 1 "$(from 6.1)" "${saved[@]}"

for what in '' tracker-; do
	want=$("$build/tests/guest/snapshot" --print "$tmp/native/files/${what}native")
	like "native${what:+, tracker}: CET state is in its snapshot" "$want" '^CPL3 SSP 0x[1-9a-f]'
	for series in 6.12 6.1; do
		is "$series${what:+, tracker}: the same CET state as native, to the bit" \
			"$("$build/tests/guest/snapshot" --print "$tmp/$series/files/$what$series")" "$want"
	done
done

on 'native, cet=0' "$native" '' 0 "$(printf 'snapshot --refused %s\n' native 6.12 6.1)" "${saved[@]}"
for series in 6.12 6.1; do
	on "$series, cet=0" "${kernel[$series]}" "${modules[$series]}" 0 \
		"$(printf 'snapshot --refused %s\n' native 6.12 6.1)" "${saved[@]}"
	on "$series of the distro" "${kernel[$series]}" '' '' 'snapshot --refused native' "${saved[@]}"
done

done_testing
