# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # other parts set the variables
#
# remove.sh - remove our modules from one kernel or from all; keep them while the Debian package is upgraded

# Whether kernel $1 has modules with these names outside of the distro's folders, too.
others_modules() { find "/lib/modules/$1" -name 'kvm*.ko*' ! -path '*/kernel/*' | grep -q .; }

# Remove everything of ours from kernel $1, even after a partial installation.
roll_back() {
	local k=$1
	to_distro "$k" || {
		look "$k"
		return 1
	}
	rmdir "/lib/modules/$k/$place" "/lib/modules/$k/updates" 2>/dev/null
	! others_modules "$k" || depmod "$k"
	forget_builds "$k"
	rm -f "$state/built/$k"
	look "$k"
	[ "$found" = distro ] || prebuilt_resolve "$k"
}

# Roll back kernel $1, and print a line if that fails.
restore() {
	roll_back "$1" && return
	more "the distro's modules are not complete: apt-get install --reinstall linux-image-$1"
	return 1
}

remove_all() {
	local k v c had
	dkms_knows_us || [ -n "$(ls -d "$sources"-* "$state" 2>/dev/null)" ] || had=nothing
	for k in $(kernels); do
		if prebuilt_resolve "$k"; then
			line "$k" "left alone: it uses the prebuilt modules of kvm-onereg-modules-$k"
			continue
		fi
		look "$k"
		case $found in distro | foreign) ! kept_moved "$k" || found=mixed ;; esac
		case $found in
		distro | none) continue ;;
		foreign)
			line "$k" "left alone: $found_file belongs to another package"
			continue
			;;
		esac
		[ -n "$(ours_files "$k")" ] || dkms_knows_us || continue
		if roll_back "$k"; then
			if prebuilt_resolve "$k"; then
				line "$k" "removed; modprobe finds the prebuilt modules of kvm-onereg-modules-$k"
				is_running "$k"
				continue
			fi
			c=$(changed_files "$k")
			if [ -z "$c" ]; then
				line "$k" "removed; modprobe finds the distro's modules, unmodified"
				is_running "$k"
				continue
			fi
			line "$k" "failed: these differ from the kernel's package: ${c//$'\n'/ }"
		else
			line "$k" "failed: the distro's modules are not complete"
		fi
		more "to fix: apt-get install --reinstall linux-image-$k"
		failed=$((failed + 1))
	done
	if [ "$failed" -gt 0 ]; then
		# It may have the only copies of modules that DKMS moved aside.
		echo "$name: left $tree in place: $failed kernel(s) failed" >&2
		exit 1
	fi
	for k in $(kernels); do refresh_image "$k" || stale=$((stale + 1)); done
	for v in "$sources"-*; do
		[ "$v" = "$packaged" ] || rm -rf "$v"
	done
	{ forget_all && forget_state; } || die 5 "cannot remove $tree, $state"
	if [ "${had:-}" = nothing ]; then echo "$name: nothing was installed"; else echo "$name: removed"; fi
	if [ -n "$running" ]; then
		echo "The running kernel may still have our modules loaded. To replace them, with no VM running:"
		echo "modprobe -r kvm_intel kvm; modprobe kvm_intel   (on AMD: kvm_amd), or reboot."
	fi
	[ "$stale" = 0 ] || exit 6
}

# For each version that is built from the package's files, keep a copy of these: every version that DKMS knows must have
# its source at any time.
keep_all() {
	local v f to
	note_unknown
	for v in $(versions); do
		f=$(source_of "$v")
		{ [ "$f" = "$sources-$v" ] && [ -d "$f" ]; } || continue
		to=$state/older/$v
		{ rm -rf "$to" "$to.part" && mkdir -p "$state/older" && cp -r "$f" "$to.part" && mv "$to.part" "$to" &&
			set_source "$v" "$to"; } ||
			die 5 "cannot write to $to: disk full?" "make room (1 MB), then run this again"
	done
}
