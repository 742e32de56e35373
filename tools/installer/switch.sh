# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # other parts set the variables
#
# switch.sh - change which modules modprobe finds, three of ours or three of the distro's, by one rename: that of
# modules.dep.bin by depmod. Needs look.sh, and the same from its caller; it does not need DKMS.

# Make modprobe find the distro's three modules of kernel $1, and none in the folder $2.
point_to_distro() {
	local k=$1 m f
	depmod -C /etc/depmod.d -C /run/depmod.d -C /usr/local/lib/depmod.d -C /usr/lib/depmod.d -C /lib/depmod.d \
		-C <(for m in $modules; do echo "override $m * kernel/arch/x86/kvm"; done) "$k" || return
	for m in $modules; do
		f=$(modinfo -k "$k" -F filename "$m" 2>/dev/null)
		[ "${f#*/"$2"/}" = "$f" ] || return
	done
}

# Make modprobe find the distro's three modules of kernel $1, and remove ours. depmod's index names three modules that
# belong together before and after its rename, and both sets are on disk when it changes.
to_distro() {
	local k=$1 f
	kept_restore "$k" && point_to_distro "$k" "$place" || return
	kept_unmark "$k"
	while read -r f; do
		[ -n "$f" ] || continue
		[ -z "$(modinfo -F name "$f" 2>/dev/null)" ] || [ -n "$(modinfo -F origin "$f" 2>/dev/null)" ] ||
			continue
		rm -f "$f"
	done <<<"$(ours_files "$k")"
	rm -f "/lib/modules/$k/$place"/kvm*.part
}

# Make modprobe find the kept modules of kernel $1, if it finds the distro's now, or the same modules under the same
# names.
to_ours() {
	local k=$1 f to=/lib/modules/$1/$place
	mkdir -p "$to" || return
	while read -r f; do
		cp "$f" "$to/${f##*/}.part" && sync "$to/${f##*/}.part" && mv "$to/${f##*/}.part" "$to/${f##*/}" ||
			return
	done <<<"$(kept_modules "$k")"
	kept_mark "$k" && depmod "$k"
}
