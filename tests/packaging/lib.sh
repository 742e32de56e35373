# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2034 # tests/tap.sh and the cases set and use them
#
# For cases that install into Debian roots; source it after tests/tap.sh.
#
#   releases                       the releases over which cases loop
#   on_one RELEASE                 loop over this release only: for cases that hardly depend on it. With
#                                  THOROUGH=y they loop over both
#   begin                          make sure that $release has had its real install (tests/packaging/installed) and
#                                  set the layers, for -o: $installed, after it; $light, the same with few modules,
#                                  where depmod takes no time; $ready, few modules, nothing installed, the
#                                  kernel's source extracted. If that fails, the case ends, with a check that fails
#   in_root [OPTION]... -- SCRIPT  run a bash script in the root of $release, without a network. Without -l, what
#                                  it writes is lost; OPTION as for tests/debian/root run (-o, -l, -b)
#   take_turn                      false for every second of its calls in a release, beginning with the first call in
#                                  one release and the second in the other: for checks that hardly depend on the
#                                  release, and are made in one of them. With THOROUGH=y it is always true
#   built_once                     from here on, `make` copies modules that were built before (see below)
#
# The project that was installed is at /kvm-onereg in the root, read-only. Scripts run with set -u, and have:
#   K                 the root's kernel
#   resolved [K]      what modinfo finds for kvm, kvm-intel and kvm-amd, one word each: ours, prebuilt, distro, or else
#                     the path and the origin
#   sums [K]          sha256 of the three files that modinfo finds
#   traces            list the files of an installation; there are none after a removal
#   intact [K]        print "intact" if dpkg finds the three modules of the kernel's package as they were installed, or
#                     else what it finds
#   revised VERSION   the Debian version with the next revision
#   everything        list all files, except those and the logs of apt and dpkg, and the binary lists that any run of
#                     depmod rewrites
#   spy               from here on, modprobe, insmod and rmmod only write their arguments to /spy/log, and fail
#   status CMD...     run the command, show its output, then print a line "status N"
#   tmpfs DIR SIZE    mount a file system of SIZE on DIR; untmpfs DIR unmounts it
#
# With built_once, `make ... modules` copies modules from an earlier real build instead of compiling, so that cases that
# do not test the build take seconds. tests/packaging/stub describes VERSION_IS, ORIGIN_IS and FAIL_FOR in its
# environment.

releases="bookworm trixie"
root=$top/tests/debian/root
[ "$(id -u)" = 0 ] || skip_all "needs root"
command -v mmdebstrap >/dev/null || skip_all "mmdebstrap is missing: apt-get install mmdebstrap"

on_one() { [ "${THOROUGH:-}" = y ] || releases=$1; }

# End the case with a check that fails. If it continued, it would use the variables of the previous release.
unprepared() {
	report 1 "$release: the installation on which the checks are based"
	done_testing
}

begin() {
	made=$("$top/tests/packaging/installed" "$release") || unprepared
	made=${made%/root}
	installed=$made/layer light=$made/light ready=$made/ready
}

take_turn() {
	[ "${turn_in:-}" = "$release" ] || turn=0 turn_in=$release
	turn=$((turn + 1))
	case $release/$((turn % 2))/${THOROUGH:-} in bookworm/1/* | trixie/0/* | */y) ;; *) return 1 ;; esac
}

built_once() {
	options=()
	mkdir -p "$tmp/stub"
	"$top/tests/packaging/stub" >"$tmp/stub/make"
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
		*/updates/kvm-onereg/*.ko*/linux-source-*) words="$words prebuilt" ;;
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
	find /usr/src /lib/modules/ -maxdepth 1 -name ".kvm-onereg*"
}
intact() {
	local p=linux-image-${1:-$K} found
	# Without these checksums, dpkg would verify nothing.
	[ "$(grep -s -c -E "/kvm/kvm(-intel|-amd)?\.ko" "/var/lib/dpkg/info/$p.md5sums")" = 3 ] || { echo "no checksums"; return; }
	found=$(dpkg --verify "$p" 2>&1) || { echo "dpkg fails: $found"; return; }
	grep /kvm/ <<<"$found" || echo intact
}
revised() { perl -pe "s/(\d+)(\D*)\$/(\$1 + 1) . \$2/e" <<<"$1"; }
everything() {
	local f
	find / -xdev \( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /tmp -o -path /spy -o -path /var/log \) -prune \
		-o -type f ! -path "*/lib/modules/*/modules.*" -printf "%p %s %m\n" -o -printf "%p %y %m\n"
	for f in /lib/modules/*/modules.*; do case $f in *.bin) ;; *) md5sum "$f" ;; esac; done
}
spy() {
	local c
	mkdir /spy
	for c in modprobe insmod rmmod; do printf "%s\n" "#!/bin/sh" "echo $c \$* >>/spy/log" "exit 1" >/spy/$c; done
	chmod +x /spy/*
	PATH=/spy:$PATH
}
status() { "$@" 2>&1; echo "status $?"; }
# The roots have no mount(8); these are mount(2) and umount2(2) on x86-64.
tmpfs() { perl -e "\$t = q(tmpfs); \$d = shift; \$o = q(size=) . shift; syscall(165, \$t, \$d, \$t, 0, \$o) and die qq(mount: \$!)" "$@"; }
untmpfs() { perl -e "\$d = shift; syscall(166, \$d, 0) and die qq(umount: \$!)" "$1"; }
'

options=()
in_root() {
	local o=()
	while [ "$1" != -- ]; do
		o+=("$1")
		shift
	done
	"$root" run "$release" -n "${o[@]}" ${options[@]+"${options[@]}"} -b "$made/project:/kvm-onereg:ro" \
		-w /kvm-onereg -- bash -c "$prelude$2" 2>&1
}

# For the Debian packages: begin_deb does what begin and built_once do. It sets $deb, a root after apt's installation
# with a real build, and the layers $deb_plain and $deb_light (tests/packaging/installed). /packages and /repo are
# there, and scripts also have these:
#   repos NAME...       let apt use these folders of /repo (tests/packaging/repo), and no other source of packages
#   apt ARGUMENTS...    run apt-get, show its output, then print a line "apt STATUS"
#   states PACKAGE...   the state of each package in dpkg: ii, iF, ...
#   other               the kernel that is not $K
#   repack VERSION DEBIAN-VERSION   make /new.deb from kvm-onereg-dkms, with these versions and changed sources
#   source_package      the name of the installed linux-source package; sources_gone removes it, whatever depends on it
begin_deb() {
	begin
	deb=$("$top/tests/packaging/installed" deb "$release") || unprepared
	deb=${deb%/deb}
	deb_plain=$deb/deb-plain deb_light=$deb/deb-light
	built_once
	options+=(-b "$deb/packages:/packages:ro" -b "$("$top/tests/packaging/repo" "$release"):/repo:ro")
}

# download FOLDER PACKAGE...: download the packages, and those on which they depend and the root of $release lacks
download() {
	local to=$1
	shift
	rm -rf "$to"
	mkdir -p "$to/partial"
	"$top/tests/debian/archive" apt apt-get -d -y -q -o "Dir::Cache::Archives=$to" \
		-o "Dir::State::status=$("$root" path "$release")/var/lib/dpkg/status" \
		-o "APT::Default-Release=/^$release(-security|-updates)?\$/" --no-install-recommends install "$@"
}

# shellcheck disable=SC2016 # the root's shell expands it
prelude+='
repos() { printf "deb [trusted=yes] file:/repo/%s ./\n" "$@" >/etc/apt/sources.list; apt-get update -qq; }
# apt sets another PATH for dpkg.
apt() { apt-get -y -q -o Dpkg::Use-Pty=0 -o "DPkg::Path=$PATH" "$@" </dev/null 2>&1; echo "apt $?"; }
states() { dpkg-query -W -f "\${db:Status-Abbrev}" "$@" 2>&1; }
other() { ls /lib/modules | grep -v -x -F "$K"; }
install_ours() { apt install /packages/kvm-onereg-dkms_*.deb /packages/kvm-onereg-tools_*.deb; }
source_package() { basename /usr/src/linux-source-*.tar.xz .tar.xz; }
sources_gone() { dpkg -r --force-depends "$(source_package)"; }
repack() {
	local p=/tmp/package
	rm -rf $p; dpkg-deb -R /packages/kvm-onereg-dkms_*.deb $p
	[ "$1" = "$V" ] || mv $p/usr/src/kvm-onereg-"$V" $p/usr/src/kvm-onereg-"$1"
	sed -i "s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=\"$1\"/" $p/usr/src/kvm-onereg-"$1"/dkms.conf
	echo "/* $2 */" >>$p/usr/src/kvm-onereg-"$1"/src/module_info.h
	sed -i "s,^packaged=.*,packaged=/usr/src/kvm-onereg-$1," $p/usr/lib/kvm-onereg/install
	sed -i "s/^Version: .*/Version: $2/" $p/DEBIAN/control
	rm $p/DEBIAN/md5sums
	dpkg-deb -Zgzip -b $p /new.deb >/dev/null
}
'
