#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# src/prepare and make accept kernels that are not Debian's, with the tree from which they were built, or refuse them
# with the right exit status, message and solution.
# shellcheck disable=SC2016,SC2154 # scripts in quotes; variables of tap.sh and fixture.sh
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/unit/fixture.sh
. "$top/tests/unit/fixture.sh"

few_hooks
mine_version=6.12.60
headers_of_kvm='include/linux/kvm_host.h include/linux/kvm_types.h include/uapi/linux/kvm.h arch/x86/include/asm/kvm_host.h
arch/x86/include/asm/kvm-x86-ops.h arch/x86/include/uapi/asm/kvm.h'

# built HOW: make a world with a kernel $kver of a developer's own, built from the tree $mine. HOW is
#   in-tree   in the tree itself
#   out       in a folder next to it, as with O=
#   inside    in a folder in it, whose Makefile names the tree as ..
#   headers   elsewhere; $kdir has the headers that make bindeb-pkg packs
built() {
	local f x y z
	IFS=. read -r x y z <<<"$mine_version"
	code=$(((x << 16) + (y << 8) + (z > 255 ? 255 : z)))
	world
	rm -rf "${w:?}/usr" "$w/headers" "$w/headers-common"
	kver=$mine_version-mine+ mine=$w/linux kdir=$w/objects
	source_tree "$mine" "$mine_version"
	# shellcheck disable=SC2016 # make's syntax
	printf 'include $(srctree)/scripts/Kbuild.include\ninclude $(srctree)/arch/$(SRCARCH)/Makefile\n' \
		>>"$mine/Makefile"
	for f in $headers_of_kvm; do mkdir -p "$mine/$(dirname "$f")" && echo "/* $f */" >"$mine/$f"; done
	case $1 in
	in-tree) kdir=$mine ;;
	out) mkdir "$kdir" && echo "include $mine/Makefile" >"$kdir/Makefile" ;;
	inside) kdir=$mine/build && mkdir "$kdir" && echo "include ../Makefile" >"$kdir/Makefile" ;;
	headers)
		mkdir "$kdir"
		(
			cd "$mine" && cp --parents Makefile arch/x86/kvm/Makefile "$kdir" &&
				cp -r --parents include arch/x86/include "$kdir"
		)
		;;
	esac
	mkdir -p "$kdir"/include/{config,generated/uapi/linux} "$kdir/scripts/mod"
	echo "#define UTS_RELEASE \"$kver\"" >"$kdir/include/generated/utsrelease.h"
	printf '#define LINUX_VERSION_CODE %s\n' "$code" >"$kdir/include/generated/uapi/linux/version.h"
	config CONFIG_KVM=m CONFIG_KVM_INTEL=m CONFIG_KVM_AMD=m
	printf '0x1\tsymbol\tvmlinux\tEXPORT_SYMBOL\t\n0x2\tkvm_x\tarch/x86/kvm/kvm\tEXPORT_SYMBOL_GPL\t\n' \
		>"$kdir/Module.symvers"
	: >"$kdir/scripts/mod/modpost"
	compiler gcc 77
}
# config LINE...: the configuration of the built kernel. .config differs from it, and must be ignored.
config() {
	printf '%s\n' CONFIG_CC_IS_GCC=y 'CONFIG_CC_VERSION_TEXT="gcc (made up) 77.1.0"' CONFIG_GCC_VERSION=770100 \
		CONFIG_CLANG_VERSION=0 "$@" >"$kdir/include/config/auto.conf"
	echo 'CONFIG_KVM=y' >"$kdir/.config"
}
# compiler NAME MAJOR: make a compiler with that name and version
compiler() {
	printf '#!/bin/sh\necho %s.1.0\n' "$2" >"$w/bin/$1" && chmod +x "$w/bin/$1"
}

# ---- accepted

for how in in-tree out inside headers; do
	built $how
	prepare -u "$mine"
	is "$how: prepared" "$status $(cat "$w/err")" "0 "
	like "$how: the last line names the source" "$(tail -n 1 "$w/out.log")" \
		"building for ${kver/+/[+]} from tree $mine ${kver/+/[+]}\$"
	like "$how: the origin of the modules names it, too" "$(cat "$tree/src/generated.h")" \
		"KVM_ONEREG_ORIGIN \"tree $mine ${kver/+/[+]}\""
	is "$how: the source is not stored as that of a package" "$(cd "$store" && echo *)" "given"
	is "$how: the modules of both vendors are built" "$(cat "$tree/src/modules")" "kvm.ko kvm-intel.ko kvm-amd.ko"
	echo '/* mine */' >>"$mine/arch/x86/kvm/x86.c"
	prepare -u "$mine"
	is "$how: a change in the tree is used" "$status $(grep -c '/\* mine \*/' "$tree/arch/x86/kvm/x86.c")" "0 1"
done

for how in in-tree out inside headers; do
	built $how
	cd "$w" || exit
	kdir=${kdir#"$w/"}
	prepare -u linux
	is "$how, by relative paths" "$status $(cat "$w/err")" "0 "
	like "... the origin has the absolute path" "$(cat "$tree/src/generated.h")" "ORIGIN \"tree $mine "
	rm "$kdir/Makefile"
	kdir=./$kdir
	refused 10 "... without its Makefile" 'Makefile is missing' 'make -C \./' -u linux
	cd "$top" || exit
done

built in-tree
prepare -u "$mine"
good=$(content "$tree")
(
	cd "$mine/arch/x86/kvm" || exit
	touch x86.o .x86.o.cmd kvm.mod.c kvm.ko kvm-asm-offsets.h kvm-asm-offsets.s .x86.c.swp vmx/vmx.o
	ln -s /nonexistent/user@host.1 '.#x86.c'
	ln -s /nonexistent/header note.h
	touch ../../../virt/kvm/.kvm_main.o.cmd ../../../virt/kvm/kvm_main.o
)
prepare -u "$mine"
is "objects and editor files in the tree are not used" "$status $(content "$tree")" "0 $good"
echo object >"$tree/arch/x86/kvm/x86.o"
prepare -u "$mine"
is "... and objects of the last build stay" "$status $(cat "$tree/arch/x86/kvm/x86.o")" "0 object"
(cd "$mine/arch/x86/kvm" && mv x86.c ../x86-real.c && ln -s ../x86-real.c x86.c)
prepare -u "$mine"
is "a source file that is a link is copied as a file" "$status $(content "$tree" | grep -v 'x86\.o')" "0 $good"

built out
ln -s "$mine" "$w/link"
prepare -u "$w/link/"
is "the tree by a symbolic link" "$status $(cat "$w/err")" "0 "
like "... the origin has its real path" "$(cat "$tree/src/generated.h")" "ORIGIN \"tree $mine "
built out
echo '#define LINUX_PACKAGE_ID ""' >"$kdir/include/generated/package.h"
prepare -u "$mine"
is "a developer's own kernel from Debian's source" "$status $(cat "$w/err")" "0 "

for kver in $mine_version $mine_version-rc3 $mine_version-00013-g0123456789ab-dirty "$mine_version\$(id)\`'"; do
	release=$kver
	built out
	kver=$release
	echo "#define UTS_RELEASE \"$kver\"" >"$kdir/include/generated/utsrelease.h"
	prepare -u "$mine"
	is "release $kver" "$status $(cat "$w/err")" "0 "
done
like "... odd characters are replaced in the origin" "$(cat "$tree/src/generated.h")" \
	"ORIGIN \"tree $mine ${mine_version}__id___\""

built out
sed -i 's/^EXTRAVERSION.*/EXTRAVERSION = -rc3/' "$mine/Makefile"
kver=$mine_version-rc3-next
echo "#define UTS_RELEASE \"$kver\"" >"$kdir/include/generated/utsrelease.h"
prepare -u "$mine"
is "a release candidate" "$status $(cat "$w/err")" "0 "

odd=$'l "i\\n\nu\' x $(id) \xc3\xa9'
for how in in-tree out headers; do
	built $how
	mv "$mine" "$w/$odd"
	[ $how != in-tree ] || kdir=$w/$odd
	[ $how != out ] || {
		mv "$kdir" "$w/$odd/o"
		kdir=$w/$odd/o
		echo "include ../Makefile" >"$kdir/Makefile"
	}
	prepare -u "$w/$odd"
	is "$how, a path with odd characters" "$status $(cat "$w/err")" "0 "
	is "... the origin is one C string" "$(sed -n 's/^#define KVM_ONEREG_ORIGIN //p' "$tree/src/generated.h")" \
		"\"tree $w/l__i_n_u__x___id____ $kver\""
done

mine_version=6.1.100
built out
prepare -u "$mine"
is "a 6.1 kernel" "$status $(cat "$w/err")" "0 "
mine_version=6.12.300
built out
prepare -u "$mine"
is "a sublevel beyond 255, which the version code cannot express" "$status $(cat "$w/err")" "0 "
mine_version=6.12.60

# ---- one vendor

for v in INTEL AMD; do
	built out
	config CONFIG_KVM=m CONFIG_KVM_$v=m "# CONFIG_KVM_$v is not the other"
	prepare -u "$mine"
	is "KVM for $v only" "$status $(cat "$w/err") $(cat "$tree/src/modules")" "0  kvm.ko kvm-${v,,}.ko"
done

# ---- 3 and 11

mine_version=6.18.3
built out 2>/dev/null
prepare -u "$mine"
is "6.18 has the interface natively" "$status $(cat "$w/err")" "3 "
for v in 6.6.60 6.17.1 5.10.200; do
	mine_version=6.12.60
	built out
	kver=$v-mine
	echo "#define UTS_RELEASE \"$kver\"" >"$kdir/include/generated/utsrelease.h"
	IFS=. read -r x y z <<<"$v"
	echo "#define LINUX_VERSION_CODE $(((x << 16) + (y << 8) + z))" >"$kdir/include/generated/uapi/linux/version.h"
	refused 11 "series of $v" "series ${v%.*}; supported are $supported" '.' -u "$mine"
done
mine_version=6.12.60

built out
refused 11 "without KVM_SOURCE" 'is not a Debian kernel' \
	"for a kernel of your own: make modules KVER=$mine_version-mine.* KDIR=$kdir KVM_SOURCE=$mine\\)"
rm "$mine/arch/x86/kvm/x86.c"
refused 11 "without KVM_SOURCE, and the tree cannot be found" 'is not a Debian kernel' \
	'KVM_SOURCE=<the tree it was built from>'
built out
tar -C "$w" -cJf "$w/linux.tar.xz" linux
refused 11 "a tarball for KVM_SOURCE" 'is not a Debian kernel' "KVM_SOURCE=$mine" -u "$w/linux.tar.xz"

built out
config CONFIG_KVM=y CONFIG_KVM_INTEL=y
refused 11 "KVM is built in" 'has KVM built in \(CONFIG_KVM=y\): there is no module to replace' \
	"set CONFIG_KVM=m, then build and boot that kernel: make -C $kdir menuconfig" -u "$mine"
for v in '# CONFIG_KVM is not set' '' 'CONFIG_KVM_COMMON=m'; do
	config "$v"
	refused 11 "no KVM ('$v')" 'is built without CONFIG_KVM=m' "set CONFIG_KVM=m, then" -u "$mine"
done
config CONFIG_KVM=m CONFIG_KVM_AMD_SEV=y
refused 11 "KVM for no vendor" 'without CONFIG_KVM_INTEL=m and without CONFIG_KVM_AMD=m' \
	'set CONFIG_KVM_INTEL=m or CONFIG_KVM_AMD=m' -u "$mine"

# ---- 10: not built

for f in include/generated/utsrelease.h include/generated/uapi/linux/version.h include/config/auto.conf .config \
	Module.symvers scripts/mod/modpost; do
	built out
	rm "$kdir/$f"
	refused 10 "not built: no $f" "$kdir does not hold a built kernel: $f is missing" \
		"make -C $kdir vmlinux modules .*KDIR=<folder>" -u "$mine"
done
built out
sed -i 2d "$kdir/Module.symvers"
refused 10 "not built: no modules" 'kvm\.ko in Module\.symvers is missing' "make -C $kdir vmlinux modules" -u "$mine"
built out
refused 10 "KDIR is the tree, and the kernel was built elsewhere" "$mine does not hold a built kernel" 'KDIR=<folder>' \
	-u "$mine" -d "$mine"
refused 10 "KDIR does not exist" "there is no folder $w/x" 'KDIR=<folder>' -u "$mine" -d "$w/x"
mv "$mine" "$w/away"
refused 10 "the tree was moved after the build" "$mine/Makefile is missing" 'make -C' -u "$w/away"
built out
refused 10 "another KVER" "the kernel in $kdir is ${kver/+/[+]}, not 6\\.12\\.61" \
	"make modules KVER=${kver/+/[+]} KDIR=$kdir KVM_SOURCE=$mine" -u "$mine" -k 6.12.61

# ---- 13: the tree does not belong to KDIR

for v in 6.12.61 6.12.6 6.12.600 6.1.60; do
	built headers
	source_tree "$w/other" $v
	refused 13 "a tree of $v" "was built from linux 6\\.12\\.60, but $w/other has version $v" 'KVM_SOURCE=<tree>' \
		-u "$w/other"
done
built out
cp -r "$mine" "$w/other"
refused 13 "a tree of the same version, but another one" "$kdir was built from $mine, not from $w/other" \
	"KVM_SOURCE=$mine\$" -u "$w/other"
built in-tree
cp -r "$mine" "$w/other"
refused 13 "... if KDIR is a tree itself" "$kdir was built from $mine, not from $w/other" "KVM_SOURCE=$mine\$" \
	-u "$w/other"
sed -i 's/^EXTRAVERSION.*/EXTRAVERSION = -rc3/' "$w/other/Makefile"
refused 13 "a tree of another extra version" 'but .* has version 6\.12\.60-rc3' 'KVM_SOURCE=<tree>' -u "$w/other"
for f in $headers_of_kvm; do
	built headers
	echo '/* patched */' >>"$mine/$f"
	refused 13 "headers with another $f" "was not built from $mine: its headers at $kdir have another $f" \
		'KVM_SOURCE=<tree>' -u "$mine"
done
for v in 'SUBLEVEL = 61' 'SUBLEVEL = 6' 'EXTRAVERSION = -rc1'; do
	built out
	sed -i "s/^${v%% *} .*/$v/; s/^EXTRAVERSION =\$/$v/" "$mine/Makefile"
	[ "${v%% *}" = EXTRAVERSION ] || sed -i "s/^EXTRAVERSION.*/EXTRAVERSION =/" "$mine/Makefile"
	refused 13 "the tree was updated after the build ($v)" \
		"$kdir has kernel ${kver/+/[+]}, but the Makefile that it was built with now says" \
		"build that kernel again: make -C $kdir" -u "$mine"
done

# ---- 14, 15

for gone in arch/x86/kvm/Makefile arch/x86/kvm virt/kvm/kvm_main.c; do
	built headers
	rm -r "${mine:?}/$gone"
	refused 14 "a tree without $gone" 'is not a complete kernel source' 'KVM_SOURCE=<tree>' -u "$mine"
done
hook=$(find "$project/src/hooks" -maxdepth 1 -name '*.patch' | sort | head -n 1)
file=$(sed -n 's/^+++ b\///p' "$hook")
built out
sed -i "s|^$(sed -n '/^@@/,$s/^ //p' "$hook" | head -n 1 | sed 's/[][\\.*^$|]/\\&/g')\$|& /* mine */|" "$mine/$file"
prepare -u "$mine"
is "a hook that does not apply: exit status, and no tree" "$status $(content "$tree")" "15 "
like "... message" "$(cat "$w/err")" "hook ${hook##*/} does not apply to $file of $mine"
like "... what to do" "$(cat "$w/err")" "to fix: .*change src/hooks/${hook##*/} to fit it"

# ---- 17: the compiler

built out
rm "$w/bin/gcc-77"
compiler gcc 78
refused 17 "another gcc" 'was built with gcc \(made up\) 77\.1\.0, and gcc here is 78\.1\.0' \
	"apt-get install gcc-77; make modules KVER=.* KDIR=$kdir KVM_SOURCE=$mine CC=gcc-77\$" -u "$mine"
compiler gcc-77 77
refused 17 "another gcc, and the right one is installed" 'was built with gcc' "to fix: make modules .* CC=gcc-77\$" \
	-u "$mine"
CC=gcc-77 prepare -u "$mine"
is "... given by CC" "$status $(cat "$w/err")" "0 "

clang() { sed -i 's/CC_IS_GCC/CC_IS_CLANG/; s/"gcc/"clang/; s/_GCC_VERSION=.*/_GCC_VERSION=0/; s/CLANG_VERSION=0/CLANG_VERSION=770100/' "$kdir/include/config/auto.conf"; }
built out
clang
refused 17 "clang" 'was built with clang \(made up\) 77\.1\.0' \
	"apt-get install clang-77; make modules .* CC=clang-77\$" -u "$mine"
echo CONFIG_LD_IS_LLD=y >>"$kdir/include/config/auto.conf"
refused 17 "LLVM" 'was built with clang' "apt-get install clang-77 lld-77 llvm-77; make modules .* LLVM=-77\$" \
	-u "$mine"
for c in clang-77 ld.lld-77 llvm-nm-77; do compiler $c 77; done
refused 17 "LLVM, which is installed" 'was built with clang' "to fix: make modules .* LLVM=-77\$" -u "$mine"
LLVM=-77 prepare -u "$mine"
is "... given by LLVM" "$status $(cat "$w/err")" "0 "
LLVM=-78 prepare -u "$mine"
is "... of a version that does not exist" "$status" 17
like "... says which program" "$(cat "$w/err")" "program 'clang-78' is missing"
mkdir "$w/llvm" && mv "$w/bin/clang-77" "$w/llvm/clang"
LLVM=$w/llvm/ prepare -u "$mine"
is "... given by LLVM as a folder" "$status $(cat "$w/err")" "0 "

# ---- make

built out
run_make() { # ARGUMENT...: run make modules with a src/prepare that only prints its arguments
	(cd "$w/m" && make --no-print-directory modules "$@" 2>&1)
}
mkdir -p "$w/m/src"
cp "$top/Makefile" "$w/m/"
printf '#!/bin/sh\necho "prepare: $*"\nexit 11\n' >"$w/m/src/prepare" && chmod +x "$w/m/src/prepare"
like "make takes KVER from KDIR" "$(run_make KDIR="$kdir" KVM_SOURCE="$mine")" \
	"prepare: -k ${kver/+/[+]} -d $kdir .* -u $mine\$"
like "... also from the environment" "$(KDIR=$kdir run_make)" "prepare: -k ${kver/+/[+]} -d $kdir "
like "... but KVER takes precedence" "$(run_make KDIR="$kdir" KVER=6.12.1)" "prepare: -k 6\\.12\\.1 -d $kdir "
like "... and KDIR follows KVER" "$(run_make KVER=6.12.1)" "prepare: -k 6\\.12\\.1 -d /lib/modules/6\\.12\\.1/build "
rm "$kdir/include/generated/utsrelease.h"
out=$(run_make KDIR="$kdir")
like "make with a KDIR that is not built" "$out" "$kdir does not hold a built kernel.*utsrelease\\.h is missing"
like "... what to do" "$out" 'to fix: build it, or name the folder'
like "... exit status" "$out" 'Error 10'
like "make without KDIR and KVER" "$(run_make)" 'say for which kernel: make modules KVER=<release>'

done_testing
