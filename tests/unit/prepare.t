#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# src/prepare accepts or refuses made-up kernels and sources, with the right exit status, message and solution.
# shellcheck disable=SC2016,SC2089,SC2090 # scripts and odd names in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/unit/fixture.sh
. "$top/tests/unit/fixture.sh"

# ---- success

world
prepare
is "prepares a 6.12 kernel" "$status" 0
is "... silently on stderr" "$(cat "$w/err")" ""
like "... and names the source" "$(cat "$w/out.log")" "building for ${kver/+/[+]} from linux-source-6.12 $debian\$"
is "... the source is stored by its version" "$(cd "$store" && echo *)" "$debian"
is "... with only the parts that are needed" \
	"$(cd "$store/$debian" && find . -maxdepth 3 -type d | sort | tr '\n' ' ')" \
	". ./arch ./arch/x86 ./arch/x86/kvm ./virt ./virt/kvm "
hooks=("$project"/src/hooks/*.patch "$project"/src/hooks/6.12/*.patch)
for h in "${hooks[@]}"; do
	file=$(sed -n 's/^+++ b\///p' "$h")
	added=$(sed -n '/^@@/,$s/^+//p' "$h")
	is "... ${h##*/} is applied" "$(grep -c -F -x -e "$(head -n 1 <<<"$added")" "$tree/$file")" \
		"$(grep -l -F -x "+++ b/$file" "${hooks[@]}" | xargs cat | sed -n '/^+++/!s/^+//p' |
			grep -c -F -x -e "$(head -n 1 <<<"$added")")"
done
is "... without leftovers of patch" "$(find "$w/out" -name '*.orig' -o -name '*.rej' -o -name '.part*')" ""
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$project/dkms.conf")
like "... with the version of dkms.conf" "$(cat "$tree/src/generated.h")" "KVM_ONEREG_VERSION \"$version\""
like "... and the origin" "$(cat "$tree/src/generated.h")" "KVM_ONEREG_ORIGIN \"linux-source-6.12 $debian\""
ok "... our headers are the repository's" diff -r "$project/include" "$tree/src/include"
ok "... and so is our Kbuild" cmp "$project/Kbuild" "$tree/arch/x86/kvm/Kbuild"
is "nothing else is written" "$(diff -rq "$fixtures" "$w" | sed "s,$w,W,g" | sort | tr '\n' ';')" \
	"Only in W: err;Only in W: headers;Only in W: headers-common;Only in W: out;Only in W: out.log;Only in W: store;"

good=$(content "$store" "$tree")
touch -d '2001-01-01' "$tree/arch/x86/kvm/x86.c" "$store/$debian/Makefile"
echo object >"$tree/arch/x86/kvm/x86.o"
prepare
is "a second run succeeds" "$status $(cat "$w/err")" "0 "
is "... keeps objects, and does not touch files that are right" \
	"$(cat "$tree/arch/x86/kvm/x86.o") $(stat -c %y "$tree/arch/x86/kvm/x86.c" "$store/$debian/Makefile" |
		cut -c1-4 | tr '\n' ' ')" "object 2001 2001 "
not_ok "... and does not extract again" 1 grep extracting "$w/out.log"
rm "$tree/arch/x86/kvm/x86.o"

echo '/* stale */' >>"$tree/arch/x86/kvm/x86.c"
rm "$tree/src/one_reg.c"
touch "$tree/src/gone.c" "$tree/arch/x86/kvm/gone.h"
prepare
is "a changed tree is repaired" "$status $(content "$store" "$tree")" "0 $good"

echo 'object' >"$tree/arch/x86/kvm/x86.o"
sed -i 's/symbol/other/' "$kdir/Module.symvers"
prepare
is "objects from another kernel build are removed" "$status $([ -e "$tree/arch/x86/kvm/x86.o" ] && echo there)" "0 "

kver=6.1.0-56-amd64 debian=6.1.192-2 code=$(((6 << 16) + (1 << 8) + 192))
world
tarball "$debian"
prepare
is "prepares a 6.1 kernel" "$status $(cat "$w/err")" "0 "
like "... from its own source" "$(cat "$w/out.log")" "linux-source-6.1 6.1.192-2"
kver=6.12.117+deb13-amd64 debian=6.12.117-1 code=$(((6 << 16) + (12 << 8) + 117))

for suffix in gz zst bz2; do
	world
	case $suffix in zst) tool=zstd ;; bz2) tool=bzip2 ;; *) tool=gzip ;; esac
	command -v $tool >/dev/null || {
		skip "a tarball of kind $suffix" "no $tool"
		continue
	}
	tarball "$debian" $suffix
	prepare
	is "a tarball with the suffix $suffix" "$status $(cat "$w/err")" "0 "
done

# ---- names

world
mv "$w" "$w and [a] 'quo\"te' \$HOME *"
w="$w and [a] 'quo\"te' \$HOME *" SOURCE_DIR=$w/usr/src store="$w/sto re" tree="$w/o u t/tr*ee" kdir="$w/headers"
tar=$SOURCE_DIR/linux-source-6.12.tar.xz PATH=$w/bin:$path
headers "$kver" "$code" "$debian"
prepare
is "folders with odd names" "$status $(cat "$w/err")" "0 "
ok "... get the result" test -s "$tree/src/one_reg.c"
prepare -u "$tar"
is "... also in KVM_SOURCE" "$status $(cat "$w/err")" "0 "

for kver in '6.12.117+deb13-cloud-amd64' "6.12.117-a'b" '6.12.117-x*y[z]' '6.12.117-$HOME`id`;:' '6.12.117~rc1&\1'; do
	world
	prepare
	is "a kernel of release $kver" "$status $(cat "$w/err")" "0 "
done
for kver in a/b 'a b' ../x .hidden; do
	world
	refused 2 "release '$kver'" 'not a kernel release' ''
done
kver=6.12.117+deb13-amd64

# ---- 2: wrong use

world
for args in "" "-k $kver" "-k $kver -d $kdir -s $store" "-k $kver -d $kdir -s $store -o $tree rest" "-x"; do
	# shellcheck disable=SC2086 # a list
	not_ok "wrong usage: '${args//$tmp/T}'" 2 "$prepare" $args
done
ok "-h prints the usage" "$prepare" -h
like "... with each exit status" "$output" '17 +a program that the build needs is missing'
is "wrong usage writes nothing" "$(ls -d "$store" "$tree" 2>/dev/null)" ""

# ---- 3: native

for code in $(((6 << 16) + (18 << 8))) $(((6 << 16) + (18 << 8) + 3)) $(((7 << 16) + (3 << 8) + 4)); do
	world
	rm -r "$SOURCE_DIR"
	prepare
	is "native kernel, code $code" "$status $(cat "$w/err")" "3 "
	like "... says so in one line" "$(cat "$w/out.log")" 'natively: nothing to build$'
	is "... and makes nothing" "$(ls -d "$store" "$tree" 2>/dev/null)" ""
done

# Without headers, the release decides.
for kver in 6.18.0 6.18-rc1 6.19.1-amd64 7.3.4+deb13-amd64 10.0.1; do
	world
	rm -r "$kdir"
	prepare
	is "native, by its release, $kver" "$status $(cat "$w/err")" "3 "
done
for kver in 6.0.1 6.2.0-1-amd64 6.17.13+deb13-amd64 5.10.0-30-amd64; do
	world
	rm -r "$kdir"
	refused 11 "the series, by the release $kver" "supported are $supported" 'apt-get install linux-image-amd64'
done
for kver in 6.1.0-99-amd64 6.12.999+deb13-amd64 custom 6.x 1234.5.6; do
	world
	rm -r "$kdir"
	refused 10 "no headers of $kver" 'no headers for kernel' "apt-get install linux-headers-${kver//+/.}"
done
kver=6.12.117+deb13-amd64

# ---- 11: series

for v in 6.0 6.2 6.6 6.11 6.13 6.17 5.10; do
	code=$(((${v%.*} << 16) + (${v#*.} << 8) + 255))
	world
	refused 11 "series $v" "series $v; supported are $supported, and 6.18 and later" \
		'Debian 12 \(6\.1\).*apt-get install linux-image-amd64'
done
code=$(((6 << 16) + (12 << 8) + 117))

# ---- 10: headers

kdir_fix="apt-get install linux-headers-6\\.12\\.117\\+deb13-amd64"
world
rm -r "$kdir"
refused 10 "no headers" "no headers for kernel ${kver/+/[+]}" "$kdir_fix"
world
headers 6.12.94+deb13-amd64 "$code" "$debian"
refused 10 "headers of another kernel" 'are for kernel 6\.12\.94\+deb13-amd64, not 6\.12\.117' "$kdir_fix"
for f in include/generated/utsrelease.h include/generated/uapi/linux/version.h .config Module.symvers \
	scripts/mod/modpost Makefile; do
	world
	rm "$kdir/$f"
	case $f in Makefile) f=$kdir/Makefile ;; esac
	refused 10 "headers without ${f#"$w"/headers/}" "incomplete: $f is missing" "$kdir_fix --reinstall"
done
world
rm -r "$kdir-common"
refused 10 "headers without the common part" "incomplete: $kdir-common/Makefile is missing" "$kdir_fix --reinstall"
world
: >"$kdir/include/generated/utsrelease.h"
refused 10 "headers with an empty utsrelease.h" "incomplete" "$kdir_fix --reinstall"

# ---- 11: not a Debian kernel, or without KVM as modules

world
echo '#define LINUX_PACKAGE_ID " Ubuntu 6.12.0-1"' >"$kdir/include/generated/package.h"
refused 11 "another distribution's kernel" 'is not a Debian kernel' 'apt-get install linux-image-amd64'
world
rm "$kdir/include/generated/package.h"
refused 11 "a developer's own kernel" 'is not a Debian kernel' 'apt-get install linux-image-amd64'
for c in CONFIG_KVM CONFIG_KVM_INTEL CONFIG_KVM_AMD; do
	for v in "# $c is not set" "$c=y" "${c}_SEV=m" ''; do
		world
		sed -i "s/^$c=m\$/$v/" "$kdir/.config"
		case $v in
		"$c"=y) refused 11 "kernel with '$v'" "has KVM built in \\($c=y\\)" '' ;;
		*) refused 11 "kernel with '$v' for $c" "without $c=m" '' ;;
		esac
	done
done

# ---- 12: source missing

src_fix='(make -C [^ ]+ source KVER=6\.12\.117\+deb13-amd64 STORE=|kvm-onereg-install)'
world
rm "$tar"
refused 12 "no source" "linux-source-6\\.12 6\\.12\\.117-1, is not on this machine" "$src_fix"
world
rm -r "${w:?}/usr"
refused 12 "no source folder" "is not on this machine" "$src_fix"
world
refused 12 "KVM_SOURCE that does not exist" 'KVM_SOURCE=/nonexistent/x does not exist' \
	"leave out KVM_SOURCE.*$src_fix" -u /nonexistent/x

# ---- 13: another version

world
tarball 6.12.94-1
refused 13 "source of another version" "built from linux 6\\.12\\.117-1, but .* has version 6\\.12\\.94-1" "$src_fix"
for v in 6.12.117-2 6.12.117-1~bpo12+1 6.12.117-1+b1 6.12.117-11; do
	world
	tarball $v
	refused 13 "source of revision $v" "but .* has version ${v/+/[+]}; " "$src_fix"
done
world
echo "$tar linux-source-6.12 6.12.94-1" >"$w/owned"
refused 13 "dpkg's version takes precedence over the changelog" 'has version 6\.12\.94-1' "$src_fix"
world
echo "$tar linux-source-6.12 $debian" >"$w/owned"
rm -r "${w:?}/usr/share"
prepare
is "dpkg's version is sufficient" "$status" 0
world
rm -r "${w:?}/usr/share"
refused 13 "source without a record" 'the Debian version of .* is not recorded' "$src_fix.*KVM_SOURCE=$tar"
world
tarball 6.12.118-1
printf 'linux (%s) x; y\n' "$debian" | gzip >"$w/usr/share/doc/linux-source-6.12/changelog.Debian.gz"
refused 13 "source whose Makefile and record have different versions" 'has version 6\.12\.118' "$src_fix"

# ---- 14: unreadable or incomplete

world
head -c $(($(stat -c %s "$tar") / 2)) "$tar" >"$w/cut" && mv "$w/cut" "$tar"
refused 14 "a truncated tarball" "cannot extract KVM's source from $tar" \
	'apt-get install --reinstall linux-source-6\.12'
world
: >"$tar"
refused 14 "an empty tarball" 'cannot extract|a complete KVM source' 'reinstall'
world
head -c 5000 /dev/urandom >"$tar"
refused 14 "a tarball of random data" 'cannot extract' 'reinstall'
for gone in Makefile arch/x86/kvm/Makefile arch/x86/kvm/x86.c arch/x86/kvm virt; do
	world
	mkdir "$w/u" && tar -C "$w/u" -xf "$tar"
	rm -r "$w/u/linux-source-6.12/$gone"
	tar -C "$w/u" -cJf "$tar" linux-source-6.12 && rm -r "$w/u"
	refused 14 "a tarball without $gone" 'cannot extract|a complete KVM source' 'reinstall'
done

# ---- KVM_SOURCE

world
cp -r "$w/usr" "$w/elsewhere" && rm -r "$SOURCE_DIR"
prepare -u "$w/elsewhere/src/linux-source-6.12.tar.xz"
is "KVM_SOURCE: a tarball with a record" "$status $(cat "$w/err")" "0 "
is "... is stored by its version" "$(cd "$store" && echo *)" "$debian"
world
mv "$tar" "$w/x.tar.xz"
prepare -u "$w/x.tar.xz"
is "KVM_SOURCE: a tarball without a record" "$status $(cat "$w/err")" "0 "
like "... with a note" "$(cat "$w/out.log")" "the Debian revision of $w/x.tar.xz is not recorded"
is "... it is not stored under a version" "$(cd "$store" && echo *)" "given"
like "... and the origin says so" "$(cat "$tree/src/generated.h")" \
	'ORIGIN "linux-source-6.12 6\.12\.117, Debian revision not recorded"'
mkdir "$w/u" && tar -C "$w/u" -xf "$w/x.tar.xz" && mv "$w/u/linux-source-6.12" "$w/u/linux-6.12.117"
tar -C "$w/u" -cJf "$w/y.tar.xz" linux-6.12.117
prepare -u "$w/y.tar.xz"
is "KVM_SOURCE: a tarball whose top folder has another name" "$status $(cat "$w/err")" "0 "

world
source_tree "$w/my tree" 6.12.117
echo '/* mine */' >>"$w/my tree/arch/x86/kvm/x86.c"
prepare -u "$w/my tree"
is "KVM_SOURCE: a tree" "$status $(cat "$w/err")" "0 "
like "... is built" "$(tail -n 1 "$tree/arch/x86/kvm/x86.c")" '/\* mine \*/'
echo '/* again */' >>"$w/my tree/arch/x86/kvm/x86.c"
prepare -u "$w/my tree"
like "... a change in it is used" "$(tail -n 1 "$tree/arch/x86/kvm/x86.c")" '/\* again \*/'
prepare
is "... and without KVM_SOURCE, the package's source is used again" \
	"$status $(tail -n 1 "$tree/arch/x86/kvm/x86.c" | grep -c again)" "0 0"

# A tree in the package's folder: the changelog gives its version, but does not prove that it is unchanged.
world
tar -C "$SOURCE_DIR" -xf "$tar"
echo '/* mine */' >>"$SOURCE_DIR/linux-source-6.12/arch/x86/kvm/x86.c"
prepare
prepare -u "$SOURCE_DIR/linux-source-6.12"
is "KVM_SOURCE: a tree with a record" "$status $(cat "$w/err")" "0 "
like "... is built, and not the stored source" "$(tail -n 1 "$tree/arch/x86/kvm/x86.c")" '/\* mine \*/'
prepare
is "... and is never used as the package's source" "$status $(tail -n 1 "$tree/arch/x86/kvm/x86.c" | grep -c mine)" \
	"0 0"

world
source_tree "$w/other" 6.12.94
refused 13 "KVM_SOURCE: a tree of another version" 'has version 6\.12\.94' "$src_fix" -u "$w/other"
source_tree "$w/other" 6.1.117
refused 13 "KVM_SOURCE: a tree of another series" 'has version 6\.1\.117' "$src_fix" -u "$w/other"
mkdir -p "$w/old/src" "$w/old/share/doc"
cp "$tar" "$w/old/src"
mkdir "$w/old/share/doc/linux-source-6.12"
echo 'linux (6.12.117-9) x; y' | gzip >"$w/old/share/doc/linux-source-6.12/changelog.Debian.gz"
refused 13 "KVM_SOURCE: a tarball recorded as another revision" 'has version 6\.12\.117-9' "$src_fix" \
	-u "$w/old/src/linux-source-6.12.tar.xz"
for gone in Makefile arch/x86/kvm virt/kvm/kvm_main.c; do
	rm -rf "$w/part"
	source_tree "$w/part" 6.12.117
	rm -r "$w/part/$gone"
	refused 14 "KVM_SOURCE: a tree without $gone" 'is not a complete kernel source' '' -u "$w/part"
done
mkdir "$w/empty"
refused 14 "KVM_SOURCE: an empty folder" 'is not a complete kernel source' '' -u "$w/empty"
echo hello >"$w/text"
refused 14 "KVM_SOURCE: some text" 'cannot extract' '' -u "$w/text"

# ---- 15: hooks

hook=$(find "$project/src/hooks" -maxdepth 1 -name '*.patch' | sort | head -n 1)
file=$(sed -n 's/^+++ b\///p' "$hook")
place=$(sed -n '/^@@/,$s/^[ -]//p' "$hook")
change_source() { # SCRIPT: run in the unpacked source, then pack it again
	mkdir "$w/u" && tar -C "$w/u" -xf "$tar" && (cd "$w/u/linux-source-6.12" && eval "$1")
	tar -C "$w/u" -cJf "$tar" linux-source-6.12 && rm -r "$w/u"
}
# shellcheck disable=SC2034 # used in the scripts
first=$(head -n 1 <<<"$place") last=$(tail -n 1 <<<"$place")
refused_hook() { # NAME MESSAGE
	prepare
	is "$1: exit status" "$status" 15
	like "$1: message" "$(cat "$w/err")" "hook ${hook##*/} does not apply to $file of linux $debian \\($2"
	like "$1: what to do" "$(cat "$w/err")" 'to fix: .*newer kvm-onereg'
	is "$1: the source is kept, and no tree is made" "$(cd "$store" && echo *) $(content "$tree")" "$debian "
	is "$1: no temporary folders remain" "$(ls -d "$store"/.part* "$tree".part* 2>/dev/null)" ""
}
for how in 'a line of it changed|$0 == last { $0 = $0 " /* */" } { print }' \
	'a line came between|{ print } $0 == first { print "/* new */" }' \
	'white space changed|$0 == last { $0 = $0 " " } { print }' \
	'the end of the file is missing|$0 == last { exit } { print }'; do
	world
	change_source 'awk -v first="$first" -v last="$last" "${how#*|}" "$file" >x && mv x "$file"'
	refused_hook "a hook that fits in no place: ${how%%|*}" 'places where it fits: 0'
done
world
change_source 'printf "%s\n" "$place" >>"$file"'
refused_hook "a hook that fits in two places" 'places where it fits: 2'
world
prepare
good=$(content "$tree")
change_source 'printf "%s\n" "$place" >>"$file"'
rm -r "$store"
prepare
is "a hook that does not apply leaves a complete tree alone" "$status $(content "$tree")" "15 $good"

# In a kernel without regs.c, its hooks are applied to x86.c.
world
# shellcheck disable=SC2016 # for change_source
change_source 'cat "$(dirname "$file")/regs.c" >>"$file" && rm "$(dirname "$file")/regs.c"'
prepare
is "without regs.c: exit status" "$status" 0
is "... its hooks are in x86.c" "$(grep -c 'X86_CR4_CET' "$tree/arch/x86/kvm/x86.c")" 2

# Invalid hooks.
cp "$hook" "$tmp/hook"
for how in 'two hunks|sed -n "/^@@/,\$p" "$tmp/hook" >>"$hook"' 'no hunk|sed -i "/^@@/,\$d" "$hook"' \
	'another file|sed -i "s,x86/kvm/x86.c,x86/kvm/regs.c," "$hook"'; do
	world
	cp "$tmp/hook" "$hook"
	eval "${how#*|}"
	prepare
	is "a hook with ${how%%|*}: exit status, and no tree" "$status $(content "$tree")" "15 "
	like "... message" "$(cat "$w/err")" "hook ${hook##*/} does not apply"
done
cp "$tmp/hook" "$hook"

# ---- 16: cannot write. A file in place of a folder stops even root.

for place in store tree; do
	world
	: >"$w/file"
	declare "$place=$w/file/x"
	prepare
	is "$place is in a folder that is a file" "$status $(content "$tree")" "16 "
	like "... message" "$(cat "$w/err")" "cannot write to $w/file/x"
	world
	: >"$w/file"
	declare "$place=$w/file"
	prepare
	is "$place is a file" "$status" 16
	like "... message" "$(cat "$w/err")" "cannot write to $w/file"
	world
	[ "$(id -u)" != 0 ] || {
		skip "$place is read-only" "root may write anywhere"
		continue
	}
	mkdir "$w/ro" && chmod 555 "$w/ro"
	declare "$place=$w/ro"
	prepare
	is "$place is read-only" "$status" 16
done

# ---- 17: programs

world
rm "$w/bin/gcc-77"
refused 17 "no compiler" 'was built with gcc-77, which is not installed' 'apt-get install gcc-77'
CC="gcc-88 -m64" prepare
is "CC that does not exist" "$status" 17
printf '#!/bin/sh\necho 77.2.0\n' >"$w/bin/my-gcc" && chmod +x "$w/bin/my-gcc"
CC=my-gcc prepare
is "CC overrides the kernel's compiler" "$status" 0
echo object >"$tree/x86.o"
printf '#!/bin/sh\necho 77.3.0\n' >"$w/bin/my-gcc"
CC=my-gcc prepare
is "objects from another compiler are removed" "$status $([ -e "$tree/x86.o" ] && echo there)" "0 "
echo object >"$tree/x86.o"
printf '#!/bin/sh\necho 77.4.0\n' >"$w/bin/my-gcc"
CC='my-gcc -pipe' prepare
echo object >"$tree/x86.o"
printf '#!/bin/sh\necho 77.5.0\n' >"$w/bin/my-gcc"
CC='my-gcc -pipe' prepare
is "... also when CC has options" "$status $([ -e "$tree/x86.o" ] && echo there)" "0 "
for c in make patch tar xz awk sha256sum flock; do
	world
	# A PATH with everything that is needed, except this program.
	for p in bash sh cat cp mv rm mkdir sed grep head tail sort xargs find cut cmp readlink basename dirname gzip \
		sync env awk make patch tar xz sha256sum flock; do
		[ $p = $c ] || ln -s "$(PATH=$path command -v $p)" "$w/bin/$p"
	done
	PATH=$w/bin
	prepare
	PATH=$w/bin:$path
	is "without $c: exit status" "$status $(content "$store" "$tree")" "17 "
	like "without $c: message" "$(cat "$w/err")" "program '$c' is missing"
	like "without $c: what to do" "$(cat "$w/err")" "to fix: apt-get install .*"
done

done_testing
