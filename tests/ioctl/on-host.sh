# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the cases here, after tap.sh: run the programs on an emulated host, and report their checks.

# shellcheck source=tests/hosts/relay.sh
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

# run_programs NAME HOST KERNEL MODULES COMMANDS [OPTION]...: HOST is svm or vmx, KERNEL a folder made by
# tests/debian/kernel, MODULES a folder, or empty for the kernel's own. COMMANDS, one per line, are BITS-PROGRAM
# ARGUMENT...; what they leave in /out is in $tmp/NAME/files. OPTIONS are those of tests/hosts/boot.
run_programs() {
	local name=$1 host=$2 kernel=$3 modules=$4 commands=$5 p programs=()

	shift 5
	mkdir -p "$tmp/$name/bin"
	while read -r p; do
		cp "$build/tests/ioctl/${p/-//}" "$tmp/$name/bin/$p"
		programs+=(-i "$tmp/$name/bin/$p")
	done < <(awk '{ print $1 }' <<<"$commands" | sort -u)
	run_host "$name" "$host" "$kernel" "$modules" "$commands" "${programs[@]}" "$@"
}

# lines_of NAME N: what the kernel logged from the start to the end of command N
lines_of() {
	awk -v n="$2" '/ start of command / { on = $NF == n } on' "$tmp/$1/dmesg"
}

# command_of NAME COMMAND: the number of the command that starts with COMMAND
command_of() {
	grep -n -m 1 -F -- "$2" "$tmp/$1/commands" | cut -d : -f 1
}

# same_as_native HOST: run everything on native and with our modules; native defines what is right.
same_as_native() {
	local host=$1 series release bits
	local commands='64-onereg --facts /out/facts-64
32-onereg --facts /out/facts-32
64-fuzz 5000 1
32-fuzz 5000 2'

	run_programs native "$host" "$("$top/tests/debian/kernel" path native)" '' "$commands"
	for series in $("$top/tests/debian/kernel" series); do
		release=$("$top/tests/debian/kernel" release "$series")
		run_programs "$series" "$host" "$("$top/tests/debian/kernel" path "$series")" "$build/$release" \
			"$commands"
		for bits in 64 32; do
			ok "$series: same answers as native, $bits bits" "$top/tests/ioctl/compare-facts" \
				"$tmp/native/files/facts-$bits" "$tmp/$series/files/facts-$bits" "$host-$series"
		done
	done
}
