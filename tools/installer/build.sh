# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # other parts set the variables
#
# build.sh - build for the installed kernels, each from its source, and install what was built

# A checksum of what modules are built from.
files_sum() {
	(cd "$here" && find Makefile Kbuild dkms.conf src include -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
}

# What dkms built by itself, nobody noted of what. From here on, it is of other files than those that come.
note_unknown() {
	local k
	mkdir -p "$state/built" || die 5 "cannot write to $state"
	for k in $(kernels); do
		! kept_marked "$k" || [ -e "$state/built/$k" ] || echo unknown >"$state/built/$k"
	done
}

# Make /usr/src/kvm-onereg-VERSION what we ship, complete or absent, and known to DKMS.
copy_sources() {
	local to=$sources-$version f same=y
	for f in $shipped; do diff -r -q "$here/$f" "$to/$f" >/dev/null 2>&1 || same=''; done
	if [ -z "$same" ]; then
		[ ! -d "$to" ] || note_unknown
		rm -rf "$sources-".*.part
		# shellcheck disable=SC2086 # a list
		mkdir "$sources-.$$.part" && (cd "$here" && cp -r $shipped "$sources-.$$.part/") &&
			rm -rf "$to" && mv "$sources-.$$.part" "$to" || {
			rm -rf "$sources-.$$.part"
			die 5 "cannot write $to: disk full?" "make room (1 MB) in /usr/src, then run this again"
		}
	fi
	add_version "$to"
}

# Prebuilt modules or those that DKMS builds, for kernel $1. Prints its line; sets $done (has it) or $failed.
install_kernel() {
	local k=$1 status=0 why fix news
	use_prebuilt "$k" || status=$?
	case $status in
	0)
		rm -f "$state/built/$k"
		# Its source stays for the day when the package of prebuilt modules goes.
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
	local k=$1 out status want why fix log full f had stays=''
	look "$k"
	want=$(wanted "$k")
	needed="$needed ${want#* } ${found_origin#* } "
	if [ "$found" = ours ] && [ "$found_version" = "$version" ] && [ "$found_origin" = "$want" ] &&
		[ "$(cat "$state/built/$k" 2>/dev/null || echo "$sum")" = "$sum" ]; then
		if all_packed_well "$k"; then
			line "$k" "installed already ($version, from $found_origin)"
		elif out=$(repack "$k" 2>&1); then
			line "$k" "installed, packed anew ($version, from $found_origin)"
		else
			line "$k" "failed: cannot pack the modules as the kernel unpacks them: ${out##*$'\n'}"
			more "to fix: make room in /lib/modules and /var/lib/dkms (df), then run this again"
			failed=$((failed + 1))
			return
		fi
		note_build_ids "$k"
		done=$((done + 1))
		is_running "$k"
		return
	fi
	if [ "$found" = foreign ]; then
		line "$k" "skipped: another package replaces KVM there: $found_file; remove it first"
		return
	fi
	if [ "$found" = mixed ]; then
		line "$k" "found a part of an install; taking it back"
		roll_back "$k" || true
	fi
	had=$found
	[ "$had/$found_origin" != "ours/$want" ] || stays="version $found_version stays installed"

	out=$("$here/src/prepare" -k "$k" -d "/lib/modules/$k/build" -s "$state/source" -o "$scratch/tree" 2>&1) &&
		status=0 || status=$?
	rm -rf "$scratch/tree"
	case $status in
	12 | 13) ! fetch_source "$k" || {
		build_kernel "$k"
		return
	} ;;
	esac
	if [ "$status" != 0 ]; then
		why=$(sed -n "s/^$name: //p" <<<"$out" | tail -n 1)
		fix=$(sed -n 's/^  to fix: //p' <<<"$out")
		note_source "$k" "$status" "$why" "${want#* }"
		case $status in
		3)
			line "$k" "native: it has all of this itself, nothing to do"
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
			line "$k" "failed: ${why:-$out}"
			lacks "$k" "${why:-$out}" "$fix"
			failed=$((failed + 1))
			;;
		esac
		[ -z "$stays" ] || more "($stays)"
		[ -z "$fix" ] || more "to fix: $fix"
		# Modules from another source than the kernel's do not belong there.
		if [ "$had" = ours ] && [ -n "$want" ] && [ "$found_origin" != "$want" ]; then
			more "(took back what was installed: it was built from $found_origin)"
			restore "$k" || failed=$((failed + 1))
		elif [ "$had" = mixed ]; then
			more "the distro's modules are not complete: apt-get install --reinstall linux-image-$k"
			failed=$((failed + 1))
		fi
		return
	fi

	# A log that is written through a terminal is for nobody to watch.
	[ ! -t 1 ] || [ "${DEBIAN_FRONTEND:-}" = noninteractive ] || printf '  %-28s %s\r' "$k" "building (about a minute)"
	build "$k" "$state/log/$k"
	[ -n "$why" ] || why=$(built_wrong "$k" "$want")
	if [ -z "$why" ]; then
		stays=''
		if [ "$had" = ours ] && ! to_distro "$k"; then
			why="cannot change the set of modules"
		elif ! f=$({ pack_kept "$k" && to_ours "$k"; } 2>&1); then
			why="cannot put the modules in place: $f"
		else
			look "$k"
			[ "$found" = ours ] && [ "$found_version" = "$version" ] && [ "$found_origin" = "$want" ] &&
				mkdir -p "$state/built" && echo "$sum" >"$state/built/$k" ||
				why="not all of kvm, kvm-intel, kvm-amd resolve to ours after the install"
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

# The kernel can unpack what modprobe finds for kernel $1.
all_packed_well() {
	local m
	for m in $modules; do packed_well "$1" "$(modinfo -k "$1" -F filename "$m")" || return; done
}

# Pack what is installed for kernel $1 as its kernel can unpack it.
repack() {
	pack_kept "$1" || return
	# Under new names they come in as new modules do.
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

	# Other versions of ours, once no kernel has them, and source that no kernel was built from.
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
		echo "To use it on the running kernel, with no VM running: modprobe -r kvm_intel kvm; modprobe kvm_intel"
		echo "(on AMD: kvm_amd), or reboot."
	fi
	if [ "$failed" -gt 0 ]; then
		echo "$name: $failed kernel(s) failed" >&2
		exit 1
	fi
	[ "$stale" = 0 ] || exit 6
	[ "$done" -gt 0 ] || die 3 "installed for no kernel: each was skipped, see above" \
		"the commands above, then run this again"
}
