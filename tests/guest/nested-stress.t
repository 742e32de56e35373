#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Nested VMX with CET under stress, as Windows with virtualization-based security uses it: on a native kernel, 6.12 and
# 6.1, with the kernel's watchdogs enabled. A hang that they do not detect, such as a hard lock-up, ends with the time
# limit of the runner.
#
# Environment: STRESS_ROUNDS, STRESS_SEED, and STRESS_HOSTS, some of native, 6.12 and 6.1
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
# shellcheck source=tests/hosts/relay.sh
. "$(dirname "$0")/../hosts/relay.sh"

# shellcheck disable=SC2154 # tap.sh sets build and top

rounds=${STRESS_ROUNDS:-1500} seed=${STRESS_SEED:-1}

# Seconds inside are counted in instructions: each takes many seconds of real time.
watchdogs='softlockup_panic=1 hung_task_panic=1 rcupdate.rcu_cpu_stall_timeout=3 sysctl.kernel.panic_on_rcu_stall=1'
watchdogs+=' sysctl.kernel.watchdog_thresh=1 sysctl.kernel.hung_task_timeout_secs=3'

for series in ${STRESS_HOSTS:-native $("$top/tests/debian/kernel" series)}; do
	modules='' option=--native
	[ "$series" = native ] || modules=$build/$("$top/tests/debian/kernel" release "$series") option=''
	run_host "$series" vmx "$("$top/tests/debian/kernel" path "$series")" "$modules" \
		"nested-stress $option $rounds $seed" -i "$build/tests/guest/nested-stress" -M msr -p kvm_intel.cet=1 \
		-c "$watchdogs" -t $((900 + rounds / 10))
done

done_testing
