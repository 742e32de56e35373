#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Calls generated from the syzkaller descriptions of ONE_REG, on a native kernel, 6.12 and 6.1 with CET: the result of
# each is what the ABI defines. The generator refuses parts of the language that it does not know.
#
# THOROUGH=y: 200000 calls instead of 10000
# needs: emulated-hosts root-compilers
# shellcheck disable=SC2154 # tap.sh sets the variables
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/../ioctl/on-host.sh"

here=$top/tests/fuzz/syzkaller
descriptions=$here/dev_kvm_onereg_amd64.txt
calls=10000
[ "${THOROUGH:-}" != y ] || calls=200000
headers=$(ls -d "$("$top/tests/debian/root" path compilers)"/usr/src/linux-headers-*-common)/arch/x86/include
cat "$headers/asm/msr-index.h" "$headers/uapi/asm/kvm_para.h" "$top/include/uapi/asm/kvm_onereg.h" >"$tmp/constants"

ok "calls are made" "$here/programs" "$descriptions" "$calls" 1 <"$tmp/constants"
"$here/programs" "$descriptions" "$calls" 1 <"$tmp/constants" >"$tmp/calls"
is "the generator makes as many calls as asked" "$(wc -l <"$tmp/calls")" "$calls"
is "of each kind" "$(cut -d' ' -f1 "$tmp/calls" | sort -u | xargs)" "get list set"
for id in 'get 0x2030000300000000' 'set 0x20300002000006a2' 'get 0x2030000300000001' 'get 0x1030'; do
	ok "calls have ids that exist, and neighbours: $id" grep -q "^$id" "$tmp/calls"
done
refused() { # NAME SED MESSAGE
	sed "$2" "$descriptions" >"$tmp/wrong.txt"
	not_ok "refused: $1" 255 "$here/programs" "$tmp/wrong.txt" 2000 1 <"$tmp/constants"
	like "... with what is wrong" "$output" "$3"
}
refused "a type that is not known" 's/int8\[2:3\]/vma/' "not known: 'vma'"
refused "a constant that no header has" 's/MSR_LSTAR/MSR_NO/' "no constant 'MSR_NO'"
refused "numbers that are not there" 's/^kvm_reg_values_amd64 =.*//' "no numbers 'kvm_reg_values_amd64'"
refused "an id of 72 bits" 's/^	zero	const\[0, int16:12\]/	zero	const[0, int32:20]/' 'a part crosses 64 bits'
refused "no calls" '/^ioctl/d' 'no calls'

for series in native $("$top/tests/debian/kernel" series); do
	modules='' options=(-p kvm_intel.enable_apicv=0)
	[ "$series" = native ] || {
		modules=$build/$("$top/tests/debian/kernel" release "$series")
		options=(-p kvm_intel.cet=1)
	}
	run_programs "$series" vmx "$("$top/tests/debian/kernel" path "$series")" "$modules" \
		"64-fuzz --calls /host/calls cet" -i "$tmp/calls" "${options[@]}"
done
# The program finds what is wrong in the file.
printf 'get 0x2030000300000000\nput 0x1\n' >"$tmp/wrong"
mkdir -p "$tmp/bin"
cp "$build/tests/ioctl/64/fuzz" "$tmp/bin/64-fuzz"
not_ok "a line that is not a call fails" 1 \
	"$top/tests/hosts/boot" -H svm -k "$("$top/tests/debian/kernel" path native)" -i "$tmp/bin/64-fuzz" \
	-i "$tmp/wrong" -- "$tmp/bin/64-fuzz" --calls /host/wrong
done_testing
