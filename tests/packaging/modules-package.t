#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make deb-modules builds kvm-onereg-modules-KVER with signed modules, and refuses wrong arguments before it builds. The
# package is installed on a host without compiler, headers and DKMS, with updates of the image, of the package and of
# both; together with kvm-onereg-dkms; and it recovers after dpkg was killed at any step.
#
# THOROUGH=y: on both releases
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
# shellcheck disable=SC2317 # killed.t continues after run_points only when it is run itself
. "$(dirname "$0")/killed.t"

build='
mkdir /tmp/p && cd /project && tar -c --exclude=./build --exclude=./.git . | tar -x -C /tmp/p && cd /tmp/p
for k in fleet other; do
	openssl req -new -x509 -nodes -newkey rsa:2048 -sha256 -days 3650 -subj "/CN=Key of the $k" \
		-keyout /tmp/$k.key -out /tmp/$k.pem 2>/tmp/log || cat /tmp/log
done
openssl x509 -in /tmp/fleet.pem -outform DER -out /tmp/fleet.der
# package NAME VARIABLE=VALUE...: try to make a package, print a line "NAME: the result" and the output
package() {
	local name=$1 status=0
	shift
	make deb-modules STORE=/tmp/store "$@" >/tmp/log 2>&1 || status=$?
	echo "$name: $(sed -n "s/^make: \*\*\* .* Error /error /p" /tmp/log | grep . || echo "status $status"), built" \
		"$(grep -c stand-in /tmp/log), packages $(ls build/deb-modules/*.deb 2>/dev/null | wc -l)"
	sed "s/^/$name said: /" /tmp/log
}
# keep NAME: move the package that was made to /to
keep() { mv build/deb-modules/*.deb "/to/$1.deb"; }
'

on_one trixie
for release in $releases; do
	begin_deb
	to=$tmp/$release
	mkdir "$to"
	with_build=("${options[@]}" -b "$top:/project:ro" -b "$to:/to")

	options=("${with_build[@]}")
	out=$(in_root -o "$deb_plain" -- "$build"'
		key="SIGN_KEY=/tmp/fleet.key SIGN_CERT=/tmp/fleet.pem"
		package no-kernel
		package unknown-kernel KVER="${K%%-*}-none"
		package no-name KVER=6.12.1_A
		package key-alone KVER="$K" SIGN_KEY=/tmp/fleet.key
		package certificate-alone KVER="$K" SIGN_CERT=/tmp/fleet.pem
		package no-key KVER="$K" SIGN_KEY=/tmp/none SIGN_CERT=/tmp/fleet.pem
		package not-a-key KVER="$K" SIGN_KEY=/tmp/fleet.pem SIGN_CERT=/tmp/fleet.pem
		package key-of-another KVER="$K" SIGN_KEY=/tmp/other.key SIGN_CERT=/tmp/fleet.pem
		(FAIL_FOR="*" package failing-build KVER="$K")
		(ORIGIN_IS="linux-source-6.1 6.1.1" package not-recorded KVER="$K")
		package signed KVER="$K" SIGN_KEY=/tmp/fleet.key SIGN_CERT=/tmp/fleet.der; keep signed
		for f in $(dpkg-deb -x /to/signed.deb /tmp/x; find /tmp/x -name "kvm*.ko*" | sort); do
			echo "module ${f##*.ko} $(modinfo -F signer "$f"), $(modinfo -F version "$f"), $(modinfo -F origin "$f")"
			case $f in *.xz) echo "check $(od -An -tu1 -j7 -N1 "$f")" ;; esac
			# The kernel looks for these 28 bytes at the end of the decompressed file.
			case $f in *.xz) xz -d -c "$f" ;; *) cat "$f" ;; esac | tail -c 28 | sed "s/^/end /"
		done
		echo "distro $(find /lib/modules/"$K"/kernel -name "kvm.ko*" | sed "s/.*\.ko//")"
		package not-signed KVER="$K" $key SIGN_KEY= SIGN_CERT=
		echo "no signer: $(dpkg-deb -x build/deb-modules/*.deb /tmp/y; modinfo -F signer $(find /tmp/y -name "kvm*.ko*"))"
		keep not-signed
		sed -i "s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=\"9.1.0\"/" dkms.conf
		package newer KVER="$K" $key; keep newer
		# The next version of the image, under the same name.
		h=$(readlink -f /lib/modules/"$K"/build)/include/generated/package.h
		was=$(sed -n "s/^#define LINUX_PACKAGE_ID \" Debian \(.*\)\"$/\1/p" "$h") new=$(revised "$was")
		sed -i "s/Debian $was/Debian $new/" "$h"
		cp -a /tmp/store/"$was" /tmp/store/"$new"
		package next KVER="$K" $key; keep next
		dpkg-deb -f /to/next.deb Package Version Depends | sed "s/^/next: /"
		echo "versions $was $new"')
	read -r was new < <(sed -n 's/^versions //p' <<<"$out")
	said() { sed -n "s/^$1 said: //p" <<<"$out"; }
	result() { sed -n "s/^$1: //p" <<<"$out"; }
	is "$release: without KVER: refused" "$(result no-kernel)" "error 2, built 0, packages 0"
	like "$release: ... and says what to type" "$(said no-kernel)" 'to fix: make deb-modules KVER='
	like "$release: a kernel that is not installed: refused" "$(result unknown-kernel)" \
		'error 1, built 1, packages 0'
	like "$release: ... and says which headers" "$(said unknown-kernel)" 'to fix: apt-get install linux-headers-6'
	is "$release: a kernel whose name cannot be part of a package name: refused" "$(result no-name)" \
		"error 2, built 0, packages 0"
	for what in key-alone certificate-alone no-key not-a-key key-of-another; do
		is "$release: $what: refused before anything is built" "$(result "$what")" \
			"error 4, built 0, packages 0"
	done
	like "$release: a missing key is named" "$(said no-key)" "'/tmp/none'"
	is "$release: a build that fails creates no package" "$(result failing-build)" "error 1, built 1, packages 0"
	is "$release: modules from another source create none either" "$(result not-recorded)" \
		"error 1, built 1, packages 0"
	like "$release: ... and it says why" "$(said not-recorded)" \
		"only modules built from the recorded source of a Debian kernel are packaged, not from 'linux-source-6\.1 6\.1\.1'"
	is "$release: with key and certificate, a package is made" "$(result signed)" "status 0, built 1, packages 1"
	like "$release: ... and the output names the owner of the key" "$(said signed)" 'signed by "Key of the fleet"$'
	suffix=$(sed -n "s/^distro *//p" <<<"$out")
	is "$release: ... the three modules are signed, and compressed like the distro's" \
		"$(sed -n 's/^module//p' <<<"$out" | sed 's/, [0-9.]*, linux-source-.*//' | sort | uniq -c | xargs)" \
		"3 ${suffix:+$suffix }Key of the fleet"
	is "$release: ... with a checksum that the kernel supports" "$(sed -n 's/^check *//p' <<<"$out" | sort -u)" \
		"${suffix:+1}"
	is "$release: ... and the signature is where the kernel looks for it" \
		"$(grep -c '^end ~Module signature appended~$' <<<"$out")" 3
	like "$release: without a key, the output says that it is not signed" "$(said not-signed)" 'not signed$'
	is "$release: ... and the modules have no signature" "$(sed -n 's/^no signer: *//p' <<<"$out")" ""
	like "$release: the package's version consists of those of the project and the image" "$out" \
		"^next: Version: 9\.1\.0\+${new//+/\\+}\$"
	diag_if_failed "$out"

	ok "$release: lintian reports no error and no warning" "$root" run "build-$release" -n -b "$to:/to:ro" -- \
		lintian --allow-root --fail-on error,warning -EvIL +pedantic /to/signed.deb
	diag "$(grep -E '^[A-Z]:' <<<"$output")"

	# ---- on a machine without a compiler

	cp -a "$ready" "$tmp/bare-$release"
	options=(-b "$to:/to:ro" -b "$("$top/tests/packaging/repo" "$release"):/repo:ro")
	in_root -l "$tmp/bare-$release" -- '
		apt-get -y purge binutils make dkms "linux-headers-*" "linux-kbuild-*" >/tmp/log 2>&1 || cat /tmp/log
		rm -rf /var/lib/kvm-onereg /tmp/log'
	bare=$tmp/bare-$release
	out=$(in_root -o "$bare" -- '
		for c in gcc make dkms; do ! command -v $c || echo "there is $c"; done
		[ ! -e /lib/modules/"$K"/build ] || echo "there are headers"
		spy
		# An initramfs with KVM modules: a tar archive of what modprobe finds, and of the settings.
		image=/boot/initrd.img-$K
		printf "%s\n" "#!/bin/sh" "tar -tf \$1" >/usr/sbin/lsinitramfs
		printf "%s\n" "#!/bin/sh" "tar -xf \$1 -C \$2" >/usr/sbin/unmkinitramfs
		printf "%s\n" "#!/bin/sh" "tar -cPf $image \$(modinfo -k $K -F filename kvm) \$(ls /etc/modprobe.d/kvm*)" \
			>/usr/sbin/update-initramfs
		chmod +x /usr/sbin/*initramfs
		in_image() {
			echo "image $1: $(tar -tPf "$image" | sed "s,/lib/modules/$K/,,; s,/etc/,,; s,/kvm\.ko.*,," | xargs)"
		}
		update-initramfs 2>/dev/null
		repos base
		sums >/tmp/sums; everything >/tmp/before
		P=kvm-onereg-modules-$K
		apt install /to/signed.deb
		echo "installed: $(resolved), $(modinfo -k "$K" -F signer kvm-amd), $(states $P)"
		echo "switch: $(grep -c "^#options kvm_intel cet=1" /etc/modprobe.d/kvm-onereg.conf)"
		in_image installed
		sed -i "s/^#options/options/" /etc/modprobe.d/kvm-onereg.conf
		status /usr/lib/kvm-onereg/modules/"$K"/install-prebuilt "$K"
		dpkg --verify $P >/tmp/found; echo "found $?/$(grep -c . /tmp/found)/$(intact)"
		apt install /to/newer.deb
		echo "newer: $(resolved), $(modinfo -k "$K" -F version kvm-intel)"
		apt remove $P
		echo "removed: $(resolved) $(intact)," \
			"$(sums | cmp - /tmp/sums && echo untouched), $(grep -c "^options" /etc/modprobe.d/kvm-onereg.conf)"
		traces | sed "s/^/left /"
		in_image removed
		apt install /to/signed.deb >/tmp/log; tail -n 1 /tmp/log
		echo "again: $(resolved), $(grep -c "^options" /etc/modprobe.d/kvm-onereg.conf)"
		apt purge $P
		in_image purged
		everything >/tmp/after; diff /tmp/before /tmp/after | sed "s/^/difference /"
		sed "s/^/called /" /spy/log')
	is "$release: the host has no compiler" "$(grep '^there' <<<"$out")" ""
	like "$release: apt installs it there: modprobe finds the prebuilt modules, signed" "$out" \
		'^installed: prebuilt prebuilt prebuilt, Key of the fleet, ii $'
	like "$release: the installer's line names version and source" "$out" \
		"^  6\.[^ ]* +installed \(prebuilt, [0-9.]+, from linux-source-6\.[0-9]+ ${was//+/\\+}\)\$"
	like "$release: the CET configuration is there, and CET is off" "$out" '^switch: 1$'
	like "$release: a second run of the installer has nothing to do" "$out" \
		'^  6\.[^ ]* +installed already \(prebuilt, '
	like "$release: neither the package's files nor the image's KVM modules are changed" "$out" \
		'^found 0/[01]/intact$'
	like "$release: a newer version replaces it" "$out" '^newer: prebuilt prebuilt prebuilt, 9\.1\.0$'
	like "$release: after a removal, the distro's modules, unchanged; the CET configuration stays" "$out" \
		'^removed: distro distro distro intact, untouched, 2$'
	is "$release: ... and nothing else of the package" "$(sed -n 's/^left //p' <<<"$out")" ""
	like "$release: installed again, CET stays as it was configured" "$out" '^again: prebuilt prebuilt prebuilt, 2$'
	is "$release: the initramfs contains the modules that modprobe finds, each time" \
		"$(sed -n 's/^image //p' <<<"$out" | paste -s -d ';')" \
		"installed: updates/kvm-onereg modprobe.d/kvm-onereg.conf;$(
		)removed: kernel/arch/x86/kvm modprobe.d/kvm-onereg.conf;purged: kernel/arch/x86/kvm"
	is "$release: after a purge, every file is as before the install" "$(sed -n 's/^difference //p' <<<"$out")" ""
	is "$release: apt succeeds each time" "$(grep '^apt' <<<"$out" | sort | uniq -c | xargs)" "5 apt 0"
	is "$release: no module is loaded or unloaded" "$(sed -n 's/^called //p' <<<"$out")" ""
	diag_if_failed "$out"

	# ---- the image is updated under the same name

	out=$(in_root -o "$bare" -- '
		P=kvm-onereg-modules-$K
		image() { dpkg-query -W -f "\${Version}" linux-image-"$K"; }
		repos image
		apt install /to/signed.deb >/tmp/log; tail -n 1 /tmp/log
		apt upgrade
		echo "image first: $(resolved), $(image), $(states $P)"
		apt install /to/next.deb
		echo "then the modules: $(resolved) $(modinfo -k "$K" -F origin kvm | cut -d" " -f2)"
		apt remove linux-image-"$K" linux-image-amd64
		echo "image removed: $(ls -d /lib/modules/"$K"/updates /lib/modules/.kvm* 2>&1 | grep -v "No such"), $(states $P)"
		apt purge linux-image-"$K"
		echo "image purged: $(ls /lib/modules)"
		apt install linux-image-"$K"
		echo "image again: $(resolved)"
		apt purge $P; echo "purged: $(resolved)"; traces | sed "s/^/left /"')
	like "$release: the update of the image is not held back, and the modules are not used with it" "$out" \
		"^image first: distro distro distro, ${new//+/\\+}, ii \$"
	like "$release: ... a line says so" "$out" \
		"skipped: its kernel has version ${new//+/\\+}, the prebuilt modules are for ${was//+/\\+}\$"
	like "$release: ... and what to install instead" "$out" \
		'to fix: install kvm-onereg-modules-6.* make deb-modules KVER='
	like "$release: with a package for the new image, its modules are used" "$out" \
		"^then the modules: prebuilt prebuilt prebuilt ${new//+/\\+}\$"
	like "$release: the image is removed: the copies of the modules are, too" "$out" '^image removed: , ii $'
	like "$release: ... purged: its folder, too" "$out" '^image purged: $'
	like "$release: ... installed again: the prebuilt modules are used again" "$out" \
		'^image again: prebuilt prebuilt prebuilt$'
	like "$release: the package is purged: the distro's modules" "$out" '^purged: distro distro distro$'
	is "$release: ... and nothing is left" "$(sed -n 's/^left //p' <<<"$out")" ""
	is "$release: apt succeeds in each update of the image" "$(grep '^apt' <<<"$out" | sort | uniq -c | xargs)" \
		"7 apt 0"
	diag_if_failed "$out"

	out=$(in_root -o "$bare" -- '
		P=kvm-onereg-modules-$K
		repos image
		apt install /to/next.deb
		echo "too early: $(resolved), $(states $P)"
		apt install /to/signed.deb --allow-downgrades
		echo "right: $(resolved)"
		apt install /to/next.deb
		echo "modules first: $(resolved) $(modinfo -k "$K" -F origin kvm | cut -d" " -f2)"
		apt upgrade
		echo "then the image: $(resolved) $(modinfo -k "$K" -F origin kvm | cut -d" " -f2)"
		# One module is truncated in both places, and no other set fits.
		for f in /usr/lib/kvm-onereg/modules/"$K"/kvm-intel.ko* /lib/modules/"$K"/updates/kvm-onereg/kvm-intel.ko*; do
			truncate -s 9000 "$f"
		done
		status /usr/lib/kvm-onereg/modules/"$K"/install-prebuilt "$K"
		echo "a bad file: $(resolved)"')
	like "$release: modules for an image that is not installed: not used" "$out" \
		'^too early: distro distro distro, ii $'
	like "$release: modules for the installed image: used" "$out" '^right: prebuilt prebuilt prebuilt$'
	like "$release: the package is upgraded before the image: the modules that fit stay" "$out" \
		"^modules first: prebuilt prebuilt prebuilt ${was//+/\\+}\$"
	like "$release: ... and the new ones are used once the image is installed" "$out" \
		"^then the image: prebuilt prebuilt prebuilt ${new//+/\\+}\$"
	like "$release: a damaged module is not used" "$out" '^a bad file: distro distro distro$'
	like "$release: ... and the line says what to do" "$out" \
		'to fix: apt-get install --reinstall kvm-onereg-modules-6'
	diag_if_failed "$out"

	out=$(in_root -o "$bare" -- '
		repos image
		apt install /to/signed.deb
		apt install /to/next.deb linux-image-"$K"
		echo "both: $(resolved) $(modinfo -k "$K" -F origin kvm | cut -d" " -f2)"')
	like "$release: image and package in one run of apt: the new modules are used" "$out" \
		"^both: prebuilt prebuilt prebuilt ${new//+/\\+}\$"
	diag_if_failed "$out"

	# ---- with kvm-onereg-dkms

	options=("${with_build[@]}")
	out=$(in_root -o "$deb_light" -- '
		P=kvm-onereg-modules-$K
		dkms_has() {
			echo "$(dkms status | grep -c installed)/$(ls /lib/modules/"$K"/updates/dkms 2>/dev/null | grep -c kvm)"
		}
		sed -i "s/^#options/options/" /etc/modprobe.d/kvm-onereg.conf
		apt install /to/signed.deb
		echo "both: $(resolved), $(dkms_has)"
		apt install --reinstall /packages/kvm-onereg-dkms_*.deb
		dkms autoinstall -k "$K" >/tmp/log 2>&1; echo "autoinstall: $?, $(resolved), $(dkms_has)"
		apt remove $P
		echo "prebuilt removed: $(resolved), $(dkms_has), $(grep -c "^options" /etc/modprobe.d/kvm-onereg.conf)"
		apt purge $P; echo "purged: $(grep -c "^options" /etc/modprobe.d/kvm-onereg.conf)"
		apt install /to/signed.deb >/tmp/log; tail -n 1 /tmp/log
		repos base image headers source
		apt full-upgrade
		echo "new image: $(resolved), $(modinfo -k "$K" -F origin kvm | cut -d" " -f2)"
		apt install /to/next.deb
		echo "prebuilt for it: $(resolved), $(dkms_has)"
		apt purge kvm-onereg-dkms
		echo "dkms purged: $(resolved), $(grep -c "^options" /etc/modprobe.d/kvm-onereg.conf)"
		apt purge $P
		echo "all purged: $(resolved), $(ls /etc/modprobe.d | grep kvm)"
		traces | sed "s/^/left /"')
	like "$release: with both packages, the prebuilt modules are preferred" "$out" \
		'^both: prebuilt prebuilt prebuilt, 0/0$'
	like "$release: ... the installer says so, in one line" "$out" \
		'^  6\.[^ ]* +installed already \(prebuilt, .*\); DKMS does not build for it$'
	like "$release: ... and DKMS does not build" "$out" '^autoinstall: 0, prebuilt prebuilt prebuilt, 0/0$'
	like "$release: the package is removed: DKMS installs its modules in the same run of apt" "$out" \
		'^prebuilt removed: ours ours ours, 1/3, 2$'
	like "$release: ... and a purge keeps the CET configuration" "$out" '^purged: 2$'
	like "$release: an image that the prebuilt modules do not fit: DKMS builds" "$out" \
		"^new image: ours ours ours, ${new//+/\\+}\$"
	like "$release: ... and says why" "$out" \
		"\(kvm-onereg-modules-6.* is not used: its kernel has version ${new//+/\\+}, "
	like "$release: prebuilt modules for that image are preferred again" "$out" \
		'^prebuilt for it: prebuilt prebuilt prebuilt, 0/0$'
	like "$release: kvm-onereg-dkms is purged: the prebuilt modules and the CET configuration stay" "$out" \
		'^dkms purged: prebuilt prebuilt prebuilt, 2$'
	like "$release: both are purged: the distro's modules, and no CET configuration" "$out" \
		'^all purged: distro distro distro, $'
	is "$release: ... and nothing is left of both packages" "$(sed -n 's/^left //p' <<<"$out")" ""
	is "$release: apt succeeds each time, with both packages" "$(grep '^apt' <<<"$out" | sort | uniq -c | xargs)" \
		"9 apt 0"
	diag_if_failed "$out"

	# ---- killed

	undo='dpkg -P "kvm-onereg-modules-$K" kvm-onereg-dkms'
	# If anything runs depmod after the kill, modprobe finds a complete set.
	depmod='depmod "$K"
		between | grep -q -E "prebuilt prebuilt prebuilt, in 1 kinds|distro distro distro, in 0 kinds" ||
			{ echo "left by depmod:"; between; }
	'
	options=("${with_build[@]}")
	before=$(in_root -- sums)
	run_points "$bare" '
install: two modules copied    | cp     | */.kvm-onereg-*                     | before
install: before the rename     | mv     | *.part */updates/kvm-onereg*        | before
install: before depmod         | depmod | ?[0-9]*                             | before
install: after depmod          | depmod | ?[0-9]*                             | after
' 'dpkg -i /to/signed.deb' "$depmod"'status dpkg --configure -a' "prebuilt prebuilt prebuilt"
	run_points "$deb_light" '
over DKMS: before the switch   | depmod | *-C*                                | before
over DKMS: switched off        | depmod | *-C*                                | after
over DKMS: one module removed  | rm     | */updates/dkms/kvm-intel.ko*        | before
over DKMS: before depmod       | depmod | ?[0-9]*                             | before
' 'dpkg -i /to/signed.deb' 'status dpkg --configure -a' "prebuilt prebuilt prebuilt"
	cp -a "$bare" "$tmp/has-$release"
	in_root -l "$tmp/has-$release" -- 'dpkg -i /to/signed.deb'
	run_points "$tmp/has-$release" '
upgrade: before the switch     | depmod | *-C*                                | before
upgrade: old modules moved     | mv     | */updates/kvm-onereg *.old*         | after
upgrade: before depmod         | depmod | ?[0-9]*                             | before
' 'dpkg -i /to/newer.deb' "$depmod"'status dpkg --configure -a' "prebuilt prebuilt prebuilt"
	run_points "$tmp/has-$release" '
remove: before the switch      | depmod | *-C*                                | before
remove: switched off           | depmod | *-C*                                | after
remove: modules moved          | mv     | */updates/kvm-onereg *.old*         | after
' 'dpkg -r $(ls -d /usr/lib/kvm-onereg/modules/* | sed s,.*/,kvm-onereg-modules-,)' \
		"$depmod"'status dpkg -r "kvm-onereg-modules-$K"' "distro distro distro"
	undo='make -s uninstall || dpkg -P kvm-onereg-dkms'
done
done_testing
