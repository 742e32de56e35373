#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# If an initramfs from initramfs-tools or dracut contains KVM modules, they are those that modprobe finds on disk: after
# installation, upgrade, an upgrade of the kernel under the same name, removal and purge; after a kill; and once a full
# /boot has room again. An initramfs without KVM is left alone. An emulated host boots one, and loads our modules.
#
# THOROUGH=y: all checks with both generators, on both releases
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

functions='
image=/boot/initrd.img-$K
unpacked() {
	rm -rf /tmp/image; mkdir /tmp/image
	if command -v unmkinitramfs >/dev/null; then unmkinitramfs "$image" /tmp/image
	else (cd /tmp/image && lsinitrd --unpack "$image"); fi >/dev/null 2>&1
}
# facts FILE: print the build ID of the module, as binutils reads it, its version and its origin.
facts() {
	case $1 in *.xz) xz -dc "$1" ;; *) cat "$1" ;; esac >/tmp/facts.ko
	echo "$(readelf -n /tmp/facts.ko | sed -n "s/.*Build ID: //p") $(modinfo -F version "$1") $(modinfo -F origin "$1")"
}
# compared NAME: print whether the modules in the image are those on disk, and whether it has our modprobe.d file.
compared() {
	local m f n=0 how=same
	unpacked
	for m in kvm kvm-intel kvm-amd; do
		f=$(find /tmp/image -type f -name "$m.ko*")
		[ -n "$f" ] && n=$((n + 1)) && [ "$(facts "$f")" = "$(facts "$(modinfo -k "$K" -F filename "$m")")" ] || how=differ
	done
	echo "$1: $(resolved) $(modinfo -k "$K" -F version kvm-amd), image: $n $how, $(
		[ -n "$(find /tmp/image -path "*etc/modprobe.d/kvm-onereg.conf")" ] && echo with || echo without) conf"
}
made() { stat -c "%i %Y %s" "$image"; }
'

# Boot a host with the files of the image. Its modprobe loads its modules; on Debian 13, the kernel decompresses them.
boots() {
	local out version
	printf '%s\n' '/usr/sbin/modprobe -v kvm_amd' \
		'/usr/bin/cat /sys/module/kvm/version /sys/module/kvm_amd/version' >"$tmp/commands"
	out=$("$top/tests/hosts/boot" -H svm -k "$("$root" path "$release")" -N -I "$tmp/tree" -f "$tmp/commands" \
		--whole-modules -o "$tmp/out" -t 900 2>&1)
	report $? "$what: a host boots with its files, and KVM loads" || diag "$out"
	version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/dkms.conf")
	is "$what: our modules are loaded" "$(tr -d '\r' <<<"$out" | grep -c -x -F "$version")" 2
}

for release in $releases; do
	begin_deb
	for generator in initramfs-tools dracut; do
		[ "$release/$generator" != bookworm/dracut ] || [ "${THOROUGH:-}" = y ] || continue
		layer=$("$top/tests/packaging/initramfs" "$release" $generator) ||
			unprepared
		what="$release, $generator"

		rm -rf "$tmp/tree"
		mkdir "$tmp/tree"
		# Debian 12: an image from installation to purge. Debian 13: a boot and the errors
		short=yes
		case $release/${THOROUGH:-} in bookworm/* | */y) short=no ;; esac
		out=$(in_root -o "$layer" -b "$tmp/tree:/tree" -- "short=$short;$functions"'
			compared before
			apt install /packages/kvm-onereg-dkms_*.deb
			compared installed
			# unmkinitramfs writes the early parts of an image to folders of their own.
			if [ -d /tmp/image/main ]; then for d in /tmp/image/*; do cp -a "$d/." /tree/; done
			else cp -a /tmp/image/. /tree/; fi
			[ "$short" = no ] || exit
			was=$(made); apt install --reinstall /packages/kvm-onereg-dkms_*.deb >/dev/null
			[ "$was" = "$(made)" ] && echo "nothing changed: left alone"
			repack 9.1.0 9.1.0
			apt install /new.deb
			compared upgraded
			repos base image headers
			apt upgrade
			compared "kernel without source"
			repos base image headers source
			apt install "$(source_package)"
			compared "kernel with source"
			apt remove kvm-onereg-dkms
			compared removed
			apt purge kvm-onereg-dkms
			compared purged')
		like "$what: before the installation, the distro's modules" "$out" \
			'^before: distro distro distro , image: 3 same, without conf$'
		like "$what: after it, our modules, and our modprobe.d file" "$out" \
			"^installed: ours ours ours [0-9.]+, image: 3 same, with conf\$"
		if [ "$short" = no ]; then
			like "$what: a reinstallation leaves the image alone" "$out" '^nothing changed: left alone$'
			like "$what: after an upgrade, the newer modules" "$out" \
				'^upgraded: ours ours ours 9\.1\.0, image: 3 same, with conf$'
			like "$what: the kernel upgraded under its name without its source: the distro's modules" \
				"$out" \
				'^kernel without source: distro distro distro , image: 3 same, with conf$'
			like "$what: ... and with its source: our modules" "$out" \
				'^kernel with source: ours ours ours 9\.1\.0, image: 3 same, with conf$'
			like "$what: after a removal, the distro's modules" "$out" \
				'^removed: distro distro distro , image: 3 same, with conf$'
			like "$what: after a purge, no modprobe.d file of ours" "$out" \
				'^purged: distro distro distro , image: 3 same, without conf$'
		fi
		is "$what: apt succeeds each time" "$(grep '^apt ' <<<"$out" | sort -u)" "apt 0"
		diag_if_failed "$out"
		[ "$release/$generator" != trixie/initramfs-tools ] || boots

		case $release/$generator/${THOROUGH:-} in
		trixie/dracut/* | bookworm/initramfs-tools/y) ;;
		*) continue ;;
		esac
		out=$(in_root -o "$layer" -- "$functions"'
			apt install /packages/kvm-onereg-dkms_*.deb >/dev/null
			# Killed after the modules were replaced, and before the image is.
			repack 9.1.0 9.1.0
			mkdir /wrap
			for c in update-initramfs dracut; do
				command -v $c >/dev/null || continue
				printf "%s\n" "#!/bin/sh" "kill -9 -1" >/wrap/$c; chmod +x /wrap/$c
			done
			PATH=/wrap:$PATH unshare --pid --fork --kill-child dpkg -i /new.deb >/dev/null 2>&1
			rm -r /wrap
			compared killed
			dpkg --configure -a
			compared "after a kill"
			# /boot has no room for a second image.
			mkdir /keep && cp -a /boot/. /keep/
			tmpfs /boot "$(($(du -sk /keep | cut -f1) + 600))k" && cp -a /keep/. /boot/
			repack 9.2.0 9.2.0
			apt install /new.deb
			unpacked; echo "full: $(states kvm-onereg-dkms), $(modinfo -k "$K" -F version kvm), image of $(
				modinfo -F version "$(find /tmp/image -name "kvm.ko*")"), $(ls /boot | grep -c "\.new")"
			cmp "/keep/${image##*/}" "$image" && echo "full: the old image is whole"
			apt remove kvm-onereg-dkms >/tmp/log; cat /tmp/log; echo "removed while full: $(resolved) $(tail -n 1 /tmp/log)"
			cp -a /boot/. /keep/; untmpfs /boot; cp -a /keep/. /boot/
			apt purge kvm-onereg-dkms >/dev/null
			compared "room again"
			# An image without KVM.
			sed -i /kvm_intel/d /etc/initramfs-tools/modules /etc/dracut.conf.d/test.conf 2>/dev/null
			sed -i /kvm_amd/d /etc/initramfs-tools/modules 2>/dev/null
			if command -v dracut >/dev/null; then dracut -q --force "$image" "$K"
			else update-initramfs -u -k "$K"; fi >/dev/null 2>&1
			was=$(made); apt install /packages/kvm-onereg-dkms_*.deb >/tmp/log
			[ "$was" = "$(made)" ] && echo "no KVM: left alone, $(resolved), $(tail -n 1 /tmp/log)"')
		like "$what: killed before the image is replaced" "$out" \
			'^killed: ours ours ours 9\.1\.0, image: 3 differ, with conf$'
		like "$what: the next run replaces it" "$out" \
			'^after a kill: ours ours ours 9\.1\.0, image: 3 same, with conf$'
		like "$what: a full /boot: the modules are new, the image is old, and dpkg has an error" "$out" \
			'^full: iF , 9\.2\.0, image of 9\.1\.0, 0$'
		like "$what: ... which is complete" "$out" '^full: the old image is whole$'
		like "$what: ... the message says that it contains other modules" "$out" \
			'failed: /boot/initrd\.img-.* still contains KVM modules'
		like "$what: ... and the commands to fix it" "$out" "to fix: make room in /boot \\(df /boot\\), then: $(
			case $generator in
			dracut) echo 'dracut --force /boot/initrd' ;;
			*) echo 'update-initramfs -u -k 6' ;;
			esac
		)"
		like "$what: a removal succeeds nevertheless" "$out" '^removed while full: distro distro distro apt 0$'
		like "$what: once there is room, the image has the distro's modules" "$out" \
			'^room again: distro distro distro , image: 3 same, without conf$'
		like "$what: an image without KVM is left alone" "$out" '^no KVM: left alone, ours ours ours, apt 0$'
		diag_if_failed "$out"
	done
done
done_testing
