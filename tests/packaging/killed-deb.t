#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Like killed.t, with the Debian package: dpkg is killed with kill -9 while it upgrades the package, and while it
# removes it. At every moment modprobe finds a complete set of modules, and the next run of dpkg recovers.
#
# THOROUGH=y: each step on both releases, not only on one of them
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
# shellcheck disable=SC2317 # killed.t continues after run_points only when it is run itself
. "$(dirname "$0")/killed.t"

upgrade='
upgrade: sources being kept         | cp     | */older/*                      | before
upgrade: sources kept, not recorded | ln     | */older/*                      | before
upgrade: before the build           | make   | *modules*                      | before
upgrade: before the switch          | depmod | *-C*                           | before
upgrade: switched off               | depmod | *-C*                           | after
upgrade: two of three copied        | cp     | */updates/dkms/kvm-amd.ko*     | before
upgrade: all three copied           | depmod | ?[0-9]*                        | before
upgrade: done                       | depmod | ?[0-9]*                        | after
'
remove='
remove: at the start                | depmod | *-C*                           | before
remove: switched off                | depmod | *-C*                           | after
remove: one of three removed        | rm     | */updates/dkms/kvm-intel.ko*   | before
'

for release in $releases; do
	begin_deb
	before=$(in_root -- sums)
	# Make the newer package once.
	in_root -b "$tmp:/to" -- 'repack 9.1.0 9.1.0 && mv /new.deb /to/'
	options+=(-b "$tmp/new.deb:/new.deb:ro")
	run_points "$deb_light" "$upgrade" 'dpkg -i /new.deb' '
		status dpkg --configure -a >/tmp/log; [ "$(tail -n 1 /tmp/log)" = "status 0" ] || cat /tmp/log
		status dpkg -i /new.deb' "ours ours ours"
	run_points "$deb_light" "$remove" 'dpkg -r kvm-onereg-dkms' 'status dpkg -r kvm-onereg-dkms' \
		"distro distro distro"
done
done_testing
