# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # other parts use and set the variables
#
# dkms.sh - all that the installer knows about DKMS: its commands, and its own files, which no other part uses
#
# Assumptions about DKMS 3.0 to 3.4, in /var/lib/dkms/kvm-onereg:
#   VERSION/source                         a link to the source: DKMS knows VERSION
#   VERSION/build/make.log                 the log of a build that failed
#   VERSION/KERNEL/ARCH/module/            what was built; log/make.log is beside it
#   kernel-KERNEL-ARCH                     a link to VERSION/KERNEL/ARCH: that build is installed
#   original_module/KERNEL/ARCH/           the distro's files that `dkms install` moved away; FILE.origin has the place
tree=/var/lib/dkms/$name
arch=$(uname -m)

# Our versions that DKMS knows, at least partly.
versions() {
	local d
	for d in "$tree"/*/; do
		d=$(basename "$d")
		case $d in original_module | kernel-* | '*') ;; *) echo "$d" ;; esac
	done
}

dkms_knows_us() { [ -d "$tree" ]; }

# Whether version $1 is installed for any kernel.
version_in_use() { find "$tree" -maxdepth 1 -name 'kernel-*' -lname "$1/*" | grep -q .; }

# ---- functions that look.sh and switch.sh call

kept_file() {
	local active m=${3##*/}
	active=$(readlink -f "$tree/kernel-$1-$arch") && [ "$active" = "$tree/$2/$1/$arch" ] &&
		ls "$active/module/${m%%.ko*}".ko* 2>/dev/null
}

kept_marked() { [ -L "$tree/kernel-$1-$arch" ]; }

kept_moved() { [ -e "$tree/original_module/$1" ]; }

kept_restore() {
	local k=$1 f to aside=$tree/original_module/$1/$arch
	for f in "$aside"/kvm*.ko{,.xz,.gz,.zst}; do
		{ [ -e "$f" ] && [ -z "$(modinfo -F origin "$f" 2>/dev/null)" ]; } || continue
		# If dkms was killed between moving a file and recording where from, the record is missing.
		to=$(head -n 1 "$f.origin" 2>/dev/null)
		: "${to:=/lib/modules/$k/kernel/arch/x86/kvm/${f##*/}}"
		case $to in "/lib/modules/$k/kernel/"*) ;; *) continue ;; esac
		# A file that has taken its place is newer: it comes from an upgrade of the kernel's package.
		[ -e "$to" ] || {
			mkdir -p "${to%/*}" && cp -p "$f" "$to.part" && sync "$to.part" && mv "$to.part" "$to"
		} || return
	done
}

kept_modules() {
	local m
	for m in $modules; do ls "$tree/$version/$1/$arch/module/$m".ko*; done
}

kept_mark() { ln -s -f -n "$version/$1/$arch" "$tree/kernel-$1-$arch"; }

kept_unmark() {
	rm -rf "$tree/kernel-$1-$arch" "${tree:?}/original_module/$1"
	rmdir "$tree/original_module" 2>/dev/null || true
}

# DKMS 3.0 compresses .xz files with a checksum that the kernel does not support. This recompresses the files that DKMS
# keeps; those that are installed are copies of them.
pack_kept() {
	local f
	while read -r f; do pack "$1" "$f" || return; done <<<"$(kept_modules "$1")"
}

# ---- the versions that it knows

# The folder that version $1 is built from.
source_of() { readlink -f "$tree/$1/source"; }

set_source() { ln -s -f -n "$2" "$tree/$1/source"; }

# Whether any version is built from a folder below $1.
source_in_use() { find "$tree" -maxdepth 2 -name source -lname "$1/*" | grep -q .; }

# Add this version, whose files are in $1, to DKMS.
add_version() {
	local out
	[ ! -d "$tree/$version" ] || [ "$(source_of "$version")" = "$1" ] || set_source "$version" "$1"
	[ -d "$tree/$version/source/src" ] || {
		{ out=$(dkms add -m "$name" -v "$version" </dev/null 2>&1) && [ -d "$tree/$version/source/src" ]; } ||
			die 5 "dkms add failed: $(tail -n 3 <<<"$out")" \
				"make room in /var/lib/dkms, then run this again"
	}
}

forget_version() { rm -rf "${tree:?}/$1"; }

forget_all() { rm -rf "$tree"; }

# ---- builds

# Build for kernel $1; the log goes to $2. Sets $why if the build failed, $full if the disk is full, and $log to the
# path of the log. The previous build is kept: keep_older_build restores it, drop_older_build deletes it.
build() {
	local k=$1 out f make_log=$tree/$version/build/make.log
	# A build that is not installed may come from an interrupted run, and only look complete.
	{ rm -rf "$tree/.older" && mkdir -p "$tree/.older"; } || die 5 "cannot write to $tree"
	[ ! -d "$tree/$version/$k" ] || mv "$tree/$version/$k" "$tree/.older/"
	why='' log=$2
	out=$(dkms build -m "$name" -v "$version" -k "$k" -a "$arch" </dev/null 2>&1) || why="the build failed"
	for f in "$make_log" "$tree/$version/$k/$arch/log/make.log"; do
		[ ! -e "$f" ] || out=$out$'\n'$(cat "$f")
	done
	echo "$out" >"$log" 2>/dev/null || log=$make_log
	full=$(grep -a -m 1 -o 'No space left on device' <<<"$out")
}

# Print why the build for kernel $1 must not be installed: a module is missing or truncated, or has another version, or
# another origin than $2.
built_wrong() {
	local m f
	for m in $modules; do
		f=$(ls "$tree/$version/$1/$arch/module/$m".ko* 2>/dev/null)
		{
			[ "$(modinfo -F version "$f" 2>/dev/null)" = "$version" ] &&
				[ "$(modinfo -F origin "$f")" = "$2" ]
		} ||
			{
				echo "dkms has no complete $m.ko from $2"
				return
			}
	done
}

keep_older_build() {
	rm -rf "${tree:?}/$version/$1"
	[ ! -d "$tree/.older/$1" ] || mv "$tree/.older/$1" "$tree/$version/"
}

drop_older_build() { rm -rf "$tree/.older"; }

# Delete all builds for kernel $1, of any version.
forget_builds() {
	local v
	for v in $(versions); do rm -rf "${tree:?}/$v/$1"; done
}
