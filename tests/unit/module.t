#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# tools/installer/module.sh compresses module files so that the kernel can read them, and identifies them by build ID.
# shellcheck disable=SC1091,SC2034,SC2154 # the files set the variables
. "$(dirname "$0")/../tap.sh"
. "$top/tools/installer/module.sh"

# The kernel's modules have the suffix $of_kernel. A shared library with a build ID stands in for a module.
# shellcheck disable=SC2317 # module.sh calls it
suffix_of() { echo "$of_kernel"; }
cc=${CC:-gcc}
command -v "$cc" >/dev/null || skip_all "no compiler"
echo 'int x;' >"$tmp/x.c"
"$cc" -shared -Wl,--build-id "$tmp/x.c" -o "$tmp/x" || exit 1
"$cc" -shared -Wl,--build-id -Dx=y "$tmp/x.c" -o "$tmp/y" || exit 1
"$cc" -shared -Wl,--build-id=none "$tmp/x.c" -o "$tmp/none" || exit 1
for f in x y none; do echo "~Module signature appended~" >>"$tmp/$f"; done
id=$(readelf -n "$tmp/x" | sed -n 's/.*Build ID: //p')

is "the build id of a module" "$(build_id "$tmp/x")" "$id"
is "a module without a build id has none" "$(build_id "$tmp/none")" ""
is "a file that does not exist has none" "$(build_id "$tmp/nothing" 2>&1)" ""

check() { # SUFFIX PROGRAM
	of_kernel=$1
	command -v "$2" >/dev/null || {
		skip "$1" "no $2"
		return
	}
	cp "$tmp/x" "$tmp/m.ko"
	ok "plain to $1" pack K "$tmp/m.ko"
	ok "$1: the kernel can read it" packed_well K "$tmp/m.ko$1"
	is "$1: it replaces the plain file" "$(cd "$tmp" && echo m.*)" "m.ko$1"
	ok "$1: it is recognized as the same module" same_module "$tmp/m.ko$1" "$tmp/x"
	not_ok "$1: another module is not taken for it" 1 same_module "$tmp/m.ko$1" "$tmp/y"
	is "$1: its build id" "$(build_id "$tmp/m.ko$1")" "$id"
	head -c 300 "$tmp/m.ko$1" >"$tmp/cut.ko$1"
	not_ok "$1: a truncated file is not taken for it" 1 same_module "$tmp/cut.ko$1" "$tmp/x"
	of_kernel=''
	not_ok "$1: a truncated file cannot be recompressed" 1 pack K "$tmp/cut.ko$1"
	is "$1: the truncated file stays as it is" "$(cd "$tmp" && echo cut.*)" "cut.ko$1"
	ok "$1 to plain" pack K "$tmp/m.ko$1"
	ok "$1 to plain: no byte changed" cmp "$tmp/m.ko" "$tmp/x"
	rm -f "$tmp"/m.ko* "$tmp"/cut.*
}
check .xz xz
check .gz gzip
check .zst zstd

of_kernel=.xz
for how in none crc32 crc64 sha256; do
	xz --check=$how -c "$tmp/x" >"$tmp/$how.ko.xz"
done
ok "the kernel can read .xz with CRC32" packed_well K "$tmp/crc32.ko.xz"
ok "the kernel can read .xz without a checksum" packed_well K "$tmp/none.ko.xz"
not_ok "the kernel cannot read .xz with CRC64" 1 packed_well K "$tmp/crc64.ko.xz"
not_ok "the kernel cannot read .xz with SHA-256" 1 packed_well K "$tmp/sha256.ko.xz"
: >"$tmp/empty.ko.xz"
not_ok "an empty file is not packed well" 1 packed_well K "$tmp/empty.ko.xz"
not_ok "a missing file is not packed well" 1 packed_well K "$tmp/nothing.ko.xz"
ok "a file with CRC64 is recompressed" pack K "$tmp/crc64.ko.xz"
is "... with CRC32, and a dictionary of at most 1 MiB" \
	"$(xz --robot -lvv "$tmp/crc64.ko.xz" | awk -F'\t' '/^block/ { print $10, $NF }')" "CRC32 --lzma2=dict=1MiB"
done_testing
