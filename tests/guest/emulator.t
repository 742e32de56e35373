#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What KVM's emulator refuses while a guest uses CET, and what it does not; and CR4.CET with CR0.WP
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

like_native 1 'emulator --facts /out/emulator
controls'
done_testing
