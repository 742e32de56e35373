#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/mutation/mutate makes a copy that behaves like the chosen mutant of its list, or like the original if none is
# chosen.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
mutate=$top/tests/mutation/mutate

for program in gcc perl; do
	command -v $program >/dev/null || skip_all "no $program"
done

mkdir -p "$tmp/src/hooks" "$tmp/copy/hooks"
cat >"$tmp/src/sample.c" <<'END'
#include <stdbool.h>

#define LIMIT 4

static const int table[] = { 5, 6 };

/* A comment with if (1 == 2) in it. */
static bool is_small(int n)
{
	if (n < LIMIT && n != 2)
		return true;
	return !(n & 3);
}

static int size(int kind)
{
	int n = 1, i;

	switch (kind) {
	case 1 ... 2:
		n += 2;
		break;
	case 3:
		n = kind > 1 ? 9 : -1;
		break;
	}
	for (i = 0; i < 2; i++)
		n += table[i] << 1;
	while (n > 25 + kind)
		n = kind;
	return n;
}
END
cat >"$tmp/main.c" <<'END'
#include <stdio.h>
#include <stdlib.h>

#include "sample.c"

unsigned int mutant_chosen;
unsigned long mutants_reached[MUTANTS_MAX / 64];

int main(int argc, char **argv)
{
	int i;

	mutant_chosen = argc > 1 ? atoi(argv[1]) : 0;
	for (i = 0; i < 9; i++)
		printf("%d ", is_small(i));
	for (i = 0; i < 5; i++)
		printf("%d ", size(i));
	return 0;
}
END
sed 's/~$//' >"$tmp/src/hooks/a.patch" <<'END'
Why it is there.
--- a/x.c
+++ b/x.c
@@ -1,2 +1,5 @@
 ~
+	if (hooked)
+		return 1;
 	goes_on();
@@ -9,1 +12,2 @@
 	goes_on(y,
+	hook(x),
END
cp -r "$tmp/src/." "$tmp/copy/"
ok "mutate changes a copy" perl "$mutate" "$tmp/src" "$tmp/copy" "$tmp/list"
ok "... which compiles" gcc -fwrapv -include "$top/tests/mutation/mutants.h" -I "$tmp/copy" -o "$tmp/all" "$tmp/main.c"
gcc -fwrapv -include "$top/tests/mutation/mutants.h" -I "$tmp/src" -o "$tmp/original" "$tmp/main.c"
original=$(timeout 10 "$tmp/original")
is "without a mutant, it behaves like the original" "$(timeout 10 "$tmp/all")" "$original"

count=0 equal=0
mkdir "$tmp/one"
while IFS=$'\t' read -r n file line _ old new; do
	[ "$file" = sample.c ] || continue
	count=$((count + 1))
	case $new in
	'left out') new=';' ;;
	'no such case') new=${old/case /case 100 + } ;;
	esac
	[ "$new" != 'case 100 + 1 ... 2:' ] || new='case 101 ... 102:'
	LINE=$line OLD=$old NEW=$new perl -pe 's/\Q$ENV{OLD}\E/$ENV{NEW}/ if $. == $ENV{LINE}' "$tmp/src/sample.c" \
		>"$tmp/one/sample.c"
	! cmp -s "$tmp/src/sample.c" "$tmp/one/sample.c" || diag "line $line does not have '$old'"
	gcc -w -fwrapv -include "$top/tests/mutation/mutants.h" -I "$tmp/one" -o "$tmp/this" "$tmp/main.c" || continue
	# Some mutants never end.
	is "mutant $n, line $line: $old -> $new" "$(timeout 2 "$tmp/all" "$n" || echo "fails")" \
		"$(timeout 2 "$tmp/this" || echo "fails")"
	[ "$(timeout 2 "$tmp/this")" != "$original" ] || equal=$((equal + 1))
done <"$tmp/list"
ok "there are mutants of all kinds" test $count -gt 35
ok "... most of which differ from the original" test $((equal * 3)) -lt $count
for what in 'n <= LIMIT' 'n < 0' '||' '==' 'left out' 'no such case' false '(2 + 1)' '>> 1' '!(!(n & 3))'; do
	ok "a mutant has $what" grep -q -F -- "$what" <(cut -f 6 "$tmp/list")
done
is "a table, a comment and preprocessor lines have no mutants" "$(grep -c -P '^\d+\tsample.c\t([1-7])\t' "$tmp/list")" 0

is "whole statements in a hook have mutants" "$(grep hooks/a.patch "$tmp/list" | cut -f 3,5,6 | head -n 1)" \
	$'6\thooked\t1'
is "... the hook keeps its added lines" "$(grep -c '^+' "$tmp/copy/hooks/a.patch")" 4
is "... and a part of a statement has no mutants" "$(grep -c 'hook(x' "$tmp/list")" 0

not_ok "wrong usage" 255 perl "$mutate"
like "... prints the usage" "$output" '^usage: mutate SRC COPY LIST'
done_testing
