# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # other parts set the variables
#
# module.sh - module files: compress them so that the kernel can decompress them, and identify them

unpack() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.gz) gzip -dc "$1" ;;
	*.zst) zstd -dcq "$1" ;;
	*) cat "$1" ;;
	esac
}

# Whether both files are the same module, including the signature, however they are compressed.
same_module() { cmp -s "$1" "$2" || cmp -s <(unpack "$1" 2>/dev/null) <(unpack "$2" 2>/dev/null); }

# The suffix after .ko for modules of kernel $1: that of the distro's, which the kernel can decompress. None if the
# program to compress with is missing: every kernel accepts that.
suffix_of() {
	local f
	f=$(find "/lib/modules/$1/kernel/" -name '*.ko' -o -name '*.ko.*' 2>/dev/null | head -n 1)
	case ${f##*.ko} in
	.xz) ! command -v xz ;;
	.gz) ! command -v gzip ;;
	.zst) ! command -v zstd ;;
	esac >/dev/null || echo "${f##*.ko}"
}

# Whether kernel $1 can decompress file $2: it has the suffix of the distro's modules and, in an .xz file, a checksum
# that the kernel supports, CRC32 or none.
packed_well() {
	[ "${2##*.ko}" = "$(suffix_of "$1")" ] || return
	case $2 in
	*.xz) case $(od -An -tu1 -j7 -N1 "$2" 2>/dev/null) in *' '[01]) ;; *) return 1 ;; esac ;;
	esac
}

# Print file $1 compressed for the suffix $2, as the kernel's own build compresses modules.
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

# The build id of module file $1, in hex: the GNU note of type 3.
build_id() {
	unpack "$1" 2>/dev/null |
		perl -0777 -ne 'print unpack("H*", $1) if /\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})/s'
}

# What identifies module file $1: its build id and, for ours, also its version and origin.
identity() { echo "$(build_id "$1") $(modinfo -F origin "$1" 2>/dev/null) $(modinfo -F version "$1" 2>/dev/null)"; }

# Record the build ids of the modules of kernel $1: a loaded module shows its build id even after its file was replaced.
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
