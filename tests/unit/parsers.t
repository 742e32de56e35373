#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the command reads from files and from the user, under libFuzzer with sanitizers, for a few inputs: those that
# once failed, and changed ones from a fixed seed. A reader with a fault is found.
#
# make fuzz-parsers does more.
# shellcheck disable=SC2154 # tap.sh sets the variables
. "$(dirname "$0")/../tap.sh"

echo 'int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return !data && size; }' >"$tmp/x.c"
clang -fsanitize=fuzzer,address "$tmp/x.c" -o "$tmp/x" 2>/dev/null || skip_all "no clang with libFuzzer"
pkg-config --exists libkmod json-c || skip_all "no libkmod or json-c"
compgen -G "${HEADERS:-/usr/src/linux-headers-*-common}" >/dev/null || skip_all "no kernel headers"

out=$(BUILD=$tmp "$top/tests/fuzz/parsers" -n 2000 2>&1)
report $? "no input fails" || diag "$out"
while read -r line; do
	like "reader ${line%%:*}: it got its inputs, and reaches the code" "$line" \
		': 2[0-9]{3} inputs, [0-9]{2,} edges$'
done < <(grep inputs <<<"$out")
is "all readers ran" "$(grep -c inputs <<<"$out")" "$(BUILD=$tmp "$top/tests/fuzz/parsers" nothing 2>&1 |
	sed 's/.*there are: //' | wc -w)"

# A fault: the bound of a section is not examined. Only what has changed is compiled again, so times are copied, too.
mkdir "$tmp/fault"
cp -a "$top/tools" "$top/include" "$top/src" "$top/dkms.conf" "$tmp/fault/"
mkdir "$tmp/fault/tests"
cp -a "$top/tests/fuzz" "$top/tests/command" "$tmp/fault/tests/"
mkdir "$tmp/fault/fuzz"
cp -a "$tmp/fuzz/libfuzzer" "$tmp/fault/fuzz/"
sed -i 's/names.sh_type == SHT_NOBITS/0/' "$tmp/fault/tools/kvm-onereg/model/elf-file.c"
not_ok "a fault is found" 1 env BUILD="$tmp/fault" "$tmp/fault/tests/fuzz/parsers" -n 2000 elf
for wrong in '-n x' '-s' 'nothing'; do
	# shellcheck disable=SC2086 # words
	not_ok "wrong use: $wrong" 2 "$top/tests/fuzz/parsers" $wrong
done
done_testing
