#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Modules are compressed like the distro's, and .xz with CRC32, so that the kernel can decompress them, whatever DKMS
# does. Modules that an earlier installation compressed in another way are recompressed without a build. Their content
# and signature stay the same, and DKMS still reports them as installed.
#
# THOROUGH=y: on both releases
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

functions='
# distro_packed SUFFIX: compress the distro modules to this suffix, as in kernels from other builds.
distro_packed() {
	find "/lib/modules/$K/kernel" -name "*.ko.xz" -exec xz -d -f {} +
	[ "$1" != .xz ] || find "/lib/modules/$K/kernel" -name "*.ko" -exec xz -0 -f --check=crc32 {} +
	depmod "$K"
}
contents() {
	for f in "/lib/modules/$K/updates/dkms"/*.ko*; do
		case $f in *.xz) xz -dc "$f" ;; *) cat "$f" ;; esac | sha256sum
	done
}
# packed NAME: print what modprobe finds, the suffixes, the checksum types of .xz files, what DKMS reports, whether its
# copies are equal, and the number of partial files.
packed() {
	local d=/lib/modules/$K/updates/dkms kept=/var/lib/dkms/kvm-onereg/$V/$K/x86_64/module
	echo "$1: $(resolved),$(cd "$d" && ls | sed "s/.*\.ko/ ko/" | sort -u | tr -d "\n"),$(
		ls "$d" | grep -q xz && xz --robot -l "$d"/*.xz | sed -n "s/^totals\t\([^\t]*\t\)\{5\}\([^\t]*\).*/ \2/p"), $(
		dkms status | sed "s/.*: //"), $(
		diff -r "$d" "$kept" >/dev/null && echo equal) $(ls "$d" "$kept" | grep -c part)"
}
'
on_one trixie
for release in $releases; do
	begin
	built_once
	out=$(in_root -o "$ready" -- "$functions"'
		distro_packed .xz
		status tools/install; packed xz
		contents >/tmp/before
		# The state that an earlier version left with DKMS 3.0.
		for f in "/lib/modules/$K/updates/dkms"/*.xz; do
			xz -d "$f" && xz "${f%.xz}" && cp "$f" "/var/lib/dkms/kvm-onereg/$V/$K/x86_64/module/"
		done
		packed older
		# As if it was killed halfway: one of three is recompressed.
		xz -d "$f" && xz --check=crc32 "${f%.xz}"
		FAIL_FOR="*" status tools/install; packed again
		contents | cmp - /tmp/before && echo "same contents"
		status tools/install
		distro_packed ""
		FAIL_FOR="*" status tools/install; packed plain
		contents | cmp - /tmp/before && echo "same contents"
		distro_packed .xz
		FAIL_FOR="*" status tools/install; packed "xz again"
		contents | cmp - /tmp/before && echo "same contents"
		# A truncated file must not be taken for a module with another compression.
		f=/lib/modules/$K/updates/dkms/kvm.ko.xz; head -c 50000 "$f" >/tmp/cut; cat /tmp/cut >"$f"
		status tools/install; packed cut
		sed "s/^/id /" /var/lib/kvm-onereg/build-ids
		for m in kvm kvm-intel kvm-amd; do xz -dc /lib/modules/$K/updates/dkms/$m.ko.xz >/tmp/m.ko
			echo "real id $(readelf -n /tmp/m.ko | sed -n "s/.*Build ID: //p") $m $(modinfo -F origin /tmp/m.ko) $V"
		done')
	like "$release: .xz with CRC32, reported by DKMS, whose copies are equal" "$out" \
		'^xz: ours ours ours, ko\.xz, CRC32, installed, equal 0$'
	like "$release: (modules as an earlier version compressed them)" "$out" \
		'^older: ours ours ours, ko\.xz, CRC64, installed, equal 0$'
	like "$release: the next run recompresses them" "$out" \
		'^again: ours ours ours, ko\.xz, CRC32, installed, equal 0$'
	is "$release: each of the three changes is reported, and builds nothing" \
		"$(grep -c 'installed, recompressed' <<<"$out")" 3
	like "$release: a second run has nothing to recompress" "$out" 'installed already'
	like "$release: they are decompressed for a kernel with plain modules" "$out" \
		'^plain: ours ours ours, ko,, installed, equal 0$'
	like "$release: they are compressed again for a kernel with compressed modules" "$out" \
		'^xz again: ours ours ours, ko\.xz, CRC32, installed, equal 0$'
	is "$release: contents and signatures stay" "$(grep -c '^same contents$' <<<"$out")" 3
	like "$release: a truncated file is detected" "$out" 'found a partial installation'
	like "$release: ... and replaced" "$out" '^cut: ours ours ours, '
	is "$release: the build ids are recorded" "$(sed -n 's/^id //p' <<<"$out")" \
		"$(sed -n 's/^real id //p' <<<"$out")"
	is "$release: exit status 0 each time" "$(grep '^status' <<<"$out" | sort -u)" "status 0"
	diag_if_failed "$out"
done
done_testing
