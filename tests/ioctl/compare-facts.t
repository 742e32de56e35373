#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# compare-facts: equal, different, missing and allowed facts, and allowances that are not needed.
. "$(dirname "$0")/../tap.sh"

# shellcheck disable=SC2317 # ok and not_ok call it
compare() { "$top/tests/ioctl/compare-facts" "$tmp/native" "$tmp/ours" svm-6.1 "$tmp/allowed"; }
facts() { printf '%s\n' "${@:2}" >"$tmp/$1"; }
allow() { printf '%s\t%s\t%s\n' "$@" >"$tmp/allowed"; }

facts native 'EFER:_GET 0 0 0x0000000000000000' 'XSS:_SET 0 0'
cp "$tmp/native" "$tmp/ours"
echo '# nothing' >"$tmp/allowed"
ok 'equal facts' compare

facts ours 'XSS:_SET 0 0' 'EFER:_GET 0 0 0x0000000000000000'
ok 'the order does not matter' compare

facts ours 'EFER:_GET 0 0 0x0000000000000001' 'XSS:_SET 0 0'
not_ok 'another value' 1 compare
is 'another value is shown' "$output" \
	'EFER:_GET native: 0 0 0x0000000000000000, ours: 0 0 0x0000000000000001'

facts ours 'EFER:_GET 0 0 0x0000000000000000' 'XSS:_SET -1 EINVAL'
not_ok 'another errno' 1 compare
allow 'XSS:_SET native: .*EINVAL' svm-6.1,vmx-6.1 'a reason'
ok 'an allowed difference' compare
allow 'XSS:_SET native: .*EINVAL' vmx-6.1 'a reason'
not_ok 'a difference that is allowed elsewhere' 1 compare
allow 'XSS:_SET' svm-6.1 'a reason'
not_ok 'an allowance must match the whole line' 1 compare
allow 'XSS:_SET native: .*EINVAL' svm-6.1 ''
not_ok 'an allowance without a reason' 1 compare
printf 'XSS:_SET.*\tsvm-6.1\n' >"$tmp/allowed"
not_ok 'an allowance without its fields' 1 compare

cp "$tmp/native" "$tmp/ours"
allow 'XSS:_SET native: .*' svm-6.1 'a reason'
not_ok 'an allowance that matches nothing' 1 compare
allow 'XSS:_SET native: .*' vmx-6.12 'a reason'
ok 'an allowance for another run' compare

echo '# nothing' >"$tmp/allowed"
facts ours 'XSS:_SET 0 0'
not_ok 'a fact that is missing in ours' 1 compare
facts ours 'EFER:_GET 0 0 0x0000000000000000' 'XSS:_SET 0 0' 'more 0 0'
not_ok 'a fact that is missing in native' 1 compare
facts ours 'EFER:_GET 0 0 0x0000000000000000' 'XSS:_SET 0 0' 'XSS:_SET 0 0'
not_ok 'a fact twice' 1 compare
facts ours 'EFER:_GET 0 0 0x0000000000000000' 'XSS:_SET 0 0' 'cut'
not_ok 'a line that is cut off' 1 compare
: >"$tmp/ours"
not_ok 'no facts of ours' 1 compare
: >"$tmp/native"
not_ok 'no facts at all' 1 compare
rm "$tmp/ours"
not_ok 'a file that does not exist' 2 compare
done_testing
