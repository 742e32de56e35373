#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Shadow stacks of AMD's CPUs as a VMM sees them: natively and with kvm_amd.cet=1, answer by answer; not without nested
# paging, nor with modules that are not all ours; and without kvm_amd.cet=1, VMMs and guests see the same as with the
# distro's modules. One boot for each kernel, with the modules loaded again and again
#
# THOROUGH=y adds a 32-bit VMM and random calls.
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/on-host.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

nothing='64-cet --kvm none advertised ssp list'
refusal='kvm_amd: guests get no CET, although kvm_amd.cet=1: '

# What THOROUGH=y adds, and the facts that are compared with native.
more='' compared='cet-64 onereg'
if [ "${THOROUGH:-}" = y ]; then
	more=$'32-cet --kvm shstk --facts /out/cet-32\n64-fuzz 4000 3 cet\n'
	compared='cet-64 cet-32 onereg'
fi

commands="64-cet --kvm shstk --facts /out/cet-64
64-onereg --facts /out/onereg
${more}64-module unload kvm_amd
64-module load kvm-amd.ko cet=1 npt=0
$nothing"

# What native, which has no such parameter, cannot run.
ours="64-module has kvm_amd cet N
64-module unload kvm_amd
64-module load kvm-amd.ko cet=0
$nothing matrix xss cr4
64-visible --facts /out/ours
64-module unload kvm_amd
64-module load distro-kvm-amd.ko cet=1
64-visible --facts /out/distro-on-ours
64-module unload kvm_amd kvm
64-module load distro-kvm.ko
64-module load kvm-amd.ko cet=1
64-module has kvm_amd cet N
64-visible --facts /out/ours-on-distro
64-module unload kvm_amd
64-module load distro-kvm-amd.ko
64-visible --facts /out/distro"

run_programs native svm-cet "$("$top/tests/debian/kernel" path native)" '' "$commands" -p kvm_amd.cet=1
for series in $("$top/tests/debian/kernel" series); do
	kernel=$("$top/tests/debian/kernel" path "$series")
	mkdir "$tmp/distro-$series"
	files=()
	for m in kvm kvm-amd; do
		distro_module "$kernel" $m "$tmp/distro-$series/distro-$m.ko"
		files+=(-i "$tmp/distro-$series/distro-$m.ko")
	done
	run_programs "$series" svm-cet "$kernel" "$build/$("$top/tests/debian/kernel" release "$series")" "$commands
$ours" -p kvm_amd.cet=1 "${files[@]}"
	for facts in $compared; do
		ok "$series: same answers as native: $facts" "$top/tests/ioctl/compare-facts" \
			"$tmp/native/files/$facts" "$tmp/$series/files/$facts" "svm-cet-$series-${facts%-*}"
	done
	# Without a parameter, AMD hosts do not differ.
	for facts in ours distro-on-ours ours-on-distro; do
		run=svm-$series
		[ $facts = ours ] || run+=-$facts
		REFERENCE=distro ok "$series: $facts: same as with the distro's modules" \
			"$top/tests/ioctl/compare-facts" "$tmp/$series/files/distro" "$tmp/$series/files/$facts" \
			"$run" "$top/tests/ioctl/differences-from-distro"
	done
	while IFS=, read -r command name why; do
		lines=$(lines_of "$series" "$(command_of "$series" "$command")")
		if [ -n "$why" ]; then
			like "$series: $name: the log says why" "$lines" "$refusal.*$why"
			is "$series: $name: in one line" "$(grep -c CET <<<"$lines")" 1
		else
			is "$series: $name: no message" "$(grep -c CET <<<"$lines")" 0
		fi
	done <<-'END'
		64-module load kvm-amd.ko cet=1 npt=0,without nested paging,it needs nested paging \(kvm_amd.npt\)
		64-module load kvm-amd.ko cet=0,cet=0,
	END
	n=$(command_of "$series" '64-module load distro-kvm.ko')
	like "$series: our kvm-amd.ko on the distro's kvm.ko: the log says why" "$(lines_of "$series" $((n + 1)))" \
		"$refusal.*not of the same package"
	like "$series: the distro's kvm-amd.ko on our kvm.ko: it does not know the parameter" \
		"$(lines_of "$series" "$(command_of "$series" '64-module load distro-kvm-amd.ko cet=1')")" \
		"kvm_amd: unknown parameter 'cet' ignored"
done
done_testing
