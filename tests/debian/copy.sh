# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For programs that change a copy of our source and try its modules.

# shellcheck disable=SC2154 # they set top

# copy_source TREE: what modules are made from. The files keep their times, so that make compiles what differs from the
# copy before.
copy_source() {
	mkdir -p "$1"
	cp -rp "$top"/{src,include,Kbuild,Makefile,dkms.conf} "$1/"
}

# build_copy TREE SERIES OUT: its modules for the kernel of a series, as DKMS builds them
build_copy() {
	local root release
	root=$("$top/tests/debian/kernel" root "$2") && release=$("$top/tests/debian/kernel" release "$2") || return
	mkdir -p "$3"
	"$top/tests/debian/root" run "$root" -n -c -b "$1" -b "$3" -b "$BUILD" -w "$1" -- \
		make -j2 modules KVER="$release" STORE="$BUILD/source" OUT="$3" DEBUG_INFO=no
}
