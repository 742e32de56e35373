#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The hooks: small, alike for every series, and each in one place only. Prints how many of the distro's lines they
# touch.
# shellcheck disable=SC2016 # scripts in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

hooks=$top/src/hooks
series=$(sed -n 's/\tDebian.*//p' "$top/src/series")

# hooks_of SERIES: the hooks that src/prepare applies
hooks_of() { ls "$hooks"/*.patch "$hooks/$1"/*.patch; }
names_of() { hooks_of "$1" | sed 's,.*/,,' | sort; }

is "a folder for each series, and no other" "$(find "$hooks" -mindepth 1 -type d -printf '%f\n' | sort -V)" "$series"
is "each hook is named by number and place" "$(find "$hooks" -type f ! -name '[0-9][0-9]-*.patch')" ""
# Every series has the same hooks, with two exceptions. Only 6.1 lists what enlightened VMCSs lack; later kernels list
# what they have. And they know that a VMRUN that fails has loaded nothing.
only_6_1='^(81-evmcs-controls|96-svm-failed-vmrun)\.patch$'
all=$(names_of 6.1)
for s in $series; do
	is "$s: no other names than in 6.1" "$(comm -23 <(names_of "$s") <(echo "$all"))" ""
	is "$s: all that 6.1 has" "$(comm -13 <(names_of "$s") <(echo "$all") | grep -v -E "$only_6_1")" ""
	is "$s: no hook occurs twice" "$(names_of "$s" | uniq -d)" ""
done
# A hook in the series' folders has the same description in each, and differs otherwise; line numbers do not count.
for n in $all; do
	[ ! -e "$hooks/$n" ] || continue
	is "$n: one description" "$(head -q -n 1 "$hooks"/*/"$n" | sort -u | wc -l)" 1
	ok "$n: not equal for all series" test "$(for s in $series; do
		grep -v '^@@' "$hooks/$s/$n" 2>/dev/null | sha256sum
	done | sort -u | wc -l)" -gt 1
done

# What is wrong with hook $1, one fault per line.
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

places() { # HOOK FILE KINDS: how often the hook's lines of that kind stand in the file, one after the other
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
# The file in source $2 that hook $1 goes to. Stable updates moved functions out of x86.c.
file_of() {
	local f
	f=$(sed -n 's/^+++ b\///p' "$1")
	[ -e "$2/$f" ] || f=arch/x86/kvm/x86.c
	echo "$f"
}
applied() { # HOOK FILE: applied exactly once
	is "$3" "$(places "$1" "$2" '+ ') $(places "$1" "$2" '- ')" "1 0"
}

seen=
for release in "$build"/[0-9]*/tree; do
	[ -e "$release/.state" ] || continue
	kernel=$(basename "$(dirname "$release")")
	for s in $series; do
		case $kernel in "$s".*) ;; *) continue ;; esac
		# A tree that is still being made, or was made from older hooks, proves nothing.
		[ -z "$(find "$hooks" -newer "$release/.state")" ] || continue
		for h in $(hooks_of "$s"); do
			file=$(file_of "$h" "$release")
			applied "$h" "$release/$file" "$kernel: ${h##*/} is in the prepared tree once"
		done
		seen=yes
	done
done
[ -n "$seen" ] || skip "each hook is in a prepared tree once" "no prepared tree in $build: make modules"

# On the real source, in whatever versions are there.
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
			applied "$h" "$tmp/b/$file" "$version: ${h##*/} is in once, with all the others"
		done
		is "$version: nothing else changes" "$(diff -r "$tmp/a" "$tmp/b" | grep -c '^[<>]')" \
			"$(hooks_of "$s" | xargs cat | grep -c '^+[^+]\|^-[^-]')"
	done
done
[ -n "$seen" ] || skip "each hook applies to the real source" "no source in $build/source: make modules"

ok "docs/design.md says how many lines are added at most: 100" grep -q 'fewer than 100 added' \
	<(tr -s '\n ' ' ' <"$top/docs/design.md")
for s in $series; do
	ok "... $s: fewer" test "$(hooks_of "$s" | xargs cat | grep -c '^+[^+]')" -lt 100
done

# The checks find what they look for.
h=$(find "$hooks" -name '*.patch' | sort | head -n 1)
for how in 's/^+[^+].*/&\n \t\tmore();/|context' 's/^+[^+].*/&\n&\n&\n&\n&\n&\n&\n&\n&\n&/|added' '1d|sentence' \
	's/^@@.*/@@ -1,3 +1,4 @@/|miscounts' 's/^+[^+].*/& /|white space' '$a @@ -9,2 +9,3 @@|hunk' \
	's,^--- .*,--- a/kernel/sched.c,|file of KVM' 's/^+[^+].*/-&/|removed'; do
	sed "${how%|*}" "$h" >"$tmp/hook"
	like "a faulty hook is detected: ${how#*|}" "$(faults "$tmp/hook")" "${how#*|}"
done

done_testing
