#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# src/series alone lists the supported kernels: the files that must repeat it agree with it, and no program has its own
# list.
# shellcheck disable=SC2016 # scripts in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
cd "$top" || exit 1

tab=$'\t'
is "src/series contains only series" "$(grep -v -E "^#|^[0-9]+\.[0-9]+$tab(Debian [0-9]+|native)\$" src/series)" ""
series=$(sed -n "s/${tab}Debian.*//p" src/series)
native=$(sed -n "s/${tab}native\$//p" src/series)
ok "it names supported series" test -n "$series"
is "... in their order, and the first native one last" "$(grep -v '^#' src/series | cut -f1 | sort -V)" \
	"$(printf '%s\n' "$series" "$native")"

# ---- other files that list the series

# DKMS sources dkms.conf alone, in various environments.
excluded=$(env -i PATH=/nowhere "$BASH" -c '. ./dkms.conf; echo "$BUILD_EXCLUSIVE_KERNEL"')
matching=$(for major in {5..8}; do for minor in {0..30} 120; do
	[[ ! $major.$minor.9-x =~ $excluded ]] || echo "$major.$minor"
done; done)
is "dkms.conf has the same series" "$matching" "$series"
is "the package's triggers are for the sources of the same series" \
	"$(sed -n 's,^interest-noawait /usr/src/linux-source-\(.*\)\.tar\.xz$,\1,p' debian/kvm-onereg-dkms.triggers)" \
	"$series"
named=$(sed -n "s/^\(.*\)${tab}Debian \(.*\)/Debian \2 (kernel \1)/p" src/series)
for f in README.md debian/control; do
	is "$f lists the same series" \
		"$(tr -s '\n ' ' ' <"$f" | grep -o -E 'Debian [0-9]+ \(kernel [0-9.]+\)' | sort -u)" "$named"
	like "... and the first native version" "$(tr -s '\n ' ' ' <"$f")" "since ${native//./\\.}"
done

# ---- programs

# code FILE: print its text without comments, as FILE:LINE:TEXT
code() {
	awk -v file="$1" '
		{ line = $0 }
		file ~ /\.[ch]$/ { gsub(/\/\*.*\*\//, "", line); sub(/\/\/.*/, "", line); sub(/\/\*.*/, "", line); if (line ~ /^[ \t]*\*/) next }
		file !~ /\.[ch]$/ { sub(/(^|[ \t])#.*/, "", line) }
		{ print file ":" FNR ":" line }' "$1"
}
known=$(printf '%s\n' "$series" "$native" | sed 's/\./\\./' | paste -sd'|')
majors=$(printf '%s\n' "$series" "$native" | cut -d. -f1 | sort -u | paste -sd'|')
# A series that is not a part of another number, major * 1000 + minor, or a regular expression for several series.
pattern="(^|[^0-9.])($known)([^0-9]|\$)|\\b6018\\b|\\b60(01|12)\\b|(^|[^0-9.])($majors)(\\\\?|\\[)\\.\\]?[[(]"
programs=()
while read -r f; do
	case $f in
	*.[ch] | *.sh | *.awk | *akefile | *build | *.bash) ;;
	*) head -c 2 "$f" | grep -q '#!' || continue ;;
	esac
	programs+=("$f")
done < <(find Makefile Kbuild src tools debian -type f ! -path src/compat.h)
ok "there are programs to look at" test ${#programs[@]} -gt 40
found() { for f; do code "$f"; done | grep -E ":[0-9]+:.*($pattern)"; }
is "no program names a series" "$(found "${programs[@]}")" ""
while read -r line; do
	echo "$line" >"$tmp/program.c"
	like "a series is detected: $line" "$(found "$tmp/program.c")" ':1:'
done <<'END'
if (!strcmp(series, "6.1"))
case "6.12": /* a comment */
if (code >= 6018)
supported = "6.18 and later";
[[ ! $1 =~ ^6\.(1|12)\. ]] || return
case $release in 6.[12]*) ;; esac
grep -E '^6[.](1|12)[.]'
END
echo '/* since 6.18 */ int x; // as 6.12 has it' >"$tmp/program.c"
# Test cases loop over "tests/debian/kernel series". Tables of made-up results name the series.
loops='(for [a-z]+ in |:-)(native )?(6\.12 6\.1|6\.1 6\.12)( native)?(;|\})'
in_loops() { grep -r -n -E "$loops" "$@" | grep -v -E '^tests/unit/(pages|series)\.t:'; }
is "no test has its own list to loop over" "$(in_loops tests)" ""
echo 'for k in 6.1 6.12 native; do' >"$tmp/case.t"
like "a list is detected: a loop" "$(in_loops "$tmp/case.t" /dev/null)" ':1:'
echo 'for k in ${CET_SERIES:-6.12 6.1}; do' >"$tmp/case.t"
like "a list is detected: a default" "$(in_loops "$tmp/case.t" /dev/null)" ':1:'
is "a comment may name a series" "$(found "$tmp/program.c")" ""

done_testing
