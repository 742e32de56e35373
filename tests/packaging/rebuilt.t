#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# After an update of the kernel's package under the same kernel name, modules that were built from the older source are
# rebuilt or, if the newer source is missing, removed.
#
# THOROUGH=y: on both releases
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

on_one bookworm
for release in $releases; do
	begin
	built_once
	out=$(in_root -o "$light" -- '
		h=$(readlink -f /lib/modules/"$K"/build)/include/generated/package.h
		was=$(sed -n "s/^#define LINUX_PACKAGE_ID \" Debian \(.*\)\"$/\1/p" "$h")
		new=$(revised "$was")
		sed -i "s/Debian $was/Debian $new/" "$h"
		echo "new $new"
		status tools/install
		echo "without the source: $(resolved)"
		sed -i "/^Package: linux-source-6/,/^Version:/s/^Version: .*/Version: $new/" /var/lib/dpkg/status
		export ORIGIN_IS="linux-source-$(cut -d. -f1,2 <<<"$K") $new"
		status tools/install
		echo "with it: $(resolved), $(modinfo -k "$K" -F origin kvm-amd | grep -c -F " $new")"
		status tools/install
		ls /var/lib/kvm-onereg/source
	')
	new=$(sed -n 's/^new //p' <<<"$out")
	like "$release: without the newer source: the message says what to do" "$out" \
		'to fix: (apt-get update|connect this machine)'
	like "$release: without the newer source: the modules are removed" "$out" \
		'removed the installed modules: they were built from linux-source-'
	like "$release: without the newer source: the distro's modules" "$out" \
		'^without the source: distro distro distro$'
	like "$release: with it: the modules are rebuilt" "$out" '^with it: ours ours ours, 1$'
	like "$release: the next run has nothing to do" "$out" "installed already .* ${new//./\\.}\)"
	is "$release: exit status of the three runs" "$(grep '^status' <<<"$out" | xargs)" "status 3 status 0 status 0"

	# The newer source is in the store already.
	out=$(in_root -o "$light" -- '
		h=$(readlink -f /lib/modules/"$K"/build)/include/generated/package.h
		was=$(sed -n "s/^#define LINUX_PACKAGE_ID \" Debian \(.*\)\"$/\1/p" "$h")
		new=$(revised "$was")
		sed -i "s/Debian $was/Debian $new/" "$h"
		cp -a /var/lib/kvm-onereg/source/"$was" /var/lib/kvm-onereg/source/"$new"
		export ORIGIN_IS="linux-source-$(cut -d. -f1,2 <<<"$K") $new"
		status tools/install
		echo "at once: $(resolved), $(modinfo -k "$K" -F origin kvm-amd | grep -c -F " $new")"
	')
	like "$release: if the source is there from the beginning: the modules are rebuilt at once" "$out" \
		'^at once: ours ours ours, 1$'
done
done_testing
