# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # the caller sets $name
#
# say.sh - messages: an error with what to do next, and the lines about a kernel

# die STATUS MESSAGE [FIX]
die() {
	echo "$name: $2" >&2
	[ $# -lt 3 ] || echo "  to fix: $3" >&2
	exit "$1"
}
line() { printf '  %-28s %s\n' "$1" "$2"; }
more() { printf '  %-28s %s\n' "" "$*"; }
