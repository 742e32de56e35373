#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tables of names of registers and features are correct if they are generated from the kernel headers of Debian 12,
# of Debian 13, and of a native kernel.
# shellcheck disable=SC2016 # scripts in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$top/tests/hosts/relay.sh"

in_root() { "$top/tests/debian/root" run compilers -n -b "$top" -b "$build" -w "$top" "$@"; }

release=$("$top/tests/debian/kernel" release native)
dpkg-deb -x "$("$top/tests/debian/archive" fetch "linux-headers-${release%-amd64}-common")" "$tmp/native"
bookworm=$("$top/tests/debian/root" path bookworm) trixie=$("$top/tests/debian/root" path trixie)

for headers in "$bookworm"/usr/src/linux-headers-6.1.*-common "$trixie"/usr/src/linux-headers-6.12.*-common \
	"$tmp"/native/usr/src/linux-headers-*-common; do
	name=$(basename "$headers")
	ok "$name: the tables are generated, and fit the program" in_root -b "$headers" -- sh -c "
		make -C tools/kvm-onereg O=$tmp/$name HEADERS=$headers $tmp/$name/names.inc &&
		gcc -std=gnu11 -Wall -Wextra -Werror -D_GNU_SOURCE -DVERSION=\\\"\\\" -g -fsanitize=address,undefined -static-libasan -static-libubsan \
			-Itools/kvm-onereg -Iinclude/uapi -I$tmp/$name \$(pkg-config --cflags json-c) \
			-o $tmp/$name/names tests/command/names.c tests/ioctl/tap.c tools/kvm-onereg/model/names.c \
			tools/kvm-onereg/base/message.c tools/kvm-onereg/base/text.c tools/kvm-onereg/base/memory.c"
	{
		echo "# program names"
		in_root -- "$tmp/$name/names"
	} >"$tmp/points" 2>&1
	relay "$name" "$tmp/points"
	echo "$name" >>"$tmp/all"
done
is "three sets of headers" "$(wc -l <"$tmp/all")" 3

printf '#define %s\n' 'KVM_REG_ONE 1' 'KVM_ONEREG_REG_TWO 0x80000000U' 'KVM_ONEREG_BASE 3' >"$tmp/kvm_onereg.h"
is "KVM-defined registers: mainline's and ours, and nothing else" \
	"$(awk -f "$top/tools/kvm-onereg/model/names.awk" "$tmp/kvm_onereg.h" | grep -o '{ .* }' | xargs)" \
	"{ 1, ONE } { 0x80000000U, TWO }"

# shellcheck disable=SC2317 # ok calls it
newest() {
	in_root -- sh -c '
		at=$(ls -d /usr/src/linux-headers-*-common | head -n 1)
		for v in 6.9.1 6.100.1 6.12.1; do
			mkdir -p /usr/src/linux-headers-$v-common/arch/x86
			cp -a "$at/arch/x86/include" /usr/src/linux-headers-$v-common/arch/x86/
			echo "#define MSR_OF_$v 0x123" | tr . _ >>/usr/src/linux-headers-$v-common/arch/x86/include/asm/msr-index.h
		done
		make -s -C tools/kvm-onereg O='"$tmp/newest $tmp/newest/names.inc"'
	'
}
ok "of several headers, the newest are used" newest
is "... by number, not by letter" "$(grep -o 'OF_[0-9_]*' "$tmp/newest/names.inc")" OF_6_100_1
not_ok "without headers there are no tables" 2 make -s -C "$top/tools/kvm-onereg" O="$tmp/none" HEADERS=/nonexistent \
	"$tmp/none/names.inc"
like "... and the message says what to install" "$output" 'to fix: apt-get install linux-headers-amd64'
not_ok "nothing remains that looks like them" 1 test -e "$tmp/none/names.inc"
done_testing
