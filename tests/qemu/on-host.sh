# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the cases here, after tap.sh: run tests/qemu/drive on the emulated vmx host.

# shellcheck source=tests/hosts/relay.sh
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

# drive_on NAME KERNEL COMMANDS [OPTION]...: KERNEL is native, distro for 6.12 as shipped, or 6.12 with our modules and
# CET; COMMANDS, one a line, run drive; OPTIONS are those of tests/hosts/run. $qemu: the root whose QEMU it is, if not
# that of the root qemu.
drive_on() {
	local name=$1 kernel=$2 commands=$3 modules='' f options=()
	shift 3
	if [ "$kernel" = 6.12 ]; then
		modules=$build/$("$top/tests/debian/kernel" release 6.12)
		options=(-p kvm_intel.cet=1)
	fi
	kernel=${kernel/distro/6.12}
	for f in drive forget.so guest.bin; do
		options+=(-i "$build/tests/qemu/$f")
	done
	run_host "$name" vmx "$("$top/tests/debian/kernel" path "$kernel")" "$modules" "$commands" -r 512 \
		-I "$("$top/tests/qemu/tree" "${qemu:-qemu}")" "${options[@]}" "$@"
}

# same_points NAME OTHER: both made the same checks, those of the program "move" without -cpu and later
same_points() {
	is "$1 and $2: the same checks" "$(sed -n '/^# program move$/,$s/^ok //p' "$tmp/$1/points")" \
		"$(sed -n '/^# program move$/,$s/^ok //p' "$tmp/$2/points")"
}
