#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The documentation refers only to files, pages, targets of make and test cases that exist, and its prose has at most
# 120 columns.
# shellcheck disable=SC2016 # back quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
cd "$top" || exit 1

pages=(README.md docs/*.md)
# links FILE: print the targets of its links, one per line, without those to other sites
links() { grep -o -E '\]\([^)]+\)' "$1" | sed 's/^](//; s/)$//; s/#.*//' | grep -v -E '^(https?:|$)'; }
# paths FILE: print the words in back quotes that begin with a folder of the project
paths() {
	grep -o -E '`[^` ]+`' "$1" | tr -d '`' | grep -E '^(src|tests|tools|debian|include|docs)/' | sed 's/[,.;:]$//' |
		sort -u
}

dead_links() {
	local f l
	for f; do
		links "$f" | while read -r l; do [ -e "$(dirname "$f")/$l" ] || echo "$f: $l"; done
	done
}
dead_paths() {
	local f p
	for f; do
		# Capital letters stand for any version or hook; * is a pattern of the shell.
		paths "$f" | grep -v -E '[A-Z]{2}|<|\$|\.\.\.' | while read -r p; do
			compgen -G "$p" >/dev/null || compgen -G "$p*" >/dev/null || echo "$f: $p"
		done
	done
}
is "each link leads to a file" "$(dead_links "${pages[@]}")" ""
is "each path in back quotes exists" "$(dead_paths "${pages[@]}")" ""
# bindeb-pkg is a target of the kernel's Makefile.
targets=$(grep -o -h -E '(^ +|`)make [a-z][a-z-]*' "${pages[@]}" | sed 's/.*make //' | sort -u | grep -v -x bindeb-pkg)
ok "the documentation names targets of make" test -n "$targets"
is "... and each exists" "$(for t in $targets; do grep -q -E "^$t:" Makefile || echo "$t"; done)" ""
is "another page links to each page" "$(for f in docs/*.md; do
	grep -l -F "(${f#docs/})" docs/*.md | grep -q -v -x -F "$f" || grep -q -F "($f)" README.md || echo "$f"
done)" ""
is "each invariant has a test" "$(grep -E '^\| I[0-9]+ \|' docs/design.md | grep -v '\](../tests/')" ""
is "... and the invariants are numbered" "$(grep -o -E '^\| I[0-9]+' docs/design.md | cut -c4- | paste -sd' ')" \
	"$(seq -s' ' "$(grep -c -E '^\| I[0-9]+' docs/design.md)")"
# The checks that make check leaves out
is "docs/develop.md lists the cases in which THOROUGH=y adds checks" \
	"$(sed -n '/what `THOROUGH=y` adds |$/,/^$/p' docs/develop.md | grep -o '`tests/[^`]*`' | tr -d '`' | sort)" \
	"$(grep -l THOROUGH tests/*/*.t | grep -v -x tests/unit/docs.t)"
# wide FILE: print lines of prose that are too long, but not tables, code and lines with a URL. Generated pages are not
# checked.
wide() { awk 'length > 120 && !/^\|/ && !/^    / && !/https?:/ { print FILENAME ": " $0 }' "$1"; }
prose=()
for f in "${pages[@]}"; do
	case $f in docs/kernels.md | docs/benchmark.md | docs/migration.md) ;; *) prose+=("$f") ;; esac
done
is "prose has at most 120 columns" "$(for f in "${prose[@]}"; do wide "$f"; done)" ""

# The checks detect errors.
mkdir "$tmp/docs"
printf '%0121d\n| %0121d\n' 1 2 >"$tmp/docs/wide.md"
is "a line that is too long is detected" "$(wide "$tmp/docs/wide.md" | wc -l)" 1
printf '[one](none.md) [two](../docs) `src/gone.c` and `tests/unit/*.t`\n' >"$tmp/docs/page.md"
is "a dead link is detected" "$(dead_links "$tmp/docs/page.md")" "$tmp/docs/page.md: none.md"
is "a path that does not exist is detected" "$(dead_paths "$tmp/docs/page.md")" "$tmp/docs/page.md: src/gone.c"

done_testing
