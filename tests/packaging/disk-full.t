#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# If the disk is full in any folder to which make install writes, it says so and exits with status 1 or 5, and the
# distro's modules stay.
#
# THOROUGH=y: each folder on both releases, not only on one of them
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

# full WHAT FOLDER SIZE: run make install while FOLDER is a file system of SIZE
full() {
	local out
	take_turn || return 0
	out=$(in_root -o "$ready" -- "dir=$2 size=$3"'
		dir=${dir//KVER/$K}
		mkdir -p "$dir" /keep && cp -a "$dir"/. /keep/
		tmpfs "$dir" "$size" && cp -a /keep/. "$dir"/ 2>/dev/null
		status tools/install
		echo "resolved $(resolved)"
		sums | sed "s/^/sum /"
		untmpfs "$dir"; mkdir -p "$dir"; cp -a /keep/. "$dir"/
		echo "again $(status tools/install | tail -n 1), $(resolved)"
	')
	like "$release: $1: says that the disk is full" "$out" '([Dd]isk full|No space left)'
	like "$release: $1: exits 1 or 5" "$out" '^status [15]$'
	is "$release: $1: the distro's modules are unchanged" "$(sed -n 's/^sum //p' <<<"$out")" "$before"
	like "$release: $1: once there is room, it installs" "$out" '^again status 0, ours ours ours$'
}

for release in $releases; do
	begin
	built_once
	before=$(in_root -- sums)
	full "the store" /var/lib/kvm-onereg 1M
	full "DKMS's tree, nothing fits" /var/lib/dkms 64k
	full "DKMS's tree, the modules do not fit" /var/lib/dkms 1400k
	full "the kernel's modules" /lib/modules/KVER/updates/dkms 500k
done
done_testing
