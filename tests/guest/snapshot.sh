# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the cases snapshot*.t, after tap.sh: guests are saved and restored on native, 6.12 and 6.1, and from each to each.

# shellcheck source=tests/hosts/relay.sh
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/relay.sh"

declare -A kernel=() modules=()
# shellcheck disable=SC2154 # tap.sh sets build, tmp and top
find_kernels() {
	local series
	for series in native $("$top/tests/debian/kernel" series); do
		kernel[$series]=$("$top/tests/debian/kernel" path "$series")
		modules[$series]=
		[ "$series" = native ] || modules[$series]=$build/$("$top/tests/debian/kernel" release "$series")
	done
}
find_kernels

# To be set by the case: the host, as tests/hosts/boot knows it, and the programs whose guests go from kernel to kernel.
host='' travelling=()

# on NAME SERIES MODULES CET COMMANDS [OPTION]...: CET is the parameter's value, or empty where there is no parameter.
# COMMANDS can have directions (directions_to)
on() {
	local name=$1 series=$2 with=$3 cet=$4 commands=$5 p options=()
	shift 5

	while read -r p; do
		options+=(-i "$build/tests/guest/$p")
	done < <(awk '$1 != "module" { print $1 }' <<<"$commands" | sort -u)
	[ -z "$cet" ] || options+=(-p "$(cet_parameter "$host")=$cet")
	run_host "$name" "$host" "${kernel[$series]}" "$with" "$(directions_to "$series" "$commands")" \
		"${options[@]}" "$@"
}

# saved_as PROGRAM NAME: the file's name
saved_as() {
	case $1 in
	snapshot) echo "$2" ;;
	*) echo "$1-$2" ;;
	esac
}

# What each host runs, and leaves for the others, before anything else.
travels() { # NAME
	local p
	for p in "${travelling[@]}"; do
		printf '%s\n' "$p --save /out/$(saved_as "$p" "$1")" \
			"$p --load /out/$(saved_as "$p" "$1") #direction here small moved"
	done
}

saved=()
# keep NAME: keep the files that this host has left, for the hosts that follow.
keep() {
	local f
	for f in "$tmp/$1/files/"*; do saved+=(-i "$f"); done
}

# from NAME...
from() {
	local p name
	for p in "${travelling[@]}"; do
		for name; do
			echo "$p --load $(saved_as "$p" "$name") #direction $name small moved"
		done
	done
}

# same_state: what the hosts saved is identical.
same_state() {
	local p what want series
	for p in "${travelling[@]}"; do
		what=", $p"
		[ "$p" != snapshot ] || what=
		want=$("$build/tests/guest/snapshot" --print "$tmp/native/files/$(saved_as "$p" native)")
		like "native$what: CET state is in its snapshot" "$want" '^CPL3 SSP 0x[1-9a-f]'
		for series in $("$top/tests/debian/kernel" series); do
			is "$series$what: the same CET state as native, to the bit" \
				"$("$build/tests/guest/snapshot" --print \
					"$tmp/$series/files/$(saved_as "$p" "$series")")" "$want"
		done
	done
}

# refused NAME...: a KVM without CET accepts none of these snapshots. NAME can have a path
refused() {
	local name
	for name; do
		echo "snapshot --refused $name #direction ${name##*/} small refused"
	done
}
