#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# unattended-upgrades and needrestart work as usual while a kernel is upgraded under its old name, and when the build of
# our modules fails: all other packages are upgraded, and a line in the log reports the failed build.
#
# THOROUGH=y: on both releases
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

# upgrade REPO...: run unattended-upgrades with the packages of these repositories and an unrelated one, zz-bystander,
# which it upgrades last. Print its status, its logs (apt runs needrestart), and the states of the packages.
functions='
upgrade() {
	local v
	mkdir -p /tmp/new/DEBIAN /new
	for v in 1 2; do
		printf "%s\n" "Package: zz-bystander" "Version: $v" "Architecture: all" "Maintainer: nobody <nobody@localhost>" \
			"Description: bystander" >/tmp/new/DEBIAN/control
		dpkg-deb -b /tmp/new /new/zz-bystander_$v.deb >/dev/null
	done
	dpkg -i /new/zz-bystander_1.deb >/dev/null
	{
		dpkg-deb -f /new/zz-bystander_2.deb
		printf "%s\n" "Filename: ./zz-bystander_2.deb" "Size: $(stat -c %s /new/zz-bystander_2.deb)" \
			"SHA256: $(sha256sum /new/zz-bystander_2.deb | cut -d " " -f 1)"
	} >/new/Packages
	printf "deb [trusted=yes] file:%s ./\n" "${@/#//repo/}" /new >/etc/apt/sources.list
	apt-get update -qq
	printf "%s\n" "Unattended-Upgrade::Origins-Pattern { \"origin=*\"; };" "Unattended-Upgrade::OnlyOnACPower \"false\";" \
		"Unattended-Upgrade::Remove-New-Unused-Dependencies \"false\";" \
		"DPkg::Path \"$PATH\";" >/etc/apt/apt.conf.d/99test
	timeout 300 unattended-upgrade -v >/tmp/log 2>&1 </dev/null; echo "unattended-upgrade $?"
	cat /var/log/unattended-upgrades/*.log
	echo "states: $(states linux-image-amd64 linux-headers-amd64 "$(source_package)" zz-bystander kvm-onereg-dkms)"
	echo "bystander: $(dpkg-query -W -f "\${Version}" zz-bystander)"
}
'
shows() { like "$what: $1" "$out" "$2"; }

on_one trixie
for release in $releases; do
	begin_deb
	newer=$(dpkg-deb -f "$("$top/tests/packaging/repo" "$release")"/source/linux-source-*.deb Version)
	ok "$release: unattended-upgrades and needrestart can be installed" \
		download "$tmp/programs" unattended-upgrades needrestart
	rm -rf "$tmp/layer"
	cp -a "$deb_light" "$tmp/layer"
	out=$(in_root -l "$tmp/layer" -b "$tmp/programs:/programs:ro" \
		-- 'apt --no-install-recommends install /programs/*.deb')
	like "$release: apt installs them" "$out" '^apt 0$'
	diag_if_failed "$out"
	rm -rf "$tmp/layer/work" "$tmp/layer/m"

	what="$release: needrestart"
	out=$(in_root -o "$tmp/layer" -- 'timeout 100 needrestart -b </dev/null >/tmp/with; echo "needrestart $?"
		dpkg -r kvm-onereg-dkms >/dev/null
		needrestart -b </dev/null | cmp - /tmp/with && echo "same verdict"
		cat /tmp/with')
	shows "needrestart ends by itself" '^needrestart 0$'
	shows "it reports the state of the kernel" '^NEEDRESTART-KSTA: [1-3]$'
	shows "the report is the same without our package" '^same verdict$'
	diag_if_failed "$out"

	what="$release: a newer version under the same kernel name"
	out=$(in_root -o "$tmp/layer" -- "$functions"'
		upgrade base image headers source
		echo "newer: $(resolved), $(modinfo -k "$K" -F origin kvm-amd)"')
	shows "unattended-upgrades succeeds" '^unattended-upgrade 0$'
	shows "and leaves no package half installed" '^states: ii ii ii ii ii $'
	shows "the unrelated package is upgraded, too" '^bystander: 2$'
	shows "our modules are rebuilt" "^newer: ours ours ours, linux-source-.* ${newer//./\\.}\$"
	is "$what: one line reports that" "$(grep -c ' installed (.*, from linux-source' <<<"$out")" 1
	is "$what: no line reports a failure" "$(grep -c ' failed: ' <<<"$out")" 0
	diag_if_failed "$out"

	for names in "image headers source" "next next-source"; do
		what="$release: a build that fails, with the packages of $names"
		out=$(in_root -o "$tmp/layer" -- "$functions"'
			export FAIL_FOR="*"
			upgrade base '"$names"'
			N=$(other); : "${N:=$K}"
			echo "failed: $(resolved "$N")"
			unset FAIL_FOR
			/usr/lib/kvm-onereg/install; echo "again $?: $(resolved "$N")"')
		shows "unattended-upgrades succeeds" '^unattended-upgrade 0$'
		shows "and leaves no package half installed" '^states: ii ii ii ii ii $'
		shows "the unrelated package is upgraded, too" '^bystander: 2$'
		shows "the distro's modules are in use" '^failed: distro distro distro$'
		# It is printed for each step of unattended-upgrades in which something has to be built.
		shows "a line of the log reports the failed build" \
			'^  6[^ ]+ +failed: the build failed; .*log: /var/lib/kvm-onereg/log/'
		shows "... with the command that tries again" '^kvm-onereg-dkms: .* to try again: /usr/'
		shows "... and trying again works" '^again 0: ours ours ours$'
		diag_if_failed "$out"
	done
done
done_testing
