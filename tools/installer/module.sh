# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # other parts set the variables
#
# module.sh - module files: packed as the kernel can unpack them, and what tells one from another

unpack() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.gz) gzip -dc "$1" ;;
	*.zst) zstd -dcq "$1" ;;
	*) cat "$1" ;;
	esac
}

# Both files are the same module, signature included, however they are packed.
same_module() { cmp -s "$1" "$2" || cmp -s <(unpack "$1" 2>/dev/null) <(unpack "$2" 2>/dev/null); }

# The suffix after .ko of modules of kernel $1: that of the distro's, which its kernel can unpack. None if the program
# to pack with is missing: each kernel takes that.
suffix_of() {
	local f
	f=$(find "/lib/modules/$1/kernel/" -name '*.ko' -o -name '*.ko.*' 2>/dev/null | head -n 1)
	case ${f##*.ko} in
	.xz) ! command -v xz ;;
	.gz) ! command -v gzip ;;
	.zst) ! command -v zstd ;;
	esac >/dev/null || echo "${f##*.ko}"
}

# File $2 is packed as kernel $1 can unpack it: with the suffix of the distro's modules, and, in an .xz file, a checksum
# that the kernel knows, CRC32 or none.
packed_well() {
	[ "${2##*.ko}" = "$(suffix_of "$1")" ] || return
	case $2 in
	*.xz) case $(od -An -tu1 -j7 -N1 "$2" 2>/dev/null) in *' '[01]) ;; *) return 1 ;; esac ;;
	esac
}

# Print file $1 packed for the suffix $2, as the kernel's own build packs modules.
packed() {
	case $2 in
	.xz) xz --check=crc32 --lzma2=dict=1MiB -c "$1" ;;
	.gz) gzip -n -9 -c "$1" ;;
	.zst) zstd -q -c "$1" ;;
	*) cat "$1" ;;
	esac
}

# Pack the module file $2 for kernel $1 where it is, with the right suffix, unless it is packed so. There is a complete
# file at any moment.
pack() {
	local k=$1 f=$2 suffix to part=${2%.ko*}.part status=0
	rm -f "$part" "$part.ko"
	! packed_well "$k" "$f" || return 0
	suffix=$(suffix_of "$k") to=${f%.ko*}.ko$suffix
	unpack "$f" >"$part.ko" && packed "$part.ko" "$suffix" >"$part" && sync "$part" && mv "$part" "$to" &&
		{ [ "$f" = "$to" ] || rm -f "$f"; } || status=1
	rm -f "$part" "$part.ko"
	return $status
}

# The build id of module file $1, in hex: the note of the type 3 that GNU defines.
build_id() {
	unpack "$1" 2>/dev/null |
		perl -0777 -ne 'print unpack("H*", $1) if /\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})/s'
}

# What tells module file $1 from others: its build id, and of ours its version and origin too.
identity() { echo "$(build_id "$1") $(modinfo -F origin "$1" 2>/dev/null) $(modinfo -F version "$1" 2>/dev/null)"; }

# Note the build ids of the modules of kernel $1: a loaded module shows its own, even after its file was replaced.
note_build_ids() {
	local m f id ids=$state/build-ids
	for m in $modules; do
		f=$(modinfo -k "$1" -F filename "$m")
		id=$(build_id "$f")
		[ -n "$id" ] || continue
		{
			grep -v "^$id " "$ids" 2>/dev/null | tail -n 150
			echo "$id $m $found_origin $found_version"
		} >"$ids.part" && mv "$ids.part" "$ids"
	done
}
