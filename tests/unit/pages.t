#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The pages of results that programs write: failures and unknown results are visible
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
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
like "none builds: the first lines say so" "$page" \
	'^0 of 3 kernels build .* 2 do not, and the source of 1 is no longer available'
like "... exports that differ" "$page" '^\| 6\.1\.0-1-amd64 .*\| \*\*exports differ\*\* \| 299 of 300 \|$'
like "... a build that fails" "$page" '^\| 6\.12\.1.*\| \*\*does not build\*\* \|'
like "... source that is gone" "$page" '^\| 6\.1\.0-1-rt-.*\| source no longer available \| – \|$'
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
is "without counts of the AMD host with shadow stacks, no requirement is about it" \
	"$(grep -c '^| AMD with shadow stacks' <<<"$page")" 0
cat >>"$tmp/counts" <<'END'
6.1 svm-cet-plain unknown_ioctl 900
6.1 svm-cet-on CET_used_MSRs_read 3
6.1 svm-cet-on CET_used_MSRs_written 2
6.1 svm-cet-on CET_used_RUN_to_IO_exit 4321
END
page=$(tests/bench/page 9.9 "$tmp/counts")
like "the AMD host with shadow stacks" "$page" \
	'^\| AMD with shadow stacks, cet=1 \| CET used \| few accesses .* \| yes: 5, at most 5 \|'
like "... and what runs of it cost" "$page" '^\| used \| 4321 \|'
like "a call that does not exist" "$page" '^\| KVM_GET_ONE_REG, one MSR \| not available \| – \| 1100 \|.*\| 1300 \|$'
like "a requirement that is met" "$page" \
	'^\| AMD \| KVM_GET_ONE_REG, one MSR \| costs no more than natively.* \| yes: 200, natively 250 \|'
like "... that is not met" "$page" '^\| Intel, cet=1 \| CET used \| few accesses .* \| \*\*no\*\*: 6, at most 5 \|'
is "... all requirements are there" \
	"$(sed '1,/^## Requirements/d' <<<"$page" | grep -o -E '(yes|\*\*no\*\*): ' | wc -l)" \
	"$(awk -f tests/bench/verdict.awk "$tmp/counts" | wc -l)"
not_ok "wrong usage" 2 tests/bench/page 9.9
for f in docs/kernels.md docs/benchmark.md; do
	is "$f has no internal words of the programs" \
		"$(grep -n -E 'not built yet|on offer|EINVAL|FAILS|not ok|vmx-|CET_' $f)" ""
	ok "... and results" grep -q '^| .*[0-9]' $f
done
done_testing
