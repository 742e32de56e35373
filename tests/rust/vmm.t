#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A second VMM, in Rust on rust-vmm's kvm-ioctls, the library of Cloud Hypervisor and Firecracker: it saves a guest in
# the middle of calls on its shadow stacks, at CPL 3 and at CPL 0, and restores it, from each of native, 6.12 and 6.1 to
# each. Without SSP, or without the MSRs of CET, the guest notices. On a host without CET, KVM refuses.
#
# Not part of make check, as it needs Debian unstable: make rust-vmm
# needs: emulated-hosts
# shellcheck disable=SC2001,SC2154 # each line; tap.sh sets the variables
. "$(dirname "$0")/../tap.sh"

vmm=$("$top/tests/rust/build" path)
report $? "the VMM compiles" || done_testing
cp "$vmm" "$tmp/vmm"

# on NAME KERNEL CET COMMANDS [OPTION]...: COMMANDS are lines of "STATUS WHAT: ARGUMENTS OF vmm"
on() {
	local name=$1 kernel=$2 cet=$3 commands=$4 options=() n=0 line status
	shift 4
	case $kernel/$cet in
	native/0) options=(-p kvm_intel.enable_apicv=0 -p kvm_intel.cet=0) ;;
	native/1) ;;
	*) options=(-m "$build/$("$top/tests/debian/kernel" release "$kernel")" -p kvm_intel.cet="$cet") ;;
	esac
	mkdir -p "$tmp/$name"
	sed 's/^[^:]*: /vmm /' <<<"$commands" >"$tmp/$name/commands"
	"$top/tests/hosts/boot" -H vmx -k "$("$top/tests/debian/kernel" path "$kernel")" -i "$tmp/vmm" \
		-i "$build/tests/qemu/guest.bin" -f "$tmp/$name/commands" -o "$tmp/$name" -t 900 "${options[@]}" "$@" \
		>"$tmp/$name/out" 2>&1
	status=$?
	ok "$name: the host does not complain" test $status -lt 124
	while read -r line; do
		n=$((n + 1))
		status=${line%% *} line=${line#* }
		is "$name: ${line%%: *}" "$(sed -n "s/^command $n exit //p" "$tmp/$name/report")" "$status"
	done <<<"$commands"
	diag_if_failed "$(cat "$tmp/$name/out")"
}
saved=()
# keep NAME: for the hosts that follow
keep() {
	local level
	for level in 3 0; do
		cp "$tmp/$1/files/cpl$level" "$tmp/$1-cpl$level" && saved+=(-i "$tmp/$1-cpl$level")
	done
}
own='0 KVM tells what it offers: kvm
0 a guest is saved at CPL 3: save /out/cpl3 /host/guest.bin
0 a guest is saved at CPL 0: save /out/cpl0 /host/guest.bin 2
1 a guest has no third wait: save /out/none /host/guest.bin 3
0 CPL 3, restored: restore /out/cpl3
0 CPL 0, restored: restore /out/cpl0
1 CPL 3, without SSP: restore /out/cpl3 --without-ssp
1 CPL 0, without SSP: restore /out/cpl0 --without-ssp
1 CPL 3, without the MSRs: restore /out/cpl3 --without-msrs
1 CPL 0, without the MSRs: restore /out/cpl0 --without-msrs
2 no such file: restore /out/nothing
2 wrong use: restore'
from() {
	local name level
	for name; do
		for level in 3 0; do
			echo "0 CPL $level, from $name: restore /host/$name-cpl$level"
		done
	done
}
refuse() {
	local name level
	echo '0 KVM tells what it offers: kvm'
	echo '1 a guest gets no shadow stacks: save /out/none /host/guest.bin'
	for name; do
		for level in 3 0; do
			echo "3 CPL $level, from $name, refused: restore /host/$name-cpl$level"
		done
	done
}
offers() { grep -E '^(shadow stacks|GUEST_SSP)' "$tmp/$1/out" | tr -d '\r' | paste -sd,; }

on native native 1 "$own"
is "native: shadow stacks and the register" "$(offers native)" "shadow stacks,GUEST_SSP"
keep native
on 6.12 6.12 1 "$own
$(from native)" "${saved[@]}"
is "6.12: shadow stacks and the register" "$(offers 6.12)" "shadow stacks,GUEST_SSP"
keep 6.12
on 6.1 6.1 1 "$own
$(from native 6.12)" "${saved[@]}"
is "6.1: shadow stacks and the register" "$(offers 6.1)" "shadow stacks,GUEST_SSP"
keep 6.1
on 'native, from the others' native 1 "$(from 6.12 6.1)" "${saved[@]}"
on '6.12, from 6.1' 6.12 1 "$(from 6.1)" "${saved[@]}"
for kernel in native $("$top/tests/debian/kernel" series); do
	on "$kernel with cet=0" "$kernel" 0 "$(refuse native 6.12 6.1)" "${saved[@]}"
	is "$kernel with cet=0: neither shadow stacks nor the register" "$(offers "$kernel with cet=0")" ""
done
done_testing
