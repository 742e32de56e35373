#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The repository has its version in one place, a dkms.conf that DKMS can read in any state, licence lines, and no files
# or texts that do not belong here.
# shellcheck disable=SC2016 # scripts in quotes
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"
cd "$top" || exit 1

# The files in the repository, and those that can be added to it.
if git rev-parse --show-toplevel 2>/dev/null | grep -q -x -F "$(pwd -P)"; then
	git ls-files -co --exclude-standard
else
	find . -name .git -prune -o -path ./build -prune -o -type f -print | sed 's,^\./,,'
fi | while read -r f; do [ ! -f "$f" ] || echo "$f"; done >"$tmp/files"
mapfile -t files <"$tmp/files"
ok "there are files to look at" test "${#files[@]}" -gt 20

in_files() { grep -n -I -E "$@" /dev/null || true; }
# Source files and scripts, according to their name or first line.
sources=()
for f in "${files[@]}"; do
	case $f in
	*.[chS] | *.sh | *.t | *.awk | Makefile | */Makefile | Kbuild | */Kbuild) sources+=("$f") ;;
	*) head -c 2 "$f" | grep -q '#!' && sources+=("$f") ;;
	esac
done

# ---- the version

version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"$/\1/p' dkms.conf)
like "dkms.conf has a version" "$version" '^[0-9]+\.[0-9]+(\.[0-9]+)?(~[a-z0-9]+)?$'
others=()
# Debian's changelog must have the version of the packages.
for f in "${files[@]}"; do case $f in dkms.conf | debian/changelog) ;; *) others+=("$f") ;; esac done
is "debian/changelog has the same version" "$(sed -n '1s/^kvm-onereg (\([^)]*\)) .*/\1/p' debian/changelog)" "$version"
is "no other file has the version" "$(in_files "(^|[^0-9.])${version//./\\.}([^0-9.]|\$)" "${others[@]}")" ""

# ---- dkms.conf

# DKMS sources it with bash, in several states. Print all relevant variables; only the program grep is available.
mkdir "$tmp/bin"
ln -s "$(command -v grep)" "$tmp/bin/grep"
show='for v in PACKAGE_NAME PACKAGE_VERSION CLEAN AUTOINSTALL BUILD_EXCLUSIVE_KERNEL; do echo "$v=${!v}"; done
for i in 0 1 2; do echo "$i ${BUILT_MODULE_NAME[i]} ${BUILT_MODULE_LOCATION[i]} ${DEST_MODULE_LOCATION[i]}"; done
echo "${#MAKE[@]} ${#BUILT_MODULE_NAME[@]} ${#BUILT_MODULE_LOCATION[@]} ${#DEST_MODULE_LOCATION[@]} ${!PATCH[*]}${!MODULES_CONF[*]}"
echo "${MAKE[0]}"'
source_it() { # VARIABLE=VALUE...
	env -i PATH="$tmp/bin" "$@" "$(command -v bash)" \
		-c ". $(printf '%q' "$top/dkms.conf") || exit 9; echo =====; $show" 2>&1
}
debian='^6\.(1|12)\.'
expected() { # RELEASE HEADERS WHAT-KERNELS
	printf '=====\nPACKAGE_NAME=kvm-onereg\nPACKAGE_VERSION=%s\nCLEAN=true\nAUTOINSTALL=yes\nBUILD_EXCLUSIVE_KERNEL=%s\n' "$version" "$3"
	printf '0 kvm build/%s /updates/dkms\n1 kvm-intel build/%s /updates/dkms\n2 kvm-amd build/%s /updates/dkms\n' \
		"$1" "$1" "$1"
	printf '1 3 3 3 \nmake KVER=%s KDIR=%s STORE=/var/lib/kvm-onereg/source FETCH=no DEBUG_INFO=no modules\n' \
		"$1" "$2"
}
is "sourced with nothing set" "$(source_it)" "$(expected '' '' "$debian")"
for r in 6.1.0-56-amd64 6.12.117+deb13-amd64 6.1.0-56-rt-amd64; do
	is "sourced for $r, without headers" "$(source_it kernelver=$r kernel_source_dir=/nonexistent arch=x86_64)" \
		"$(expected $r /nonexistent "$debian")"
done
for r in 6.6.1-amd64 6.17.8+deb13-amd64 7.3.4+deb13-amd64 6.120.1 5.10.0-1-amd64 16.1.2 6.1; do
	is "sourced for $r, a series that is not built for" "$(source_it kernelver=$r kernel_source_dir=/x)" \
		"$(expected $r /x '^$')"
done
for r in 'a b' "a'b" 'a"b' '$(touch '"$tmp/x"')' '`touch '"$tmp/x"'`' '*' ';exit 3' '-n'; do
	is "sourced for a kernel called $r" "$(source_it "kernelver=$r" "kernel_source_dir=/x/$r")" \
		"$(expected "$r" "/x/$r" '^$')"
	r="6.1.0$r"
	is "sourced for a kernel called $r" "$(source_it "kernelver=$r" "kernel_source_dir=/x/$r")" \
		"$(expected "$r" "/x/$r" "$debian")"
done
not_ok "... and no command in these names is run" 1 test -e "$tmp/x"
is "sourced after the dkms.conf of another module, and with odd variables" \
	"$(source_it AUTOINSTALL=no CLEAN=y PACKAGE_VERSION=1 IFS=/ CDPATH=/ BASH_ENV=/dev/null action=status)" \
	"$(expected '' '' "$debian")"

# Headers, if they are available, show whether the kernel is Debian's.
kdir="$tmp/h [x] y"
mkdir -p "$kdir/include/generated"
of_headers() { source_it kernelver=6.1.9 kernel_source_dir="$kdir" | sed -n 's/^BUILD_EXCLUSIVE_KERNEL=//p'; }
printf 'CONFIG_KVM=m\nCONFIG_KVM_INTEL=m\nCONFIG_KVM_AMD=m\n' >"$kdir/.config"
echo '#define LINUX_PACKAGE_ID " Debian 6.1.9-1"' >"$kdir/include/generated/package.h"
is "with headers of a Debian kernel, it is built for" "$(of_headers)" "$debian"
sed -i 's/_AMD=m/_AMD=y/' "$kdir/.config"
is "... but not without KVM as modules" "$(of_headers)" '^$'
sed -i 's/_AMD=y/_AMD=m/' "$kdir/.config"
echo '#define LINUX_PACKAGE_ID " Other 6.1.9-1"' >"$kdir/include/generated/package.h"
is "a kernel of another distribution is not built for" "$(of_headers)" '^$'
rm "$kdir/include/generated/package.h"
is "... neither is a kernel of unknown origin" "$(of_headers)" '^$'

# In autoinstall, the kernel is in a variable that may be hidden by a local one.
autoinstall() {
	env -i PATH="$tmp/bin" action=autoinstall "$(command -v bash)" -c 'kernelver=$2
	read_conf() { local kernelver=$3; safely "$1"; }
	safely() { . "$1"; echo "AUTOINSTALL=$AUTOINSTALL"; }
	read_conf "$@"' - "$top/dkms.conf" "$@" 2>&1
}
is "autoinstall for a Debian kernel" "$(
	autoinstall 6.12.999-x ''
	autoinstall 6.1.999-x 6.17.8
)" $'AUTOINSTALL=yes\nAUTOINSTALL=yes'
is "autoinstall for another series" "$(
	autoinstall 6.17.8 ''
	autoinstall 7.3.4 6.1.0-1
)" $'AUTOINSTALL=\nAUTOINSTALL='
# While dpkg runs, our package's trigger replaces autoinstall, if the package is installed.
sed "s,/usr/lib/kvm-onereg/install,$tmp/installer," dkms.conf >"$tmp/dkms.conf"
in_dpkg() { env -i PATH="$tmp/bin" "$@" "$(command -v bash)" -c '. "$0"; echo "$AUTOINSTALL"' "$tmp/dkms.conf" 2>&1; }
is "autoinstall while dpkg runs, without our package" "$(in_dpkg DPKG_MAINTSCRIPT_PACKAGE=x)" yes
touch "$tmp/installer"
is "... with our package" "$(in_dpkg DPKG_MAINTSCRIPT_PACKAGE=x)" ""
is "... with our package, without dpkg" "$(in_dpkg)" yes
is "... dkms.conf looks for the file where the package has it" \
	"$(sed -n 's,.*\$(dkms)/\(usr/lib/kvm-onereg/install\)$,\1,p' debian/rules | sort -u)" \
	usr/lib/kvm-onereg/install
like "MAKE[0] is one call of make, to which DKMS can append its arguments" "$(grep '^MAKE' dkms.conf)" \
	'^MAKE\[0\]="make [^;&|`(]*"$'

# ---- programs that DKMS calls must not depend on the running kernel

called=(dkms.conf Makefile Kbuild src/prepare src/check-exports src/publish)
is "no program that DKMS calls runs uname" "$(in_files '(\$\(|`|\|\||&&|shell)[[:space:]]*uname' "${called[@]}")" ""
is "... or downloads anything" \
	"$(in_files '\b(curl|wget|git clone|apt-get (update|download)|apt-get source)\b' "${called[@]}")" ""

# ---- only one file depends on versions of the kernel

c=()
for f in "${files[@]}"; do case $f in src/compat.h) ;; src/*.[ch] | src/hooks/* | include/*) c+=("$f") ;; esac done
is "no kernel version outside src/compat.h" \
	"$(in_files 'LINUX_VERSION_CODE|KERNEL_VERSION|LINUX_VERSION_MAJOR|RHEL_RELEASE' "${c[@]}")" ""

# ---- licence

for f in "${sources[@]}"; do
	line=$(head -n 3 "$f" | grep SPDX-License-Identifier)
	case $f in
	include/uapi/*) want='^/\* SPDX-License-Identifier: GPL-2\.0 WITH Linux-syscall-note \*/$' ;;
	*.c) want='^// SPDX-License-Identifier: GPL-2\.0$' ;;
	*.h | *.S) want='^/\* SPDX-License-Identifier: GPL-2\.0 \*/$' ;;
	*) want='^# SPDX-License-Identifier: GPL-2\.0$' ;;
	esac
	grep -q -E "$want" <<<"$line" || echo "$f: $line"
done >"$tmp/licence"
is "every source names its licence" "$(cat "$tmp/licence")" ""

# ---- form

is "programs are executable, other files are not" "$(for f in "${files[@]}"; do
	if head -c 2 "$f" | grep -q '#!'; then [ -x "$f" ] || echo "$f"; else [ ! -x "$f" ] || echo "$f"; fi
done)" ""
text=()
for f in "${files[@]}"; do case $f in *.patch | COPYING | LICENSE*) ;; *) text+=("$f") ;; esac done
is "no white space at the end of a line" "$(in_files '[[:space:]]$' "${text[@]}")" ""
is "every text file ends with a newline" "$(for f in "${files[@]}"; do
	grep -q -I . "$f" && [ -n "$(tail -c 1 "$f")" ] && echo "$f"
done)" ""
for f in .editorconfig .gitattributes; do
	if [ -e $f ]; then
		ok "$f is there" test -s $f
	else
		skip "$f" "the repository has none"
	fi
done

# ---- files and texts that do not belong here. The patterns are written so that they do not match themselves.

is "no path of the machine on which it was written" \
	"$(in_files '(^|[[:space:]"'\''=:(])/wor[k]/|/tmp/w[/ ]|\.\./share[d]' "${files[@]}")" ""
is "no host name of a registry: these are in the machine's own configuration" \
	"$(in_files '(deb|security|ftp|ftp\.[a-z]+|snapshot|archive|incoming)[.]debian[.](org|net)|pypi[.]org|files[.]pythonhosted[.]|registry[.]npmjs' "${files[@]}")" ""
docs=()
for f in "${files[@]}"; do case $f in *.md | docs/*) docs+=("$f") ;; esac done
is "the documentation describes the product, and not how it was written" \
	"$([ ${#docs[@]} = 0 ] || in_files -i '\bsession|\bassistant|\bsub-?agent|\blanguage model' "${docs[@]}")" ""
is "no file has a note about something left to do" "$(in_files '\b(TOD[O]|FIXM[E]|XX[X])\b' "${files[@]}")" ""

# Files of the kernel would be detected by their names, their authors or their size.
is "no kernel text: file names" \
	"$(printf '%s\n' "${files[@]}" | grep -E '(^|/)(x86|vmx|svm|nested|cpuid|kvm_main|lapic|emulate|mmu)\.[ch]$' |
		grep -v '^tests/unit/stubs/')" ""
is "no kernel text: authors of KVM" \
	"$(in_files 'Avi Kivit[y]|Yaniv Kama[y]|Qumrane[t]|Copyright.*Red Ha[t]' "${files[@]}")" ""
is "no kernel text: hooks are small" "$(find src/hooks -name '*.patch' -size +1k)" ""

done_testing
