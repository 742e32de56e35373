# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2034 # tests/tap.sh and the cases set and use them
#
# For cases that install into Debian roots; source it after tests/tap.sh.
#
#   releases                       what cases loop over
#   begin                          make sure that $release has had its real install (tests/packaging/installed) and
#                                  set the layers, for -o: $installed, after it; $light, the same with few modules,
#                                  where depmod takes no time; $ready, few modules, nothing installed, the
#                                  kernel's source extracted
#   in_root [OPTION]... -- SCRIPT  run a bash script in the root of $release, with no network, and what is
#                                  written thrown away; OPTION as of tests/debian/root run (-o, -l, -b)
#   built_once                     from here on `make` gives modules that were built before (see below)
#
# The project, as it was installed, is at /kvm-onereg in the root, read-only. Scripts have set -u and these:
#   K                 the root's kernel
#   resolved [K]      one word per module, kvm kvm-intel kvm-amd: ours, distro, or what else
#   sums [K]          sha256 of what the three resolve to
#   traces            what an install leaves: nothing after a removal
#   status CMD...     run it, output shown, then a line "status N"
#   tmpfs DIR SIZE    mount a file system of SIZE on DIR; untmpfs DIR takes it away
#
# With built_once, `make ... modules` copies modules from an earlier real build in place of compiling, so
# that cases about anything but the build take seconds. VERSION_IS and ORIGIN_IS in the script's environment
# change what the copies say of themselves (same length).

releases="bookworm trixie"
root=$top/tests/debian/root
[ "$(id -u)" = 0 ] || skip_all "needs root"
command -v mmdebstrap >/dev/null || skip_all "mmdebstrap is missing: apt-get install mmdebstrap"

begin() {
	made=$("$top/tests/packaging/installed" "$release") || return
	made=${made%/root}
	installed=$made/layer light=$made/light ready=$made/ready
}

built_once() {
	options=()
	mkdir -p "$tmp/stub"
	cat >"$tmp/stub/make" <<-'END'
		#!/bin/bash
		case " $* " in *" modules "*) ;; *) exec /usr/bin/make "$@" ;; esac
		for a; do case $a in KVER=*) kver=${a#*=} ;; esac; done
		echo "make: stand-in for $kver"
		mkdir -p "build/$kver" && cp /prebuilt/*.ko "build/$kver/" || exit 2
		[ -z "${VERSION_IS:-}" ] || sed -i "s/\x00version=[0-9.]*\x00/\x00version=$VERSION_IS\x00/" build/"$kver"/*.ko
		[ -z "${ORIGIN_IS:-}" ] || sed -i "s/\x00origin=[^\x00]*\x00/\x00origin=$ORIGIN_IS\x00/" build/"$kver"/*.ko
	END
	chmod +x "$tmp/stub/make"
	options+=(-b "$made/modules:/prebuilt:ro" -b "$tmp/stub:/stub:ro")
}

# shellcheck disable=SC2016 # the root's shell expands it
prelude='
set -u
[ ! -d /stub ] || export PATH=/stub:$PATH
K=$(ls -d /lib/modules/*/kernel | head -n 1 | cut -d/ -f4)
V=$(sed -n "s/^PACKAGE_VERSION=\"\(.*\)\"/\1/p" /kvm-onereg/dkms.conf)
resolved() {
	local k=${1:-$K} m f o words=""
	for m in kvm kvm-intel kvm-amd; do
		f=$(modinfo -k "$k" -F filename "$m" 2>/dev/null)
		o=$(modinfo -k "$k" -F origin "$m" 2>/dev/null)
		case $f/$o in
		*/updates/dkms/*.ko*/linux-source-*) words="$words ours" ;;
		*/kernel/arch/x86/kvm/*.ko*/) words="$words distro" ;;
		*) words="$words ${f:-none}(${o:-no origin})" ;;
		esac
	done
	echo $words
}
sums() {
	local k=${1:-$K} m
	for m in kvm kvm-intel kvm-amd; do sha256sum "$(modinfo -k "$k" -F filename "$m")"; done
}
traces() {
	ls -d /usr/src/kvm-onereg-* /var/lib/dkms/kvm-onereg /var/lib/kvm-onereg /lib/modules/*/updates 2>/dev/null
	find /usr/src -maxdepth 1 -name ".kvm-onereg*"
}
status() { "$@" 2>&1; echo "status $?"; }
# The roots have no mount(8); these are mount(2) and umount2(2) on x86-64.
tmpfs() { perl -e "\$t = q(tmpfs); \$d = shift; \$o = q(size=) . shift; syscall(165, \$t, \$d, \$t, 0, \$o) and die qq(mount: \$!)" "$@"; }
untmpfs() { perl -e "\$d = shift; syscall(166, \$d, 0) and die qq(umount: \$!)" "$1"; }
'

options=()
in_root() {
	local o=()
	while [ "$1" != -- ]; do o+=("$1"); shift; done
	"$root" run "$release" -n "${o[@]}" ${options[@]+"${options[@]}"} -b "$made/project:/kvm-onereg:ro" -w /kvm-onereg -- \
		bash -c "$prelude$2" 2>&1
}
