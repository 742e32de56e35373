#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# After a removal, by make uninstall or by dkms alone, modprobe finds the distro's modules, unchanged byte for byte.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

for release in $releases; do
	begin
	before=$(in_root -- 'sums')
	out=$(in_root -o "$installed" -- '
		status tools/install --remove
		echo "resolved $(resolved)"
		sums >/tmp/sums; sed "s/^/sum /" /tmp/sums
		traces | sed "s/^/left /"
		status tools/install --remove
	')
	like "$release: make uninstall says that it removed the modules" "$out" \
		"removed; modprobe finds the distro's modules, unmodified"
	like "$release: make uninstall exits with status 0" "$out" '^status 0$'
	is "$release: the distro's modules are unchanged" "$(sed -n 's/^sum //p' <<<"$out")" "$before"
	is "$release: nothing of the installation is left" "$(sed -n 's/^left //p' <<<"$out")" ""
	like "$release: a second uninstall has nothing to do" "$out" 'nothing was installed'

	out=$(in_root -o "$installed" -- '
		status dkms remove -m kvm-onereg -v "$V" --all >/dev/null
		echo "resolved $(resolved)"
		sums | sed "s/^/sum /"
	')
	is "$release: dkms remove alone: the distro's modules are unchanged" "$(sed -n 's/^sum //p' <<<"$out")" \
		"$before"

	# The next removal completes one that was interrupted.
	out=$(in_root -o "$light" -- '
		rm -f /lib/modules/"$K"/updates/dkms/kvm.ko* /var/lib/dkms/kvm-onereg/kernel-*
		depmod "$K"
		status tools/install --remove
		sums | sed "s/^/sum /"
		traces | sed "s/^/left /"
	')
	like "$release: make uninstall of a partial installation exits with status 0" "$out" '^status 0$'
	is "$release: ... restores the distro's modules, unchanged" "$(sed -n 's/^sum //p' <<<"$out")" "$before"
	is "$release: ... and leaves nothing" "$(sed -n 's/^left //p' <<<"$out")" ""

	# An interrupted kvm-onereg swap --keep-guests has left the saved state of a guest.
	out=$(in_root -o "$light" -- '
		mkdir -p /var/lib/kvm-onereg/guests
		echo state >/var/lib/kvm-onereg/guests/web1.state
		status tools/install --remove
		find /var/lib/kvm-onereg -type f | sed "s/^/left /"
		rm /var/lib/kvm-onereg/guests/web1.state
		status tools/install --remove
		traces | sed "s/^/then left /"
	')
	is "$release: the saved states of guests are kept" "$(sed -n 's/^left //p' <<<"$out")" \
		/var/lib/kvm-onereg/guests/web1.state
	is "$release: ... and their folder, as long as it contains any" "$(grep -c '^then left' <<<"$out") $(
		grep -c '^status 0$' <<<"$out"
	)" "0 2"
done
done_testing
