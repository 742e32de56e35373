# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # other parts set the variables
#
# initramfs.sh - keep the KVM modules in an initramfs equal to those that modprobe finds on disk
#
# For images of initramfs-tools and of dracut, in /boot. Needs module.sh, and from its caller $name, $scratch (a folder
# that it may create), line() and more(). Nothing is recorded about images: they are examined each time.

# The image of kernel $1.
image_of() {
	local f
	for f in "/boot/initrd.img-$1" "/boot/initramfs-$1.img"; do [ ! -f "$f" ] || {
		echo "$f"
		return
	}; done
}

# The names of the files in image $1.
list_image() {
	if command -v lsinitramfs >/dev/null; then
		lsinitramfs "$1"
	elif command -v lsinitrd >/dev/null; then
		lsinitrd "$1" | awk '{ print $NF }'
	fi 2>/dev/null
}

# Unpack image $1 to the folder $2. If no device files can be created, it fails, but all other files are there.
unpack_image() {
	rm -rf "$2" && mkdir -p "$2" || return
	if command -v unmkinitramfs >/dev/null; then
		TMPDIR=$2 unmkinitramfs "$1" "$2"
	else
		(cd "$2" && lsinitrd --unpack "$1")
	fi >/dev/null 2>&1
}

# Print what image $2 of kernel $1 should not contain: KVM modules of ours, or in place of ours, that differ from those
# that modprobe finds, and with them the settings of a package that was purged. Prints nothing if the image contains no
# KVM module, and "unreadable" if its modules cannot be examined.
image_differs() {
	local k=$1 dir=$scratch/image files f m disk in_image on_disk
	list_image "$2" | grep -q -E '(^|/)kvm(-intel|-amd)?\.ko(\.(xz|gz|zst))?$' || return 0
	unpack_image "$2" "$dir"
	files=$(find "$dir" -type f \( -name 'kvm.ko*' -o -name 'kvm-intel.ko*' -o -name 'kvm-amd.ko*' \))
	[ -n "$files" ] || {
		echo unreadable
		rm -rf "$dir"
		return
	}
	while IFS= read -r f; do
		m=${f##*/} m=${m%%.ko*}
		disk=$(modinfo -k "$k" -F filename "$m" 2>/dev/null)
		in_image=$(identity "$f") on_disk=$(identity "$disk")
		[ "$in_image" != "$on_disk" ] && [ -n "$(modinfo -F origin "$f" "$disk" 2>/dev/null)" ] && echo "$m"
	done <<<"$files"
	[ -e "/etc/modprobe.d/$name.conf" ] || find "$dir" -path "*/etc/modprobe.d/$name.conf"
	rm -rf "$dir"
}

# Rebuild image $2 of kernel $1; the old one stays until the new one is complete.
make_image() {
	if command -v update-initramfs >/dev/null; then
		update-initramfs -u -k "$1"
	else
		# dracut itself copies over the old image, and deletes it when the disk is full.
		{ dracut -q --force "$2.new" "$1" && sync "$2.new" && mv -f "$2.new" "$2"; } || {
			rm -f "$2.new"
			return 1
		}
		[ ! -d /etc/initramfs/post-update.d ] || run-parts --arg="$1" --arg="$2" /etc/initramfs/post-update.d
	fi </dev/null 2>&1
}

# Rebuild the initramfs of kernel $1 if it contains KVM modules that differ from those on disk. If it still does
# afterwards, say what helps, and return 1.
refresh_image() {
	local k=$1 image said was again
	image=$(image_of "$k")
	[ -n "$image" ] && [ -n "$(image_differs "$k" "$image")" ] || return 0
	said=$(make_image "$k" "$image")
	was=$(image_differs "$k" "$image")
	if [ -z "$was" ]; then
		line "$k" "rebuilt $image, which contains KVM modules"
		return 0
	fi
	if [ "$was" = unreadable ]; then
		line "$k" "failed: cannot unpack $image to see whose KVM modules it contains"
		more "to fix: make room in ${scratch%/*} (df ${scratch%/*}), then run this again"
		return 1
	fi
	line "$k" \
		"failed: $image still contains KVM modules that differ from those on disk; they would be loaded at boot"
	was=$(grep -i -E 'space|error|fail|read-only|ro mounted' <<<"$said" | tail -n 1)
	[ -z "$was" ] || more "($was)"
	again="dracut --force $image $k"
	! command -v update-initramfs >/dev/null || again="update-initramfs -u -k $k"
	if ! [ -w "${image%/*}" ]; then
		more "to fix: make ${image%/*} writable (mount -o remount,rw ${image%/*}), then: $again"
	elif grep -q 'No space left' <<<"$said" ||
		[ "$(df -k --output=avail "${image%/*}" | tail -n 1)" -lt "$(du -k "$image" | cut -f1)" ]; then
		more "to fix: make room in ${image%/*} (df ${image%/*}), then: $again"
	else
		more "to fix: $again     # shows the error"
	fi
	return 1
}
