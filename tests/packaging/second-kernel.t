#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# dpkg installs a second, older Debian kernel with its headers and its source, which replaces the newer source package.
# The trigger of our package installs modules for it, which a stand-in for make copies. The first kernel keeps its
# modules. A purge of the second kernel removes the modules that were built for it.
#
# THOROUGH=y: real builds
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

archive=$top/tests/debian/archive

# older SERIES: fetch image, headers and source of the newest kernel that is older than the root's; $tmp/debs lists
# them.
older() {
	local series=$1 n v abi p packages
	read -r n v < <("$top/tests/debian/kernel" pairs "$series" | tail -n 2 | head -n 1)
	[ "$v" != "$("$top/tests/debian/kernel" version "$series")" ] || return 1
	kernel=$n abi=${n%-amd64}
	packages="linux-image-$n=$v linux-headers-$n=$v linux-source-$series=$v"
	# Only some releases have these packages for each kernel.
	for p in "linux-headers-$abi-common" "linux-kbuild-$abi"; do
		[ -z "$("$archive" names "${p//+/\\+}")" ] || packages="$packages $p=$v"
	done
	# shellcheck disable=SC2086 # a list
	"$archive" fetch $packages >"$tmp/debs"
}

for release in $releases; do
	begin
	deb=$("$top/tests/packaging/installed" deb-layer "$release")
	case $release in bookworm) series=6.1 ;; *) series=6.12 ;; esac
	if ! older $series; then
		skip "$release: a second kernel" "the archive has no older $series kernel with its source"
		continue
	fi
	options=()
	[ "${THOROUGH:-}" = y ] || built_once
	while read -r p; do options+=(-b "$p:/debs/$(basename "$p"):ro"); done <"$tmp/debs"
	out=$(in_root -o "$deb" -- "k=$kernel"'
		first=$K
		sums "$first" >/tmp/first
		few="--path-exclude=/lib/modules/*/kernel/[dnsf]* --path-exclude=/usr/lib/modules/*/kernel/[dnsf]*"
		status dpkg $few -i /debs/*.deb
		echo "second: $(resolved "$k"), from $(modinfo -k "$k" -F origin kvm) ($(dpkg-deb -f /debs/linux-source-*.deb Version))"
		echo "first: $(resolved "$first") $(sums "$first" | cmp - /tmp/first && echo untouched)"
		status dpkg-reconfigure kvm-onereg-dkms
		dpkg --purge "linux-headers-$k" "linux-image-$k" >/tmp/log 2>&1; echo "purge $?"; sed "s/^/# /" /tmp/log
		echo "entries: $(dkms status | grep -c -F "$k")"
		find /lib/modules/ -path "/lib/modules/$k/*" | sed "s/^/left /"
		echo "first: $(resolved "$first") $(sums "$first" | cmp - /tmp/first && echo untouched)"
	')
	is "$release: dpkg configures $kernel, and our package" "$(grep -c '^status 0$' <<<"$out")" 2
	like "$release: modules are built for it, from the older source" "$out" \
		"^second: ours ours ours, from linux-source-$series (6[^ ]*) \(\1\)\$"
	is "$release: the first kernel keeps its modules, then and after the removal" \
		"$(grep -c '^first: ours ours ours untouched$' <<<"$out")" 2
	is "$release: a second run has nothing to do for both kernels" \
		"$(sed -n '/^second/,/^purge/p' <<<"$out" | grep -c 'installed already')" 2
	like "$release: the kernel's packages can be purged" "$out" '^purge 0$'
	like "$release: dkms no longer knows that kernel" "$out" '^entries: 0$'
	is "$release: nothing is left of its modules" "$(sed -n 's/^left //p' <<<"$out")" ""
	diag_if_failed "$out"
done
done_testing
