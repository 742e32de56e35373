#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A host boots from the root in which apt has installed the packages. modprobe loads our modules by the alias of the
# CPU, as udev requests it at boot, and by name. The modules are not stripped, and the package's modprobe.d is in
# effect.
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

programs=$("$root" path compilers)
# Fill $tmp/tree with what a boot of the root $1 needs: depmod's lists, and KVM's modules with their dependencies.
make_tree() {
	local from=$1 tree=$tmp/tree k f
	k=$(basename "$from"/lib/modules/*)
	rm -rf "$tree"
	mkdir -p "$tree/lib" "$tree/usr/lib/modules/$k"
	cp -a "$("$top/tests/command/tree")/." "$tree/" || return
	ln -s ../usr/lib/modules "$tree/lib/modules"
	cp "$from/usr/bin/kvm-onereg" "$tree/usr/bin/"
	cp "$programs"/usr/bin/{cat,xargs} "$tree/usr/bin/"
	# libkmod loads this library with dlopen() for compressed modules.
	cp -L "$programs/usr/lib/x86_64-linux-gnu/liblzma.so.5" "$tree/usr/lib/x86_64-linux-gnu/"
	cp -r "$from/etc" "$tree/"
	(
		cd "$from/lib/modules/$k" || exit
		cp modules.* "$tree/usr/lib/modules/$k/"
		for f in $(sed -n 's,^\(.*/kvm\(-intel\|-amd\|\)\.ko[^:]*\): \(.*\),\1 \3,p' modules.dep) \
			kernel/arch/x86/kvm/kvm*.ko*; do
			[ -e "$tree/usr/lib/modules/$k/$f" ] || install -D -m 644 "$f" "$tree/usr/lib/modules/$k/$f"
		done
	)
}

for release in $releases; do
	deb=$("$top/tests/packaging/installed" deb "$release")
	make_tree "$deb" || continue
	version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/dkms.conf")
	for host in svm vmx; do
		case $host in svm) vendor=kvm_amd ;; *) vendor=kvm_intel ;; esac
		# Bochs fails VM entries with posted interrupts.
		echo "options kvm_intel enable_apicv=0" >"$tmp/tree/etc/modprobe.d/bochs.conf"
		cat >"$tmp/commands" <<-END
			/usr/bin/xargs -a /sys/devices/system/cpu/modalias /usr/bin/modprobe -q -b -a
			/usr/bin/cat /sys/module/kvm/version /sys/module/$vendor/version
			/usr/bin/modprobe -r $vendor
			/usr/bin/modprobe -v $vendor
			/usr/bin/cat /sys/module/kvm/version /sys/module/$vendor/version
			/usr/bin/kvm-onereg status
		END
		out=$("$top/tests/hosts/boot" -H $host -k "$deb" -N -I "$tmp/tree" -f "$tmp/commands" --whole-modules \
			-o "$tmp/out" -t 900 2>&1)
		status=$?
		# xargs exits with 123 if modprobe fails: the tree does not have the other drivers for this CPU.
		ok "$release on $host: it boots, and the kernel does not complain" test $status = 0 -o $status = 123
		is "$release on $host: modprobe loads our kvm and $vendor, by alias and by name" \
			"$(tr -d '\r' <<<"$out" | grep -c -x -F "$version")" 4
		like "$release on $host: they come from updates/dkms" "$out" \
			"^insmod .*/updates/dkms/${vendor/_/-}\\.ko"
		like "$release on $host: status reports our modules as loaded" "$out" \
			"^Loaded +ours ${version//./\\.}: kvm, $vendor"
		like "$release on $host: status reports our modules on disk" "$out" "^\\* .* ours ${version//./\\.},"
		not_ok "$release on $host: status reports nothing as damaged or pending" 1 \
			grep -E 'damaged|pending' <<<"$out"
		diag_if_failed "status $status" "$out"
	done
done
done_testing
