#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Without kvm_intel.cet, guests do not have CET, and KVM emulates every instruction
# needs: emulated-hosts
. "$(dirname "$0")/../tap.sh"
. "$(dirname "$0")/isolation.sh"

like_native 0 'isolation --without-cet
emulator --without-cet --facts /out/emulator'
done_testing
