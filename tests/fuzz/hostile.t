#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Hostile VMMs and hostile guests leave a host as it was: a native kernel, 6.12 and 6.1, on an emulated Intel machine
# and on an emulated AMD machine with shadow stacks; on two CPUs, one kernel on each machine. THOROUGH=y makes many more
# attempts, and has all kernels on two CPUs, too.
#
# Environment: HOSTILE_HOSTS, some of vmx and svm-cet; HOSTILE_KERNELS, some of native, 6.12 and 6.1; HOSTILE_CPUS, some
# of 1 and 2, all of them with each kernel; HOSTILE_SEED; HOSTILE_ATTEMPTS on each
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$(dirname "$0")/../hosts/relay.sh"
# shellcheck source=tests/fuzz/hostile.sh
. "$(dirname "$0")/hostile.sh"

# shellcheck disable=SC2154 # tap.sh sets build, tmp and top

attempts=20
[ "${THOROUGH:-}" != y ] || attempts=500
attempts=${HOSTILE_ATTEMPTS:-$attempts} seed=${HOSTILE_SEED:-1}

# At the start, the program writes to an MSR of the host, to check that it notices: this taints (S). hostile-host.c has
# the reasons for warnings of KVM itself (W).
options=(-M msr -p kvm.force_emulation_prefix=1 --taint-ok SW --complaint-ok "$hostile_known"
	-t $((300 + attempts * 10)))

all_series=$("$top/tests/debian/kernel" series)
two_cpus="vmx-$(head -n 1 <<<"$all_series") svm-cet-$(tail -n 1 <<<"$all_series")"
[ "${THOROUGH:-}" != y ] || HOSTILE_CPUS=${HOSTILE_CPUS:-1 2}

# attempts_on HOST SERIES CPUS
attempts_on() {
	local program=hostile-${1%-cet} modules='' name=$1-$2
	[ "$2" = native ] || modules=$build/$("$top/tests/debian/kernel" release "$2")
	[ "$3" = 1 ] || name="$name, $3 CPUs"
	run_host "$name" "$1" "$("$top/tests/debian/kernel" path "$2")" "$modules" \
		"$(for_series "$2" "$program --seed $seed --attempts $attempts")" --cpus "$3" \
		-i "$build/tests/guest/$program" -p "$(cet_parameter "$1")=1" "${options[@]}"
}

for host in ${HOSTILE_HOSTS:-vmx svm-cet}; do
	for series in ${HOSTILE_KERNELS:-native $all_series}; do
		for cpus in ${HOSTILE_CPUS:-1 2}; do
			[ "$cpus" = 1 ] || [ -n "${HOSTILE_CPUS:-}" ] ||
				[[ " $two_cpus " = *" $host-$series "* ]] || continue
			attempts_on "$host" "$series" "$cpus"
		done
	done
done

done_testing
