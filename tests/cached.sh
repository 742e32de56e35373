# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For programs that make a folder under build/ once, and print its name.

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
