#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# dpkg installs a second, older kernel of Debian's with its headers and its source, over the newer source: the Debian package's
# trigger builds for it, for real; the first kernel is left as it is, and its source is kept. Removing the kernel's packages removes
# what was built for it.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

archive=$top/tests/debian/archive

# Paths of the packages of the newest kernel that is older than the root's, of series $1: image, headers, source.
older() {
	local series=$1 newest names n v
	newest=$("$archive" madison "linux-source-$series" | awk -v r="$release" 'index($3, r) == 1 { print $2 }' | sort -V | tail -n 1)
	names=$("$archive" names "linux-headers-${series/./\\.}\\.[0-9][^c]*-amd64" | grep -v -e rt- -e cloud- | sort -rV)
	for n in $names; do
		n=${n#linux-headers-}
		v=$("$archive" madison "linux-headers-$n" | awk -v r="$release" 'index($3, r) == 1 { print $2; exit }')
		[ -n "$v" ] && [ "$v" != "$newest" ] || continue
		"$archive" madison "linux-source-$series" | grep -q "^linux-source-$series $v $release" || continue
		kernel=$n
		case $series in
		6.1) "$archive" fetch "linux-image-$n=$v" "linux-headers-$n=$v" "linux-headers-${n%-amd64}-common=$v" "linux-source-$series=$v" ;;
		*) "$archive" fetch "linux-image-$n=$v" "linux-headers-$n=$v" "linux-headers-${n%-amd64}-common=$v" \
			"linux-kbuild-${n%-amd64}=$v" "linux-source-$series=$v" ;;
		esac >"$tmp/debs" && return
	done
	return 1
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
		find /lib/modules/"$k" -name "kvm*" 2>/dev/null
		echo "first: $(resolved "$first") $(sums "$first" | cmp - /tmp/first && echo untouched)"
	')
	is "$release: dpkg sets $kernel up, and ours" "$(grep -c '^status 0$' <<<"$out")" 2
	like "$release: built for it, from the older source" "$out" "^second: ours ours ours, from linux-source-$series (6[^ ]*) \(\1\)\$"
	is "$release: the first kernel is as it was, then and after the removal" "$(grep -c '^first: ours ours ours untouched$' <<<"$out")" 2
	is "$release: a second run has nothing to do for both" "$(sed -n '/^second/,/^purge/p' <<<"$out" | grep -c 'installed already')" 2
	like "$release: the kernel's packages can be purged" "$out" '^purge 0$'
	like "$release: dkms forgot it" "$out" '^entries: 0$'
	[ "$failures" = 0 ] || diag "$out"
done
done_testing
