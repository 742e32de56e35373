#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# If something is missing or does not match, make install says what, with the command to fix it, and installs nothing.
#
# THOROUGH=y: on both releases
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

# refused WHAT STATUS REGEX SCRIPT [RESOLVED]: after SCRIPT, the output of make install matches REGEX, it exits with
# STATUS, and changes no module on disk. modinfo then finds the distro's modules, or what matches RESOLVED
refused() {
	local out
	out=$(in_root -o "$ready" -- "$4"'
		on_disk() { find /lib/modules/*/updates -type f 2>/dev/null | sort | xargs -r sha256sum; }
		before=$(on_disk)
		status ${run:-tools/install}
		[ "$(on_disk)" = "$before" ] || { echo "before:"; echo "$before"; echo "now:"; on_disk; }
		echo "resolved $(resolved)"')
	like "$release: $1: the message says what to do" "$out" "$3"
	like "$release: $1: the exit status is $2" "$out" "^status $2\$"
	is "$release: $1: nothing is installed" "$(sed -n '/^before:$/,/^resolved/p' <<<"$out")" ""
	like "$release: $1: modprobe finds the same modules as before" "$(tail -n 1 <<<"$out")" \
		"^resolved ${5:-(distro distro distro|none.*)}\$"
}

on_one trixie
for release in $releases; do
	begin
	refused "source missing" 3 \
		'skipped: .*linux-source-6\.[0-9]+ 6\.[^ ]*(, the exact source, is not available|: )' \
		'rm -r /usr/src/linux-source-* /var/lib/kvm-onereg'
	refused "source of another version" 3 'to fix: (apt-get update|connect this machine)' \
		'rm -r /var/lib/kvm-onereg; sed -i "/^Package: linux-source-6/,/^Version:/s/^Version: .*/Version: 6.1.99-1/" /var/lib/dpkg/status'
	refused "source of another version, and no download" 3 'built from linux .* but .* has version 6\.1\.99-1' \
		'export FETCH=no; rm -r /var/lib/kvm-onereg; sed -i "/^Package: linux-source-6/,/^Version:/s/^Version: .*/Version: 6.1.99-1/" /var/lib/dpkg/status'
	refused "headers missing" 3 'to fix: apt-get install linux-headers-6\.' \
		'rm /lib/modules/"$K"/build'
	refused "headers incomplete" 3 'to fix: apt-get install linux-headers-6\..* --reinstall' \
		'rm /lib/modules/"$K"/build/Module.symvers'
	refused "not a Debian kernel" 3 'is not a Debian kernel' \
		'rm -f "$(readlink -f /lib/modules/"$K"/build)"/include/generated/package.h'
	refused "source damaged" 1 'to fix: apt-get install --reinstall linux-source-6\.' \
		'rm -r /var/lib/kvm-onereg; truncate -s 30M /usr/src/linux-source-*.tar.xz'
	refused "compiler missing" 1 'to fix: apt-get install ' \
		'rm /usr/bin/*gcc-1?'
	refused "dkms missing" 4 'to fix: apt-get install dkms' \
		'rm /usr/sbin/dkms'
	refused "not root" 2 'needs root' \
		'run="setpriv --reuid=65534 --clear-groups tools/install"'
	refused "no kernel" 3 'to fix: apt-get install linux-image-amd64' \
		'mv /lib/modules/"$K" /'
	refused "another package replaces kvm.ko" 3 \
		'another package replaces KVM: .*updates/kvm.ko.*; remove that package first' \
		'mkdir /lib/modules/"$K"/updates && cp /lib/modules/"$K"/kernel/arch/x86/kvm/kvm.ko* /lib/modules/"$K"/updates/ && depmod "$K"' \
		'/lib/modules/[^ ]*/updates/kvm\.ko[^ ]*\(no origin\) distro distro'
	refused "wrong usage" 2 'install --remove' \
		'run="tools/install --purge"'
done
done_testing
