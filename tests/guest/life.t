#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A host sleeps, KVM is unloaded and loaded, VMMs are killed or run out of memory, and vCPUs are reset, while guests use
# CET: the guests continue, and leave nothing behind
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

like_native 1 'life --facts /out/life cpuid smi reset kill oom close load sleep disk' -r 512
done_testing
