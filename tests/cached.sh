# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For programs that make a folder under build/ once, and print its name.

# cache_in NAME: make the folder build/NAME, and set $build, and BUILD in the environment, to the path of build/, which
# depends on $top
cache_in() {
	build=${BUILD:-$top/build}
	mkdir -p "$build/$1"
	build=$(cd "$build" && pwd)
	export BUILD=$build
}

# key: print a key that depends on the standard input
key() { sha256sum | cut -c1-16; }

# key_of_files FOLDER WORD: print a key that depends on WORD and on all files in FOLDER
key_of_files() {
	(
		cd "$1" || exit
		echo "$2"
		find . -type f -print0 | sort -z | xargs -0 sha256sum
	) | key
}

# cached NAME-KEY MAKE: print the name of the folder. If it does not exist, MAKE makes $part, which is then renamed, so
# that the folder exists completely or not at all. KEY has no '-', and depends on what the folder is made from. Then,
# other folders NAME-* that are older than two hours are removed, as nothing uses them any more. Fails if MAKE fails.
cached() {
	# The names are odd because MAKE sees them.
	local cached_dir=$1 cached_name=${1%-*} part=$1.part
	(
		flock 8
		[ -e "$cached_dir/.complete" ] || {
			rm -rf "$cached_dir" "$part"
			"$2"
			touch "$part/.complete"
			mv "$part" "$cached_dir"
			find "${cached_dir%/*}" -mindepth 1 -maxdepth 1 -name "${cached_name##*/}-*" \
				! -path "$cached_dir*" -mmin +120 -exec rm -rf {} +
		}
	) 8>"$cached_name.lock"
	[ -e "$cached_dir/.complete" ] && echo "$cached_dir"
}

# logged WHAT LOG COMMAND...: the output goes to LOG. If COMMAND fails, print the end of LOG, and exit
logged() {
	local what=$1 log=$2
	shift 2
	"$@" >"$log" 2>&1 || {
		tail -n 30 "$log" >&2
		echo "$what; all of the output: $log" >&2
		exit 1
	}
}
