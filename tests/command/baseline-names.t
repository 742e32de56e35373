#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kvm-onereg preflight --baseline has the names that Debian's QEMU and libvirt have: for the bits of CPUID and of MSRs,
# for CPU models and their features, and for KVM's quirks. The comparison finds a name that is wrong or missing.
# needs: root-emulators root-qemu
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

[ "$(id -u)" = 0 ] || skip_all "needs root"
command -v mmdebstrap >/dev/null || skip_all "mmdebstrap is missing: apt-get install mmdebstrap"
names=$top/tests/command/baseline-names tables=$top/tools/kvm-onereg/preflight
archive=$top/tests/debian/archive

# unpack PACKAGE RELEASE TO: the newest version that this release has; prints its first number
unpack() {
	local version
	version=$("$archive" madison "$1" | awk -v r="$2" '$3 == r { print $2; exit }')
	dpkg-deb -x "$("$archive" fetch "$1=$version")" "$tmp/$3"
	version=${version#*:}
	echo "${version%%.*}"
}
"$archive" update
qemu=$("$top/tests/debian/root" path qemu) emulators=$("$top/tests/debian/root" path emulators)
number() { chroot "$1" qemu-system-x86_64 --version | sed -n 's/^QEMU emulator version \([0-9]*\)\..*/\1/p'; }
newest=$(number "$qemu") older=$(number "$emulators")

ok "there is a QEMU" test -n "$newest"
is "QEMU of Debian 13's backports" "$("$names" qemu "$newest newest" "$qemu" "$tables" 2>&1)" ""
is "QEMU of Debian 13" "$("$names" qemu "$older" "$emulators" "$tables" 2>&1)" ""
version=$(unpack qemu-system-x86 bookworm qemu-bookworm)
is "QEMU of Debian 12" \
	"$("$names" program "$version" "$tmp/qemu-bookworm/usr/bin/qemu-system-x86_64" "$tables" 2>&1)" ""

map=usr/share/libvirt/cpu_map
newest_libvirt=$(unpack libvirt-common trixie-backports libvirt-backports)
is "libvirt of Debian 13's backports" \
	"$("$names" libvirt "$newest_libvirt newest" "$tmp/libvirt-backports/$map" "$tables" 2>&1)" ""
version=$(unpack libvirt-common trixie libvirt-trixie)
is "libvirt of Debian 13" "$("$names" libvirt "$version" "$tmp/libvirt-trixie/$map" "$tables" 2>&1)" ""
version=$(unpack libvirt0 bookworm libvirt-bookworm)
is "libvirt of Debian 12" "$("$names" libvirt "$version" "$tmp/libvirt-bookworm/$map" "$tables" 2>&1)" ""

# ---- KVM's quirks

release=$("$top/tests/debian/kernel" release native)
dpkg-deb -x "$("$archive" fetch "linux-headers-${release%-amd64}-common")" "$tmp/native"
in_headers() { sed -n 's/^#define KVM_X86_QUIRK_\([A-Z0-9_]*\)[[:space:]]*(1 << \([0-9]*\))$/\2 \1/p' "$@" | sort -n; }
in_table() {
	sed -n '/^static const char \* const names/,/^}/p' "$1" | grep -o '"[A-Z0-9_]*"' | tr -d '"' |
		awk '{ print NR - 1, $0 }'
}
in_headers "$tmp"/native/usr/src/linux-headers-*-common/arch/x86/include/uapi/asm/kvm.h >"$tmp/quirks"
ok "the headers have quirks" test -s "$tmp/quirks"
is "KVM's quirks" "$(in_table "$top/tools/kvm-onereg/model/offer-quirks.c" | diff "$tmp/quirks" -)" ""

# ---- faults are found

# wrong WORDS FILE SED-EXPRESSION REGEX COMMAND VERSION PLACE [PART]: with a table that is changed
wrong() {
	local words=$1 file=$2 expression=$3 regex=$4
	rm -rf "$tmp/tables"
	cp -r "$tables" "$tmp/tables"
	sed -i "$expression" "$tmp/tables/$file"
	not_ok "$words: the table is changed" 1 cmp -s "$tables/$file" "$tmp/tables/$file"
	like "... and the fault is found" "$("$names" "$5" "$6" "$7" "$tmp/tables" "${8:-}" 2>&1)" "$regex"
}
lv=(libvirt "$newest_libvirt newest" "$tmp/libvirt-backports/$map")
wrong "a wrong name" features.c 's/"avx2", "avx2"/"avx3", "avx2"/' "QEMU $newest knows avx2, and the table does not" \
	qemu "$newest newest" "$qemu" names
wrong "a wrong bit" features.c '/"avx2"/s/EBX, 5,/EBX, 6,/' 'avx2 is not bit 6' qemu "$newest newest" "$qemu" avx2
wrong "a missing one" features.c '/"cet-ss"/d' \
	"knows cet-ss, and the table does not" qemu "$newest newest" "$qemu" names
wrong "a version" features.c '/"cet-ss"/s/11, 12 }/7, 12 }/' "QEMU $older does not know cet-ss" \
	qemu "$older" "$emulators" names
wrong "a feature that a model does not have" cpu-models.txt '0,/\tpni ssse3/s//\tavx2 pni ssse3/' \
	'model Conroe: avx2 is in the table alone' qemu "$newest newest" "$qemu" models
wrong "a wrong name of libvirt's" features.c 's/"pclmulqdq", "pclmuldq"/"pclmulqdq", "pclmulqdq"/' \
	'libvirt calls it pclmuldq, the table pclmulqdq' "${lv[@]}"
wrong "a bit of an MSR" features.c '/"vmx-ept"/s/IN_MSR, 33/IN_MSR, 34/' 'vmx-ept' "${lv[@]}"
wrong "what libvirt takes for a part of a model" cpu-models.txt 's/^libvirt monitor svm/libvirt monitor/' \
	'model EPYC: libvirt has svm' "${lv[@]}"
done_testing
