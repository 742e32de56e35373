#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# dpkg installs a second, older kernel of Debian's, after the source package has moved on: dkms autoinstall builds
# for it, for real, from the source that was kept; the first kernel is left as it is. Removing the kernel's
# packages removes what was built for it.
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
	case $release in bookworm) series=6.1 ;; *) series=6.12 ;; esac
	if ! older $series; then
		skip "$release: a second kernel" "the archive has no older $series kernel with its source"
		continue
	fi
	options=()
	while read -r deb; do options+=(-b "$deb:/debs/$(basename "$deb"):ro"); done <"$tmp/debs"
	out=$(in_root -o "$light" -- "k=$kernel"'
		first=$K
		sums "$first" >/tmp/first
		few="--path-exclude=/lib/modules/*/kernel/[dnsf]* --path-exclude=/usr/lib/modules/*/kernel/[dnsf]*"
		# The older kernel comes while its source is the one that is installed, and is not set up yet.
		touch /etc/dkms/no-autoinstall
		dpkg $few --unpack /debs/linux-[hik]*.deb >/tmp/log 2>&1 || cat /tmp/log
		new=$(dpkg-query -W -f "\${Version}" "linux-source-*" | head -n 1)
		old=$(dpkg-deb -f /debs/linux-source-*.deb Version)
		mkdir /aside; mv /usr/src/linux-source-*.tar.xz /aside/
		dpkg-deb --fsys-tarfile /debs/linux-source-*.deb | tar -C / -x --wildcards "./usr/src/linux-source-*.tar.xz"
		sed -i "/^Package: linux-source-6/,/^Version:/s/^Version: .*/Version: $old/" /var/lib/dpkg/status
		src/prepare -k "$k" -d /lib/modules/"$k"/build -s /var/lib/kvm-onereg/source -o /tmp/tree
		# The source package moves on.
		mv /aside/* /usr/src/
		sed -i "/^Package: linux-source-6/,/^Version:/s/^Version: .*/Version: $new/" /var/lib/dpkg/status
		rm /etc/dkms/no-autoinstall
		status dpkg --configure -a
		echo "second: $(resolved "$k"), from $(modinfo -k "$k" -F origin kvm) ($old)"
		echo "first: $(resolved "$first") $(sums "$first" | cmp - /tmp/first && echo untouched)"
		status tools/install
		dpkg --purge "linux-headers-$k" "linux-image-$k" >/tmp/log 2>&1; echo "purge $?"; sed "s/^/# /" /tmp/log
		echo "entries: $(dkms status | grep -c -F "$k")"
		find /lib/modules/"$k" -name "kvm*" 2>/dev/null
		echo "first: $(resolved "$first") $(sums "$first" | cmp - /tmp/first && echo untouched)"
	')
	like "$release: dpkg sets $kernel up" "$out" '^status 0$'
	like "$release: autoinstall built for it, from the older source" "$out" "^second: ours ours ours, from linux-source-$series (6[^ ]*) \(\1\)\$"
	is "$release: the first kernel is as it was, then and after the removal" "$(grep -c '^first: ours ours ours untouched$' <<<"$out")" 2
	is "$release: make install has nothing to do for both" "$(grep -c 'installed already' <<<"$out")" 2
	like "$release: the kernel's packages can be purged" "$out" '^purge 0$'
	like "$release: dkms forgot it" "$out" '^entries: 0$'
	[ "$failures" = 0 ] || diag "$out"
done
done_testing
