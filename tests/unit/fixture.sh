# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # variables of tap.sh and of the cases
#
# A made-up world for src/prepare in the folder $w: a kernel's headers, a source tarball with its changelog, a compiler
# and dpkg. Source it after tap.sh.
#
#   few_hooks                    keep only a few hooks, so that src/prepare takes a quarter of the time; call it before
#                                the first world
#   world                        start with a new world, for a 6.12 kernel
#   headers RELEASE CODE DEBIAN  (re)make the headers in $kdir
#   tarball DEBIAN [SUFFIX]      (re)make the source in $SOURCE_DIR, with its changelog
#   source_tree FOLDER VERSION   make an unpacked source
#   package DEBIAN [NAME]        make the package linux-source-X.Y of that version in $w/archive
#   offer DEBIAN...              let apt have the packages of $w/archive and kernels of these versions, and no others
#   prepare [OPTION...]          run src/prepare; stdout goes to $w/out.log, stderr to $w/err; sets $status
#   refused STATUS NAME MESSAGE FIX [OPTION...]
#                                check that prepare exits with STATUS, prints MESSAGE and FIX on stderr, and changes
#                                nothing

# A copy: the project may be edited while the tests run.
project=$tmp/project
[ -d "$project" ] || {
	mkdir -p "$project" && cp -r "$top/src" "$top/include" "$top/Kbuild" "$top/dkms.conf" "$project/"
}
prepare=$project/src/prepare
kver=6.12.117+deb13-amd64 debian=6.12.117-1 code=$(((6 << 16) + (12 << 8) + 117))
fixtures=$tmp/fixtures path=$PATH
# The supported series, as src/prepare lists them
supported=$(sed -n "s/\tDebian.*//p" "$top/src/series" | xargs)
unset CC

# A few hooks from each folder are sufficient: src/prepare runs the same commands for each.
few_hooks() { find "$project/src/hooks" -name '*.patch' ! -name '1[0-3]-*' ! -name '20-*' -exec rm {} +; }

# landmarks SERIES FOLDER: make files in FOLDER in which each hook of SERIES fits in exactly one place.
landmarks() {
	local h file n=0
	for h in "$project"/src/hooks/*.patch "$project/src/hooks/$1"/*.patch; do
		file=$2/$(sed -n 's/^+++ b\///p' "$h")
		n=$((n + 1))
		mkdir -p "$(dirname "$file")"
		{
			echo "/* before $n */"
			sed -n '/^@@/,$s/^[ -]//p' "$h"
			echo "/* after $n */"
		} >>"$file"
	done
}

source_tree() {
	local to=$1 v=$2 s
	s=${v%.*}
	mkdir -p "$to/arch/x86/kvm/vmx" "$to/arch/x86/kvm/svm" "$to/virt/kvm" "$to/drivers"
	printf 'VERSION = %s\nPATCHLEVEL = %s\nSUBLEVEL = %s\nEXTRAVERSION =\n' "${v%%.*}" "${s#*.}" "${v##*.}" \
		>"$to/Makefile"
	echo 'kvm-y += x86.o' >"$to/arch/x86/kvm/Makefile"
	landmarks "$s" "$to"
	echo '/* vmx */' >>"$to/arch/x86/kvm/vmx/vmx.c"
	echo '/* svm */' >>"$to/arch/x86/kvm/svm/svm.c"
	yes '/* of some length, so that a disk can be full in the middle of it */' |
		head -n 300 >"$to/virt/kvm/kvm_main.c"
	echo '/* not ours */' >"$to/drivers/other.c"
}

tarball() {
	local v=$1 suffix=${2:-xz} up=${1%%[-+~]*} name
	name=linux-source-${up%.*}
	rm -rf "$w/unpacked" "$SOURCE_DIR/$name".tar.*
	mkdir -p "$w/unpacked" "$SOURCE_DIR" "$w/usr/share/doc/$name"
	source_tree "$w/unpacked/$name" "$up"
	tar -C "$w/unpacked" -caf "$SOURCE_DIR/$name.tar.$suffix" "$name"
	rm -rf "$w/unpacked"
	printf 'linux (%s) stable; urgency=medium\n\n  * Made up.\n' "$v" |
		gzip >"$w/usr/share/doc/$name/changelog.Debian.gz"
	tar=$SOURCE_DIR/$name.tar.$suffix
}

headers() {
	rm -rf "$kdir"
	mkdir -p "$kdir/include/generated/uapi/linux" "$kdir/scripts/mod" "$kdir-common"
	echo "#define UTS_RELEASE \"$1\"" >"$kdir/include/generated/utsrelease.h"
	printf '#define LINUX_VERSION_CODE %s\n#define KERNEL_VERSION(a,b,c) 0\n' "$2" \
		>"$kdir/include/generated/uapi/linux/version.h"
	echo "#define LINUX_PACKAGE_ID \" Debian $3\"" >"$kdir/include/generated/package.h"
	echo "include $kdir-common/Makefile" >"$kdir/Makefile"
	: >"$kdir-common/Makefile"
	printf 'CONFIG_KVM=m\nCONFIG_KVM_INTEL=m\nCONFIG_KVM_AMD=m\n' >"$kdir/.config"
	printf '0x1\tsymbol\tvmlinux\tEXPORT_SYMBOL\t\n' >"$kdir/Module.symvers"
	: >"$kdir/scripts/mod/modpost"
	# shellcheck disable=SC2016 # make's syntax
	echo 'CC = $(if $(DEBIAN_KERNEL_USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-77' >"$kdir/.kernelvariables"
}

worlds=0
world() {
	worlds=$((worlds + 1))
	w=$tmp/w$worlds
	SOURCE_DIR=$w/usr/src store=$w/store tree=$w/out/tree kdir=$w/headers
	export SOURCE_DIR
	if [ ! -d "$fixtures" ]; then
		w=$fixtures SOURCE_DIR=$fixtures/usr/src
		mkdir -p "$w/bin"
		tarball "$debian"
		printf '#!/bin/sh\necho 77.1.0\n' >"$w/bin/gcc-77"
		# dpkg-query with the options that src/prepare uses; $w/owned has lines "PATH PACKAGE VERSION".
		cat >"$w/bin/dpkg-query" <<-'END'
			#!/bin/sh
			world=${0%/bin/*}
			case $1 in
			-S) awk -v f="$2" '$1 == f { print $2 ": " f; found = 1 } END { exit !found }' "$world/owned" ;;
			-W) awk -v p="$4" '$2 == p { printf "%s", $3; exit }' "$world/owned" ;;
			esac
		END
		: >"$w/owned"
		chmod +x "$w"/bin/*
		w=$tmp/w$worlds SOURCE_DIR=$w/usr/src
	fi
	cp -r "$fixtures" "$w"
	tar=$SOURCE_DIR/linux-source-6.12.tar.xz
	headers "$kver" "$code" "$debian"
	PATH=$w/bin:$path
}

prepare() {
	status=0
	"$prepare" -k "$kver" -d "$kdir" -s "$store" -o "$tree" "$@" >"$w/out.log" 2>"$w/err" || status=$?
}

# The package contains the tarball that tarball() makes.
package() {
	local v=$1 name=${2:-linux-source-${1%.*}} d=$w/package keep=$w/keep
	mkdir -p "$keep" "$w/archive" "$d/DEBIAN" "$d/usr/src"
	mv "$SOURCE_DIR" "$w/usr/share" "$keep/" 2>/dev/null
	tarball "$v"
	mv "$tar" "$d/usr/src/"
	printf '%s\n' "Package: $name" "Version: $v" "Architecture: all" "Maintainer: nobody <nobody@localhost>" \
		"Description: made up" >"$d/DEBIAN/control"
	dpkg-deb --root-owner-group -Zgzip -b "$d" "$w/archive/${name}_${v}_all.deb" >/dev/null
	rm -rf "$d" "$SOURCE_DIR" "${w:?}/usr/share"
	mv "$keep/src" "$keep/share" "$w/usr/" 2>/dev/null
	rm -r "$keep"
}

# Configure apt for a made-up archive, separately from the machine's. $apt_source replaces its line of sources.list.
offer() {
	local f v
	mkdir -p "$w/apt/lists/partial" "$w/apt/cache/archives/partial" "$w/archive"
	cat >"$w/apt/conf" <<-EOF
		Dir::Etc::sourcelist "$w/apt/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::State "$w/apt";
		Dir::State::status "$w/apt/status";
		Dir::Cache "$w/apt/cache";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "0";
	EOF
	: >>"$w/apt/status"
	echo "${apt_source:-deb [trusted=yes] file:$w/archive ./}" >"$w/apt/sources.list"
	{
		for f in "$w"/archive/*.deb; do
			[ -e "$f" ] || continue
			dpkg-deb -f "$f"
			printf '%s\n' "Filename: ./${f##*/}" "Size: $(stat -c %s "$f")" \
				"SHA256: $(sha256sum <"$f" | cut -d' ' -f1)" ''
		done
		for v; do
			for f in image headers; do
				printf '%s\n' "Package: linux-$f-amd64" "Version: $v" "Architecture: amd64" \
					"Maintainer: nobody" \
					"Filename: ./none" "Size: 1" "SHA256: $(sha256sum <<<"$v" | cut -d' ' -f1)" ''
			done
		done
	} >"$w/archive/Packages"
	export APT_CONFIG=$w/apt/conf DEFAULTS=$w/default
	apt-get update -qq || :
}

# content FOLDER...: print each file of the folders with its checksum.
content() {
	local d
	for d; do
		[ ! -d "$d" ] || (cd "$d" && find . -type f ! -name '.*lock' -print0 | sort -z | xargs -0r sha256sum)
	done
}

refused() {
	local want=$1 name=$2 message=$3 fix=$4 was
	shift 4
	was=$(content "$store" "$tree")
	prepare "$@"
	is "$name: exit status" "$status" "$want"
	like "$name: message" "$(sed '/^  to fix: /d' "$w/err")" "$message"
	[ -z "$fix" ] || like "$name: what to do" "$(grep '^  to fix: ' "$w/err")" "$fix"
	is "$name: nothing changed" "$(
		content "$store" "$tree"
		ls -d "$store"/.part* "$tree".part* 2>/dev/null
	)" "$was"
}
