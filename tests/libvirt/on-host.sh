# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the cases here, after tap.sh: run tests/libvirt/inside.sh on an emulated host: $HOST, vmx (default) or svm.

# shellcheck source=tests/hosts/relay.sh
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

# libvirt_on NAME KERNEL ACTIONS [OPTION]...: KERNEL is native; distro-6.12 or distro-6.1, as shipped; or 6.12 or 6.1,
# with our modules and CET. ACTIONS, one per line, are those of inside.sh. OPTIONS are those of tests/hosts/boot, at
# least -i cpu.xml. $libvirt names the root whose libvirt and QEMU are used, if not the root qemu.
libvirt_on() {
	local name=$1 kernel=$2 modules='' f options=() actions=()
	mapfile -t actions <<<"$3"
	shift 3
	case $kernel in
	6.*)
		modules=$build/$("$top/tests/debian/kernel" release "$kernel")
		options=(-p "$(cet_parameter "${HOST:-vmx}")=1")
		;;
	esac
	for f in drive guest.bin; do
		options+=(-i "$build/tests/qemu/$f")
	done
	run_host "$name" "${HOST:-vmx}" "$("$top/tests/debian/kernel" path "${kernel#distro-}")" "$modules" \
		"/usr/bin/bash /host/inside.sh $(printf "'%s' " "${actions[@]}")" -r 512 -t 1500 \
		-I "$("$top/tests/libvirt/tree" "${libvirt:-qemu}")" -i "$top/tests/libvirt/inside.sh" \
		"${options[@]}" "$@"
}

# cpu_of_docs MODEL FILE: write the first <cpu> of docs/libvirt.md in which the text MODEL is to FILE, as it is there
cpu_of_docs() {
	awk -v model="$1" '
		/^    <cpu / { on = 1; text = "" }
		on { text = text substr($0, 5) "\n" }
		/^    <\/cpu>|^    <cpu .*\/>/ { if (on && !done && index(text, model)) { printf "%s", text; done = 1 } on = 0 }
		END { exit !done }
	' "$top/docs/libvirt.md" >"$2"
}
