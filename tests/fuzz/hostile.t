#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Hostile VMMs and hostile guests leave a host as it was: a native kernel, 6.12 and 6.1, on an emulated Intel machine
# and on an emulated AMD machine with shadow stacks. THOROUGH=y makes many more attempts.
#
# Environment: HOSTILE_HOSTS, some of vmx and svm-cet; HOSTILE_KERNELS, some of native, 6.12 and 6.1; HOSTILE_SEED;
# HOSTILE_ATTEMPTS on each
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

for host in ${HOSTILE_HOSTS:-vmx svm-cet}; do
	program=hostile-${host%-cet}
	for series in ${HOSTILE_KERNELS:-native $("$top/tests/debian/kernel" series)}; do
		modules=''
		[ "$series" = native ] || modules=$build/$("$top/tests/debian/kernel" release "$series")
		run_host "$host-$series" "$host" "$("$top/tests/debian/kernel" path "$series")" "$modules" \
			"$(for_series "$series" "$program --seed $seed --attempts $attempts")" \
			-i "$build/tests/guest/$program" \
			-p "$(cet_parameter "$host")=1" "${options[@]}"
	done
done

done_testing
