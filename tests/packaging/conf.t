#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# dkms.conf prints nothing when dkms reads it, whatever the command, and whether $kernelver is set, empty, or names a
# kernel that is not installed.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

for release in $releases; do
	begin
	built_once
	out=$(in_root -o "$ready" -- '
		mkdir /usr/src/kvm-onereg-"$V" && cp -r Makefile Kbuild dkms.conf src include /usr/src/kvm-onereg-"$V"/
		m="-m kvm-onereg -v $V"
		for c in "status" "add $m" "status" "status $m" "status $m -k $K" "status -k 9.9.9-none" "status -k 5.10.0-1-amd64" \
			"build $m -k $K" "status" "install $m -k $K" "status" "status $m -k $K" "autoinstall -k $K" \
			"uninstall $m -k $K" "status" "unbuild $m -k $K" "autoinstall -k $K" "remove $m --all" "status"; do
			dkms $c >/tmp/out 2>/tmp/err </dev/null
			echo "$c: exit $?, $(grep -v "^Deprecated" /tmp/err | wc -l) lines of complaint"
			cat /tmp/err
		done
		dkms add $m >/dev/null 2>&1
		dkms build $m -k 6.17.8+deb13-amd64 >/tmp/out 2>&1 </dev/null
		echo "a kernel that is left out: exit $?"
	')
	is "$release: each command exits 0 and says nothing on stderr" "$(grep -c ': exit 0, 0 lines' <<<"$out")" 19 ||
		diag "$out"
	like "$release: a kernel of another series is skipped with status 77" "$out" \
		'^a kernel that is left out: exit 77$'
done
done_testing
