#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A host does kexec while guests run: the next kernel boots as usual, and its guests see nothing of the previous ones
#
# THOROUGH=y takes every way from each kernel to each, and crash kernels, with our modules and the distro's, and a part
# of it on an AMD host: fifteen minutes.
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/../hosts/relay.sh"

kernel=$top/tests/debian/kernel
HOST=vmx

# set_host NAME: set the options of tests/hosts/boot for a kernel, with the distro's modules if NAME ends in -distro,
# else with ours
set_host() {
	host=(-H "$HOST" -k "$("$kernel" path "${1%-distro}")")
	case $1 in
	native | *-distro) ;;
	*) host+=(-m "$build/$("$kernel" release "$1")") ;;
	esac
}

options=(-N -M msr -i "$build/tests/guest/life" -c crashkernel=192M)

# prepare CPUS NAME...: prepare these kernels to be loaded next
prepare() {
	local cpus=$1 name
	shift
	library=()
	for name; do
		set_host "$name"
		ok "$HOST: $name, $cpus CPUs: the next kernel is prepared" "$top/tests/hosts/boot" "${host[@]}" \
			"${options[@]}" --cpus "$cpus" --prepare "$tmp/$HOST/$cpus/$name" -- \
			"$build/tests/guest/life" kexec
		library+=(-L "$tmp/$HOST/$cpus/$name")
	done
}

# way CPUS NAMES: go from kernel to kernel; NAMES are as in life-kexec.c
way() {
	local cpus=$1 names=$2
	set_host "${names%%,*}"
	diag "$HOST: $names"
	ok "$HOST: $names: all kernels run, and do not complain" run_to "$tmp/points" \
		"$top/tests/hosts/boot" "${host[@]}" "${options[@]}" --cpus "$cpus" "${library[@]}" \
		-c "crashkernel=192M tests.kexec=$names" -r 512 -t 900 -o "$tmp/out" --taint-ok S \
		--complaint-ok 'Kernel panic - not syncing: sysrq triggered crash' -- "$build/tests/guest/life" kexec
	relay "$HOST: $names" "$tmp/points"
	is "$HOST: $names: the expected number of kernels ran" "$(grep -c '^kernel ' "$tmp/out/report")" \
		"$(tr , '\n' <<<"$names" | wc -l)"
	cat "$tmp/points" >>"$tmp/$HOST-points"
}

if [ "${THOROUGH:-}" = y ]; then
	# Each starts with another kernel; together they go from each of the three to each other one.
	prepare 1 6.1 6.12 native 6.1-distro 6.12-distro
	way 1 6.1,6.1,6.12,6.12,native,native,6.1,native,6.12,6.1
	way 1 6.12,6.1-distro,6.12,6.12-distro,6.1,6.1-distro,native,6.12-distro,native
	way 1 native,6.1,6.12,crash:6.12
	prepare 2 6.1 6.12 native
	for from in $("$top/tests/debian/kernel" series) native; do
		for to in $("$top/tests/debian/kernel" series) native; do
			way 2 "$from,$to,crash:$from"
		done
	done
else
	prepare 2 6.1 6.12
	way 2 6.12,6.1,crash:6.12
fi

# same_states KINDS: equal in each boot of a kernel, on each CPU. Whether guests leave anything behind is checked
# separately. KINDS: how many lines the state of a host has
same_states() {
	local name
	for name in $("$top/tests/debian/kernel" series) native; do
		grep -q "^# state $name " "$tmp/$HOST-points" || continue
		sed -En "s/^# state $name(-distro)? (CPU [0-9]+:|CR4:)/\2/; T
			s/ PL[0-3]_SSP=[^ ]*//g; s/^CPU [0-9]+/CPU/; p" "$tmp/$HOST-points" |
			tr -d '\r' | sort -u >"$tmp/states"
		is "$HOST: $name: boots by kexec and other boots give the same CET state, XSS and CR4" \
			"$(wc -l <"$tmp/states")" "$1" || diag "$(cat "$tmp/states")"
	done
}
same_states 2

if [ "${THOROUGH:-}" = y ]; then
	HOST=svm-cet
	prepare 2 6.1 6.12 native
	way 2 6.12,6.1,native,6.12,crash:6.1
	way 2 native,6.1,6.12,native,crash:native
	# A VMCB does not have the host's CR4.
	same_states 1
fi
done_testing
