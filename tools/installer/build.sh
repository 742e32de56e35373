# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # other parts set the variables
#
# build.sh - build for the installed kernels, each from its source, and install the result

# A checksum of our files that modules are built from.
files_sum() {
	(
		cd "$here" && find Makefile Kbuild dkms.conf src include -type f -print0 | sort -z |
			xargs -0 sha256sum | sha256sum
	)
}

# If dkms built modules by itself, nothing records from which of our files. These are about to be replaced, so record
# that the modules were built from others.
note_unknown() {
	local k
	mkdir -p "$state/built" || die 5 "cannot write to $state"
	for k in $(kernels); do
		! kept_marked "$k" || [ -e "$state/built/$k" ] || echo unknown >"$state/built/$k"
	done
}

# Copy the files that we ship to /usr/src/kvm-onereg-VERSION, all or none, and add this version to DKMS.
copy_sources() {
	local to=$sources-$version f same=y
	for f in $shipped; do diff -r -q "$here/$f" "$to/$f" >/dev/null 2>&1 || same=''; done
	if [ -z "$same" ]; then
		[ ! -d "$to" ] || note_unknown
		rm -rf "$sources-".*.part
		# shellcheck disable=SC2086 # a list
		{ mkdir "$sources-.$$.part" && (cd "$here" && cp -r $shipped "$sources-.$$.part/") &&
			rm -rf "$to" && mv "$sources-.$$.part" "$to"; } || {
			rm -rf "$sources-.$$.part"
			die 5 "cannot write $to: disk full?" "make room (1 MB) in /usr/src, then run this again"
		}
	fi
	add_version "$to"
}

# Install prebuilt modules, or build and install, for kernel $1. Prints its line; counts it in $done or $failed.
install_kernel() {
	local k=$1 status=0 why fix news
	use_prebuilt "$k" || status=$?
	case $status in
	0)
		rm -f "$state/built/$k"
		# Keep its source for the time when the package of prebuilt modules is removed.
		needed="$needed ${found_origin#* } "
		note_build_ids "$k"
		line "$k" "${news:-installed already} (prebuilt, $found_version, from $found_origin); DKMS does not build for it"
		done=$((done + 1))
		is_running "$k"
		;;
	1)
		status=$why
		build_kernel "$k"
		[ -z "$status" ] || more "(kvm-onereg-modules-$k is not used: $status)"
		;;
	*)
		line "$k" "failed: $why"
		more "to fix: $fix"
		failed=$((failed + 1))
		;;
	esac
}

# Build and install for kernel $1, and print its line.
build_kernel() {
	local k=$1 out status want stays=''
	look "$k"
	want=$(wanted "$k")
	needed="$needed ${want#* } ${found_origin#* } "
	if [ "$found" = ours ] && [ "$found_version" = "$version" ] && [ "$found_origin" = "$want" ] &&
		[ "$(cat "$state/built/$k" 2>/dev/null || echo "$sum")" = "$sum" ]; then
		keep_installed "$k"
		return
	fi
	if [ "$found" = foreign ]; then
		line "$k" "skipped: another package replaces KVM: $found_file; remove that package first"
		return
	fi
	if [ "$found" = mixed ]; then
		line "$k" "found a partial installation; removing it"
		roll_back "$k" || true
	fi
	[ "$found/$found_origin" != "ours/$want" ] || stays="version $found_version stays installed"

	out=$("$here/src/prepare" -k "$k" -d "/lib/modules/$k/build" -s "$state/source" -o "$scratch/tree" 2>&1) &&
		status=0 || status=$?
	rm -rf "$scratch/tree"
	case $status in
	12 | 13) ! fetch_source "$k" || {
		build_kernel "$k"
		return
	} ;;
	esac
	if [ "$status" = 0 ]; then
		build_prepared "$k" "$want"
	else
		cannot_build "$k" "$want" "$status" "$out"
	fi
}

# Kernel $1 has the right modules: only recompress them, if necessary.
keep_installed() {
	local k=$1 out
	if all_packed_well "$k"; then
		line "$k" "installed already ($version, from $found_origin)"
	elif out=$(repack "$k" 2>&1); then
		line "$k" "installed, recompressed ($version, from $found_origin)"
	else
		line "$k" "failed: cannot compress the modules in the kernel's format: ${out##*$'\n'}"
		more "to fix: make room in /lib/modules and /var/lib/dkms (df), then run this again"
		failed=$((failed + 1))
		return
	fi
	note_build_ids "$k"
	done=$((done + 1))
	is_running "$k"
}

# src/prepare ended with status $3 and output $4 for kernel $1, which should be built from $2: print its line, and
# remove modules that were built from another source. Uses $found of look, and $stays.
cannot_build() {
	local k=$1 want=$2 status=$3 why fix
	why=$(sed -n "s/^$name: //p" <<<"$4" | tail -n 1)
	fix=$(sed -n 's/^  to fix: //p' <<<"$4")
	note_source "$k" "$status" "$why" "${want#* }"
	case $status in
	3)
		line "$k" "native: the kernel has ONE_REG itself; nothing to do"
		done=$((done + 1))
		;;
	11) line "$k" "skipped: $why" ;;
	10)
		line "$k" "skipped: $why"
		lacks "$k" "$why" "$fix"
		;;
	12 | 13 | 18 | 19 | 20)
		line "$k" "skipped: $why"
		lacks "$k" "$why"
		;;
	*)
		line "$k" "failed: ${why:-$4}"
		lacks "$k" "${why:-$4}" "$fix"
		failed=$((failed + 1))
		;;
	esac
	[ -z "$stays" ] || more "($stays)"
	[ -z "$fix" ] || more "to fix: $fix"
	if [ "$found" = ours ] && [ -n "$want" ] && [ "$found_origin" != "$want" ]; then
		more "(removed the installed modules: they were built from $found_origin)"
		restore "$k" || failed=$((failed + 1))
	elif [ "$found" = mixed ]; then
		more "the distro's modules are not complete: apt-get install --reinstall linux-image-$k"
		failed=$((failed + 1))
	fi
}

# Build for kernel $1 from source $2, which is there, install the result, and print the kernel's line. Uses $found of
# look, and $stays.
build_prepared() {
	local k=$1 want=$2 why log full f
	# Nobody watches a noninteractive run, even if its log is written through a terminal.
	[ ! -t 1 ] || [ "${DEBIAN_FRONTEND:-}" = noninteractive ] ||
		printf '  %-28s %s\r' "$k" "building (about a minute)"
	build "$k" "$state/log/$k"
	[ -n "$why" ] || why=$(built_wrong "$k" "$want")
	if [ -z "$why" ]; then
		stays=''
		if [ "$found" = ours ] && ! to_distro "$k"; then
			why="cannot change the set of modules"
		elif ! f=$({ pack_kept "$k" && to_ours "$k"; } 2>&1); then
			why="cannot put the modules in place: $f"
		else
			look "$k"
			[ "$found" = ours ] && [ "$found_version" = "$version" ] && [ "$found_origin" = "$want" ] &&
				mkdir -p "$state/built" && echo "$sum" >"$state/built/$k" ||
				why="modprobe does not find all three of our modules after the installation"
		fi
	fi
	if [ -n "$why" ]; then
		[ -n "$full" ] || full=$(grep -o 'No space left on device' <<<"$why")
		line "$k" "failed: $why${full:+: $full}; ${stays:-$distro_stays}; log: $log"
		if [ -n "$stays" ]; then
			keep_older_build "$k"
		else
			restore "$k" || true
		fi
		drop_older_build
		failed=$((failed + 1))
		lacks "$k" "$why; log: $log" "$user_command"
		return
	fi
	drop_older_build
	note_build_ids "$k"
	line "$k" "installed ($version, from $found_origin)"
	done=$((done + 1))
	is_running "$k"
}

# Kernel $1 can decompress the modules that modprobe finds for it.
all_packed_well() {
	local m
	for m in $modules; do packed_well "$1" "$(modinfo -k "$1" -F filename "$m")" || return; done
}

# Recompress what is installed for kernel $1 in a format that the kernel can decompress.
repack() {
	pack_kept "$1" || return
	# Files with new names are installed as new modules are.
	[ "$(ours_files "$1" | grep -c "\.ko$(suffix_of "$1")\$")" = 3 ] || to_distro "$1" || return
	to_ours "$1"
}

install_all() {
	local k v
	[ -n "$(kernels)" ] || die 3 "no kernel is installed: no modules in /lib/modules" \
		"apt-get install linux-image-amd64 linux-headers-amd64"
	echo "$name $version:"
	copy_sources
	mkdir -p "$state/log" || die 5 "cannot write to $state"
	for k in $(kernels); do install_kernel "$k"; done
	for k in $(kernels); do refresh_image "$k" || stale=$((stale + 1)); done
	end_source

	# Remove other versions of ours that no kernel has any more, and source that no kernel was built from.
	for v in $(versions); do
		[ "$v" != "$version" ] || continue
		version_in_use "$v" && continue
		forget_version "$v"
		rm -rf "$sources-$v"
		echo "  removed version $v"
	done
	source_in_use "$state/older" || rm -rf "$state/older"
	for v in "$state/source"/*/; do
		v=$(basename "$v")
		case $needed in *" $v "*) ;; *) rm -rf "$state/source/$v" ;; esac
	done

	if [ -n "$running" ]; then
		echo "To use the modules on the running kernel, with no VM running: modprobe -r kvm_intel kvm; modprobe kvm_intel"
		echo "(on AMD: kvm_amd), or reboot."
	fi
	if [ "$failed" -gt 0 ]; then
		echo "$name: $failed kernel(s) failed" >&2
		exit 1
	fi
	[ "$stale" = 0 ] || exit 6
	[ "$done" -gt 0 ] || die 3 "not installed for any kernel: all were skipped, see above" \
		"run the commands above, then run this again"
}
