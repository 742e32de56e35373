#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The command's parsers of files and of user input do not fail under libFuzzer with sanitizers, with a few inputs: those
# that once failed, and mutations from a fixed seed. An error in a parser is detected.
#
# make fuzz-parsers tries more inputs.
# shellcheck disable=SC2154 # tap.sh sets the variables
. "$(dirname "$0")/../tap.sh"

echo 'int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return !data && size; }' >"$tmp/x.c"
clang -fsanitize=fuzzer,address "$tmp/x.c" -o "$tmp/x" 2>/dev/null || skip_all "no clang with libFuzzer"
pkg-config --exists libkmod json-c || skip_all "no libkmod or json-c"
compgen -G "${HEADERS:-/usr/src/linux-headers-*-common}" >/dev/null || skip_all "no kernel headers"

out=$(BUILD=$tmp "$top/tests/fuzz/parsers" -n 2000 2>&1)
report $? "no input fails" || diag "$out"
while read -r line; do
	like "parser ${line%%:*}: it gets inputs, and reaches the code" "$line" \
		': 2[0-9]{3} inputs, [0-9]{2,} edges$'
done < <(grep inputs <<<"$out")
is "all parsers ran" "$(grep -c inputs <<<"$out")" "$(BUILD=$tmp "$top/tests/fuzz/parsers" nothing 2>&1 |
	sed 's/.*there are: //' | wc -w)"

# An error: the bound of a section is not checked. Times are copied, too, so that only changed files are compiled.
mkdir "$tmp/fault"
cp -a "$top/tools" "$top/include" "$top/src" "$top/dkms.conf" "$tmp/fault/"
mkdir "$tmp/fault/tests"
cp -a "$top/tests/fuzz" "$top/tests/command" "$tmp/fault/tests/"
mkdir "$tmp/fault/fuzz"
cp -a "$tmp/fuzz/libfuzzer" "$tmp/fault/fuzz/"
sed -i 's/names.sh_type == SHT_NOBITS/0/' "$tmp/fault/tools/kvm-onereg/model/elf-file.c"
not_ok "an error in a parser is detected" 1 env BUILD="$tmp/fault" "$tmp/fault/tests/fuzz/parsers" -n 2000 elf
for wrong in '-n x' '-s' 'nothing'; do
	# shellcheck disable=SC2086 # words
	not_ok "wrong use: $wrong" 2 "$top/tests/fuzz/parsers" $wrong
done
done_testing
