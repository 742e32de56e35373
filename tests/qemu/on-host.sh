# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the cases here, after tap.sh: run tests/qemu/drive on the emulated vmx host.

# shellcheck source=tests/hosts/relay.sh
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

# drive_on NAME KERNEL COMMANDS [OPTION]...: KERNEL is native, distro-6.12 or distro-6.1 as shipped, or 6.12 or 6.1 with
# our modules and CET. COMMANDS, one per line, run drive. OPTIONS are those of tests/hosts/run. $qemu names the root
# whose QEMU is used, if not the root qemu.
drive_on() {
	local name=$1 kernel=$2 commands=$3 modules='' f options=()
	shift 3
	case $kernel in
	6.*)
		modules=$build/$("$top/tests/debian/kernel" release "$kernel")
		options=(-p kvm_intel.cet=1)
		;;
	esac
	kernel=${kernel#distro-}
	for f in drive forget.so guest.bin; do
		options+=(-i "$build/tests/qemu/$f")
	done
	run_host "$name" vmx "$("$top/tests/debian/kernel" path "$kernel")" "$modules" "$commands" -r 512 -t 1500 \
		-I "$("$top/tests/qemu/tree" "${qemu:-qemu}")" "${options[@]}" "$@"
}

# same_points NAME OTHER: OTHER must pass all checks that NAME passed
same_points() {
	is "$1 and $2: the same checks" "$(comm -23 <(passed_in "$1") <(passed_in "$2"))" ""
}

passed_in() {
	awk '/^# program / { program = $0; next } sub(/^ok [0-9]+ - /, "") { print program ": " $0 }' "$tmp/$1/points" |
		sort -u
}
