# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # other parts use and set the variables
#
# prebuilt.sh - the modules of a package kvm-onereg-modules-KERNEL: check whether they fit the kernel, and use them
#
# The package has them in /usr/lib/kvm-onereg/modules/KERNEL; those in use are copies in $prebuilt_place. That folder
# and updates/dkms are both below updates/, where depmod could take either, so only one of the two contains our modules.
# The rule: prebuilt modules with exactly the source version of the installed image come first; others are not used.
#
# The folder appears and disappears by one rename: if anybody runs depmod at that time, it finds three modules that
# belong together. Needs look.sh, switch.sh, dkms.sh and remove.sh, but not the program dkms.
prebuilt_place=updates/kvm-onereg

packaged_in() { echo "/usr/lib/$name/modules/$1"; }
prebuilt_in() { echo "/lib/modules/$1/$prebuilt_place"; }

# "VERSION ORIGIN" of the modules in folder $1, if it has three that belong together.
set_in() {
	local m f
	for m in $modules; do
		for f in "$1/$m".ko{,.xz,.gz,.zst}; do
			[ ! -e "$f" ] ||
				echo "$(modinfo -F version "$f" 2>/dev/null) $(modinfo -F origin "$f" 2>/dev/null)"
		done
	done | sort | uniq -c |
		awk 'NR == 1 && $1 == 3 && NF > 2 { sub(/^ *3 /, ""); set = $0 } END { if (NR == 1) print set }'
}

# Whether folders $1 and $2 have the same modules.
same_set() {
	[ -d "$1" ] && [ -d "$2" ] && [ "$(cd "$1" && sha256sum kvm*.ko*)" = "$(cd "$2" && sha256sum kvm*.ko*)" ]
}

# Print the first module that modprobe finds for kernel $1 and that is neither the distro's nor ours, if any.
others_file() {
	local m f
	for m in $modules; do
		f=$(modinfo -k "$1" -F filename "$m" 2>/dev/null)
		case $f in
		'' | *"/lib/modules/$1/kernel/"* | *"/lib/modules/$1/$prebuilt_place/"*) ;;
		*) [ ! -e "$f" ] || [ -n "$(modinfo -F origin "$f" 2>/dev/null)" ] || {
			echo "$f"
			return
		} ;;
		esac
	done
}

# Whether modprobe finds all three modules of kernel $1 in $prebuilt_place.
prebuilt_resolve() {
	local m f
	for m in $modules; do
		f=$(modinfo -k "$1" -F filename "$m" 2>/dev/null)
		case $f in *"/lib/modules/$1/$prebuilt_place/"*) [ -e "$f" ] || return ;; *) return 1 ;; esac
	done
}

# Remove the prebuilt modules of kernel $1, so that modprobe finds the distro's. Fails if these are not complete.
take_prebuilt() {
	local k=$1 old=/lib/modules/.$name-$1.old
	rm -rf "$old" "/lib/modules/.$name-$k.part"
	if [ -e "$(prebuilt_in "$k")" ]; then
		# Without the image there are no modules to find, and depmod would leave its lists behind.
		[ ! -d "/lib/modules/$k/kernel" ] || { kept_restore "$k" && point_to_distro "$k" "$prebuilt_place"; } ||
			return
		mv -T "$(prebuilt_in "$k")" "$old" && rm -rf "$old"
		[ ! -d "/lib/modules/$k/kernel" ] || ! others_modules "$k" || depmod "$k"
	fi
	rmdir "/lib/modules/$k/updates" "/lib/modules/$k" 2>/dev/null || true
}

put_prebuilt() {
	local k=$1 part=/lib/modules/.$name-$1.part
	mkdir -p "$part" "/lib/modules/$k/updates" &&
		cp "$(packaged_in "$k")"/kvm*.ko* "$part/" && sync "$part"/* && mv -T "$part" "$(prebuilt_in "$k")" &&
		depmod "$k"
}

# Use the prebuilt modules of kernel $1 if the rule says so. Exit status:
#   0  they are in use, with $found_version and $found_origin; $news is empty if they were in use before
#   1  they are not in use, and $why says why; empty: there are none. If they were in use until now, $news says so
#   2  failed: $why. modprobe finds the distro's modules, if they are complete
# $fix is what to do, if anything.
use_prebuilt() {
	local k=$1 v set here
	why='' fix='' news=''
	[ -d "$(packaged_in "$k")" ] || [ -e "$(prebuilt_in "$k")" ] || return 1
	v=$(image_version "$k")
	set=$(set_in "$(packaged_in "$k")")
	here=$(set_in "$(prebuilt_in "$k")")
	found_origin="linux-source-$(cut -d. -f1,2 <<<"$k") $v"
	# Ignore modules that a removed package left behind.
	[ -d "$(packaged_in "$k")" ] || here=''
	why=$(others_file "$k")
	if [ -n "$why" ]; then
		why="another package replaces KVM: $why" fix="remove that package"
		return 1
	fi
	if [ -n "$v" ] && [ "${set#* }" = "$found_origin" ]; then
		found_version=${set%% *}
		same_set "$(packaged_in "$k")" "$(prebuilt_in "$k")" && prebuilt_resolve "$k" && ! built_here "$k" &&
			return 0
		news=installed
		change_to_prebuilt "$k" || return 2
		found_version=${set%% *} found_origin=${set#* }
		return 0
	fi
	if [ -n "$v" ] && [ "${here#* }" = "$found_origin" ] && prebuilt_resolve "$k"; then
		# The package was upgraded before the image was.
		found_version=${here%% *}
		return 0
	fi
	if [ ! -d "/lib/modules/$k/kernel" ]; then
		why="this kernel is not installed"
		fix="apt-get purge kvm-onereg-modules-$k, unless you will install that kernel again"
	elif [ -z "$v" ]; then
		why="no package linux-image-$k is installed, so the source version of the kernel is not known"
		fix="apt-get install linux-image-$k"
	elif [ -n "$set" ]; then
		why="its kernel has version $v, the prebuilt modules are for ${set##* }"
		fix="install kvm-onereg-modules-$k for $v, built by: make deb-modules KVER=$k"
	else
		why="the package's modules are not complete"
		fix="apt-get install --reinstall kvm-onereg-modules-$k"
	fi
	[ -e "$(prebuilt_in "$k")" ] || return 1
	news="removed the prebuilt modules; modprobe finds the distro's"
	take_prebuilt "$k" && return 1
	why="$why; cannot remove the prebuilt ones: the distro's modules are not complete"
	fix="apt-get install --reinstall linux-image-$k"
	return 2
}

# Whether DKMS has modules of ours for kernel $1.
built_here() { [ -n "$(ours_files "$1")" ] || kept_marked "$1"; }

# Replace whatever modules kernel $1 has with the prebuilt ones. Sets $why and $fix if that fails.
change_to_prebuilt() {
	local k=$1 said
	{ take_prebuilt "$k" && { ! built_here "$k" || roll_back "$k"; }; } || {
		why="the distro's modules are not complete" fix="apt-get install --reinstall linux-image-$k"
		return 1
	}
	forget_builds "$k"
	if ! said=$(put_prebuilt "$k" 2>&1); then
		why="cannot put the modules in place: $said"
		fix="make room (5 MB) in /lib/modules, then: dpkg --configure -a"
	elif ! prebuilt_resolve "$k"; then
		why="modprobe does not find all three prebuilt modules"
		fix="check the settings in /etc/depmod.d; kvm-onereg doctor -k $k says more"
	else
		return 0
	fi
	take_prebuilt "$k"
	return 1
}
