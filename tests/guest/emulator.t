#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# KVM's emulator refuses exactly those instructions that CET affects while a guest uses it; and CR4.CET needs CR0.WP
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

like_native 1 'emulator --facts /out/emulator
controls'
done_testing
