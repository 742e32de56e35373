#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The hooks are small, the same for every series, and fit in one place only. Prints how many of the distro's lines they
# change.
# shellcheck disable=SC2016 # scripts in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

hooks=$top/src/hooks
series=$(sed -n 's/\tDebian.*//p' "$top/src/series")

# hooks_of SERIES: print the hooks that src/prepare applies
hooks_of() { ls "$hooks"/*.patch "$hooks/$1"/*.patch; }
names_of() { hooks_of "$1" | sed 's,.*/,,' | sort; }

is "there is a folder for each series, and no other" "$(find "$hooks" -mindepth 1 -type d -printf '%f\n' | sort -V)" \
	"$series"
is "the name of each hook is a number and a place" "$(find "$hooks" -type f ! -name '[0-9][0-9]-*.patch')" ""
# Every series has the same hooks, with two exceptions. Only 6.1 lists the controls that enlightened VMCSs lack, while
# later kernels list those that they have; and only 6.1 does not handle that a VMRUN that fails has loaded no state.
only_6_1='^(81-evmcs-controls|96-svm-failed-vmrun)\.patch$'
all=$(names_of 6.1)
for s in $series; do
	is "$s: 6.1 has all its hooks" "$(comm -23 <(names_of "$s") <(echo "$all"))" ""
	is "$s: it has all hooks of 6.1" "$(comm -13 <(names_of "$s") <(echo "$all") | grep -v -E "$only_6_1")" ""
	is "$s: no hook occurs twice" "$(names_of "$s" | uniq -d)" ""
done
# A hook that is in the folders of the series has the same description in each, and is not the same in all, apart from
# line numbers.
for n in $all; do
	[ ! -e "$hooks/$n" ] || continue
	is "$n: the description is the same" "$(head -q -n 1 "$hooks"/*/"$n" | sort -u | wc -l)" 1
	ok "$n: it is not the same for all series" test "$(for s in $series; do
		grep -v '^@@' "$hooks/$s/$n" 2>/dev/null | sha256sum
	done | sort -u | wc -l)" -gt 1
done

# faults HOOK: print what is wrong with it, one fault per line.
faults() {
	awk '
	function bad(text) { print text }
	/[ \t]$/ && !/^ $/ { bad("white space at the end of line " NR) }
	length > 120 { bad("line " NR " is long") }
	NR == 1 { if (!/^[A-Z].*\.$/) bad("the first line is not a sentence that describes it") }
	NR == 2 { if (!/^--- a\/(arch\/x86|virt)\/kvm\/[^ \t]*$/) bad("line 2 names no file of KVM"); old = substr($0, 7) }
	NR == 3 { if ($0 != "+++ b/" old) bad("line 3 names another file") }
	NR == 4 { if (!/^@@ -[0-9]+(,[0-9]+)? \+[0-9]+(,[0-9]+)? @@$/) bad("line 4 is not a bare hunk header"); split($0, h, /[-+, @]+/); from = h[3]; to = h[5] }
	NR > 4 && /^@@/ { hunks++ }
	NR > 4 && !/^[-+ ]/ { bad("line " NR " is not a line of a diff") }
	NR > 4 && /^ / { context++; last = " "; if (added) after++ ; else before++ }
	NR > 4 && /^-/ { removed++ }
	NR > 4 && /^\+/ { added++; if (/^\+ /) bad("indented by spaces: line " NR); if (after) apart = 1 }
	END {
		if (hunks) bad("more than one hunk")
		if (before > 1 || after > 1 || context + removed < 1) bad("context is not the least: " context + 0 " lines")
		if (!added || added > 8) bad(added + 0 " lines added")
		if (removed > added) bad("lines removed and not replaced")
		if (apart) bad("lines added in two places")
		if (context + removed != from || context + added != to) bad("the hunk header miscounts")
	}' "$1"
}
for h in "$hooks"/*.patch "$hooks"/*/*.patch; do
	is "${h#"$hooks/"} is small and well-formed" "$(faults "$h")" ""
done
for s in $series; do
	diag "$s: $(hooks_of "$s" | xargs cat | grep -c '^+[^+]') distro lines added, $(
		hooks_of "$s" | xargs cat | grep -c '^-[^-]'
	) removed"
done

places() { # HOOK FILE KINDS: print how often the file has the hook's lines of these kinds in sequence
	awk -v kind="$3" '
		FNR == NR { if (/^@@/) { body = 1; next } if (body && $0 ~ "^[" kind "]") want[++n] = substr($0, 2); next }
		{ line[FNR] = $0 }
		END {
			for (i = 1; i + n - 1 <= FNR; i++) {
				for (j = 1; j <= n && line[i + j - 1] == want[j]; j++) ;
				found += j > n
			}
			print found + 0
		}' "$1" "$2"
}
# file_of HOOK SOURCE: print the file to which the hook is applied. Stable updates moved functions out of x86.c.
file_of() {
	local f
	f=$(sed -n 's/^+++ b\///p' "$1")
	[ -e "$2/$f" ] || f=arch/x86/kvm/x86.c
	echo "$f"
}
applied() { # HOOK FILE TITLE: check that the file has the hook exactly once
	is "$3" "$(places "$1" "$2" '+ ') $(places "$1" "$2" '- ')" "1 0"
}

seen=
for release in "$build"/[0-9]*/tree; do
	[ -e "$release/.state" ] || continue
	kernel=$(basename "$(dirname "$release")")
	for s in $series; do
		case $kernel in "$s".*) ;; *) continue ;; esac
		# Skip a tree that is being made, or was made from older hooks.
		[ -z "$(find "$hooks" -newer "$release/.state")" ] || continue
		for h in $(hooks_of "$s"); do
			file=$(file_of "$h" "$release")
			applied "$h" "$release/$file" "$kernel: ${h##*/} is in the prepared tree once"
		done
		seen=yes
	done
done
[ -n "$seen" ] || skip "each hook is in a prepared tree once" "no prepared tree in $build: make modules"

# The real source, in all versions that are available.
seen=
for source in "$build"/source/[0-9]*; do
	[ -e "$source/SHA256SUMS" ] || continue
	version=${source##*/}
	for s in $series; do
		case $version in "$s".*) ;; *) continue ;; esac
		seen=yes
		rm -rf "$tmp/a" "$tmp/b"
		mkdir "$tmp/a" "$tmp/b"
		cp -r "$source/arch" "$source/virt" "$tmp/a/"
		cp -r "$source/arch" "$source/virt" "$tmp/b/"
		for h in $(hooks_of "$s"); do
			file=$(file_of "$h" "$tmp/b")
			is "$version: ${h##*/} fits in one place" "$(places "$h" "$tmp/b/$file" '- ')" 1
			ok "$version: ... and applies" patch -d "$tmp/b" -F0 --no-backup-if-mismatch -s -i "$h" "$file"
		done
		for h in $(hooks_of "$s"); do
			file=$(file_of "$h" "$tmp/b")
			applied "$h" "$tmp/b/$file" "$version: ${h##*/} is applied once, together with all others"
		done
		is "$version: nothing else changes" "$(diff -r "$tmp/a" "$tmp/b" | grep -c '^[<>]')" \
			"$(hooks_of "$s" | xargs cat | grep -c '^+[^+]\|^-[^-]')"
	done
done
[ -n "$seen" ] || skip "each hook applies to the real source" "no source in $build/source: make modules"

ok "docs/design.md says that fewer than 100 lines are added" grep -q 'fewer than 100 added' \
	<(tr -s '\n ' ' ' <"$top/docs/design.md")
for s in $series; do
	ok "... which is true for $s" test "$(hooks_of "$s" | xargs cat | grep -c '^+[^+]')" -lt 100
done

# The checks detect errors.
h=$(find "$hooks" -name '*.patch' | sort | head -n 1)
for how in 's/^+[^+].*/&\n \t\tmore();/|context' 's/^+[^+].*/&\n&\n&\n&\n&\n&\n&\n&\n&\n&/|added' '1d|sentence' \
	's/^@@.*/@@ -1,3 +1,4 @@/|miscounts' 's/^+[^+].*/& /|white space' '$a @@ -9,2 +9,3 @@|hunk' \
	's,^--- .*,--- a/kernel/sched.c,|file of KVM' 's/^+[^+].*/-&/|removed'; do
	sed "${how%|*}" "$h" >"$tmp/hook"
	like "a faulty hook is detected: ${how#*|}" "$(faults "$tmp/hook")" "${how#*|}"
done

done_testing
