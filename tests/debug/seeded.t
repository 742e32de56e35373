#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Faults are added to a copy of our own source, one at a time. The tests of cet.t, on the debug kernels, report each of
# them.
#
# Environment: DEBUG_SERIES, instead of 6.12 and 6.1; DEBUG_FAULTS, instead of all of them
# shellcheck disable=SC2317 # ok calls the functions
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/debug/debug.sh
. "$(dirname "$0")/debug.sh"
# shellcheck source=tests/debian/copy.sh
. "$top/tests/debian/copy.sh"
# shellcheck disable=SC2154 # tap.sh sets build, tmp and top, debug.sh sets options and with_cet

# Some of the commands that cet.t runs
commands="64-cet --kvm both list
snapshot
64-leaks 'the VMs are gone'"

tree=$tmp/tree

# behind FILE TEXT MORE: in a file of the copy, insert MORE after TEXT, which must occur exactly once
# shellcheck disable=SC2016 # perl expands it
behind() {
	TEXT=$2 MORE=$3 perl -0777 -i -pe '
		s/\Q$ENV{TEXT}\E/$&\n$ENV{MORE}/g == 1 or die "no place for the fault, or several: $ENV{TEXT}\n"' \
		"$tree/src/$1"
}

# A CPU remembers the vCPU that it ran last, and uses it after the VM is gone.
seed_freed() {
	behind vendor/cet_state.c '>= NR_SWITCHED);' 'static DEFINE_PER_CPU(struct kvm_cet *, seed);' &&
		behind vendor/cet_state.c 'there = kvm_cet_claim_cpu(cet);' '
			if (__this_cpu_read(seed))
				__this_cpu_read(seed)->xrstors = true;
			__this_cpu_write(seed, cet);'
}

# Two locks, taken in one order to read an MSR and in the other to write it
seed_lockdep() {
	behind vendor/cet_state.c '>= NR_SWITCHED);' '
		static DEFINE_SPINLOCK(seed_a);
		static DEFINE_SPINLOCK(seed_b);
		static void seed(spinlock_t *outer, spinlock_t *inner)
		{
			spin_lock(outer);
			spin_lock(inner);
			spin_unlock(inner);
			spin_unlock(outer);
		}' &&
		behind vendor/cet_state.c 'val = kvm_cet_of(vcpu)->msrs[i];' 'seed(&seed_a, &seed_b);' &&
		behind vendor/cet_state.c 'kvm_cet_of(vcpu)->msrs[i] = val;' 'seed(&seed_b, &seed_a);'
}

# A vCPU's memory that is never freed
seed_leak() {
	behind vendor/cet.h 'bool shstk;' 'void *seed;' &&
		behind vmx/cet_setup.c 'vmx_cet_set_controls(to_vmx(vcpu));' \
			'to_vmx(vcpu)->cet.common.seed = kzalloc(64, GFP_KERNEL_ACCOUNT);'
}

# An allocation that may sleep, with preemption disabled
seed_sleep() {
	behind vendor/cet_state.c 'val = kvm_cet_of(vcpu)->msrs[i];' 'kfree(kzalloc(64, GFP_KERNEL));'
}

# One register beyond the end of the table
seed_bounds() {
	behind synthetic.c 'reg < registers + ARRAY_SIZE(registers)' '+ 1'
}

declare -A report_of=(
	[freed]='BUG: KASAN: (slab-)?use-after-free in __kvm_cet_load'
	[lockdep]='WARNING: possible circular locking dependency detected'
	[leak]='kvm_cet_vcpu_reset|kvm_cet_vendor_vcpu_reset'
	[sleep]='BUG: sleeping function called from invalid context'
	[bounds]='BUG: KASAN: global-out-of-bounds in synthetic_reg_next'
)

run_seeded() { # NAME KERNEL
	local p programs=()
	while read -r p; do
		programs+=(-i "$(program "$p")")
	done < <(awk '{ print $1 }' <<<"$commands" | sort -u)
	printf '%s\n' "$commands" >"$tmp/commands"
	# After an Oops a host may hang.
	"$top/tests/hosts/boot" -H vmx -k "$2" -m "$tree/modules" -f "$tmp/commands" "${programs[@]}" "${options[@]}" \
		"${with_cet[@]}" -c oops=panic 2>&1
}

for series in ${DEBUG_SERIES:-$("$top/tests/debian/kernel" series)}; do
	kernel=$("$top/tests/debian/built" path "debug-$series") || {
		echo "Bail out! no debug kernel"
		exit 1
	}
	for fault in ${DEBUG_FAULTS:-freed lockdep leak sleep bounds}; do
		# make rebuilds what differs from the previous fault.
		copy_source "$tree"
		ok "$series: $fault: the fault can be inserted" "seed_$fault"
		ok "$series: $fault: the modules build" "$top/tests/debian/built" modules "debug-$series" "$tree"
		output=$(run_seeded "$series-$fault" "$kernel") && status=0 || status=$?
		report "$((status == 0))" "$series: $fault: the tests fail" || diag "$output"
		like "$series: $fault: it is reported" "$output" "${report_of[$fault]}"
	done
	rm -rf "$tree"
done

done_testing
