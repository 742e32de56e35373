#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Each condition that keeps CET from guests, natively and with our modules: nothing is advertised, nothing exists, and
# our modules give the reason in one line. Also sets of modules that are not all ours, or were loaded more than once.
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/on-host.sh"

nothing='64-cet --kvm none advertised ssp list'
refusal='kvm_intel: guests get no CET, although kvm_intel.cet=1: '

# Parameters that cannot be combined with CET, and what the kernel logs about each. Bochs needs enable_apicv=0.
parameters='ept=0 unrestricted_guest=0 allow_smaller_maxphyaddr=1'
declare -A because=(["ept=0"]='needs EPT' ["unrestricted_guest=0"]='needs unrestricted guests'
	["allow_smaller_maxphyaddr=1"]='cannot be combined with kvm_intel.allow_smaller_maxphyaddr')

# reloaded NAME KERNEL MODULES: load kvm-intel repeatedly in one boot, the last time with CET
reloaded() {
	local p commands=''
	for p in $parameters; do
		commands+="64-module unload kvm_intel
64-module load kvm-intel.ko enable_apicv=0 cet=1 $p
$nothing
"
	done
	run_programs "$1" vmx "$2" "$3" "${commands}64-module unload kvm_intel
64-module load kvm-intel.ko enable_apicv=0 cet=1
64-cet --kvm both advertised ssp list
64-module unload kvm_intel
64-module load kvm-intel.ko enable_apicv=0 cet=0
$nothing" -p kvm_intel.cet=1
}

reloaded native "$("$top/tests/debian/kernel" path native)" ''
for series in $("$top/tests/debian/kernel" series); do
	reloaded "$series" "$("$top/tests/debian/kernel" path "$series")" \
		"$build/$("$top/tests/debian/kernel" release "$series")"
	n=2
	for p in $parameters; do
		like "$series: $p: the log says why" "$(lines_of "$series" $n)" "$refusal.*${because[$p]}"
		is "$series: $p: in one line" "$(lines_of "$series" $n | grep -c 'CET')" 1
		n=$((n + 3))
	done
	is "$series: cet=1 again: no such line" "$(lines_of "$series" $n | grep -c "$refusal")" 0
	n=$((n + 3))
	is "$series: cet=0: no message" "$(lines_of "$series" $n | grep -c CET)" 0
done

# Features that the kernel's command line disables. SHSTK has no name there; in 6.1, nor has IBT. 6.1 needs 580 on
# this host anyway, and only the last list counts. The parameter taints (S). Without CET, the kernel's own rules apply
# to XSS, so it is not checked.
while read -r series name has line why; do
	modules=
	[ "$series" = native ] || modules=$build/$("$top/tests/debian/kernel" release "$series")
	run_programs "$series-$name" vmx "$("$top/tests/debian/kernel" path "$series")" "$modules" \
		"64-cet --kvm $has advertised matrix ssp list cr4" -c "$line" --taint-ok S -p kvm_intel.cet=1
	if [ "$series" = native ]; then
		continue
	elif [ "$has" = none ]; then
		is "$series-$name: the log says why, in one line" \
			"$(grep 'kvm_intel: .*CET' "$tmp/$series-$name/dmesg" | grep -c "$refusal.*$why")" 1
	else
		is "$series-$name: no message" "$(grep -c 'kvm_intel: .*CET' "$tmp/$series-$name/dmesg")" 0
	fi
done <<'END'
native noxsaves none noxsaves
native no-shstk none clearcpuid=519
native no-ibt shstk ibt=off
6.12 noxsaves none noxsaves XSAVES is missing or off
6.12 no-shstk none clearcpuid=519 no shadow stacks
6.12 no-ibt shstk ibt=off
6.1 noxsaves none noxsaves XSAVES is missing or off
6.1 no-shstk none clearcpuid=580,519 no shadow stacks
6.1 no-ibt shstk clearcpuid=580,596
END

# One of our modules with one of the distro's, both ways: they load, and everything is as with the distro's alone,
# whether CET is requested or not.
mixed() { # SERIES
	local series=$1 kernel ours m f files=()
	kernel=$("$top/tests/debian/kernel" path "$series")
	ours=$build/$("$top/tests/debian/kernel" release "$series")
	mkdir "$tmp/mixed-$series"
	for m in kvm kvm-intel; do
		distro_module "$kernel" $m "$tmp/mixed-$series/distro-$m.ko"
		cp "$ours/$m.ko" "$tmp/mixed-$series/ours-$m.ko"
	done
	# Like another build of ours: change the string that names it.
	perl -0777 -pe 's/\0\K[0-9a-f]{32}(?=\0)/"0123456789abcdef" x 2/e' "$ours/kvm.ko" \
		>"$tmp/mixed-$series/other-kvm.ko"
	for f in "$tmp/mixed-$series"/*.ko; do
		# Debug information, BTF and signature would only take time to load.
		objcopy --strip-debug -R .BTF -R .BTF.base "$f"
		files+=(-i "$f")
	done
	run_programs "mixed-$series" vmx "$kernel" '' "64-module load irqbypass.ko
64-module load distro-kvm.ko
64-module load distro-kvm-intel.ko enable_apicv=0
64-visible --facts /out/distro
64-module unload kvm_intel
64-module load ours-kvm-intel.ko enable_apicv=0 cet=1
64-visible --facts /out/ours-on-distro
64-module unload kvm_intel kvm
64-module load ours-kvm.ko
64-module load distro-kvm-intel.ko enable_apicv=0 cet=1
64-visible --facts /out/distro-on-ours
$nothing matrix xss cr4
64-module unload kvm_intel
64-module load ours-kvm-intel.ko enable_apicv=0 cet=1
64-cet --kvm both advertised ssp list
64-module unload kvm_intel kvm
64-module load other-kvm.ko
64-module load ours-kvm-intel.ko enable_apicv=0 cet=1
$nothing matrix xss cr4" -N "${files[@]}"
	for facts in ours-on-distro distro-on-ours; do
		REFERENCE=distro ok "$series: $facts: same as the distro's alone" "$top/tests/ioctl/compare-facts" \
			"$tmp/mixed-$series/files/distro" "$tmp/mixed-$series/files/$facts" "vmx-$series-$facts" \
			"$top/tests/ioctl/differences-from-distro"
	done
	like "$series: our kvm-intel.ko on the distro's kvm.ko: the log says why" "$(lines_of "mixed-$series" 6)" \
		"$refusal.*not of the same package"
	is "$series: our kvm-intel.ko on the distro's kvm.ko: in one line" \
		"$(lines_of "mixed-$series" 6 | grep -c CET)" 1
	like "$series: our kvm-intel.ko on a kvm.ko of another build: the log says why" \
		"$(lines_of "mixed-$series" 18)" "$refusal.*not of the same build"
	is "$series: our kvm-intel.ko on a kvm.ko of another build: in one line" \
		"$(lines_of "mixed-$series" 18 | grep -c CET)" 1
	like "$series: the distro's kvm-intel.ko on our kvm.ko: it does not know the parameter" \
		"$(lines_of "mixed-$series" 10)" "kvm_intel: unknown parameter 'cet' ignored"
}
mixed 6.12
mixed 6.1
done_testing
