#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The pages of results that programs write show failures and missing results.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$(dirname "$0")/../hosts/relay.sh"
cd "$top" || exit 1

# ---- docs/kernels.md

cat >"$tmp/table" <<'END'
6.1.0-1-amd64|6.1.1-1|bookworm|builds|300 of 300
6.12.1+deb13-amd64|6.12.1-1|trixie|builds|301 of 301
6.1.0-1-rt-amd64|6.1.1-1|bookworm|builds|300 of 300
END
page=$(tests/matrix-page "$tmp/table")
like "all kernels build: the first lines say so" "$page" '^\*\*All 3 kernels build'
is "... a section for each series and flavour" "$(grep '^## ' <<<"$page")" $'## 6.1\n## 6.1, rt\n## 6.12'
is "... and a row for each kernel" "$(grep -c '^| 6' <<<"$page")" 3
sed -i '1s/300 of/299 of/; 2s/builds/FAILS/; 3s/builds.*/source not on offer|/' "$tmp/table"
page=$(tests/matrix-page "$tmp/table")
like "no kernel builds: the first lines say so" "$page" \
	'^0 of 3 kernels build .* 2 do not, and the source of 1 is no longer available'
like "... exports that differ are shown" "$page" '^\| 6\.1\.0-1-amd64 .*\| \*\*exports differ\*\* \| 299 of 300 \|$'
like "... a build that fails is shown" "$page" '^\| 6\.12\.1.*\| \*\*does not build\*\* \|'
like "... a source that is no longer available is shown" "$page" \
	'^\| 6\.1\.0-1-rt-.*\| source no longer available \| – \|$'
not_ok "wrong usage" 2 tests/matrix-page

# ---- docs/benchmark.md

cat >"$tmp/counts" <<'END'
6.1 distro GET_ONE_REG EINVAL
6.1 ours GET_ONE_REG 1100
6.1 ours unknown_ioctl 900
6.1 ours GET_MSRS(1) 1800
native native GET_ONE_REG 1300
native native unknown_ioctl 1050
6.1 vmx-on CET_used_MSRs_read 4
6.1 vmx-on CET_used_MSRs_written 2
END
page=$(tests/bench/page 9.9 "$tmp/counts")
is "without counts of the AMD host with shadow stacks, it has no requirements" \
	"$(grep -c '^| AMD with shadow stacks' <<<"$page")" 0
cat >>"$tmp/counts" <<'END'
6.1 svm-cet-plain unknown_ioctl 900
6.1 svm-cet-on CET_used_MSRs_read 3
6.1 svm-cet-on CET_used_MSRs_written 2
6.1 svm-cet-on CET_used_RUN_to_IO_exit 4321
END
page=$(tests/bench/page 9.9 "$tmp/counts")
like "with counts of it, it has requirements" "$page" \
	'^\| AMD with shadow stacks, cet=1 \| KVM_GET_ONE_REG, S_CET \| costs no more than natively'
like "... the accesses are shown" "$page" '^\| used \| 3 \| – \| – \| 2 \|'
is "... without a requirement" \
	"$(grep -c '^| AMD with shadow stacks.*| few accesses' <<<"$page")" 0
like "... and the cost of KVM_RUN is shown" "$page" '^\| used \| 4321 \|'
like "a call that does not exist is shown" "$page" \
	'^\| KVM_GET_ONE_REG, one MSR \| not available \| – \| 1100 \|.*\| 1300 \|$'
like "a requirement that is met is shown" "$page" \
	'^\| AMD \| KVM_GET_ONE_REG, one MSR \| costs no more than natively.* \| yes: 200, natively 250 \|'
like "... and one that is not met" "$page" \
	'^\| Intel, cet=1 \| CET used \| few accesses .* \| \*\*no\*\*: 6, at most 5 \|'
is "... the page has all requirements" \
	"$(sed '1,/^## Requirements/d' <<<"$page" | grep -o -E '(yes|\*\*no\*\*): ' | wc -l)" \
	"$(awk -f tests/bench/verdict.awk "$tmp/counts" | wc -l)"
not_ok "wrong usage" 2 tests/bench/page 9.9

# ---- docs/pauses.md

for m in 16 64; do
	for k in file stays; do for d in distro ours; do echo "$m $k $d $((m + 100)) $((m << 20))"; done; done
done >"$tmp/figures"
page=$(tests/pauses/page 6.12 "$tmp/figures")
like "pauses are shown as multiples of the shortest" "$page" \
	'^\| 16 MiB \| 1\.00 \| 1\.00 \| 1\.00 \| 1\.00 \| 16\.0 MiB \|'
like "... also a longer one" "$page" '^\| 64 MiB \| 1\.41 \| 1\.41 \| 1\.41 \| 1\.41 \| 64\.0 MiB \|'
like "... and the growth is shown" "$page" '^From 16 to 64 MiB, a pause grows to 1\.41 times'
# changed_figures SCRIPT: print the page after sed has changed the figures
# shellcheck disable=SC2317 # not_ok calls it
changed_figures() {
	sed "$1" "$tmp/figures" >"$tmp/changed"
	tests/pauses/page 6.12 "$tmp/changed"
}
not_ok "a guest that was not kept is an error" 1 changed_figures 's/64 stays ours .*/64 stays ours /'
like "... is named" "$output" '^page: no figures: 64 stays ours'
not_ok "a missing figure is an error" 1 changed_figures '/64 stays ours/d'
like "... and is named" "$output" '^page: no figure of 64 MiB, stays, to ours'
not_ok "memory that was not written is an error" 1 changed_figures '/64 file ours/s/ [0-9]*$/ 4096/'
not_ok "figures of a single size are an error" 1 changed_figures '/^64/d'

# ---- docs/migration.md

# A host with three programs. The last one moves a guest, too.
cat >"$tmp/points" <<'END'
# program before
ok 1 - a title
1..1
# program take
ok 1 - 6.12, from 6.1: this title says nothing about directions
ok 2 - nor this one
1..2
# program refuse
ok 1 - says no
1..1
END
# relayed DIRECTION...: print the directions that relay reports for these programs
relayed() {
	printf '%s\n' "$@" >"$tmp/directions"
	relay host "$tmp/points" "$tmp/directions" | grep '^# direction: '
}
relay_two() { relayed '' '6.1 native QEMU moved' '6.1 native QEMU refused'; }
is "the checks of a command with a direction are counted" "$(relay_two)" \
	$'# direction: 6.1 native QEMU moved 2 of 2\n# direction: 6.1 native QEMU refused 1 of 1'
sed -i 's/^ok 2/not ok 2/' "$tmp/points"
like "... one that fails is not good" "$(relay_two)" ' moved 1 of 2$'
sed -i '/nor this one/d' "$tmp/points"
like "... neither is one of a program that does not run to its end" "$(relay_two)" ' moved 1 of 2$'
sed -i '1,3d' "$tmp/points"
is "... a program that does not start: none of the host's directions is good" \
	"$(relay_two | grep -c ' 0 of 1: some programs did not start$')" 2
is "each command gets the direction of its kernel" \
	"$(directions_to 6.1 $'a b #direction here QEMU moved\nc\nd #direction native QEMU moved')" \
	$'a b #direction 6.1 6.1 QEMU moved\nc\nd #direction 6.1 native QEMU moved'

for to in 6.1 6.12 native; do
	for from in 6.1 6.12 native; do
		for result in 'small moved 7' 'QEMU moved 5' 'two-vCPUs moved 8' 'small refused 3' 'QEMU refused 4'; do
			echo "# direction: $to $from $result of ${result##* }"
		done
	done
done >"$tmp/log"
echo '# exit status of the case: 0' >>"$tmp/log"
is "every direction was tried and is good: the table says so" \
	"$(tests/migration-table vcpus=1 "$tmp/log" | tail -n +3 | cut -d '|' -f 4- | sort -u)" \
	' 7 of 7 | 5 of 5 | 8 of 8 | 7 of 7 |'
ok "... and the exit status is 0" tests/migration-table "$tmp/log"
# changed_table SCRIPT: print the table after sed has changed the log
# shellcheck disable=SC2317 # not_ok calls it
changed_table() {
	sed "$1" "$tmp/log" >"$tmp/changed"
	tests/migration-table vcpus=1 "$tmp/changed"
}
not_ok "a failed check is an error" 1 changed_table 's/6.1 native small moved 7/6.1 native small moved 6/'
like "... is in the table" "$output" '^\| native \| 6\.1 \| 6 of 7 \|'
not_ok "a direction that was not tried is an error" 1 changed_table '/6.1 native QEMU moved/d'
like "... is in the table" "$output" '^\| native \| 6\.1 \| 7 of 7 \| not tried \|'
not_ok "without a guest with two vCPUs, it is an error" 1 changed_table '/two-vCPUs/d'
not_ok "a case that failed is an error" 1 changed_table 's/case: 0/case: 1/'

for f in docs/kernels.md docs/benchmark.md docs/migration.md docs/pauses.md; do
	is "$f has no internal words of the programs" \
		"$(grep -n -E 'not built yet|on offer|EINVAL|FAILS|not ok|vmx-|CET_' $f)" ""
	ok "... and has results" grep -q '^| .*[0-9]' $f
done
done_testing
