# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the cases isolation*.t, life*.t, emulator.t and svm-nested.t, after tap.sh: run this folder's programs on native,
# and on 6.12 and 6.1 (or the series in $CET_SERIES) with our modules. They must pass the same checks and record the
# same facts, except for those in FACTS-differences.
#
# Set HOST=svm-cet before a call of these functions for that host instead of vmx.
HOST=vmx

# shellcheck source=tests/hosts/relay.sh
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

# like_native CET COMMANDS [OPTION]...: CET is kvm_intel.cet, or kvm_amd.cet. COMMANDS, one per line, are PROGRAM
# ARGUMENT..., and leave facts in /out. OPTIONS are those of tests/hosts/boot.
like_native() {
	local options=(-M msr -p kvm.force_emulation_prefix=1) cet=$1 commands=$2 series modules here p f allowed

	shift 2
	options+=(-p "$(cet_parameter "$HOST")=$cet")
	while read -r p; do
		options+=(-i "$build/tests/guest/$p")
	done < <(awk '{ print $1 }' <<<"$commands" | sort -u)
	for series in native ${CET_SERIES:-$("$top/tests/debian/kernel" series)}; do
		modules=
		[ "$series" = native ] || modules=$build/$("$top/tests/debian/kernel" release "$series")
		here=$(for_series "$series" "$commands")
		[ "$series" != native ] || here=$(sed -E 's/^svm-hypervisor cet /&--native /' <<<"$commands")
		run_host "$series" "$HOST" "$("$top/tests/debian/kernel" path "$series")" "$modules" "$here" \
			"${options[@]}" "$@"
	done
	for f in "$tmp"/native/files/*; do
		[ -e "$f" ] || continue
		allowed=$top/tests/guest/$(basename "$f")-differences
		[ -e "$allowed" ] || allowed=/dev/null
		for series in ${CET_SERIES:-$("$top/tests/debian/kernel" series)}; do
			ok "$series: same answers as native: $(basename "$f")" "$top/tests/ioctl/compare-facts" "$f" \
				"$tmp/$series/files/$(basename "$f")" "$HOST-${series%-bpo12}" "$allowed"
		done
	done
}

# jostled: a guest's thread is preempted wherever KVM handles CET state, and continues on another CPU. Not on native, as
# there are no headers of that kernel to build the module with. The case needs: jostle
jostled() {
	local series release
	for series in ${CET_SERIES:-$("$top/tests/debian/kernel" series)}; do
		release=$("$top/tests/debian/kernel" release "$series")
		run_host "$series" "$HOST" "$("$top/tests/debian/kernel" path "$series")" "$build/$release" \
			"$(for_series "$series" "life --jostles ${JOSTLES:-1} jostle")" -i "$build/tests/guest/life" \
			-i "$build/tests/jostle-$series/jostle.ko" -M msr -p "$(cet_parameter "$HOST")=1" --cpus 2 \
			-c preempt=full
	done
}
