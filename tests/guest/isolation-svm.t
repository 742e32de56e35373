#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# On an AMD host, the shadow-stack states of a guest, of other guests and of the host are kept apart; also when the host
# sleeps, KVM is unloaded and loaded, VMMs are killed, and vCPUs are reset
#
# THOROUGH=y adds what KVM's emulator refuses, a host with two CPUs, and preempted threads.
# needs: emulated-hosts jostle
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

# shellcheck disable=SC2154 # tap.sh sets tmp

commands='isolation --facts /out/isolation
controls
dump
life --facts /out/life --loads 4 --smis 100 cpuid smi reset kill close load sleep disk'
[ "${THOROUGH:-}" != y ] || commands+=$'\nemulator --facts /out/emulator'
# The test writes to S_CET for a moment: writing to MSRs taints (S).
HOST=svm-cet like_native 1 "$commands" --taint-ok S
if [ "${THOROUGH:-}" = y ]; then
	HOST=svm-cet like_native 1 'isolation cpus
life hotplug kill oom sleep' --cpus 2
	HOST=svm-cet jostled
fi
done_testing
