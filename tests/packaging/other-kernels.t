#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Kernels that this package does not support: the installation of their headers runs dkms autoinstall, which leaves them
# alone, and dpkg succeeds. make install says about each why it is skipped.
#
# THOROUGH=y: on both releases
# shellcheck disable=SC1091,SC2034,SC2154,SC2016 # the files set the variables; the root's shell expands the scripts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/lib.sh"

# fake RELEASE [deb] [kvm]: make and install a package of headers that describe such a kernel, with the postinst of the
# root's own headers package. deb: a kernel of Debian; kvm: with KVM as modules.
functions='
fake() {
	local r=$1 d=/fake/$1 x y
	shift
	IFS=.-+ read -r x y z _ <<<"$r"
	mkdir -p "$d"/DEBIAN "$d/usr/src/linux-headers-$r/include/generated/uapi/linux" "$d/lib/modules/$r/kernel"
	cd "$d/usr/src/linux-headers-$r"
	echo "#define UTS_RELEASE \"$r\"" >include/generated/utsrelease.h
	echo "#define LINUX_VERSION_CODE $((x * 65536 + y * 256 + z))" >include/generated/uapi/linux/version.h
	case " $* " in *" deb "*) echo "#define LINUX_PACKAGE_ID \" Debian $x.$y.$z-1\"" >include/generated/package.h ;; esac
	case " $* " in *" kvm "*) printf "CONFIG_KVM%s=m\n" "" _INTEL _AMD >.config ;; *) echo "# CONFIG_KVM is not set" >.config ;; esac
	: >Makefile
	mkdir -p scripts/mod; : >scripts/mod/modpost; : >Module.symvers
	chmod +x scripts/mod/modpost
	ln -s "/usr/src/linux-headers-$r" "$d/lib/modules/$r/build"
	: >"$d/lib/modules/$r/modules.dep"
	sed "s/$K/$r/g" /var/lib/dpkg/info/linux-headers-"$K".postinst >"$d/DEBIAN/postinst"
	chmod 755 "$d/DEBIAN/postinst"
	printf "%s\n" "Package: linux-headers-$r" "Version: $x.$y.$z-1" "Architecture: amd64" "Maintainer: nobody" "Description: fake" >"$d/DEBIAN/control"
	mkdir -p "$d/usr/lib"; mv "$d/lib/modules" "$d/usr/lib/"; rmdir "$d/lib"
	cd /
	dpkg-deb -b "$d" /fake/"$r".deb >/dev/null
	dpkg -i /fake/"$r".deb >/fake/log 2>&1
	echo "$r: dpkg $?, $(dpkg-query -W -f "\${Status}" linux-headers-"$r"), $(ls -d /lib/modules/"$r"/updates 2>/dev/null | wc -l) installed"
	sed "s/^/# /" /fake/log
	cd /kvm-onereg
}
'
good=': dpkg 0, install ok installed, 0 installed$'

on_one bookworm
for release in $releases; do
	begin
	built_once
	for state in "only added" "installed for another kernel"; do
		if [ "$state" = "only added" ]; then
			over=(-o "$ready") add='mkdir /usr/src/kvm-onereg-"$V" && cp -r Makefile Kbuild dkms.conf src include /usr/src/kvm-onereg-"$V"/; dkms add kvm-onereg/"$V" >/dev/null'
		else
			over=(-o "$light") add=
		fi
		out=$(in_root ${over[@]+"${over[@]}"} -- "$functions$add"'
			fake 6.18.5+deb13-amd64 deb kvm
			fake 6.17.8+deb13-amd64 deb kvm
			fake 5.10.0-30-amd64 deb kvm
			fake 6.1.99-own kvm
			fake 6.12.99-nokvm deb
			PATH=${PATH#/stub:} fake 6.1.0-1-amd64 deb kvm
			status tools/install
			echo "resolved $(resolved)"
		')
		like "$release, $state: 6.18, native" "$out" "^6\.18\.5.*$good"
		like "$release, $state: 6.17, an unsupported series" "$out" "^6\.17\.8.*$good"
		like "$release, $state: 5.10, an unsupported series" "$out" "^5\.10\.0.*$good"
		like "$release, $state: 6.1, not Debian's" "$out" "^6\.1\.99.*$good"
		like "$release, $state: 6.12 without KVM" "$out" "^6\.12\.99.*$good"
		like "$release, $state: but for a 6.1 of Debian for which the build fails, dpkg reports an error" \
			"$out" \
			'^6\.1\.0-1-amd64: dpkg 1, install ok half-configured, 0 installed$'
		like "$release, $state: make install recognizes a native kernel" "$out" '^  6\.18\.5[^ ]* +native: '
		like "$release, $state: make install names the series 6.17" "$out" \
			'^  6\.17\.8[^ ]* +skipped: .*series 6\.17'
		like "$release, $state: make install recognizes a kernel that is not Debian's" "$out" \
			'^  6\.1\.99[^ ]* +skipped: .*is not a Debian kernel'
		diag_if_failed "$out"
	done
done

# The real headers of the newest native kernel.
release=trixie
if deb=$("$top/tests/debian/archive" fetch \
	"$("$top/tests/debian/archive" names 'linux-headers-([7-9]|6\.1[89])[0-9.]*\+deb13-amd64' | tail -n 1)"); then
	options=(-b "$deb:/native.deb:ro")
	out=$(in_root -o "$light" -- '
		p=$(dpkg-deb -f /native.deb Package)
		dpkg -i --force-depends /native.deb
		echo "dpkg $?, $(dpkg-query -W -f "\${Status}" "$p"), $(ls -d /lib/modules/"${p#linux-headers-}"/updates 2>/dev/null | wc -l) installed"
	')
	like "trixie: $(basename "$deb" .deb)" "$out" '^dpkg 0, install ok installed, 0 installed$'
else
	skip "trixie: headers of a native kernel" "the archive has none"
fi
done_testing
