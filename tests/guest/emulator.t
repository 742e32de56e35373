#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# KVM's emulator refuses exactly those instructions that CET affects while a guest uses it. CR4.CET needs CR0.WP. What
# KVM logs about a VMCS that the CPU refuses contains its CET state.
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

like_native 1 'emulator --facts /out/emulator
controls
dump'
done_testing
