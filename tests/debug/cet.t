#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tests of CET and ONE_REG on kernels with KASAN, lockdep, UBSAN, kmemleak and other checkers, without a single
# report. This takes long: make debug-check.
#
# Environment: DEBUG_SERIES, instead of 6.12 and 6.1; DEBUG_HOSTS, see debug.sh
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/debug/debug.sh
. "$(dirname "$0")/debug.sh"
# shellcheck source=tests/fuzz/hostile.sh
. "$(dirname "$0")/../fuzz/hostile.sh"
# shellcheck disable=SC2154 # tap.sh sets build, tmp and top, debug.sh sets options and with_cet

# ---- The kernel reports the faults it is built to report. Lockdep is off after its first report, and after one of
# KASAN.

faults='ubsan preempt lockdep list object bounds freed sleep leak'
declare -A report_of=(
	[ubsan]='UBSAN: shift-out-of-bounds'
	[preempt]='BUG: using smp_processor_id\(\) in preemptible'
	[list]='list_add corruption'
	[object]='ODEBUG: free active .* object type: timer_list'
	[bounds]='BUG: KASAN: slab-out-of-bounds'
	[freed]='BUG: KASAN: slab-use-after-free|BUG: KASAN: use-after-free'
	[lockdep]='WARNING: possible circular locking dependency detected'
	[sleep]='BUG: sleeping function called from invalid context'
	[leak]='unreferenced object'
)

# provoked SERIES KERNEL PROVOKE
provoked() {
	local name="$1: faults" f
	[[ $name =~ ${DEBUG_HOSTS:-.} ]] || return 0
	for f in $faults; do
		printf '64-module load provoke.ko what=%s\n64-module unload provoke\n' "$f"
	done >"$tmp/faults"
	echo "64-leaks 'a module that lost memory'" >>"$tmp/faults"
	not_ok "$1: faults of a module are reported" 126 "$top/tests/hosts/boot" -H svm --icount -k "$2" \
		-o "$tmp/provoked-$1" -i "$(program 64-module)" -i "$(program 64-leaks)" -i "$3" -f "$tmp/faults" \
		"${options[@]}" -c kasan_multi_shot
	for f in $faults; do
		like "$1: fault: $f" "$output" "${report_of[$f]}"
	done
}

# ---- With our modules it has nothing to report.

# Scans for leaked memory at the end of a host, with its modules and without them
ending() { # VENDOR
	printf '%s\n' "64-leaks 'the VMs are gone'" "64-module unload kvm_$1 kvm" "64-leaks 'the modules are unloaded'"
}

for series in ${DEBUG_SERIES:-$("$top/tests/debian/kernel" series)}; do
	{ kernel=$("$top/tests/debian/built" path "debug-$series") &&
		modules=$("$top/tests/debian/built" modules "debug-$series") &&
		provoke=$("$top/tests/debian/built" module "debug-$series" "$top/tests/debug/provoke.c") &&
		lacking=$("$top/tests/debian/built" module "debug-$series" "$top/tests/guest/lacking.c"); } ||
		{
			echo "Bail out! no debug kernel"
			exit 1
		}

	provoked "$series" "$kernel" "$provoke"

	# With a clock that counts instructions: on a busy machine, the host's timer would leave no time to a guest.
	on "$series: svm" svm "$kernel" "$modules" "64-onereg
32-onereg
64-fuzz 5000 5
64-cet --kvm none
64-visible --facts /out/facts
64-module unload kvm_amd kvm
64-module load kvm.ko
64-module load kvm-amd.ko
64-cet --kvm none advertised ssp list
$(ending amd)" --icount

	on "$series: ioctls" vmx "$kernel" "$modules" "64-onereg
32-onereg
64-fuzz 3000 5
64-fuzz 3000 6 cet
32-fuzz 3000 7 cet
64-cet --kvm both
32-cet --kvm both
64-cet --kvm both bitmap
$(ending intel)
64-module load kvm.ko force_emulation_prefix=1
64-module load kvm-intel.ko enable_apicv=0 cet=1
64-cet --kvm both advertised ssp list kept
snapshot" "${with_cet[@]}"

	on "$series: guests" vmx "$kernel" "$modules" "snapshot
tracker
reset
smm
redeliver
guest32
emulator
controls
$(ending intel)" "${with_cet[@]}"

	on "$series: isolation" vmx "$kernel" "$modules" "$(for_series "$series" 'isolation ')
$(ending intel)" "${with_cet[@]}"

	on "$series: nested" vmx "$kernel" "$modules" "$(for_series "$series" 'hypervisor cet')
nested-stress 300 1
$(ending intel)" "${with_cet[@]}" -c 'softlockup_panic=1 hung_task_panic=1 sysctl.kernel.panic_on_rcu_stall=1'

	on "$series: life" vmx "$kernel" "$modules" \
		"$(for_series "$series" 'life --smis 100 cpuid smi kill load sleep disk')
$(ending intel)" "${with_cet[@]}"

	# One option of the kind: this replaces that of debug.sh.
	tolerated=(--taint-ok SW --complaint-ok "RCU lockdep checking is enabled|$hostile_known")
	on "$series: hostile" vmx "$kernel" "$modules" "$(for_series "$series" 'hostile-vmx --attempts 40')
$(ending intel)" "${with_cet[@]}" "${tolerated[@]}"

	on "$series: hostile, two CPUs" vmx "$kernel" "$modules" "$(for_series "$series" 'hostile-vmx --attempts 40')
$(ending intel)" "${with_cet[@]}" "${tolerated[@]}" --cpus 2

	on "$series: hostile, AMD" svm-cet "$kernel" "$modules" "$(for_series "$series" 'hostile-svm --attempts 40')
$(ending amd)" -p kvm_amd.cet=1 -p kvm.force_emulation_prefix=1 -M msr "${tolerated[@]}"

	on "$series: two CPUs" vmx "$kernel" "$modules" "$(for_series "$series" 'isolation cpus')
64-onereg run
64-cet --kvm both kept
$(for_series "$series" 'life hotplug kill sleep')
$(ending intel)" "${with_cet[@]}" --cpus 2

	[ "$series" != 6.1 ] ||
		on "$series: a CPU that lacks something" vmx "$kernel" "$modules" "life --host-without-cet refused
$(ending intel)" "${with_cet[@]}" --cpus 2 -i "$lacking"

	# Each of these keeps CET from guests.
	on "$series: cet=0" vmx "$kernel" "$modules" "64-cet --kvm none
64-visible --facts /out/facts
$(for_series "$series" 'isolation --without-cet')
emulator --without-cet
$(for p in ept=0 unrestricted_guest=0 allow_smaller_maxphyaddr=1; do
		echo "64-module unload kvm_intel
64-module load kvm-intel.ko enable_apicv=0 cet=1 $p
64-cet --kvm none advertised ssp list"
	done)
$(ending intel)" -p kvm_intel.cet=0 -p kvm.force_emulation_prefix=1 -M msr
done

done_testing
