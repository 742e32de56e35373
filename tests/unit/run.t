#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# tests/run runs the requested cases, makes only what they need, and counts and reports failures; with made-up cases.
# shellcheck disable=SC2016 # scripts in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

w=$tmp/project
mkdir -p "$w/tests/unit" "$w/tests/ugly" "$w/tests/host" "$w/tests/debian"
cp "$top/tests/run" "$top/tests/case" "$top/tests/tap.sh" "$w/tests/"
mkdir "$w/tests/hosts"
cp "$top/tests/hosts/relay.sh" "$w/tests/hosts/"
program() { # FILE: write a script from standard input
	mkdir -p "$(dirname "$w/$1")"
	{
		echo '#!/bin/bash'
		cat
	} >"$w/$1"
	chmod +x "$w/$1"
}
program tests/deps <<<'echo deps >>made'
program tests/debian/root <<'END'
case $1 in
path) echo "root $2" >>made; echo "/$2" ;;
run) while [ "$1" != -- ]; do shift; done; shift; exec "$@" ;;
esac
END
program tests/hosts/bochs <<<'echo "$1 of bochs, $EMULATORS_ROOT"'
{
	printf '%s:\n\t@echo $@ >>../made\n' ready one two root-emulators
	printf 'failing:\n\t@false\n'
} >"$w/tests/Makefile"
a_case() { # FILE NEEDS BODY
	program "tests/$1.t" <<-END
		# SPDX-License-Identifier: GPL-2.0
		#
		# About $1, which takes
		# two lines.${2:+
		# needs: $2}
		. "\$(dirname "\$0")/../tap.sh"
		$3
	END
}
good='ok "good" true; echo "$0 ${EMULATORS_ROOT-none} ${UNIT_ROOT-none} ${BOCHS-none}" >>"$top/made"; done_testing'
a_case unit/small '' "$good"
a_case ugly/one one "$good"
a_case host/two 'one two root-emulators' "$good"
a_case host/three '' "$good"
a_case host/unmade failing "$good"

# run [ARGUMENT]...: sets $status, its output in $out, and the targets that it made in $made
run() {
	rm -f "$w/made"
	out=$(cd / && env -u EMULATORS_ROOT -u UNIT_ROOT -u BOCHS BUILD="$w/build" "$w/tests/run" "$@" 2>&1)
	status=$?
	made=$(grep -v '\.t ' "$w/made" 2>/dev/null | grep -v deps | paste -sd' ')
}

[ "$(id -u)" = 0 ] || skip_all "run as root, tests/run makes what cases need"
command -v prove >/dev/null || skip_all "prove is needed"

run unit
is "a unit case: nothing is made" "$status $made" "0 "
is "... and it runs without a root" "$(grep small "$w/made")" "tests/unit/small.t none none none"
like "... its checks are counted" "$out" '^1 passed, 0 failed, 0 skipped$'
for how in tests/ugly/one.t ./tests/ugly/one.t tests/unit/../ugly/one.t "$w/tests/ugly/one.t" ugly tests/ugly \
	./tests/ugly/; do
	# A path is relative to the project's root, wherever the caller is.
	run "$how"
	is "$how: only the target that the case needs is made" "$status $made" "0 one"
done
run tests/host/two.t ugly unit
# make makes two targets at once, in any order.
is "several cases: each target is made once" "$status $(xargs -n 1 <<<"$made" | sort | xargs)" \
	"0 emulators one root root-emulators two"
is "... the paths of the emulators' root and of Bochs are passed" "$(grep two "$w/made" | tail -n 1)" \
	"tests/host/two.t /emulators none path of bochs, /emulators"
run tests/host/three.t unit
is "a case that does not say what it needs: everything is made" "$status $made" "0 ready root emulators"
is "... and unit cases run in the root with the compilers" "$(grep -c 'host/three.t /emulators compilers' "$w/made")" 1
run tests/host/unmade.t
is "if something cannot be made, no case runs" "$status $(grep -c '\.t ' "$w/made")" "1 0"

for bad in nothing tests/unit/none.t tests/tap.sh ../x.t / '' -x; do
	run ugly "$bad"
	is "'$bad' is not a case: exit status, and nothing is made" "$status $made" "2 "
done
run -l ugly tests/host/two.t
is "-l lists each case with its description" "$out" "tests/ugly/one.t
    About ugly/one, which takes two lines.
tests/host/two.t
    About host/two, which takes two lines."
is "... and nothing is made" "$status $made" "0 "
"$top/tests/run" -l "$top"/tests/*/*.t >"$tmp/list"
is "-l lists every case of the project" "$(grep -c '^tests/' "$tmp/list")" "$(printf '%s\n' "$top"/tests/*/*.t | wc -l)"
is "... and each says what it proves" \
	"$(awk '/^tests/ { name = $0; next } length < 30 { print name ": " $0 }' "$tmp/list")" ""
is "... and needs only targets that exist" \
	"$(sed -n 's/^# needs: //p' "$top"/tests/*/*.t | tr ' ' '\n' | sort -u | while read -r t; do
		make -C "$top/tests" -n "$t" >/dev/null 2>&1 || echo "$t"
	done)" ""

# ---- what counts

a_case ugly/one one 'ok "bad" false; ok "good" true; skip "that" "reason"; done_testing'
run ugly
like "a check that fails is counted" "$out" '^1 passed, 1 failed, 1 skipped$'
is "... and the exit status is 1" "$status" 1
a_case ugly/one one 'ok "good" true; skip "that" "a reason"; done_testing'
run ugly
like "a skipped check is listed, with its reason" "$out" '^  ugly-one: that: a reason$'
a_case ugly/one one 'done_testing'
run ugly
like "a case without a check counts as a failure" "$out" '^0 passed, 1 failed, 0 skipped$'
a_case ugly/one one 'empty=; like "this" "any text" "$empty"; done_testing'
run ugly
like "an empty pattern matches nothing" "$out" '^0 passed, 1 failed, 0 skipped$'
a_case ugly/one one '. "$top/tests/hosts/relay.sh"
	printf "# program empty\n1..0\n" >"$tmp/points"
	relay host "$tmp/points"
	done_testing'
run ugly
like "a program on a host that makes no check counts as a failure" "$out" '^0 passed, 1 failed, 0 skipped$'
a_case ugly/one one '. "$top/tests/hosts/relay.sh"
	printf "# program p\n1..2\nok 1 - this\nnot ok 2 - that\n# program short\n1..2\nok 1 - this\n" >"$tmp/points"
	relay host "$tmp/points"
	done_testing'
run ugly
like "the checks of programs on a host are counted, and that one does not run to its end" "$out" \
	'^2 passed, 2 failed, 0 skipped$'
a_case ugly/one one '. "$top/tests/hosts/relay.sh"
	ok "good" true
	relay host "$tmp/none"
	done_testing'
run ugly
like "... if there is no output, that counts as a failure" "$out" '^1 passed, 1 failed, 0 skipped$'
a_case ugly/one one 'ok "good" true; exit 3'
run ugly
like "a case that exits with an error counts as a failure" "$out" '^1 passed, 1 failed, 0 skipped$'
a_case ugly/one one 'ok "good" true; kill -9 $$'
run ugly
like "... and one that is killed" "$out" '^1 passed, 1 failed, 0 skipped$'
a_case ugly/one one 'skip_all "no"'
run ugly
is "a case that is skipped is counted" "$status $(tail -n 1 <<<"$out")" "0 0 passed, 0 failed, 1 skipped"

export TEST_SECONDS=0
run unit ugly
is "if no time is left, cases are skipped" "$status $(tail -n 1 <<<"$out")" "0 0 passed, 0 failed, 2 skipped"
like "... and listed" "$out" 'not begun within 0 s, and skipped: ugly-one unit-small$'
TEST_SECONDS=1000
run unit
is "if time is left, they run" "$status $(tail -n 1 <<<"$out")" "0 1 passed, 0 failed, 0 skipped"
TEST_SECONDS=soon
run unit
is "TEST_SECONDS that is not a number is wrong use" "$status" 2
unset TEST_SECONDS

done_testing
