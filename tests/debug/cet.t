#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tests of CET and ONE_REG on a kernel with KASAN, lockdep, UBSAN and others: not one report. Long: make debug-check.
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$(dirname "$0")/../hosts/relay.sh"
# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

kernel=$("$top/tests/debian/built" path debug) && modules=$("$top/tests/debian/built" modules debug) &&
	provoke=$("$top/tests/debian/built" provoke debug) || { echo "Bail out! no debug kernel"; exit 1; }

# That line is no complaint.
options=(-r 640 -t 3000 --complaint-ok 'RCU lockdep checking is enabled')

mkdir "$tmp/bin"
for p in 64/onereg 32/onereg 64/fuzz 32/fuzz 64/cet 32/cet 64/visible 64/module; do
	cp "$build/tests/ioctl/$p" "$tmp/bin/${p/\//-}"
done

# on NAME HOST COMMANDS [OPTION]...: COMMANDS, one a line, are programs of tests/ioctl, as BITS-NAME, or of tests/guest
on() {
	local name=$1 host=$2 commands=$3 p programs=()
	shift 3
	while read -r p; do
		[ -e "$tmp/bin/$p" ] || cp "$build/tests/guest/$p" "$tmp/bin/$p"
		programs+=(-i "$tmp/bin/$p")
	done < <(awk '{ print $1 }' <<<"$commands" | sort -u)
	run_host "$name" "$host" "$kernel" "$modules" "$commands" "${programs[@]}" "${options[@]}" "$@"
}

# ---- The kernel reports what it is there for. Lockdep is off after a report of its own, and after KASAN's.

faults='ubsan preempt lockdep list kasan sleep'
declare -A report_of=(
	[ubsan]='UBSAN: shift-out-of-bounds'
	[preempt]='BUG: using smp_processor_id\(\) in preemptible'
	[list]='list_add corruption'
	[kasan]='BUG: KASAN: slab-out-of-bounds'
	[lockdep]='WARNING: possible circular locking dependency detected'
	[sleep]='BUG: sleeping function called from invalid context'
)
for f in $faults; do
	printf '64-module load provoke.ko what=%s\n64-module unload provoke\n' "$f"
done >"$tmp/faults"
not_ok "faults of a module are reported" 126 "$top/tests/hosts/run" -H svm --icount -k "$kernel" -o "$tmp/provoked" \
	-i "$tmp/bin/64-module" -i "$provoke" -f "$tmp/faults" "${options[@]}"
for f in $faults; do
	like "fault: $f" "$output" "${report_of[$f]}"
done

# ---- Ours give it no reason to.

# By a clock that counts instructions: on a busy machine the host's timer would leave a guest no time.
on svm svm '64-onereg
32-onereg
64-fuzz 5000 5
64-cet --kvm none
64-visible --facts /out/facts
64-module unload kvm_amd kvm
64-module load kvm.ko
64-module load kvm-amd.ko
64-cet --kvm none advertised ssp list' --icount

on vmx vmx '64-onereg
32-onereg
64-fuzz 3000 5
64-fuzz 3000 6 cet
32-fuzz 3000 7 cet
64-cet --kvm both
32-cet --kvm both
64-cet --kvm both bitmap
snapshot
tracker
reset
smm
redeliver
guest32
hypervisor cet
isolation
emulator
64-module unload kvm_intel kvm
64-module load kvm.ko force_emulation_prefix=1
64-module load kvm-intel.ko enable_apicv=0 cet=1
64-cet --kvm both advertised ssp list kept
snapshot' -p kvm_intel.cet=1 -p kvm.force_emulation_prefix=1 -M msr --taint-ok S

on 'vmx, two CPUs' vmx 'isolation cpus
64-onereg run
64-cet --kvm both kept' -p kvm_intel.cet=1 -p kvm.force_emulation_prefix=1 -M msr --cpus 2

on 'vmx, cet=0' vmx '64-cet --kvm none
64-visible --facts /out/facts
isolation --without-cet
emulator --without-cet' -p kvm.force_emulation_prefix=1 -M msr

done_testing
