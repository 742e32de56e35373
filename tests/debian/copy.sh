# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For programs that build and test modules from a changed copy of our source.

# shellcheck disable=SC2154 # they set top

# copy_source TREE: copy the files from which modules are made. They keep their times, so that make compiles only those
# that differ from the previous copy.
copy_source() {
	mkdir -p "$1"
	cp -rp "$top"/{src,include,Kbuild,Makefile,dkms.conf} "$1/"
}

# build_copy TREE SERIES OUT: build the modules of TREE for the kernel of a series, as DKMS does
build_copy() {
	local root release
	root=$("$top/tests/debian/kernel" root "$2") && release=$("$top/tests/debian/kernel" release "$2") || return
	mkdir -p "$3"
	"$top/tests/debian/root" run "$root" -n -c -b "$1" -b "$3" -b "$BUILD" -w "$1" -- \
		make -j2 modules KVER="$release" STORE="$BUILD/source" OUT="$3" DEBUG_INFO=no
}
