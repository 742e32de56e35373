#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Installer and command have the same model of a host: in the same trees, both find the same kernels in the same order,
# and report the same about each: whose KVM modprobe takes, its version and origin, and from which source it would be
# built.
#
# tools/installer/look.sh reads a tree in its own mount name space, where it is /lib/modules, /boot and so on. The
# command reads it below KVM_ONEREG_ROOT. They are compared by a line for each kernel:
#
#   KERNEL: WHOSE [VERSION ORIGIN | FILE]; VERSION OF ITS SOURCE
#
# The command distinguishes more states. The installer has no "native" and "built in": src/prepare detects native
# kernels, and a KVM that is built in has no files to replace. The installer's "mixed" is the command's "damaged".
# shellcheck disable=SC2016 # code in quotes
# shellcheck source=tests/command/made-up.sh
. "$(dirname "$0")/made-up.sh"

D=$R/lib/modules/$K
source12="linux-source-6.12 6.12.117-1"

# ---- what both must say

# The files of dpkg itself, from the lines in $R/dpkg
dpkg_files() {
	local name version state triggers
	rm -rf "$R/var/lib/dpkg"
	mkdir -p "$R/var/lib/dpkg"/{info,updates,triggers}
	while IFS=$'\t' read -r name version state _; do
		triggers=''
		case $state in
		triggers-pending) triggers="Triggers-Pending: x" ;;
		triggers-awaited) triggers="Triggers-Awaited: y" ;;
		esac
		printf '%s\n' "Package: $name" \
			"Status: $([ "$state" = config-files ] && echo deinstall || echo install) ok $state" \
			"Maintainer: nobody" ${triggers:+"$triggers"} "Architecture: amd64" "Version: $version" \
			"Description: none" ""
	done <"$R/dpkg" >"$R/var/lib/dpkg/status"
	printf '%s\n' '#!/bin/sh' 'exec /usr/bin/dpkg-query --admindir="${0%/usr/bin/*}/var/lib/dpkg" "$@"' \
		>"$R/usr/bin/dpkg-query"
}

# The installer's parts, loaded as tools/install does it
installer() {
	mkdir -p "$R"/{boot,var/lib/dkms}
	unshare -m bash -c '
		set -u
		export LC_ALL=C
		root=$1 parts=$2
		mount --bind "$root/lib/modules" "$(readlink -f /lib/modules)"
		for f in /boot /var/lib/dkms /var/lib/dpkg; do mkdir -p "$f" && mount --bind "$root$f" "$f"; done
		name=kvm-onereg version=$3 place=updates/dkms modules="kvm kvm-intel kvm-amd"
		for f in module look dkms prebuilt; do . "$parts/$f.sh"; done
		for k in $(kernels); do
			if prebuilt_resolve "$k"; then
				found=prebuilt
				read -r found_version found_origin < <(set_in "$(prebuilt_in "$k")")
			else
				look "$k"
			fi
			case $found in
			ours | prebuilt) details=" $found_version $found_origin" ;;
			foreign) details=" $found_file" ;;
			*) details="" ;;
			esac
			v=$(wanted "$k")
			echo "$k: $found$details; ${v#* }"
		done' - "$R" "$top/tools/installer" "$V" 2>&1
}

command_says() {
	local sources
	onereg doctor --json
	sources=$(json '$j->{report}' | sed -n 's/^disk \([^ ]*\): .*; built from \(.*\)/\1 \2/p')
	onereg status --json
	SOURCES=$sources json '
		my %source = map { split / /, $_, 2 } split /\n/, $ENV{SOURCES};
		join "\n", map {
			my $k = $_;
			my ($foreign) = map { $_->{file} } grep { $_->{whose} eq "foreign" } @{$k->{modules}};
			my $set = $k->{modules_are};
			my $whose = $k->{prebuilt} ? "prebuilt" :
				$set eq "native" ? ($k->{modules}[0]{whose} eq "distro" ? "distro" : "none") :
				$set eq "missing" || $set eq "built in" ? "none" : $set eq "damaged" ? "mixed" : $set;
			my $details = $set eq "ours" ? " $k->{version} $k->{origin}" : $set eq "foreign" ? " $foreign" : "";
			my $source = $source{$k->{release}} // "no line";
			"$k->{release}: $whose$details; " . ($source eq "?" ? "" : $source);
		} @{$j->{kernels}}'
}

# agree TITLE LINE...: both say these lines
agree() {
	local title=$1 lines
	shift
	lines=$(printf '%s\n' "$@")
	dpkg_files
	is "$title: the installer" "$(installer)" "$lines"
	is "$title: the command" "$(command_says)" "$lines"
}

# DKMS keeps what is in updates/dkms, as after an install
kept() {
	local tree=$R/var/lib/dkms/kvm-onereg
	mkdir -p "$tree/$V/$K/x86_64/module"
	cp "$D/updates/dkms"/*.ko* "$tree/$V/$K/x86_64/module/"
	ln -sfn "$V/$K/x86_64" "$tree/kernel-$K-x86_64"
}

# A host of made-up.sh, as the installer leaves it
installed() {
	host
	kept
}
# The same host, without anything of ours
plain() {
	host
	rm -r "$D/updates" "$R/var/lib/dkms"
	dep
}
# ours_in FOLDER [VERSION [ORIGIN]]: put our module files into a folder
ours_in() {
	local m
	for m in kvm kvm-intel kvm-amd; do
		ko "$1/$m.ko" "version=${2:-$V}" "origin=${3:-$source12}" "srcversion=$m$V" "vermagic=$K SMP"
	done
}

# ---- which kernels

plain
agree "one kernel" "$K: distro; 6.12.117-1"
for k in 6.1.0-9-amd64 6.1.0-10-amd64 6.12.9+deb13-amd64 6.12.9+deb13+1-amd64 6.12.10-rt-amd64 6.12.10-rc1-amd64 \
	6.18.3+deb14-amd64 7.0-amd64; do
	kernel $k distro '' 1-1
done
agree "several: in one order" "6.1.0-9-amd64: distro; 1-1" "6.1.0-10-amd64: distro; 1-1" \
	"6.12.9+deb13+1-amd64: distro; 1-1" "6.12.9+deb13-amd64: distro; 1-1" "6.12.10-rc1-amd64: distro; 1-1" \
	"6.12.10-rt-amd64: distro; 1-1" "$K: distro; 6.12.117-1" "6.18.3+deb14-amd64: distro; 1-1" \
	"7.0-amd64: distro; 1-1"
plain
rm -r "$R/lib/modules"
mkdir "$R/lib/modules"
agree "none" ""
plain
mkdir -p "$R/lib/modules/6.12.1-amd64"
ln -s /usr/src/linux-headers-6.12.1 "$R/lib/modules/6.12.1-amd64/build"
agree "headers only" "$K: distro; 6.12.117-1"
plain
mkdir "$R/lib/modules/6.12.1-amd64"
touch "$R/lib/modules/6.12.1-amd64"/modules.{dep,order,builtin}
printf '%s\t%s\t%s\t%s\n' linux-image-6.12.1-amd64 6.12.1-1 config-files ok >>"$R/dpkg"
agree "removed and not purged" "$K: distro; 6.12.117-1"
mkdir "$R/lib/modules/6.12.1-amd64/kernel"
agree "... folders are left" "6.12.1-amd64: none; " "$K: distro; 6.12.117-1"
plain
mkdir "$R/lib/modules/6.12.1-amd64"
touch "$R/lib/modules/6.12.1-amd64/vmlinuz"
agree "a kernel without modules" "6.12.1-amd64: none; " "$K: distro; 6.12.117-1"
installed
rm -r "$D/kernel" "$D"/updates/dkms/kvm{,-intel}.ko
dep
agree "one module of ours is all that is left of a kernel" "$K: mixed; 6.12.117-1"
plain
rm -r "$D/kernel"
ours_in "$D/updates/kvm-onereg"
dep
agree "prebuilt modules are all that is left of a kernel" ""
plain
mkdir -p "$R/lib/modules/.kvm-onereg-$K.part/kernel"
: >"$R/lib/modules/notes"
agree "folders that are not kernels" "$K: distro; 6.12.117-1"

# ---- whose modules they are

installed
agree "ours" "$K: ours $V $source12; 6.12.117-1"
for packer in "xz --check=crc32" "zstd -q --rm"; do
	installed
	for f in "$D/updates/dkms"/*.ko "$D/kernel/arch/x86/kvm"/*.ko; do $packer "$f"; done
	rm "$R/var/lib/dkms/kvm-onereg/$V/$K/x86_64/module"/*
	kept
	dep
	agree "ours, packed by ${packer%% *}" "$K: ours $V $source12; 6.12.117-1"
	rm -r "$D/updates" "$R/var/lib/dkms"
	dep
	agree "... the distro's" "$K: distro; 6.12.117-1"
done
installed
ours_in "$D/updates/dkms" 0.0.1
kept
mv "$R/var/lib/dkms/kvm-onereg"/{"$V",0.0.1}
ln -sfn "0.0.1/$K/x86_64" "$R/var/lib/dkms/kvm-onereg/kernel-$K-x86_64"
agree "ours, of another version" "$K: ours 0.0.1 $source12; 6.12.117-1"
installed
ours_in "$D/updates/dkms" "$V" "linux-source-6.12 6.12.99-1"
kept
agree "ours, of another source" "$K: ours $V linux-source-6.12 6.12.99-1; 6.12.117-1"
installed
ko "$D/updates/dkms/kvm-amd.ko" version=0.0.1 "origin=$source12" "vermagic=$K SMP"
kept
agree "ours, of two versions" "$K: mixed; 6.12.117-1"
installed
ko "$D/updates/dkms/kvm-intel.ko" "version=$V" "origin=linux-source-6.12 6.12.99-1" "vermagic=$K SMP"
kept
agree "ours, from two sources" "$K: mixed; 6.12.117-1"
installed
rm "$D/updates/dkms/kvm-intel.ko"
dep
agree "two of ours, one of the distro's" "$K: mixed; 6.12.117-1"
installed
rm "$D/updates/dkms/kvm.ko"
dep
agree "one of the distro's, two of ours" "$K: mixed; 6.12.117-1"
installed
rm "$D"/{updates/dkms,kernel/arch/x86/kvm}/kvm-amd.ko
dep
agree "two of ours, one missing" "$K: mixed; 6.12.117-1"
plain
rm "$D/kernel/arch/x86/kvm/kvm-intel.ko"
dep
agree "two of the distro's, one missing" "$K: mixed; 6.12.117-1"
rm -r "$D/kernel/arch"
dep
agree "none of the three" "$K: none; 6.12.117-1"
for m in kvm kvm-intel kvm-amd; do
	installed
	head -c 300 "$D/updates/dkms/$m.ko" >"$tmp/cut"
	cp "$tmp/cut" "$D/updates/dkms/$m.ko"
	agree "ours, $m is cut off" "$K: mixed; 6.12.117-1"
	plain
	head -c 300 "$D/kernel/arch/x86/kvm/$m.ko" >"$tmp/cut"
	cp "$tmp/cut" "$D/kernel/arch/x86/kvm/$m.ko"
	agree "the distro's, $m is cut off" "$K: mixed; 6.12.117-1"
done
plain
for f in "$D/kernel/arch/x86/kvm"/*; do : >"$f"; done
agree "the distro's, all three are empty" "$K: mixed; 6.12.117-1"
installed
for f in "$D/updates/dkms"/*; do : >"$f"; done
agree "ours, all three are empty" "$K: mixed; 6.12.117-1"
plain
ko "$D/kernel/arch/x86/kvm/kvm.ko" license=GPL
agree "the distro's, one is not of a kernel" "$K: mixed; 6.12.117-1"
plain
rm "$D/kernel/arch/x86/kvm/kvm.ko"
agree "a file is gone, and modules.dep has it" "$K: mixed; 6.12.117-1"
plain
for m in kvm kvm-intel kvm-amd; do ko "$D/updates/$m.ko" "vermagic=$K SMP"; done
dep
agree "somebody else's" "$K: foreign /lib/modules/$K/updates/kvm.ko; 6.12.117-1"
plain
ko "$D/updates/kvm-intel.ko" "vermagic=$K SMP" version=7
dep
agree "one of somebody else's, two of the distro's" "$K: foreign /lib/modules/$K/updates/kvm-intel.ko; 6.12.117-1"
installed
ko "$D/updates/dkms/kvm-amd.ko" "vermagic=$K SMP"
dep
agree "one of somebody else's in the place of ours" "$K: foreign /lib/modules/$K/updates/dkms/kvm-amd.ko; 6.12.117-1"
installed
ko "$D/updates/dkms/kvm.ko" "vermagic=$K SMP" "origin=the moon"
dep
agree "... with an origin and no version" "$K: foreign /lib/modules/$K/updates/dkms/kvm.ko; 6.12.117-1"
plain
mkdir "$D/kernel/extra"
for m in kvm kvm-intel kvm-amd; do mv "$D/kernel/arch/x86/kvm/$m.ko" "$D/kernel/extra/"; done
dep
agree "somebody else's below kernel/" "$K: foreign /lib/modules/$K/kernel/extra/kvm.ko; 6.12.117-1"

# ---- prebuilt

plain
ours_in "$D/updates/kvm-onereg"
dep
agree "prebuilt" "$K: prebuilt $V $source12; 6.12.117-1"
installed
mkdir "$D/updates/kvm-onereg"
mv "$D/updates/dkms/kvm.ko" "$D/updates/kvm-onereg/"
dep
agree "one prebuilt, two built here" "$K: mixed; 6.12.117-1"
plain
ours_in "$D/updates/kvm-onereg"
rm "$D/updates/kvm-onereg/kvm-amd.ko"
dep
agree "two prebuilt, one of the distro's" "$K: mixed; 6.12.117-1"

# ---- native, built in, built from one's own tree

plain
kernel 6.18.3+deb14-amd64 distro '' 6.18.3-1
agree "a native kernel" "$K: distro; 6.12.117-1" "6.18.3+deb14-amd64: distro; 6.18.3-1"
onereg status --json
is "... which the command says of the same tree" "$(json '$j->{kernels}[1]{modules_are}')" native
built_in() {
	plain
	rm -r "$D/kernel/arch"
	for m; do echo "kernel/arch/x86/kvm/$m.ko"; done >"$D/modules.builtin"
	dep
}
built_in kvm kvm-intel kvm-amd
agree "built in" "$K: none; 6.12.117-1"
onereg status --json
is "... which the command says of the same tree" "$(json '$j->{kernels}[0]{modules_are}')" "built in"
built_in irqbypass
agree "something else is built in" "$K: none; 6.12.117-1"
plain
rm "$D/kernel/arch/x86/kvm/kvm-amd.ko"
dep
put "/boot/config-$K" $'CONFIG_KVM=m\nCONFIG_KVM_INTEL=m\n# CONFIG_KVM_AMD is not set'
agree "configured without one vendor" "$K: distro; 6.12.117-1"
rm "$R/boot/config-$K"
put "/lib/modules/$K/build/.config" $'CONFIG_KVM=m\nCONFIG_KVM_INTEL=m'
agree "... as its build folder tells" "$K: distro; 6.12.117-1"
rm "$D/kernel/arch/x86/kvm/kvm-intel.ko"
dep
agree "... and the other one is missing" "$K: mixed; 6.12.117-1"
plain
rm "$D/kernel/arch/x86/kvm/kvm-amd.ko"
dep
put "/boot/config-$K" $'CONFIG_KVM=m\nCONFIG_KVM_INTEL=m\nCONFIG_KVM_AMD=m'
agree "configured with both, and one is missing" "$K: mixed; 6.12.117-1"

installed
rm "$D"/{updates/dkms,kernel/arch/x86/kvm}/kvm-amd.ko "$R/var/lib/dkms/kvm-onereg/$V/$K/x86_64/module/kvm-amd.ko"
dep
put "/boot/config-$K" $'CONFIG_KVM=m\nCONFIG_KVM_INTEL=m'
agree "ours, configured without one vendor" "$K: ours $V $source12; 6.12.117-1"
rm "$D"/{updates/dkms,kernel/arch/x86/kvm}/kvm-intel.ko
dep
put "/boot/config-$K" CONFIG_KVM=m
agree "... and without both" "$K: mixed; 6.12.117-1"

# ---- which source they were built from

plain
rm "$R/dpkg"
printf '%s\t%s\t%s\t%s\n' "linux-image-$K" 6.12.116-1 installed ok >"$R/dpkg"
agree "headers and image are of two versions" "$K: distro; 6.12.117-1"
rm -r "$D/build"
agree "no headers" "$K: distro; 6.12.116-1"
sed -i 's/^linux-image-[^\t]*/&-unsigned/' "$R/dpkg"
agree "... and an image without signature" "$K: distro; 6.12.116-1"
for state in half-configured unpacked triggers-pending triggers-awaited; do
	sed -i "s/[^\t]*\tok$/$state\tok/" "$R/dpkg"
	agree "... $state" "$K: distro; 6.12.116-1"
done
for state in half-installed config-files; do
	sed -i "s/[^\t]*\tok$/$state\tok/" "$R/dpkg"
	agree "... $state" "$K: distro; "
done
: >"$R/dpkg"
agree "a kernel that is not of a package" "$K: distro; "
put "/lib/modules/$K/build/include/generated/package.h" '#define LINUX_PACKAGE_ID ""'
agree "... whose headers name no version" "$K: distro; "
put "/lib/modules/$K/build/include/generated/package.h" '#define LINUX_PACKAGE_ID " Mine 1-1"'
agree "... or somebody's" "$K: distro; "
put "/lib/modules/$K/build/include/generated/package.h" \
	$'#ifndef X\n#define X\n#define LINUX_PACKAGE_ID " Debian 1:6.12.1~rc1-1+b1"\n#endif'
agree "an unusual version" "$K: distro; 1:6.12.1~rc1-1+b1"

# ---- what DKMS keeps does not matter to modprobe, but the installer has to repair it, so it says mixed where the
# command does not

# apart TITLE INSTALLER COMMAND: what each of them says about the kernel
apart() {
	dpkg_files
	is "$1: the installer" "$(installer)" "$K: $2; 6.12.117-1"
	is "$1: the command" "$(command_says)" "$K: $3; 6.12.117-1"
}
host
apart "ours, and DKMS does not know of it" mixed "ours $V $source12"
installed
ko "$R/var/lib/dkms/kvm-onereg/$V/$K/x86_64/module/kvm.ko" "version=$V" "origin=$source12" "vermagic=$K SMP"
apart "ours, and DKMS has another build" mixed "ours $V $source12"
installed
rm -r "$D/updates"
dep
apart "the distro's, and DKMS takes ours for installed" mixed distro
installed
echo "override kvm * kernel/arch/x86/kvm" >"$tmp/depmod.conf"
for m in kvm-intel kvm-amd; do echo "override $m * kernel/arch/x86/kvm"; done >>"$tmp/depmod.conf"
depmod -C "$tmp/depmod.conf" -b "$R" "$K"
apart "the distro's, with files of ours beside it" mixed distro
plain
aside=$R/var/lib/dkms/kvm-onereg/original_module/$K/x86_64
mkdir -p "$aside"
mv "$D/kernel/arch/x86/kvm/kvm-amd.ko" "$aside/"
dep
agree "DKMS moved one of the distro's" "$K: mixed; 6.12.117-1"
mv "$D/kernel/arch/x86/kvm"/*.ko "$aside/"
dep
apart "DKMS moved all three of them" mixed none
installed
mkdir -p "$aside"
mv "$D/kernel/arch/x86/kvm"/*.ko "$aside/"
dep
agree "... and ours are there" "$K: ours $V $source12; 6.12.117-1"
# Neither attributes files that somebody put there by hand to the installer. Only the installer is hindered by them.
plain
ours_in "$D/updates/old"
dep
apart "ours, put in another folder by hand" "foreign /lib/modules/$K/updates/old/kvm.ko" "ours $V $source12"
plain
ours_in "$D/kernel/arch/x86/kvm"
dep
apart "ours, put in the place of the distro's by hand" mixed "ours $V $source12"

done_testing
