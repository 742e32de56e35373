# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# TAP for test cases in bash. Source it first; call done_testing last.
#
#   ok DESCRIPTION COMMAND...            passes when the command succeeds; its output is shown when it fails
#   not_ok DESCRIPTION STATUS COMMAND... passes when the command exits with STATUS; output kept in $output
#   is DESCRIPTION GOT WANTED            compares strings
#   like DESCRIPTION TEXT REGEX          passes when TEXT matches the extended regular expression; an empty one fails
#   skip DESCRIPTION REASON              a check that cannot run here, and why
#   skip_all REASON                      the whole case cannot run here
#   diag TEXT...                         a remark
#   diag_if_failed TEXT...               a remark, if a check failed since the last call. Call it after the checks of
#                                        each part of a case, so that a failure shows the output of its own part only
#
# Set here: $top (the project), $build (its build folder), $tmp (scratch, removed at the end).
set -u

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${BUILD:-$top/build}
mkdir -p "$build/tmp"
build=$(cd "$build" && pwd)
tmp=$(mktemp -d "$build/tmp/case.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
export BUILD=$build

tests=0 failures=0 failures_shown=0 output=''

diag() { printf '%s\n' "$*" | sed 's/^/# /'; }

diag_if_failed() {
	[ "$failures" = "$failures_shown" ] || diag "$@"
	failures_shown=$failures
}

report() {
	local good=$1 text=$2
	tests=$((tests + 1))
	if [ "$good" = 0 ]; then
		echo "ok $tests - $text"
	else
		failures=$((failures + 1))
		echo "not ok $tests - $text"
	fi
	return "$good"
}

ok() {
	local text=$1 status=0
	shift
	output=$("$@" 2>&1) || status=$?
	report "$((status != 0))" "$text" || diag "exit status $status of: $*" "$output"
}

not_ok() {
	local text=$1 want=$2 status=0
	shift 2
	output=$("$@" 2>&1) || status=$?
	report "$((status != want))" "$text" || diag "exit status $status, expected $want, of: $*" "$output"
}

is() {
	local good=1
	[ "$2" != "$3" ] || good=0
	report "$good" "$1" || diag "got:      $2"$'\n'"expected: $3"
}

like() {
	local good=1
	[ -z "$3" ] || ! grep -q -E -- "$3" <<<"$2" || good=0
	report "$good" "$1" || diag "does not match '$3':" "$2"
}

skip() {
	tests=$((tests + 1))
	echo "ok $tests - $1 # SKIP $2"
}

skip_all() {
	echo "1..0 # SKIP $*"
	exit 0
}

done_testing() {
	echo "1..$tests"
	# A loop over nothing proves nothing.
	[ "$tests" -gt 0 ] || diag "no check was made"
	[ "$tests" -gt 0 ] && [ "$failures" = 0 ]
	exit
}
